package kernel

import (
	"context"
	"testing"
	"time"

	"ringwall/netfilter/nstest"
)

func TestWatch(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{Without: Features{Persist: true}})
	ctx, cancel := context.WithCancel(ctx)
	events, err := c.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	next := func() Event {
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
	}
	apply(t, c, small("in.ssh")) // one's own: left out
	for _, try := range []struct {
		command string
		table   bool
	}{
		{"add table ip ringwall", false},
		{"add table inet other", false},
		{"add rule inet ringwall input accept", true},
		{"add element inet ringwall dyn4.bans { 192.0.2.1 }", true},
		{"flush ruleset", true},
	} {
		ns.Run(t, "nft", try.command)
		e := next()
		if e.Table != try.table || e.Process != "nft" || e.PID == 0 || e.Generation != generation(t, c) {
			t.Errorf("%s: %+v", try.command, e)
		}
	}
	cancel()
	for range events {
	}
}
