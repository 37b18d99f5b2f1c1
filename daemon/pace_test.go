package daemon

import (
	"testing"
	"time"

	"ringwall/daemon/enforce"
	"ringwall/netfilter/kernel"
)

// TestPause looks at how long the loop rests: for long where nothing is due, else for a tick.
func TestPause(t *testing.T) {
	w := build(t, webText)
	w.cfg.Tick = 123 * time.Millisecond
	d := w.within()
	d.begin(t)
	until(t, "nothing is due", func() (bool, string) {
		if d.keeper.done != nil {
			d.keeper.end(d, <-d.keeper.done)
		}
		if !d.keeper.used.IsZero() {
			d.keeper.used = time.Now().Add(-quietAfter)
		}
		d.keep(t.Context())
		return d.pause() == restFor || !d.enf.Owned(), d.pause().String()
	})
	if !d.enf.Owned() { // by a kernel that has no such tables
		if got := d.pause(); got != d.cfg.Tick {
			t.Errorf("others can change the table, and the loop rests for %v", got)
		}
		return
	}
	for what, set := range map[string]func(on bool){
		"a reload that is tried again": func(on bool) { d.again = onlyIf(on) },
		"a store that is tried again":  func(on bool) { d.keeper.retry = onlyIf(on) },
		"memory to be given back":      func(on bool) { d.keeper.used = onlyIf(on) },
		"a table that can't be looked after": func(on bool) {
			d.guard.trouble = map[bool]string{true: "why"}[on]
		},
	} {
		if set(true); d.pause() != d.cfg.Tick {
			t.Errorf("%s: the loop rests for %v", what, d.pause())
		}
		if set(false); d.pause() != restFor {
			t.Errorf("without %s: the loop rests for %v", what, d.pause())
		}
	}
	d.cfg.Watchdog = 8 * time.Second
	if got := d.pause(); got != 4*time.Second {
		t.Errorf("a sign of life is wanted, and the loop rests for %v", got)
	}
	if err := d.enf.TakeDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.keep(t.Context())
	if d.cfg.Watchdog = 0; d.pause() != restFor {
		t.Errorf("the wall is down, and the loop rests for %v", d.pause())
	}
}

func onlyIf(on bool) time.Time {
	if on {
		return time.Now().Add(time.Hour)
	}
	return time.Time{}
}

// TestLooksWhereOthersMayChange holds that the loop of a kernel without tables of one's own looks at every tick.
func TestLooksWhereOthersMayChange(t *testing.T) {
	w := build(t, webText)
	w.cfg.Kernel.Without = kernel.Features{Persist: true}
	d := w.within()
	d.begin(t)
	d.prover.look(d)
	d.keeper.used = time.Time{}
	if d.enf.Running().Source != enforce.Files || d.pause() != d.cfg.Tick {
		t.Errorf("the loop rests for %v", d.pause())
	}
}

// TestPlan holds that what happens all the time does not put a look off.
func TestPlan(t *testing.T) {
	var p pace
	p.start(time.Hour)
	defer p.timer.Stop()
	p.plan(50 * time.Millisecond)
	for begun := time.Now(); ; p.plan(50 * time.Millisecond) {
		select {
		case <-p.timer.C:
			return
		case <-time.After(time.Millisecond):
		}
		if time.Since(begun) > patience {
			t.Fatal("no look")
		}
	}
}

// TestSignsOfLife has a daemon give as many as are wanted, and none where none are.
func TestSignsOfLife(t *testing.T) {
	for _, every := range []time.Duration{0, 40 * time.Millisecond} {
		w := build(t, webText)
		signs := make(chan struct{}, 1)
		others := w.cfg.Notify
		w.cfg.Watchdog, w.cfg.Notify = every, func(state string) {
			if state == "WATCHDOG=1" {
				select {
				case signs <- struct{}{}:
				default:
				}
			}
			others(state)
		}
		w.start(t)
		for range 5 {
			if _, err := w.client.Status(t.Context()); err != nil { // an event, of which there could be one
				t.Fatal(err)
			}
			if every == 0 {
				select {
				case <-signs:
					t.Fatal("a sign of life that nobody wants")
				default:
				}
				continue
			}
			select {
			case <-signs:
			case <-time.After(patience):
				t.Fatal("no sign of life")
			}
		}
	}
}
