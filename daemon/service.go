package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/kernel"
)

var _ control.Service = (*daemon)(nil)

// errStopping is what a client hears that comes too late.
var errStopping = errors.New("the daemon is stopping")

// notStored is a note for as long as the state directory can't be written.
const notStored = "enforced, but not stored for the next boot: see the log"

// ask has the loop do something for a client and waits for it. What has begun is finished, though the client leaves.
func ask[T any](ctx context.Context, d *daemon, f func(ctx context.Context) (T, error)) (out T, err error) {
	done := make(chan struct{})
	call := func() {
		defer close(done)
		out, err = f(context.WithoutCancel(ctx))
	}
	select {
	case d.calls <- call:
		<-done
		return out, err
	case <-ctx.Done():
		return out, fmt.Errorf("the daemon is busy, nothing was done: %w", ctx.Err())
	case <-d.stopped:
		return out, errStopping
	}
}

// Hello says who this is.
func (d *daemon) Hello() control.Hello { return d.hello }

// Status looks at the kernel and says what is so.
func (d *daemon) Status(ctx context.Context) (*control.Status, error) {
	return ask(ctx, d, func(ctx context.Context) (*control.Status, error) { return d.status(ctx), nil })
}

func (d *daemon) status(ctx context.Context) *control.Status {
	run := d.enf.Running()
	s := &control.Status{
		Hello: d.hello, Started: d.started,
		Source: run.Source, Applied: run.Applied, Reload: d.reload, Heals: d.heals, Healed: d.guard.last, Fight: d.guard.fight != "", EventsLost: d.guard.lost,
		Awaited: d.awaited(), Refused: d.enf.Refusals(), Rollbacks: d.window.rollbacks, Notes: append([]string{}, d.notes...),
	}
	s.Reload.Digest = d.digest
	note := func(text string) { s.Notes = append(s.Notes, text) }
	if run.Candidate != nil {
		s.Policy, s.Digest, s.Rules = run.Entry, run.Digest, run.Rules()
		switch err := d.enf.Intact(ctx); {
		case err == nil:
			s.Enforced = true
		case errors.Is(err, enforce.ErrChanged), errors.Is(err, kernel.ErrNoTable):
			note("someone changed the table, and it is not yet put back: " + err.Error())
		default:
			note(err.Error())
		}
		if bans, err := d.enf.Bans(ctx, ""); err == nil {
			s.Bans = len(bans)
		}
	}
	switch run.Source {
	case enforce.Opened:
		note("the wall was taken down: nothing is judged until the next apply, reload or restart")
	case enforce.RolledBack:
		note("brought back by rollback: holds until the files change to something else, or 'ringwall apply'")
	case enforce.Socket:
		note("applied by hand: holds until the files change, or the daemon restarts")
	}
	if !d.keeper.retry.IsZero() {
		note(notStored)
	}
	if d.guard.trouble != "" {
		note("the table can't be looked after: " + d.guard.trouble)
	}
	if d.guard.fight != "" {
		note(d.guard.fight)
	}
	if f, ok := d.enf.Features(); ok {
		s.Persist, s.Owned = f.Persist, d.enf.Owned() && s.Enforced
	}
	if d.drops == nil {
		note("the log group can't be read: rules' logs are lost")
	} else {
		s.LogLost = d.drops.Lost()
	}
	s.Proof = d.prover.status(d)
	s.Observed = d.observer.Report(ctx)
	return s
}

// Show is the enforced policy with its counters.
func (d *daemon) Show(ctx context.Context) (*enforce.Page, error) {
	return ask(ctx, d, d.enf.Show)
}

// Apply enforces a policy that a client handed over. Where it says just what the files say, it is a reload of them.
func (d *daemon) Apply(ctx context.Context, req *control.PolicyRequest) (*enforce.Report, error) {
	c, err := d.candidate(req)
	if err != nil {
		return nil, err
	}
	return ask(ctx, d, func(ctx context.Context) (*enforce.Report, error) {
		c.Who = by(ctx, req.Says)
		var notes []string
		if c.OK() {
			var held *enforce.Report
			if held, notes = d.enf.Guard(c, req.Force || d.hasWindow(c, req.Confirm), req.Sessions...); held != nil {
				d.log.Warn("not applied: it would lock somebody out", "policy", c.Entry, "who", held.Lockout)
				return held, nil
			}
		}
		if c.OK() && d.filesSay(c) {
			var r *enforce.Report
			d.reloading(func() {
				r, err = d.takeBy(ctx, c, func(ctx context.Context, c *enforce.Candidate) (*enforce.Report, error) {
					return d.applyAsked(ctx, c, enforce.Files, req)
				})
			})
			r.Notes = append(notes, r.Notes...)
			return d.done(r, err)
		}
		r, err := d.applyAsked(ctx, c, enforce.Socket, req)
		r.Notes = append(notes, r.Notes...)
		if r.Applied {
			d.log.Info("enforced over the socket", "policy", c.Entry, "rules", r.Rules, "change", or(r.Kernel, "none"))
			d.settled(r, err)
			d.cfg.Notify("STATUS=" + d.statusLine())
		}
		return d.done(r, err)
	})
}

// done is the answer to a client who asked for a change: what is stored by then. A failure after the commit is a note of
// the report, since the policy is enforced.
func (d *daemon) done(r *enforce.Report, err error) (*enforce.Report, error) {
	if r.Applied {
		if d.keeper.finish(d); !d.keeper.retry.IsZero() {
			r.Notes = append(r.Notes, notStored)
		}
	}
	if err != nil && r.Applied {
		r.Notes = append(r.Notes, err.Error())
		return r, nil
	}
	return r, err
}

// DryRun does all that Apply would but the commit.
func (d *daemon) DryRun(ctx context.Context, req *control.PolicyRequest) (*enforce.Report, error) {
	c, err := d.candidate(req)
	if err != nil {
		return nil, err
	}
	var preview func(*enforce.Report)
	r, err := ask(ctx, d, func(ctx context.Context) (*enforce.Report, error) {
		if c.OK() {
			preview = d.enf.Preview(c, req.Sessions...)
		}
		return d.enf.DryRun(ctx, c, req.NFT)
	})
	if err == nil && preview != nil {
		preview(r)
	}
	return r, err
}

// candidate loads and proves what a client sent. It runs on the client's goroutine: a large policy does not hold the loop up.
func (d *daemon) candidate(req *control.PolicyRequest) (*enforce.Candidate, error) {
	opt := d.enf.LoadOptions()
	opt.Strict = req.Strict
	c, err := enforce.Replay(req.Entry, req.Bundle, opt)
	req.Bundle = nil // it is the candidate's now, to keep or to forget
	if err == nil && c.OK() {
		d.enf.Prove(c)
	}
	return c, err
}

// Reload reads the files again.
func (d *daemon) Reload(ctx context.Context) (*enforce.Report, error) {
	return ask(ctx, d, func(ctx context.Context) (*enforce.Report, error) { return d.done(d.reloadFiles(ctx)) })
}

// Ban adds to a dynamic set.
func (d *daemon) Ban(ctx context.Context, req enforce.BanRequest) (*enforce.BanReport, error) {
	return ask(ctx, d, func(ctx context.Context) (*enforce.BanReport, error) {
		d.observer.Bans()
		return d.enf.Ban(ctx, req)
	})
}

// Unban takes out of a dynamic set.
func (d *daemon) Unban(ctx context.Context, req control.UnbanRequest) (*enforce.BanReport, error) {
	return ask(ctx, d, func(ctx context.Context) (*enforce.BanReport, error) {
		d.observer.Bans()
		return d.enf.Unban(ctx, req.Set, req.Prefixes)
	})
}

// Bans lists what dynamic sets hold.
func (d *daemon) Bans(ctx context.Context, req control.BansRequest) ([]enforce.Ban, error) {
	return ask(ctx, d, func(ctx context.Context) ([]enforce.Ban, error) { return d.enf.Bans(ctx, req.Set) })
}

// TakeDown opens the host.
func (d *daemon) TakeDown(ctx context.Context) error {
	_, err := ask(ctx, d, func(ctx context.Context) (struct{}, error) {
		if err := d.enf.TakeDown(ctx); err != nil {
			return struct{}{}, err
		}
		d.notes = nil
		d.log.Error("the wall was taken down: the host is open")
		d.cfg.Notify("STATUS=" + d.statusLine())
		return struct{}{}, nil
	})
	return err
}

// Metrics answers scrapes.
func (d *daemon) Metrics() http.Handler { return d.metrics() }
