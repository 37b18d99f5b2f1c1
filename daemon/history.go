package daemon

import (
	"context"
	"fmt"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/host"
)

// by is who asks for something, by the kernel's word, with what their program says of them; empty for the daemon itself.
func by(ctx context.Context, says string) string {
	peer, ok := control.PeerOf(ctx)
	if !ok {
		return ""
	}
	who := fmt.Sprintf("%s (pid %d)", host.UserName(peer.UID), peer.PID)
	if says != "" {
		who += ", says " + says
	}
	return who
}

// History lists the last good policies.
func (d *daemon) History(ctx context.Context) ([]enforce.Past, error) {
	return ask(ctx, d, func(context.Context) ([]enforce.Past, error) { return d.enf.History() })
}

// Rollback goes back to a policy of the history. Within a window the first is the one that would come back by itself.
func (d *daemon) Rollback(ctx context.Context, req control.RollbackRequest) (*enforce.Report, error) {
	who := by(ctx, req.Says)
	why := enforce.RolledBackBy(who)
	var done *enforce.Report
	past, err := ask(ctx, d, func(ctx context.Context) (p enforce.Past, err error) {
		if d.enf.Pending() != nil && req.Number == 1 {
			done, err = d.done(d.rollBack(ctx, why))
			return p, err
		}
		return d.enf.Past(req.Number)
	})
	if err != nil || done != nil {
		return done, err
	}
	c, err := d.enf.LoadPast(past)
	if err != nil {
		return nil, err
	}
	return ask(ctx, d, func(ctx context.Context) (*enforce.Report, error) {
		open := d.enf.Pending()
		c.Who = who
		held, notes := d.enf.Guard(c, req.Force || d.hasWindow(c, req.Confirm), req.Sessions...)
		if held != nil {
			d.log.Warn("not rolled back: it would lock somebody out", "policy", c.Entry, "who", held.Lockout)
			return held, nil
		}
		var r *enforce.Report
		if req.Confirm > 0 {
			r, err = d.applyFor(ctx, c, enforce.RolledBack, d.opens(req.Confirm))
		} else {
			if open != nil {
				if err := d.mayConfirm(open, req.ConfirmRequest); err != nil {
					return nil, within(err)
				}
			}
			r, err = d.enf.Apply(ctx, c, enforce.RolledBack)
		}
		r.Notes = append(notes, r.Notes...)
		if !r.Applied {
			return r, err
		}
		d.log.Warn("rolled back", "policy", c.Entry, "digest", c.Digest, "by", who, "change", or(r.Kernel, "none"))
		d.window.rollbacks++
		if files := d.load(); files.Digest != c.Digest {
			d.refuse(files.Entry, files.Digest, why)
		}
		d.cameBack(ctx, r, err, fmt.Sprintf("rolled back by %s: a policy of the history is enforced", who))
		return d.done(r, nil)
	})
}

// within says of a refusal that it is about a change which awaits its confirmation.
func within(err error) error {
	return fmt.Errorf("a change awaits its confirmation, and another one would confirm it: %w; or say --confirm, or 'ringwall rollback'", err)
}
