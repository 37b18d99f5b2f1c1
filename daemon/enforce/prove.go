package enforce

import (
	"context"
	"fmt"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/ruleset"
)

// proof is a candidate as the kernel shall hold it, and whether that was shown equal to its policy.
type proof struct {
	rules *ruleset.Ruleset // nil where it can't be compiled
	shown chan struct{}    // closed when note and err are known
	note  string           // where it was shown on a sample only
	err   error
}

// briefWitnesses is about how many packets a brief proof takes.
const briefWitnesses = 8_000

// Prove does the part of Apply and DryRun that takes long for a large policy and needs nothing but the candidate, which
// must be OK. It may run beside the Enforcer's other methods; those do it themselves where it was not called.
func (e *Enforcer) Prove(c *Candidate) {
	e.prove(c)
	<-c.proof.shown
}

// prove compiles a candidate, and begins to show that the result is equal to its policy, beside whatever comes next.
func (e *Enforcer) prove(c *Candidate) {
	e.opt.Progress(fmt.Sprintf("proving the compiled form of %d rules", c.Rules()))
	pr := &proof{shown: make(chan struct{})}
	c.proof = pr
	verifier := compile.NewVerifier(c.Policy)
	if pr.rules, pr.err = e.compile(c); pr.err != nil {
		close(pr.shown)
		return
	}
	go func() {
		defer close(pr.shown)
		verify := verifier.Verify
		if c.brief {
			verify = func(rs *ruleset.Ruleset) (compile.Report, error) { return verifier.VerifySample(rs, briefWitnesses) }
		}
		r, err := verify(pr.rules)
		switch {
		case err != nil:
			pr.err = fmt.Errorf("the compiled form of %s is not what it says, and was not applied: %w", c.Entry, err)
		case r.Sampled && !c.brief:
			pr.note = r.String()
		}
	}()
}

// proved is what the kernel shall hold, after it was shown equal to the policy, before the kernel hears a word: an error
// of the compiler costs a reload, never a hole. The report notes where that was a sample.
func (e *Enforcer) proved(c *Candidate, r *Report) (*ruleset.Ruleset, error) {
	if c.proof == nil {
		e.prove(c)
	}
	<-c.proof.shown
	if c.proof.note != "" {
		r.note(c.proof.note)
	}
	return c.proof.rules, c.proof.err
}

// planned is the change that makes the kernel's table be a candidate's, which is compared with it while it is shown equal to its policy.
func (e *Enforcer) planned(ctx context.Context, c *Candidate, r *Report) (*ruleset.Ruleset, *kernel.Change, error) {
	if c.proof == nil {
		e.prove(c)
	}
	var change *kernel.Change
	var unplanned error
	if c.proof.rules != nil {
		e.opt.Progress("comparing with the kernel's table")
		change, unplanned = e.conn.Plan(ctx, c.proof.rules)
	}
	want, err := e.proved(c, r)
	if err == nil {
		err = unplanned
	}
	return want, change, err
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
