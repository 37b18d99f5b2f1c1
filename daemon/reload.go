package daemon

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/rules/diag"
)

// retryAfter is how long a reload waits that failed by the machine's fault, not the policy's.
const retryAfter = 5 * time.Second

// load reads the policy's files, and has them watched as they are now. Lints refuse nothing, and wait until the policy
// is enforced; the proof of the compiled form is brief, and one that is under way ends.
func (d *daemon) load() *enforce.Candidate {
	d.prover.stop()
	opt := d.enf.LoadOptions()
	opt.NoLints, opt.Brief = true, true
	files, err := enforce.HostFiles(d.cfg.Owner)
	if err != nil {
		d.log.Error("root's files alone are trusted", "error", err)
	}
	c := enforce.Load(files, d.cfg.Policy, opt)
	d.keeper.used = time.Now()
	d.watch.Update(c.Paths())
	return c
}

// filesSay tells whether the policy's files say what a candidate does that did not come from them. They are watched then as load has it.
func (d *daemon) filesSay(c *enforce.Candidate) bool {
	files, _ := enforce.HostFiles(d.cfg.Owner)
	if c.Entry != d.cfg.Policy || !c.Print.Holds(files) {
		return false
	}
	d.watch.Update(c.Paths())
	return true
}

// filesChanged enforces the files if they say something else than when they were last looked at, or if what was wrong
// with them has passed.
func (d *daemon) filesChanged(ctx context.Context) {
	files, _ := enforce.HostFiles(d.cfg.Owner)
	if run := d.enf.Running(); d.reload.OK && run.Candidate != nil && run.Digest == d.digest && run.Print.Holds(files) {
		return // the watch signals now and then though nothing has changed
	}
	defer d.enf.Slack()()
	c := d.load()
	if c.Digest == d.digest && (d.reload.OK || !c.OK() || d.enf.Refused(c.Digest) != nil) {
		return
	}
	if d.enf.Running().Source == enforce.Opened {
		d.digest = c.Digest
		d.log.Warn("the policy's files have changed, but the wall is open: not enforced")
		return
	}
	d.reloading(func() { d.follow(ctx, c) })
}

// reloadFiles enforces the files whatever they say, and brings an open wall back up.
func (d *daemon) reloadFiles(ctx context.Context) (r *enforce.Report, err error) {
	defer d.enf.Slack()()
	d.reloading(func() { r, err = d.follow(ctx, d.load()) })
	return r, err
}

// readFiles is the first reload, and tells whether it is enforced.
func (d *daemon) readFiles(ctx context.Context) bool {
	defer d.enf.Slack()()
	r, _ := d.follow(ctx, d.load())
	return r.Applied
}

// reloading tells the service manager of the beginning and the end of a reload.
func (d *daemon) reloading(f func()) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err == nil {
		d.cfg.Notify(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d", now.Nano()/1000))
	}
	f()
	d.cfg.Notify("READY=1\nSTATUS=" + d.statusLine())
}

// follow takes what the files say, unless it is refused.
func (d *daemon) follow(ctx context.Context, c *enforce.Candidate) (*enforce.Report, error) {
	if err := d.enf.Refused(c.Digest); err != nil {
		return d.heldBack(c, err)
	}
	if c.OK() {
		held, notes := d.enf.Guard(c, d.filesHaveWindow())
		if held != nil {
			return d.lockedOut(c, held)
		}
		defer d.warn(notes)
	}
	return d.take(ctx, c)
}

// take enforces what the files say, and notes what came of it. A broken policy leaves what runs alone.
func (d *daemon) take(ctx context.Context, c *enforce.Candidate) (*enforce.Report, error) {
	return d.takeBy(ctx, c, d.applyFiles)
}

// takeBy is take, where the way to apply the files is another.
func (d *daemon) takeBy(ctx context.Context, c *enforce.Candidate, apply func(context.Context, *enforce.Candidate) (*enforce.Report, error)) (*enforce.Report, error) {
	d.digest, d.again = c.Digest, time.Time{}
	begun := time.Now()
	r, err := apply(ctx, c)
	took := time.Since(begun).Round(time.Millisecond)
	if d.ready || !r.Applied {
		r.Diagnostics = d.lint(c)
	}
	good, bad := d.reload.Good, d.reload.Bad
	d.reload = control.Reload{At: d.cfg.Now(), OK: r.Applied, Diagnostics: c.Diags, Good: good, Bad: bad}
	switch {
	case r.Applied:
		d.reload.Good++
		d.log.Info("enforced", "policy", c.Entry, "rules", r.Rules, "change", or(r.Kernel, "none"), "took", took)
		if r.Proof != "" {
			d.log.Info(r.Proof + ": the whole proof follows")
		}
		d.settled(r, err)
		return r, err
	case err != nil:
		d.reload.Error = err.Error()
		d.again = time.Now().Add(retryAfter)
	default:
		d.reload.Error = c.Problem()
	}
	d.reload.Bad++
	d.log.Error("reload failed; "+d.stays(), "policy", c.Entry, "error", d.reload.Error)
	for _, diag := range c.Diags {
		d.log.Warn(diag.String())
	}
	return r, err
}

// lint is what is found about a candidate, lints included.
func (d *daemon) lint(c *enforce.Candidate) diag.List {
	c.Lint(d.cfg.Now().Unix())
	return c.Diags
}

// settled takes up that another policy is enforced.
func (d *daemon) settled(r *enforce.Report, err error) {
	d.notes = r.Notes
	for _, note := range r.Notes {
		d.log.Warn(note)
	}
	if err != nil {
		d.notes = append(d.notes, err.Error())
		d.log.Error(err.Error())
	}
	d.origins.set(d.enf.Running().Policy)
	d.keeper.begin(d)
}

// statusLine is what the service manager shows: what is enforced, or why the files are not.
func (d *daemon) statusLine() string {
	run := d.enf.Running()
	if run.Candidate == nil {
		return "OPEN: the wall was taken down"
	}
	line := fmt.Sprintf("enforcing %s (%s), %d rules", run.Entry, run.Source, run.Rules())
	if a := d.awaited(); a != nil {
		line += "; NOT CONFIRMED: the policy before it comes back at " + a.Deadline.Local().Format(time.TimeOnly)
	}
	if !d.reload.OK {
		line += "; the files are not enforced: " + d.reload.Error
	}
	if d.prover.result.err != nil {
		line += "; NOT what the policy says: see 'ringwall status'"
	}
	return line
}

// or is the first of two texts that is not empty.
func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
