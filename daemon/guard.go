package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/kernel"
)

// guard puts the table back where someone else changed it.
//
// It asks for the kernel's generation at every tick. Where the table has no owner it listens to the kernel's events as well: so it
// is back within milliseconds, and who changed it can be named. Where the table is owned nobody else can change it, and
// it does not listen: where anybody does, commits take up to ten times as long.
//
// Against one who changes the table again and again it does not fight for ever: it has the table made the daemon's own, in one
// transaction, so that nobody else can change it, until the daemon ends.
type guard struct {
	events <-chan kernel.Event // what others commit; nil where nobody listens
	stop   context.CancelFunc  // ends the listening
	by     []string            // who has committed since the table was last found right
	wake   <-chan time.Time    // when to look again because of an event; nil for not
	rest   time.Time           // no look because of an event before then
	barred time.Time           // no look at all before then: another process owns the table

	heals   []time.Time // the latest
	lost    uint64      // times that events were lost
	last    *control.Heal
	trouble string // why the table could not be looked after
	fight   string // what led to the table being seized; empty for nothing
}

const (
	// fightFrom is how many repairs within fightTime are a fight.
	fightFrom = 5
	fightTime = time.Minute
	// barredFor is how long it takes to look again at a table that is another process's.
	barredFor = 5 * time.Second
	// named is how many processes that may have changed the table are named at most.
	named = 4
	// nameWait is how long the event that names who changed the table may come after the change was found.
	nameWait = 50 * time.Millisecond
)

// lookBack finds out, before anything is enforced, whether the table was removed while no daemon ran.
func (g *guard) lookBack(ctx context.Context, d *daemon) {
	if !d.enf.Missing(ctx, d.place()) {
		return
	}
	d.heals++
	g.last = &control.Heal{At: d.cfg.Now(), Change: "table made anew", By: "unknown, while no daemon ran"}
	d.log.Warn("someone removed the table while no daemon ran", "times", d.heals)
}

// begin is called once a policy is enforced.
func (g *guard) begin(ctx context.Context, d *daemon) {
	if err := d.enf.Stands(d.place()); err != nil {
		d.log.Warn("whether somebody removes the table while no daemon runs will not be known", "error", err)
	}
	g.listen(ctx, d)
}

// listen begins to listen to the kernel, where that is of use.
func (g *guard) listen(ctx context.Context, d *daemon) {
	if d.enf.Owned() {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	events, err := d.enf.Watch(ctx)
	if err != nil {
		stop()
		d.log.Warn("who changes the table can't be named", "error", err)
		return
	}
	g.events, g.stop = events, stop
}

// deafen ends the listening.
func (g *guard) deafen() {
	if g.stop == nil {
		return
	}
	g.stop()
	for range g.events {
	}
	g.events, g.stop = nil, nil
}

// hear takes an event up. Many in a short time lead to few looks: those that find nothing take a fifth of the time.
func (g *guard) hear(ctx context.Context, d *daemon, e kernel.Event, more bool) {
	if !more {
		g.stop()
		g.events, g.stop = nil, nil
		if ctx.Err() == nil {
			d.log.Warn("who changes the table can't be named any more")
		}
		return
	}
	g.name(e)
	if wait := time.Until(g.rest); wait <= 0 {
		g.look(ctx, d)
	} else if g.wake == nil {
		g.wake = time.After(wait)
	}
}

// name notes who has committed something.
func (g *guard) name(e kernel.Event) {
	who := fmt.Sprintf("%s (pid %d)", e.Process, e.PID)
	if e.Lost {
		g.lost++
		who = "unknown, since events were lost"
	}
	if !slices.Contains(g.by, who) && len(g.by) < named {
		g.by = append(g.by, who)
	}
}

// look compares and repairs. Where nothing has changed it costs a question to the kernel, however large the policy.
func (g *guard) look(ctx context.Context, d *daemon) {
	g.wake = nil
	if d.enf.Running().Source == enforce.Opened {
		return
	}
	begun := time.Now()
	if begun.Before(g.barred) {
		return
	}
	did, err := d.enf.Repair(ctx)
	if err != nil {
		if owned := (*kernel.OwnedError)(nil); errors.As(err, &owned) {
			g.barred = begun.Add(barredFor) // to find out who that is takes a while, and nothing can be done
		}
		if g.trouble != err.Error() {
			d.log.Error("the table can't be looked after", "error", err)
		}
		g.trouble = err.Error()
		return
	}
	if g.trouble != "" {
		d.log.Info("the table can be looked after again")
		g.trouble = ""
	}
	if did == "" {
		g.by, g.rest = nil, time.Now().Add(4*time.Since(begun))
		return
	}
	by := g.suspects()
	d.heals++
	g.last = &control.Heal{At: d.cfg.Now(), Change: did, By: by}
	d.log.Warn("someone changed the table: put back", "change", did, "by", by, "times", d.heals)
	now := time.Now()
	g.heals = append(g.heals[max(0, len(g.heals)-fightFrom+1):], now)
	if len(g.heals) == fightFrom && now.Sub(g.heals[0]) < fightTime && !d.enf.Owned() {
		g.seize(ctx, d, by)
	}
}

// suspects is who may have changed the table, and forgets them.
func (g *guard) suspects() string {
	if g.by == nil && g.events != nil {
		select {
		case e, more := <-g.events:
			if more {
				g.name(e)
			}
		case <-time.After(nameWait):
		}
	}
	by := strings.Join(g.by, " or ")
	g.by = nil
	if by == "" {
		return "unknown"
	}
	return by
}

// seize ends a fight: nobody else can change the table after it.
func (g *guard) seize(ctx context.Context, d *daemon, by string) {
	if err := d.enf.Seize(ctx, true); err != nil {
		d.log.Error("someone changes the table again and again, and it can't be taken from others", "by", by, "error", err)
		return
	}
	g.fight = fmt.Sprintf("someone changed the table again and again, %s last: nobody but this daemon can change it until the daemon ends", by)
	d.log.Error(g.fight)
	g.deafen()
}

// release gives a seized table back: without its owner it would be gone.
func (g *guard) release(d *daemon) {
	g.deafen()
	if err := d.enf.Seize(context.Background(), false); err != nil {
		d.log.Error("the table can't be given back: it ends with the last copy of its socket", "error", err)
	}
}
