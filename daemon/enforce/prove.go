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
	rules  *ruleset.Ruleset // nil where it can't be compiled
	shown  chan struct{}    // closed when report and err are known
	report compile.Report
	short  bool // it took a sample, though there is time for more once the policy is enforced
	err    error
}

// A brief proof takes every corner where that is cheapCorners packets or fewer, about a thousand rules, and a tenth of a second. Else it takes
// about briefWitnesses.
const (
	cheapCorners   = 100_000
	briefWitnesses = 8_000 // and one of every rule
)

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
	if pr.rules, pr.err = e.compileAs(c, true); pr.err != nil {
		close(pr.shown)
		return
	}
	go func() {
		defer close(pr.shown)
		var err error
		if c.brief {
			pr.report, err = verifier.VerifyWithin(context.Background(), pr.rules, cheapCorners, briefWitnesses)
		} else {
			pr.report, err = verifier.Verify(context.Background(), pr.rules)
		}
		pr.short = c.brief && pr.report.Sampled
		if err != nil {
			pr.err = fmt.Errorf("the compiled form of %s is not what it says, and was not applied: %w", c.Entry, err)
		}
	}()
}

// proved is what the kernel shall hold, after it was shown equal to the policy, before the kernel hears a word: an error
// of the compiler costs a reload, never a hole. The report notes where that was a sample.
func (e *Enforcer) proved(c *Candidate, r *Report) (*ruleset.Ruleset, error) {
	if c.proof == nil {
		e.prove(c)
	}
	pr := c.proof
	<-pr.shown
	switch {
	case pr.err != nil:
	case pr.short:
		r.Proof = fmt.Sprintf("proved on a sample of %d packets of some %d", pr.report.Packets, pr.report.Corners)
	case pr.report.Sampled:
		r.note(pr.report.String())
	}
	return pr.rules, pr.err
}

// Proof is how far the running policy was proved when it was applied. Whole is what proves it wholly where that was brief, until ctx
// ends: it may run beside the Enforcer, and its error is a disagreement, or that of ctx. It is nil where there is nothing more to prove, and the
// report that of no packet where the policy was enforced by an earlier process.
func (e *Enforcer) Proof() (r compile.Report, whole func(ctx context.Context) (compile.Report, error)) {
	if e.running.Candidate == nil || e.running.proof == nil {
		return r, nil
	}
	p, pr := e.running.Policy, e.running.proof
	if !pr.short {
		return pr.report, nil
	}
	return pr.report, func(ctx context.Context) (compile.Report, error) {
		return compile.NewVerifier(p).Verify(ctx, pr.rules)
	}
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
func (e *Enforcer) compile(c *Candidate) (*ruleset.Ruleset, error) { return e.compileAs(c, false) }

// compileAs is compile, where the result goes unchecked, since it will be verified, or not.
func (e *Enforcer) compileAs(c *Candidate, unchecked bool) (*ruleset.Ruleset, error) {
	opt := e.CompileOptions()
	opt.Unchecked = unchecked
	rules, err := e.opt.Compile(c.Policy, opt)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", c.Entry, err)
	}
	return rules, nil
}
