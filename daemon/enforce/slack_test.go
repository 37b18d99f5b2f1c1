package enforce

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestSlack holds that garbage is collected as before from the first collection on, and where nothing was to be collected from the end on.
func TestSlack(t *testing.T) {
	percent, limit := debug.SetGCPercent(70), debug.SetMemoryLimit(-1)
	defer debug.SetGCPercent(percent)
	same := func() bool {
		now := debug.SetGCPercent(70)
		defer debug.SetGCPercent(now)
		return now == 70 && debug.SetMemoryLimit(-1) == limit
	}
	for _, e := range []*Enforcer{{}, {running: Running{Candidate: &Candidate{bytes: 1000}}}} {
		end := e.Slack()
		if same() {
			t.Error("garbage is collected as before")
		}
		if end(); !same() {
			t.Error("garbage is not collected as before after the end")
		}
		end = e.Slack()
		for begun := time.Now(); !same(); runtime.GC() {
			if time.Since(begun) > time.Minute {
				t.Fatal("garbage is not collected as before after a collection")
			}
		}
		end()
		if !same() {
			t.Error("the end after a collection changes something")
		}
	}
	large := &Enforcer{running: Running{Candidate: &Candidate{bytes: largePolicy + 1}}}
	end := large.Slack()
	defer end()
	if !same() {
		t.Error("a large policy has slack")
	}
}
