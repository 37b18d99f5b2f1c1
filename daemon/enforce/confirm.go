package enforce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"ringwall/daemon/store"
)

// A change that is not confirmed is never the last good policy: that stays the one before it, so that whatever crashes,
// a start that knows of no window, or finds it over, enforces the old policy. The record of the window is on disk
// before the kernel hears of the change. Without the policy itself, which is stored later, a restart goes back too.

// ErrNotStored tells that the policy which should come back is not on disk.
var ErrNotStored = errors.New("the policy that is enforced is not stored, so that it could not come back")

// Pending is the change that is enforced and not confirmed, nil where there is none.
func (e *Enforcer) Pending() *store.Pending { return e.pending }

// Kept is the policy that comes back where the pending change is not confirmed, as far as it is known; the running one
// where nothing is pending.
func (e *Enforcer) Kept() Running {
	if e.pending != nil {
		return e.kept
	}
	return e.running
}

// ApplyPending enforces a candidate like Apply, but until Confirm or RollBack: the last good policy stays the one that
// was confirmed last. The caller sets the window and its end in p, looks after the time, and lets no store be under way. Where the kernel's table
// does not change, connections that p lists as old stay the only old ones; else all that are there right after the commit
// are old.
func (e *Enforcer) ApplyPending(ctx context.Context, c *Candidate, from Source, p store.Pending) (*Report, error) {
	if !c.OK() {
		return e.report(c), nil
	}
	if e.lock == nil {
		return e.report(c), ErrReadOnly
	}
	if e.pending == nil && e.running.Candidate != nil && !e.stored {
		return e.report(c), ErrNotStored
	}
	p.Digest, p.Entry, p.Source, p.Who, p.Back = c.Digest, c.Entry, string(from), e.who(c), ""
	if kept := e.Kept(); kept.Candidate != nil {
		p.Back = kept.Digest
	}
	first := p
	first.Old, first.Listed = nil, false
	if err := e.dir.SavePending(first); err != nil {
		return e.report(c), fmt.Errorf("a change to be confirmed must be on disk first: %w", err)
	}
	before := e.pending
	r, err := e.apply(ctx, c, from, &p)
	if !r.Applied {
		return r, errors.Join(err, e.restorePending(before))
	}
	if failed := e.listOld(r.Kernel != ""); failed != nil {
		r.note(failed.Error())
	}
	return r, err
}

// listOld notes which connections are older than the pending change, once the kernel has it; anew where its table changed.
func (e *Enforcer) listOld(changed bool) error {
	if changed || !e.pending.Listed {
		e.pending.Old, e.pending.Listed = e.cookies()
	}
	return e.dir.SavePending(*e.pending)
}

// restorePending puts the record back that stood before a change that the kernel did not take.
func (e *Enforcer) restorePending(before *store.Pending) error {
	if before == nil {
		return e.dir.RemovePending()
	}
	return e.dir.SavePending(*before)
}

// cookies lists the TCP sockets of now, false where the kernel does not.
func (e *Enforcer) cookies() ([]uint64, bool) {
	list, err := e.host.Connections()
	if err != nil {
		e.opt.Log.Error("the connections that are open can't be listed: a confirmation over SSH will not count", "error", err)
		return nil, false
	}
	var cookies []uint64
	for _, c := range list {
		cookies = append(cookies, c.Cookie())
	}
	return cookies, true
}

// Confirm makes the pending change the last good policy. It is to be stored then: see Unstored.
func (e *Enforcer) Confirm() error {
	if e.lock == nil {
		return ErrReadOnly
	}
	if e.pending == nil {
		return ErrNothingPending
	}
	e.pending, e.kept, e.stored = nil, Running{}, false
	return nil
}

// ErrNothingPending tells that no change awaits its confirmation.
var ErrNothingPending = errors.New("no change awaits its confirmation")

// RollBack enforces what was enforced before the pending change, and refuses that from now on; why is as with Refuse.
// Where the report does not say Applied the change is still pending.
func (e *Enforcer) RollBack(ctx context.Context, why string) (*Report, error) {
	if e.lock == nil {
		return &Report{}, ErrReadOnly
	}
	if e.pending == nil {
		return &Report{}, ErrNothingPending
	}
	e.refusePending(why)
	var r *Report
	var err error
	if kept := e.kept; kept.Candidate != nil && kept.Source != Emergency {
		r, err = e.Apply(ctx, kept.Candidate, LastGood)
	} else {
		r, err = e.ApplyStored(ctx)
	}
	if !r.Applied {
		return r, err
	}
	return r, errors.Join(err, e.forgetPending())
}

// DropPending ends the pending change without enforcing anything in its place: the start of a daemon does that next.
func (e *Enforcer) DropPending(why string) error {
	if e.pending == nil {
		return ErrNothingPending
	}
	e.refusePending(why)
	if e.running, e.stored = e.kept, e.kept.Candidate != nil; e.stored {
		e.forgive(e.kept.Digest)
	}
	return e.forgetPending()
}

// refusePending refuses the pending policy, where it is known.
func (e *Enforcer) refusePending(why string) {
	if e.pending.Digest == "" {
		return
	}
	if err := e.Refuse(e.pending.Entry, e.pending.Digest, why); err != nil {
		e.opt.Log.Error("the policy that was not confirmed is refused until this process ends only", "error", err)
	}
}

// forgetPending forgets the pending change, here and on disk.
func (e *Enforcer) forgetPending() error {
	e.pending, e.kept = nil, Running{}
	return e.dir.RemovePending()
}

// recallPending finds the change that was pending when the process before this one ended. One whose record can't be
// read has no digest, and no time left.
func (e *Enforcer) recallPending() {
	p, err := e.dir.Pending()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		e.opt.Log.Error("the record of a change that awaits its confirmation can't be used", "error", err)
		p = store.Pending{}
	case e.running.Candidate != nil && e.running.Digest == p.Digest:
		if e.lock != nil { // it was confirmed, and the record outlived that by a crash
			err = e.dir.RemovePending()
		}
		if err != nil {
			e.opt.Log.Warn("the record of a change that was confirmed stays", "error", err)
		}
		return
	}
	if e.pending, e.kept = &p, e.running; e.kept.Candidate != nil {
		e.kept.brief = e.opt.Lazy // it was proved before it was stored, and may have to be back soon
	}
	g, err := e.dir.Unconfirmed()
	if err == nil && g.Digest == p.Digest {
		if run, err := e.parse(g, "the policy that is not confirmed"); err == nil {
			e.running, e.stored = run, true
		}
	}
}

// Awaited is a pending change as users see it.
type Awaited struct {
	Policy   string    `json:"policy"` // entry file
	Digest   string    `json:"digest"`
	Who      string    `json:"who"`
	Back     string    `json:"back,omitempty"` // digest of what comes back; empty for the emergency policy
	Opened   time.Time `json:"opened"`
	Deadline time.Time `json:"deadline"` // by the clock as it goes now
	Left     float64   `json:"left"`     // seconds
}

// Await describes a pending change of which some time is left.
func Await(p *store.Pending, left time.Duration, now time.Time) *Awaited {
	left = max(0, left)
	return &Awaited{Policy: p.Entry, Digest: p.Digest, Who: p.Who, Back: p.Back, Opened: p.Opened, Deadline: now.Add(left), Left: left.Seconds()}
}

// Left is how much of the window is left, by the clock of this boot or, after another one, by the time of day: then never
// more than the window, and nothing where the clock stands before its beginning.
func Left(p *store.Pending, now time.Time, boot string, up time.Duration) time.Duration {
	if boot != "" && p.Boot == boot {
		return p.Until - up
	}
	if now.Before(p.Opened) {
		return 0
	}
	return min(p.Window, p.Deadline.Sub(now))
}
