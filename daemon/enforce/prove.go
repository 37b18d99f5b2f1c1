package enforce

import (
	"fmt"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// proof is a candidate as the kernel shall hold it, shown equal to its policy.
type proof struct {
	rules *ruleset.Ruleset
	note  string // where it was shown on a sample only
	err   error
}

// briefWitnesses is about how many packets a brief proof takes.
const briefWitnesses = 8_000

// Prove does the part of Apply and DryRun that takes long for a large policy and needs nothing but the candidate, which
// must be OK. It may run beside the Enforcer's other methods; those do it themselves where it was not called.
func (e *Enforcer) Prove(c *Candidate) {
	c.proof = new(proof)
	e.opt.Progress(fmt.Sprintf("proving the compiled form of %d rules", c.Rules()))
	if c.proof.rules, c.proof.err = e.compile(c); c.proof.err != nil {
		return
	}
	verify := compile.Verify
	if c.brief {
		verify = func(p *policy.Policy, rs *ruleset.Ruleset) (compile.Report, error) {
			return compile.VerifySample(p, rs, briefWitnesses)
		}
	}
	r, err := verify(c.Policy, c.proof.rules)
	switch {
	case err != nil:
		c.proof.err = fmt.Errorf("the compiled form of %s is not what it says, and was not applied: %w", c.Entry, err)
	case r.Sampled && !c.brief:
		c.proof.note = r.String()
	}
}

// proved is what the kernel shall hold, after it was shown equal to the policy, before the kernel hears a word: an error
// of the compiler costs a reload, never a hole. The report notes where that was a sample.
func (e *Enforcer) proved(c *Candidate, r *Report) (*ruleset.Ruleset, error) {
	if c.proof == nil {
		e.Prove(c)
	}
	if c.proof.note != "" {
		r.note(c.proof.note)
	}
	return c.proof.rules, c.proof.err
}

// compile turns a candidate into what the kernel shall hold.
func (e *Enforcer) compile(c *Candidate) (*ruleset.Ruleset, error) {
	opt := compile.Options{LogGroup: e.opt.LogGroup}
	if f, ok := e.Features(); ok {
		opt.NoLabels = !f.Labels
	}
	rules, err := compile.Compile(c.Policy, opt)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", c.Entry, err)
	}
	return rules, nil
}
