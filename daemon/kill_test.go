//go:build amd64

package daemon

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/daemon/enforce"
	"ringwall/daemon/store"
	"ringwall/netfilter/nstest"
)

// besieged is a daemon that runs as a process of its own, with a prober at its door.
type besieged struct {
	*wall
	pair nstest.Pair
	how  program
	now  int // which of texts the file says
}

var (
	texts      = [2]string{oldText, newText}
	failsafes  = [2]string{"192.0.2.0/24", "192.0.2.128/25"}
	ruleCounts = [2]int{2, 4} // of their rules
)

func besiege(t *testing.T, how program) *besieged {
	t.Helper()
	b := &besieged{wall: build(t, oldText), how: how}
	b.cfg.Kernel.Without.Persist = how.OldKernel
	b.pair = nstest.Join(t, b.ns)
	return b
}

// turn has the file say the other policy.
func (b *besieged) turn(t *testing.T) {
	t.Helper()
	b.now = 1 - b.now
	b.save(t, texts[b.now])
}

// agrees holds, after a kill, the table and the stored policy against the two policies: each is one of them, whole. As at a boot it
// then enforces the stored one.
func (b *besieged) agrees(t *testing.T, when string) {
	t.Helper()
	if b.stands(t, texts[:]...) < 0 {
		t.Errorf("%s: the table is neither the old nor the new one", when)
	}
	e, err := enforce.Open(t.Context(), enforce.Options{State: b.cfg.State, Kernel: b.cfg.Kernel})
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.ApplyStored(t.Context())
	if err := errors.Join(err, e.Close()); err != nil || !r.Applied || r.Source != enforce.LastGood {
		t.Errorf("%s: the stored policy is not enforced: %+v, %v", when, r, err)
	}
	if stored, stands := b.stored(texts[:]...), b.stands(t, texts[:]...); stored < 0 || stored != stands {
		t.Errorf("%s: stored is %d, enforced of it %d", when, stored, stands)
	}
}

// keeps waits until what the file says is stored, and the emergency policy has its failsafe.
func (b *besieged) keeps(t *testing.T, when string) {
	t.Helper()
	until(t, when+": the policy is stored, with its failsafe", func() (bool, string) {
		text, err := store.At(b.cfg.State).Emergency()
		return err == nil && b.stored(texts[:]...) == b.now && strings.Contains(text, failsafes[b.now]), text
	})
}

// TestKilledAtEveryStep kills the daemon before each step of a reload by which anything comes to be different, from the signal to the
// stored policy. Its goroutines take their steps in this order or that: what a run meets that no run before it has met is
// taken up, until each has been the one to die before.
func TestKilledAtEveryStep(t *testing.T) {
	b := besiege(t, program{Tick: time.Hour, Settle: time.Hour})
	p := b.spawn(t, b.how, nil)
	b.answers(t, p, ruleCounts[b.now])
	prober := b.pair.Probe(t, deniedPort, allowedPort)
	tries, runs, killed := map[step]int{}, map[step]int{}, map[step]bool{}
	next := func() (s step) {
		for k, n := range tries {
			if k.name != "" && !killed[k] && n < 5 && (s.name == "" || n < tries[s]) {
				s = k
			}
		}
		return s
	}
	for run := 0; ; run++ {
		victim := next()
		if run > 0 && victim.name == "" {
			break
		}
		tries[victim]++
		tr := trace(t, p.cmd.Process.Pid, func(s step) verdict {
			if s.looks {
				return 0
			}
			tries[s] += 0
			runs[s]++
			if s != victim {
				return 0
			}
			killed[s] = true
			return kill
		})
		b.turn(t)
		p.cmd.Process.Signal(syscall.SIGHUP)
		until(t, "the reload has ended, or the process", func() (bool, string) {
			return tr.quit.Load() || b.stored(texts[:]...) == b.now, victim.String() + ": " + tr.String()
		})
		tr.quiet(t, 200*time.Millisecond)
		tr.stop(t)
		p.kill() // after a run that went another way too: the process has now what it would have had to get
		when := "killed before " + victim.String()
		if !killed[victim] {
			when = "killed after a run without " + victim.String()
		}
		if run%2 == 0 {
			b.agrees(t, when)
		} else if b.stands(t, texts[:]...) < 0 {
			t.Errorf("%s: the table is neither the old nor the new one", when)
		}
		p = b.spawn(t, b.how, nil)
		b.answers(t, p, ruleCounts[b.now])
		b.keeps(t, when)
	}
	prober.Closed(t)
	met := map[string]bool{}
	for s := range tries {
		switch {
		case s.name == "":
		case killed[s]:
			met[s.name] = true
			t.Logf("killed before %s", s)
		case s.nth == 1 && runs[s] > 1:
			t.Errorf("met in %d runs, and never killed before it: %s", runs[s], s)
		default:
			t.Logf("not met again: %s", s)
		}
	}
	t.Logf("killed before %d steps of %d", len(killed), len(tries)-1)
	for _, name := range []string{"sendto", "write", "fsync", "renameat", "openat"} {
		if !met[name] {
			t.Errorf("no step is a %s", name)
		}
	}
}

// kills is how often the daemon is killed at random: more by SOAK_KILLS in the environment.
func kills() int {
	if n, err := strconv.Atoi(os.Getenv("SOAK_KILLS")); err == nil {
		return n
	}
	return 40
}

// TestKilledAtRandom kills the daemon while it starts and while it reloads over and over, at random times.
func TestKilledAtRandom(t *testing.T) {
	for _, how := range []struct {
		name string
		program
	}{{"owned", program{Settle: time.Millisecond}}, {"old kernel", program{Settle: time.Millisecond, OldKernel: true}}} {
		t.Run(how.name, func(t *testing.T) {
			b := besiege(t, how.program)
			p := b.spawn(t, b.how, nil)
			b.answers(t, p, ruleCounts[b.now])
			b.keeps(t, "before the first kill")
			prober := b.pair.Probe(t, deniedPort, allowedPort)
			rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
			starting := 0
			for n := range kills() / 2 {
				for end := time.Now().Add(time.Duration(rng.IntN(150)) * time.Millisecond); time.Now().Before(end); {
					b.turn(t)
					time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
				}
				if !strings.Contains(p.text(), "msg=enforced") {
					starting++
				}
				p.kill()
				when := fmt.Sprintf("kill %d", n)
				if n%10 == 0 {
					b.agrees(t, when)
				} else if b.stands(t, texts[:]...) < 0 {
					t.Errorf("%s: the table is neither the old nor the new one", when)
				}
				p = b.spawn(t, b.how, nil)
				if n%5 == 0 {
					b.answers(t, p, ruleCounts[b.now])
				}
			}
			b.answers(t, p, ruleCounts[b.now])
			prober.Closed(t)
			t.Logf("killed %d times, %d of them while it started", kills()/2, starting)
		})
	}
}

// faultOf is how a step can fail for want of memory, room or a working disk; 0 for not.
func faultOf(s step) verdict {
	switch s.name {
	case "sendto", "sendmsg", "recvfrom", "recvmsg":
		return verdict(unix.ENOBUFS)
	case "write", "pwrite64", "writev":
		if s.on == "socket" {
			return 0 // an answer to a client
		}
		return verdict(unix.ENOSPC)
	case "openat":
		return verdict(unix.ENFILE)
	case "fsync", "fchmod", "ftruncate", "flock":
		return verdict(unix.EIO)
	case "renameat", "unlinkat", "mkdirat":
		return verdict(unix.EROFS)
	case "setsockopt", "inotify_add_watch":
		return verdict(unix.ENOMEM)
	}
	return 0
}

// TestFailedAtEveryStep fails each system call of a reload once: memory that the kernel has not, answers that are lost, a disk that is
// full, read-only or broken. The daemon lives, the table is always whole, and the next reload enforces what the files say. It goes on
// for twenty seconds, or, where SOAK_KILLS is set, until each step has failed.
func TestFailedAtEveryStep(t *testing.T) {
	b := besiege(t, program{Tick: 300 * time.Millisecond, Settle: time.Hour})
	p := b.spawn(t, b.how, nil)
	b.answers(t, p, ruleCounts[0])
	list := func() string {
		lines := strings.Split(b.ns.Run(t, "nft", "-s", "list", "table", "inet", "ringwall"), "\n")
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	var tables [2]string
	for i := range 2 {
		tables[b.now] = list()
		b.turn(t)
		p.cmd.Process.Signal(syscall.SIGHUP)
		b.answers(t, p, ruleCounts[1-i])
		b.keeps(t, "at first")
	}
	prober := b.pair.Probe(t, deniedPort, allowedPort)
	tries, failed, met := map[step]int{}, map[step]bool{}, map[string]bool{}
	soak := os.Getenv("SOAK_KILLS") != ""
	most := 2
	if soak {
		most = 8
	}
	next := func() (s step) { // in any order, but each call on something once first
		for k, n := range tries {
			if k.name != "" && !failed[k] && n < most && (s.name == "" || met[s.name] && !met[k.name] || n < tries[s]) {
				s = k
			}
		}
		return s
	}
	begun := time.Now()
	for run := 0; ; run++ {
		victim := next()
		enough := !soak && time.Since(begun) > 20*time.Second && victim.name != "" && met[victim.name]
		if run > 0 && victim.name == "" || enough {
			break
		}
		tries[victim]++
		tr := trace(t, p.cmd.Process.Pid, func(s step) verdict {
			v := faultOf(s)
			if v == 0 || s.nth > 8 { // of what goes on and on, the first few
				return 0
			}
			tries[s] += 0
			if s != victim || failed[s] {
				return 0
			}
			failed[s], met[s.name] = true, true
			return v
		})
		said := len(p.text())
		b.turn(t)
		p.cmd.Process.Signal(syscall.SIGHUP)
		until(t, "the reload is stored, or has failed", func() (bool, string) {
			return b.stored(texts[:]...) == b.now || strings.Contains(p.text()[said:], "level=ERROR"), victim.String() + ": " + tr.String()
		})
		tr.stop(t)
		if table := list(); table != tables[0] && table != tables[1] {
			t.Errorf("after a failure of %s the table is neither the old nor the new one:\n%s", victim, table)
		}
		p.cmd.Process.Signal(syscall.SIGHUP)
		b.answers(t, p, ruleCounts[b.now])
		if list() != tables[b.now] {
			t.Errorf("after a failure of %s, and a reload: not the file's table", victim)
		}
		b.keeps(t, "after a failure of "+victim.String()+", and a reload") // or the next reload would pass for stored before it is
	}
	prober.Closed(t)
	t.Logf("failed: %d steps of %d: %v", len(failed), len(tries)-1, slices.Sorted(maps.Keys(met)))
	for _, name := range []string{"sendto", "recvfrom", "write", "fsync", "renameat", "openat"} {
		if !met[name] {
			t.Errorf("no %s has failed", name)
		}
	}
}
