package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/store"
	"ringwall/netfilter/host"
)

// window looks after the time of a change that awaits its confirmation.
type window struct {
	rollbacks uint64
	again     time.Duration // uptime before which a rollback that failed is not tried again
}

// look brings the policy back that was confirmed last, once the time of the pending change is over.
func (w *window) look(ctx context.Context, d *daemon) {
	p := d.enf.Pending()
	if p == nil || d.left(p) > 0 || d.cfg.Uptime() < w.again {
		return
	}
	if r, _ := d.rollBack(ctx, notConfirmed(p)); !r.Applied {
		w.again = d.cfg.Uptime() + retryAfter
	}
}

// notConfirmed is why a policy is refused whose time is over.
func notConfirmed(p *store.Pending) string {
	return fmt.Sprintf("it was not confirmed within %s", p.Window)
}

// left is how much time a pending change has left.
func (d *daemon) left(p *store.Pending) time.Duration {
	return enforce.Left(p, d.cfg.Now(), d.cfg.Boot, d.cfg.Uptime())
}

// awaited is the pending change as users see it, nil where there is none.
func (d *daemon) awaited() *enforce.Awaited {
	p := d.enf.Pending()
	if p == nil {
		return nil
	}
	return enforce.Await(p, d.left(p), d.cfg.Now())
}

// opens is the record of a window that begins now. Of one that is open it keeps which connections are old.
func (d *daemon) opens(length time.Duration) store.Pending {
	now := d.cfg.Now()
	p := store.Pending{
		Files: d.digest, Window: length, Opened: now, Deadline: now.Add(length), Boot: d.cfg.Boot, Until: d.cfg.Uptime() + length,
	}
	if open := d.enf.Pending(); open != nil {
		p.Old, p.Listed = open.Old, open.Listed
	}
	return p
}

// isBack tells whether a candidate is what was confirmed last, and would come back anyhow.
func (d *daemon) isBack(c *enforce.Candidate) bool {
	kept := d.enf.Kept()
	return kept.Candidate != nil && kept.Digest == c.Digest
}

// hasWindow tells whether a candidate that a user asks for, with a window or none, is enforced for one, so that nobody is
// locked out for long.
func (d *daemon) hasWindow(c *enforce.Candidate, asked time.Duration) bool {
	return asked > 0 || d.enf.Pending() != nil && d.isBack(c)
}

// filesHaveWindow is hasWindow for what the files say.
func (d *daemon) filesHaveWindow() bool {
	kept := d.enf.Kept()
	return d.enf.Pending() != nil || d.cfg.Confirm > 0 && kept.Candidate != nil && kept.Source != enforce.Emergency
}

// applyFor enforces a candidate until it is confirmed. Where that is what was confirmed last anyhow, there is nothing to
// confirm.
func (d *daemon) applyFor(ctx context.Context, c *enforce.Candidate, from enforce.Source, p store.Pending) (*enforce.Report, error) {
	if d.isBack(c) {
		return d.enf.Apply(ctx, c, from)
	}
	d.keeper.finish(d)
	r, err := d.enf.ApplyPending(ctx, c, from, p)
	if !r.Applied {
		return r, err
	}
	r.Awaited = d.awaited()
	d.log.Warn("the change awaits its confirmation: 'ringwall confirm', over a new SSH connection", "digest", c.Digest,
		"until", r.Awaited.Deadline, "comes back", or(r.Awaited.Back, "the emergency policy"))
	return r, err
}

// applyAsked enforces what a user has asked for. Without a window of its own it confirms the change that is pending, and so
// takes what a confirmation takes; what the files say is enforced all the same, and stays within the window.
func (d *daemon) applyAsked(ctx context.Context, c *enforce.Candidate, from enforce.Source, req *control.PolicyRequest) (*enforce.Report, error) {
	open := d.enf.Pending()
	switch {
	case !c.OK():
		return d.enf.Apply(ctx, c, from)
	case req.Confirm > 0:
		r, err := d.applyFor(ctx, c, from, d.opens(req.Confirm))
		if r.Applied && r.Awaited == nil {
			r.Notes = append(r.Notes, "this policy was confirmed before: nothing awaits a confirmation")
		}
		return r, err
	case open == nil && from == enforce.Files:
		return d.applyFiles(ctx, c)
	case open == nil || d.isBack(c):
		return d.enf.Apply(ctx, c, from)
	}
	refusal := d.mayConfirm(open, req.ConfirmRequest)
	switch {
	case refusal == nil:
		r, err := d.enf.Apply(ctx, c, from)
		if r.Applied {
			d.confirmed(ctx, open)
		}
		return r, err
	case from == enforce.Files:
		r, err := d.applyFiles(ctx, c)
		r.Notes = append(r.Notes, refusal.Error())
		return r, err
	case open.Digest == c.Digest:
		r, err := d.applyFor(ctx, c, from, *open)
		r.Notes = append(r.Notes, refusal.Error())
		return r, err
	}
	return &enforce.Report{Policy: c.Entry, Digest: c.Digest, Rules: c.Rules()}, within(refusal)
}

// applyFiles enforces what the files say: for good or, where reloads are to be confirmed, for a window. Within a window
// that is open another change stays within it.
func (d *daemon) applyFiles(ctx context.Context, c *enforce.Candidate) (*enforce.Report, error) {
	switch open := d.enf.Pending(); {
	case !d.filesHaveWindow():
		return d.enf.Apply(ctx, c, enforce.Files)
	case open != nil && (open.Digest == c.Digest || d.cfg.Confirm == 0):
		p := *open
		p.Files = d.digest
		return d.applyFor(ctx, c, enforce.Files, p)
	}
	return d.applyFor(ctx, c, enforce.Files, d.opens(d.cfg.Confirm))
}

// rollBack brings back what was enforced before the pending change, and refuses that from now on.
func (d *daemon) rollBack(ctx context.Context, why string) (*enforce.Report, error) {
	p := *d.enf.Pending()
	d.log.Error("the policy before the last change comes back", "policy", p.Entry, "digest", p.Digest, "by", p.Who, "why", why)
	r, err := d.enf.RollBack(ctx, why)
	if !r.Applied {
		d.log.Error("the policy before the last change can't be brought back", "error", err)
		return r, err
	}
	d.window = window{rollbacks: d.window.rollbacks + 1}
	d.cameBack(ctx, r, err, fmt.Sprintf("rolled back: policy %s (digest %.12s) is not enforced any more, since %s", p.Entry, p.Digest, why))
	return r, nil
}

// cameBack takes up that an older policy is enforced, and looks what the files make of it.
func (d *daemon) cameBack(ctx context.Context, r *enforce.Report, err error, note string) {
	r.Notes = append(r.Notes, note)
	switch files := d.load(); {
	case files.OK() && files.Digest == r.Digest:
		var again *enforce.Report
		if again, err = d.take(ctx, files); again.Applied {
			r.Source = again.Source
			d.notes = append(d.notes, note)
			break
		}
		fallthrough
	default:
		d.settled(r, err)
		if refused := d.enf.Refused(files.Digest); refused != nil {
			d.heldBack(files, refused)
		}
	}
	d.cfg.Notify("STATUS=" + d.statusLine())
}

// resume goes on with a window that was open when the daemon before this one ended, and tells whether it is enforced. One
// that is over, or whose policy is lost, ends: the policy before it is the last good one.
func (d *daemon) resume(ctx context.Context) bool {
	open := d.enf.Pending()
	if open == nil {
		return false
	}
	p, files := *open, d.load()
	left := d.left(&p)
	why := notConfirmed(&p)
	if p.Digest == "" {
		why = "it was perhaps not confirmed: its record can't be read"
	}
	if left > 0 {
		c, from := d.enf.Running().Candidate, enforce.Source(p.Source)
		if files.Digest == p.Digest {
			c, from = files, enforce.Files
			c.Who = p.Who
		}
		if c != nil && c.Digest == p.Digest && c.OK() {
			if p.Boot != d.cfg.Boot {
				p.Boot, p.Listed = d.cfg.Boot, false
				p.Until, p.Deadline = d.cfg.Uptime()+left, d.cfg.Now().Add(left)
			}
			if d.resumed(ctx, c, from, p, files) {
				return true
			}
		}
		why = "its window could not be gone on with after a restart"
	}
	d.log.Error("the policy before the last change comes back", "policy", p.Entry, "digest", p.Digest, "by", p.Who, "why", why)
	if err := d.enf.DropPending(why); err != nil {
		d.log.Error("the change that was not confirmed is not forgotten", "error", err)
	}
	if kept := d.enf.Running(); p.Digest == "" && (kept.Candidate == nil || kept.Digest != files.Digest) {
		d.refuse(files.Entry, files.Digest, why)
	}
	d.window.rollbacks++
	return false
}

// resumed enforces the policy of a window once more, and follows the files where they have changed since.
func (d *daemon) resumed(ctx context.Context, c *enforce.Candidate, from enforce.Source, p store.Pending, files *enforce.Candidate) bool {
	d.digest = files.Digest
	d.reload = control.Reload{At: d.cfg.Now(), OK: files.OK(), Error: files.Problem(), Diagnostics: files.Diags}
	changed := files.Digest != p.Files
	p.Files = files.Digest
	r, err := d.applyFor(ctx, c, from, p)
	if !r.Applied {
		d.log.Error("the change that awaits its confirmation can't be enforced", "error", err)
		return false
	}
	d.settled(r, err)
	if refused := d.enf.Refused(files.Digest); changed || refused != nil {
		d.follow(ctx, files)
	}
	return true
}

// Confirm keeps the pending change.
func (d *daemon) Confirm(ctx context.Context, req control.ConfirmRequest) (*enforce.Report, error) {
	return ask(ctx, d, func(ctx context.Context) (*enforce.Report, error) {
		p := d.enf.Pending()
		if p == nil {
			return nil, enforce.ErrNothingPending
		}
		if d.left(p) <= 0 {
			d.window.look(ctx, d)
			return nil, errors.New("too late: " + notConfirmed(p))
		}
		if err := d.mayConfirm(p, req); err != nil {
			return nil, err
		}
		run := d.enf.Running()
		r := &enforce.Report{Policy: run.Entry, Digest: run.Digest, Rules: run.Rules(), Applied: true, Source: run.Source}
		if err := d.enf.Confirm(); err != nil {
			return nil, err
		}
		d.confirmed(ctx, p)
		return d.done(r, nil)
	})
}

// confirmed says that a change is for good.
func (d *daemon) confirmed(ctx context.Context, p *store.Pending) {
	d.log.Info("confirmed", "policy", p.Entry, "digest", p.Digest, "by", by(ctx, ""))
	d.cfg.Notify("STATUS=" + d.statusLine())
}

// mayConfirm is nil where a user has shown that they still get in: their SSH connection was opened after the change.
func (d *daemon) mayConfirm(p *store.Pending, req control.ConfirmRequest) error {
	const anyway = "'ringwall confirm --any-session' confirms all the same"
	switch {
	case req.AnySession:
		return nil
	case req.Session == nil:
		return fmt.Errorf("%s, so that it shows nothing about new connections: open a new SSH connection and run 'ringwall confirm' there; on a console, %s",
			or(req.NoSession, host.ErrNoSession.Error()), anyway)
	case !p.Listed:
		return errors.New("the connections that were open at the change could not be listed, so that old and new can't be told apart: " + anyway)
	}
	list, err := d.enf.Connections()
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(c host.Socket) bool { return c.Peer == req.Session.Peer && c.Local == req.Session.Local })
	switch {
	case i < 0:
		return fmt.Errorf("this SSH session's connection, from %s to %s, is none of this host's: %s", req.Session.Peer, req.Session.Local, anyway)
	case slices.Contains(p.Old, list[i].Cookie()):
		return fmt.Errorf("this SSH connection, from %s, is older than the change, so that it shows nothing about new ones: open a new SSH connection and run 'ringwall confirm' there",
			req.Session.Peer)
	}
	return nil
}
