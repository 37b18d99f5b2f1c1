package enforce

import (
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// How many bytes a reload may allocate before garbage is collected: of the machine's memory a part, and at most so much where the policy
// before it was no larger than that, as what is read and garbage go together. Of ten thousand rules a third of a reload's processor time
// would go to collections.
const (
	slackBytes   = 256 << 20
	unknownSlack = 64 << 20 // where there was no policy before it
	largePolicy  = 8 << 20
	slackShare   = 16
)

// limitFor is by how much the heap's limit must be above what it is for so much garbage: a collection begins when seven tenths of that are
// used.
func limitFor(slack int64) int64 { return slack / 7 * 10 }

// slackHeld: somebody has slack, and what the collector was told before is not to be seen. There is one collector, and in tests there are
// several daemons.
var slackHeld atomic.Bool

// Slack puts garbage collection off until that much was allocated, at most until the caller calls what is returned. Then it goes on as
// before. It is for reloads: they come now and then, somebody waits for them, and a quiet daemon gives their memory back.
func (e *Enforcer) Slack() (end func()) {
	slack := int64(unknownSlack)
	if e.running.Candidate != nil {
		slack = slackBytes
		if e.running.bytes > largePolicy {
			return func() {}
		}
	}
	var machine unix.Sysinfo_t
	if unix.Sysinfo(&machine) != nil || !slackHeld.CompareAndSwap(false, true) {
		return func() {}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	room := int64(m.Sys-m.HeapReleased) + limitFor(min(slack, int64(uint64(machine.Totalram)*uint64(machine.Unit))/slackShare))
	limit := debug.SetMemoryLimit(-1)
	debug.SetMemoryLimit(min(room, limit))
	percent := debug.SetGCPercent(-1)
	end = sync.OnceFunc(func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
		slackHeld.Store(false)
	})
	// The first collection finds this dead.
	runtime.AddCleanup(new([1]*int), func(end func()) { end() }, end)
	return end
}
