package daemon

import (
	"context"
	"fmt"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/compile"
)

// prover proves wholly what was enforced after a brief proof, beside the loop.
type prover struct {
	of     *enforce.Candidate // what was looked at last; nil for nothing
	cancel context.CancelFunc // nil where no proof is under way
	done   chan proven        // what comes of it; nil where none is under way
	result proven
}

// proven is what came of a whole proof. The error is a disagreement.
type proven struct {
	of     *enforce.Candidate
	report compile.Report
	took   time.Duration
	err    error
}

// look begins the proof of what is enforced where that is due. One of what is enforced no more ends.
func (p *prover) look(d *daemon) {
	run := d.enf.Running().Candidate
	if p.of == run {
		return
	}
	p.stop()
	*p = prover{of: run}
	_, whole := d.enf.Proof()
	if whole == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel, p.done = cancel, make(chan proven, 1)
	go func(done chan<- proven) {
		begun := time.Now()
		r, err := whole(ctx)
		done <- proven{run, r, time.Since(begun).Round(time.Millisecond), err}
	}(p.done)
}

// stop ends a proof that is under way: a reload comes first. What is enforced after it is looked at anew.
func (p *prover) stop() {
	if p.cancel != nil {
		p.cancel()
		*p = prover{}
	}
}

// end takes up what came of a proof.
func (p *prover) end(d *daemon, r proven) {
	p.cancel()
	p.cancel, p.done, p.result = nil, nil, r
	d.keeper.used = time.Now() // it took memory
	if r.err != nil {
		d.log.Error("what is enforced is NOT what the policy says: the compiler is to blame, report it", "policy", r.of.Entry, "error", r.err)
		d.cfg.Notify("STATUS=" + d.statusLine())
	} else {
		d.log.Info("proved wholly", "policy", r.of.Entry, "packets", r.report.Packets, "took", r.took)
	}
}

// status is how far what is enforced was proved, nil where this process has not.
func (p *prover) status(d *daemon) *control.Proof {
	r, whole := d.enf.Proof()
	switch done := p.result; {
	case whole == nil && r.Packets == 0:
		return nil
	case whole == nil:
		return proofOf(r, r.String())
	case done.of != d.enf.Running().Candidate:
		return &control.Proof{State: control.ProofUnderWay, Packets: r.Packets,
			Text: fmt.Sprintf("proved on a sample of %d packets before it was enforced; the whole proof, on some %d, is under way", r.Packets, r.Corners)}
	case done.err != nil:
		return &control.Proof{State: control.ProofFailed, Packets: done.report.Packets,
			Text: "what is enforced is NOT what the policy says; edit the rule, or go back by 'ringwall rollback': " + done.err.Error()}
	default:
		return proofOf(done.report, fmt.Sprintf("proved on a sample of %d packets before it was enforced, and after that, in %s, wholly: %s", r.Packets, done.took, done.report))
	}
}

// proofOf is a proof that is over and found nothing.
func proofOf(r compile.Report, text string) *control.Proof {
	state := control.ProofWhole
	if r.Sampled {
		state = control.ProofSample
	}
	return &control.Proof{State: state, Packets: r.Packets, Text: text}
}
