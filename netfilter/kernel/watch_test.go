package kernel

import (
	"context"
	"fmt"
	"testing"
	"time"

	"ringwall/netfilter/nstest"
)

// watch has a Conn watch until the test ends, and returns what waits for its next event.
func watch(t *testing.T, c *Conn) (next func() Event, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	t.Cleanup(cancel)
	events, err := c.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return func() Event {
			t.Helper()
			select {
			case e, ok := <-events:
				if !ok {
					t.Fatal("the channel is closed")
				}
				return e
			case <-time.After(10 * time.Second):
				t.Fatal("no event")
			}
			return Event{}
		}, func() {
			cancel()
			for range events {
			}
		}
}

func TestWatch(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{Without: Features{Persist: true}})
	next, stop := watch(t, c)
	apply(t, c, small("in.ssh")) // one's own: left out
	for _, command := range []string{
		"add table ip ringwall",
		"add rule inet ringwall input accept",
		"add element inet ringwall dyn4.bans { 192.0.2.1 }",
		"flush ruleset",
	} {
		ns.Run(t, "nft", command)
		e := next()
		if e.Lost || e.Process != "nft" || e.PID == 0 || e.Generation != generation(t, c) {
			t.Errorf("%s: %+v", command, e)
		}
	}
	stop()
	if c.events != nil {
		t.Error("the Conn still listens")
	}
}

// TestWatchRests commits more than the Conn listens to, and hears what comes after it.
func TestWatchRests(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{Without: Features{Persist: true}})
	next, _ := watch(t, c)
	var many []string
	for i := range 500 {
		many = append(many, fmt.Sprintf("in.rule-%d", i))
	}
	want := small(many...)
	apply(t, c, want)
	holds(t, c, want)
	ns.Run(t, "nft", "delete table inet ringwall")
	if e := next(); e.Process != "nft" || e.Generation != generation(t, c) {
		t.Errorf("%+v", e)
	}
}

// TestWatchOverflows loses events for want of room, and is told, and hears what comes after it.
func TestWatchOverflows(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{EventBuffer: 4096})
	next, _ := watch(t, c)
	for range 100 { // nobody receives meanwhile: one event is under way, and some wait in the buffer
		ns.Run(t, "nft", "add table ip x; delete table ip x")
	}
	lost := false
	for range 100 {
		if e := next(); e.Lost {
			lost = true
			break
		}
	}
	if !lost {
		t.Fatal("nothing was lost")
	}
	ns.Run(t, "nft", "add table ip last")
	if e := next(); e.Generation != generation(t, c) {
		t.Errorf("%+v", e)
	}
}
