package daemon

import (
	"time"

	"ringwall/daemon/enforce"
)

// pace is when the loop looks after what time and others change, though nothing has happened: twice a second while anything is due or
// others can change the table, and hardly ever else.
type pace struct {
	timer *time.Timer
	next  time.Time // when it fires; zero for never
	told  time.Time // when the service manager last had a sign of life
}

const (
	// restFor is how long the loop rests where nothing is due.
	restFor = 30 * time.Second
	// aliveAfter is how old the last sign of life may be before something is done that may take long.
	aliveAfter = time.Second
)

// start has the first look follow after a time.
func (p *pace) start(after time.Duration) {
	p.timer, p.next = time.NewTimer(after), time.Now().Add(after)
}

// fired takes up that it is time for a look.
func (p *pace) fired() { p.next = time.Time{} }

// plan has a look follow after a time, or sooner where it was planned so: what happens often does not put it off.
func (p *pace) plan(after time.Duration) {
	if at := time.Now().Add(after); p.next.IsZero() || at.Before(p.next) {
		p.next = at
		p.timer.Reset(after)
	}
}

// pause is how long the loop may rest now. The service manager wants a sign of life at least so often as it says, and gets it twice.
func (d *daemon) pause() time.Duration {
	rest := d.cfg.Tick
	if !d.due() {
		rest = max(rest, restFor)
	}
	if d.cfg.Watchdog > 0 {
		rest = min(rest, d.cfg.Watchdog/2)
	}
	return rest
}

// due tells whether there is anything that keep does, now or later, or that it must look for.
func (d *daemon) due() bool {
	run := d.enf.Running()
	return !d.again.IsZero() || !d.keeper.retry.IsZero() || !d.keeper.used.IsZero() || d.enf.Pending() != nil || d.enf.Stale() ||
		d.guard.trouble != "" || !d.enf.Owned() && run.Source != enforce.Opened || d.prover.of != run.Candidate || d.observer.Active()
}

// alive gives the service manager a sign of life where it wants any and the last one is so old.
func (d *daemon) alive(age time.Duration) {
	if d.cfg.Watchdog > 0 && time.Since(d.pace.told) >= min(age, d.cfg.Watchdog/4) {
		d.pace.told = time.Now()
		d.cfg.Notify("WATCHDOG=1")
	}
}
