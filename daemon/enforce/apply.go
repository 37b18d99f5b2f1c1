package enforce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"ringwall/daemon/store"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// DryRun does all that Apply would, up to the kernel's validation without commit. Where the kernel will not validate,
// for want of privileges, the report's notes say so; that it objects to the change is an error.
func (e *Enforcer) DryRun(ctx context.Context, c *Candidate, nft bool) (*Report, error) {
	r := e.report(c)
	if !c.OK() {
		r.Open = e.Open(ctx)
		return r, nil
	}
	e.setDifference(c, r)
	e.noteInterfaces(c.Policy, r)
	want, err := e.proved(c, r)
	if err != nil {
		return r, err
	}
	r.Costliest = costliest(want)
	if nft {
		var text strings.Builder
		if err := want.WriteNFT(&text); err != nil {
			return r, fmt.Errorf("print the table: %w", err)
		}
		r.NFT = text.String()
	}
	if e.conn == nil {
		return r, r.unvalidated(e.refusal)
	}
	change, err := e.conn.Plan(ctx, want)
	if err != nil {
		return r, r.unvalidated(err)
	}
	r.setChange(change)
	r.KernelLines = change.Lines()
	if err := e.conn.Validate(ctx, change); err != nil {
		return r, r.unvalidated(err)
	}
	r.Validated = true
	return r, nil
}

// Apply enforces a candidate in one transaction and stores it as the last good one. The report of a candidate that is
// not OK says why, and nothing is done. Where the error is not nil the policy that was enforced before still is,
// unless the report says Applied: then something after the commit failed. A change that was pending is over by it.
func (e *Enforcer) Apply(ctx context.Context, c *Candidate, from Source) (*Report, error) {
	return e.apply(ctx, c, from, nil)
}

// apply is Apply, for good or, with a record, as the pending change.
func (e *Enforcer) apply(ctx context.Context, c *Candidate, from Source, pending *store.Pending) (*Report, error) {
	r, compared := e.beginReport(c)
	defer compared()
	if !c.OK() {
		r.Open = e.Open(ctx)
		return r, nil
	}
	if e.lock == nil {
		return r, ErrReadOnly
	}
	want, change, err := e.planned(ctx, c, r)
	if err != nil {
		return r, err
	}
	if err := e.commit(ctx, want, change, r); err != nil {
		return r, err
	}
	same := e.running.Candidate != nil && e.running.Digest == c.Digest && e.running.Source == from && r.Kernel == ""
	confirmed := e.pending != nil && pending == nil
	at := e.running.Applied
	var before *policy.Policy
	if e.running.Candidate != nil {
		before = e.running.Policy
	}
	if !same {
		at = e.opt.Now()
	}
	e.stored = e.stored && same && !confirmed || from != Files && from != Socket && from != RolledBack
	switch {
	case pending == nil:
		e.kept = Running{}
	case e.pending == nil:
		e.kept = e.running
	}
	e.pending = pending
	e.running = Running{Candidate: c, Source: from, Applied: at, rules: want}
	r.Applied, r.Source = true, from
	e.forgive(c.Digest)
	e.noteInterfaces(c.Policy, r)
	err = e.placeBans(ctx, r.made)
	e.cutRefused(ctx, before, r)
	if err != nil {
		return r, fmt.Errorf("enforced, but the bans are not back: %w", err)
	}
	if e.opt.Lazy {
		return r, nil
	}
	if err := e.Refresh(ctx, 0); err != nil {
		r.note(err.Error())
	}
	if store := e.Unstored(); store != nil {
		return r, e.Stored(store())
	}
	return r, nil
}

// ErrChanged tells that the kernel's table is not that of the running policy.
var ErrChanged = errors.New("the kernel's table is not this policy's")

// Intact is nil where the kernel's table is that of the running policy. The error else says why not, or why it can't be
// told: ErrNothingKnown, ErrChanged, kernel.ErrNoTable, or the kernel's refusal to answer.
func (e *Enforcer) Intact(ctx context.Context) error {
	switch {
	case e.running.Candidate == nil:
		return e.nothingKnown()
	case e.conn == nil:
		return unanswered(e.refusal)
	case e.running.rules == nil:
		want, err := e.compile(e.running.Candidate)
		if err != nil {
			return err
		}
		e.running.rules = want
	}
	change, err := e.conn.Plan(ctx, e.running.rules)
	if err != nil {
		return unanswered(err)
	}
	if !touches(change) {
		return nil
	}
	if _, err := e.conn.Counters(ctx); errors.Is(err, kernel.ErrNoTable) {
		return fmt.Errorf("nothing is enforced, the host is open: %w", err)
	}
	return ErrChanged
}

// Open tells whether the host is open: the wall was taken down, or the kernel says that there is no table.
func (e *Enforcer) Open(ctx context.Context) bool {
	if e.running.Source == Opened || e.conn == nil {
		return e.running.Source == Opened
	}
	_, err := e.conn.Counters(ctx)
	return errors.Is(err, kernel.ErrNoTable)
}

// unanswered says of an error that for its sake the kernel's state is not known.
func unanswered(err error) error { return fmt.Errorf("the kernel can't be asked: %w", err) }

// TakeDown removes the table: nothing is judged any more, until the next Apply. The stored policy stays, so that a
// reboot brings it back.
func (e *Enforcer) TakeDown(ctx context.Context) error {
	if e.lock == nil {
		return ErrReadOnly
	}
	if err := e.conn.DeleteTable(ctx); err != nil {
		return fmt.Errorf("remove the table: %w", err)
	}
	if e.pending != nil {
		if err := e.DropPending("the wall was taken down before it was confirmed"); err != nil {
			e.opt.Log.Error("the change that was not confirmed is not forgotten", "error", err)
		}
	}
	e.running = Running{Source: Opened, Applied: e.opt.Now()}
	e.placed, e.stored = false, false
	if err := e.dir.SavePlace(""); err != nil {
		e.opt.Log.Warn("the next start will take it that someone else removed the table", "error", err)
	}
	return nil
}

// commit carries out a change that was planned to make the kernel's table be want, or another where that has become stale. Where the whole table is made, conntrack learns first of the connections
// that live, so that none dies as unknown; and once more after it, for those that opened meanwhile. Not so in a repair: conntrack
// still knows those from before, and others were let in by nobody.
func (e *Enforcer) commit(ctx context.Context, want *ruleset.Ruleset, change *kernel.Change, r *Report) error {
	defer func() { e.noteStale(change) }()
	if change.Empty() {
		r.Validated = true
		return e.conn.Commit(ctx, change) // so that of two that are alike the kernel's side keeps the one that runs
	}
	n := change.Counts()
	e.opt.Progress(fmt.Sprintf("the kernel takes %d rules and %d ranges of addresses", n.RulesAdded+n.RulesRemoved, n.ElemsAdded+n.ElemsRemoved))
	anew := change.Counts().Replace && !r.repair
	if anew {
		e.seed(ctx, r)
	}
	err := e.conn.Commit(ctx, change)
	if errors.Is(err, kernel.ErrStale) || errors.Is(err, kernel.ErrLost) {
		change, err = e.conn.Apply(ctx, want)
	}
	if err != nil {
		return err
	}
	r.Validated = true
	r.setChange(change)
	if anew {
		e.seed(ctx, nil)
	}
	return nil
}

// seed tells conntrack of the host's connections. That it can't is worth a note, and no reason to stay open.
func (e *Enforcer) seed(ctx context.Context, r *Report) {
	if _, err := e.host.SeedConnections(ctx); err != nil && r != nil {
		r.note("connections that are open now may be cut: " + err.Error())
	}
}

// Unstored is what stores the running policy for the next boot, with the emergency policy that goes with it; nil where
// there is nothing to store. It may run beside the Enforcer, one at a time; what came of it goes to Stored.
func (e *Enforcer) Unstored() func() error {
	if e.stored || e.running.Candidate == nil {
		return nil
	}
	e.stored = true
	run, dir, who, pending := e.running, e.dir, e.who(e.running.Candidate), e.pending != nil
	return func() error {
		g := store.LastGood{
			Entry: run.Entry, Digest: run.Digest, Source: string(run.Source), Who: who, Applied: run.Applied, Stream: run.Bundle.WriteJSON,
		}
		if pending {
			return dir.SaveUnconfirmed(g)
		}
		// The last good policy comes last: who finds it stored need not look whether the emergency policy is that of the one before.
		if err := errors.Join(keepEmergency(dir, run.Policy.Failsafe), dir.SaveLastGood(g), dir.RemovePending()); err != nil {
			return err
		}
		e.keep(run, who)
		return nil
	}
}

// keepEmergency stores the emergency policy that goes with a failsafe. One that was known once is not forgotten because a later policy
// has none.
func keepEmergency(dir store.Dir, failsafe []policy.Failsafe) error {
	text := policy.EmergencyText(failsafe)
	if known, err := dir.Emergency(); err == nil && (known == text || len(failsafe) == 0) {
		return nil
	}
	return dir.SaveEmergency(text)
}

// Stored takes up what came of storing. After a failure the policy is Unstored again.
func (e *Enforcer) Stored(err error) error {
	if err != nil {
		e.stored = false
		return fmt.Errorf("enforced, but not stored for the next boot: %w", err)
	}
	return nil
}

// Forget drops the texts of the running policy from memory where they are on disk as the last good policy, or are none to store: what
// it says is compiled, and its fingerprint tells whether the files still say it. No store may be under way, and nobody else may want the
// running candidate's Bundle.
func (e *Enforcer) Forget() {
	if e.stored && e.pending == nil && e.running.Candidate != nil {
		e.running.Bundle = nil
	}
}

// ApplyStored enforces the last good policy or, where there is none that can be used, the emergency policy. The
// report's Source says which, and its notes why.
func (e *Enforcer) ApplyStored(ctx context.Context) (*Report, error) {
	last, err := e.lastGood()
	if err == nil {
		var r *Report
		if r, err = e.Apply(ctx, last.Candidate, LastGood); err == nil || r.Applied {
			return r, err
		}
		if owned := (*kernel.OwnedError)(nil); errors.As(err, &owned) {
			return r, err // whatever is tried next would meet the same owner
		}
	}
	why := "the last good policy can't be used: " + err.Error()
	if errors.Is(err, fs.ErrNotExist) {
		why = "no policy has been applied yet"
	}
	e.opt.Log.Error("emergency policy", "why", why)
	c, err := e.emergency()
	if err != nil {
		return &Report{Notes: []string{why}}, err
	}
	r, err := e.Apply(ctx, c, Emergency)
	r.note("emergency policy: " + why)
	return r, err
}

// lastGood loads the policy of the state directory. It was proved when it was stored.
func (e *Enforcer) lastGood() (Running, error) {
	last, err := e.dir.LastGood()
	if err != nil {
		return Running{}, err
	}
	return e.parse(last, "last good policy")
}

// report begins the report of a candidate.
func (e *Enforcer) report(c *Candidate) *Report {
	r, compared := e.beginReport(c)
	compared()
	return r
}

// beginReport is report, where what changes is found out beside whoever compiles the candidate meanwhile: it is in the report once
// compared has returned.
func (e *Enforcer) beginReport(c *Candidate) (r *Report, compared func()) {
	r = &Report{Policy: c.Entry, Digest: c.Digest, Rules: c.Rules(), Diagnostics: c.Diags}
	running := e.running.Candidate
	var comparing sync.WaitGroup
	if c.OK() {
		comparing.Go(func() { r.Changes = changes(running, c) })
	}
	return r, comparing.Wait
}
