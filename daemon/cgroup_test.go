package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/daemon/control"
	"ringwall/netfilter/nstest"
)

// cgroup is a memory control group of version 1, that a thread can be put into. Version 2 has no such thing: it limits processes as a whole,
// and kills where version 1 refuses.
type cgroup string

// newCgroup makes one, or ends the test as nstest.Missing does. Where the kernel has no version 1 at all, nothing but another machine helps:
// the test is skipped in CI, too, and scripts/test prints that.
func newCgroup(t *testing.T) cgroup {
	t.Helper()
	const root = "/sys/fs/cgroup/memory"
	if _, err := os.Stat(root); err != nil {
		t.Skipf("%s: no memory control groups of version 1 are mounted (mount -t cgroup -o memory memory %s), and version 2 kills where version 1 refuses", root, root)
	}
	dir := fmt.Sprintf("%s/ringwall-test-%d", root, os.Getpid())
	if err := os.Mkdir(dir, 0o755); err != nil {
		nstest.Missing(t, "no memory control group of version 1: %v", err)
	}
	t.Cleanup(func() {
		for range 100 {
			if os.Remove(dir) == nil {
				return
			}
			time.Sleep(20 * time.Millisecond) // until its last thread has ended
		}
	})
	c := cgroup(dir)
	c.set(t, "memory.oom_control", "1") // fail, rather than kill
	return c
}

func (c cgroup) set(t *testing.T, file, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(string(c), file), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// limit leaves the group so many bytes beyond what is accounted to it, which may grow meanwhile. What processors have put aside for the group,
// of which each has 256 kB at most, is accounted, and can be used.
func (c cgroup) limit(t *testing.T, room int) {
	t.Helper()
	until(t, fmt.Sprintf("the limit leaves %d bytes", room), func() (bool, string) {
		text, err := os.ReadFile(filepath.Join(string(c), "memory.usage_in_bytes"))
		if err != nil {
			t.Fatal(err)
		}
		used, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		err = os.WriteFile(filepath.Join(string(c), "memory.limit_in_bytes"), []byte(strconv.Itoa(used+room)), 0)
		return err == nil, fmt.Sprint(err)
	})
}

// relieve raises the limit by 64 kB whenever a thread of the group sleeps for want of memory, until stop is called or the test has ended,
// with what was to be cleaned up. What the kernel asks for itself is refused at the limit; but who touches a page that has no page table
// waits until there is memory, and nobody else would see to that. It is a process of its own, since none of Go's collections begins before
// that thread goes on, and no goroutine runs meanwhile.
func (c cgroup) relieve(t *testing.T) (stop func()) {
	t.Helper()
	const script = `
while kill -0 $PPID && sleep 0.01; do
    if grep -q "under_oom 1" memory.oom_control; then
        echo $(($(cat memory.usage_in_bytes) + 65536)) >memory.limit_in_bytes
    fi
done 2>/dev/null`
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = string(c)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// spare leaves Go's heap so much room, until the test ends, that it asks the kernel for nothing: a program written in Go ends where its
// heap can't grow, and the limit on a thread counts mappings and page tables.
func spare(t *testing.T) {
	percent := debug.SetGCPercent(-1) // first: what is free is then kept
	t.Cleanup(func() { debug.SetGCPercent(percent) })
	room := make([]byte, 256<<20)
	for i := 0; i < len(room); i += 4096 {
		room[i] = 1
	}
	runtime.KeepAlive(room)
	room = nil
	runtime.GC()
}

// pageTables has the calling thread touch pages that need so many page tables, of 4 kB each, until the test ends.
func pageTables(t *testing.T, n int) {
	const each = 2 << 20
	region, err := unix.Mmap(-1, 0, n*each, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		t.Error(err)
		return
	}
	t.Cleanup(func() { unix.Munmap(region) })
	unix.Madvise(region, unix.MADV_NOHUGEPAGE) // an error: there are none
	for at := 0; at < len(region); at += each {
		region[at] = 1
	}
}

// TestKernelWithoutMemory takes the kernel's memory away from the daemon's loop, by a limit on what is accounted to its thread: the kernel
// refuses the change in its midst, for want of memory, and the old policy stays whole.
func TestKernelWithoutMemory(t *testing.T) {
	group := newCgroup(t)
	relieved := group.relieve(t)
	var thread atomic.Int64 // that of the loop
	var limited atomic.Bool
	w, prober := probed(t, func(c *Config) {
		notify := c.Notify
		c.Watchdog = 100 * time.Millisecond // the loop says something now and then
		c.Notify = func(state string) {
			thread.Store(int64(unix.Gettid()))
			if limited.Load() {
				pageTables(t, 1024)
				limited.Store(false)
			}
			notify(state)
		}
	})
	group.set(t, "tasks", strconv.FormatInt(thread.Load(), 10))
	var large strings.Builder
	large.WriteString(newText)
	for i := range 2000 {
		fmt.Fprintf(&large, "  - {allow: tcp/%d, from: [10.%d.%d.0/24, 192.0.2.%d], id: r%d}\n", 10000+i, i/250, i%250, i%256, i)
	}
	before := w.ns.Run(t, "nft", "-s", "list", "table", "inet", "ringwall")
	spare(t)
	group.limit(t, 64<<10)
	limited.Store(true)
	until(t, "the daemon has what it needs itself", func() (bool, string) { return !limited.Load(), "" })
	w.save(t, large.String())
	s := w.reaches(t, "the change is refused", func(s *control.Status) bool { return s.Reload.Bad > 0 })
	if !strings.Contains(s.Reload.Error, "cannot allocate memory") || !s.Enforced || s.Rules != 2 {
		t.Errorf("%+v", s)
	}
	same(t, w, before)
	relieved()
	group.set(t, "memory.limit_in_bytes", "-1")
	w.reaches(t, "it is enforced once there is memory", func(s *control.Status) bool { return s.Enforced && !s.Stale() && s.Rules == 2004 })
	t.Log(s.Reload.Error)
	prober.Closed(t)
}
