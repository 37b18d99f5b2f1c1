package daemon

import (
	"context"
	"time"

	"ringwall/daemon/enforce"
)

// guard puts the table back where someone else changed it. Against one who changes it over and over it does so less
// and less often, so that the two do not fill the log; a quiet minute forgets that.
//
// It asks for the generation now and then, rather than listen for the kernel's events: where anybody listens, the kernel tells of
// every rule and every element of every transaction, which makes the host's commits up to ten times slower, one's own included.
type guard struct {
	fights  int
	next    time.Time // not before then
	last    time.Time // when the table was last put back
	trouble string    // why it could not be
}

// longest is the longest time between two repairs.
const longest = 30 * time.Second

// look compares and repairs. Where nothing has changed it costs a question to the kernel, however large the policy.
func (g *guard) look(ctx context.Context, d *daemon) {
	now := d.cfg.Now()
	if now.Before(g.next) || d.enf.Running().Source == enforce.Opened {
		return
	}
	did, err := d.enf.Repair(ctx)
	if err != nil {
		if g.trouble != err.Error() {
			d.log.Error("the table can't be looked after", "error", err)
		}
		g.trouble, g.next = err.Error(), now.Add(longest/10)
		return
	}
	g.trouble = ""
	if did == "" {
		if now.Sub(g.last) > time.Minute {
			g.fights = 0
		}
		return
	}
	d.heals++
	g.last = now
	if g.fights++; g.fights > 3 {
		g.next = now.Add(min(longest, d.cfg.Tick<<min(g.fights, 10)))
	}
	d.log.Warn("someone changed the table: put back", "change", did, "times", d.heals)
}
