package daemon

import (
	"context"
	"errors"

	"ringwall/daemon/control"
	"ringwall/daemon/droplog"
	"ringwall/daemon/enforce"
	"ringwall/daemon/observe"
	"ringwall/daemon/store"
)

// openObserver goes on observing what was observed before.
func (d *daemon) openObserver() {
	d.observer = observe.New(observe.Options{
		Compile: d.enf.CompileOptions(),
		State:   store.At(d.cfg.State), Kernel: d.cfg.Kernel, Now: d.cfg.Now, Log: d.log,
	}, d.enf.LoadOptions())
}

// keepObserving looks after what is observed.
func (d *daemon) keepObserving(ctx context.Context) {
	d.observer.Keep(ctx, d.enf.Running().Candidate, func() []enforce.Ban { return d.allBans(ctx) })
}

// allBans is what the dynamic sets of the enforced policy hold; none where that can't be told.
func (d *daemon) allBans(ctx context.Context) []enforce.Ban {
	bans, err := d.enf.Bans(ctx, "")
	if err != nil {
		d.log.Warn("the bans can't be read", "error", err)
	}
	return bans
}

// Observe counts what a policy that a client handed over would decide otherwise. What is enforced stays as it is.
func (d *daemon) Observe(ctx context.Context, req *control.ObserveRequest) (*control.Observed, error) {
	opt := d.enf.LoadOptions()
	opt.Strict = req.Strict
	c, err := enforce.Replay(req.Entry, req.Bundle, opt)
	if err != nil {
		return nil, err
	}
	if req.For < 0 {
		return nil, errors.New("to observe for less than no time makes no sense")
	}
	if !c.OK() {
		return &control.Observed{Diagnostics: c.Diags, Refused: true}, nil
	}
	running, err := ask(ctx, d, func(context.Context) (*enforce.Candidate, error) { return d.enf.Running().Candidate, nil })
	if err != nil {
		return nil, err
	}
	if running == nil {
		return nil, errors.New("nothing is enforced: there is nothing to observe a policy beside")
	}
	plan, err := d.observer.Prepare(running, c)
	if err != nil {
		return nil, err
	}
	return ask(ctx, d, func(ctx context.Context) (*control.Observed, error) {
		// Where another policy is enforced by now, Keep compares anew.
		if err := d.observer.Begin(ctx, plan, d.allBans(ctx), req.Who, req.For); err != nil {
			return nil, err
		}
		r := d.observer.Report(ctx)
		d.log.Info("observed", "policy", c.Entry, "cases", len(r.Cases), "who", req.Who)
		return &control.Observed{Diagnostics: c.Diags, Report: r}, nil
	})
}

// Observed is what has been counted so far.
func (d *daemon) Observed(ctx context.Context) (*control.Observed, error) {
	return ask(ctx, d, func(ctx context.Context) (*control.Observed, error) {
		return &control.Observed{Report: d.observer.Report(ctx)}, nil
	})
}

// EndObservation stops observing.
func (d *daemon) EndObservation(ctx context.Context) (*control.Observed, error) {
	return ask(ctx, d, func(ctx context.Context) (*control.Observed, error) {
		r, err := d.observer.End(ctx)
		if r != nil {
			d.log.Info("no longer observed", "policy", r.Policy, "packets", r.Packets())
		}
		return &control.Observed{Report: r}, err
	})
}

// packets writes a line for every packet that rules or what is observed have logged.
func (d *daemon) packets() func(droplog.Packet) {
	write := droplog.Writer(d.log, d.origins.find)
	return func(p droplog.Packet) {
		name, origin, ok := d.observer.Saw(p)
		if !ok {
			write(p)
			return
		}
		p.Rule = name
		droplog.Writer(d.log, func(string) (droplog.Origin, bool) { return origin, true })(p)
	}
}
