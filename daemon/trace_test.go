//go:build amd64

package daemon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/nstest"
)

// call is a system call by which the kernel, a file or another process comes to be different, or is looked at.
type call struct {
	name  string
	path  int  // which argument is a path; -1 for none: the first is a descriptor then
	looks bool // changes nothing
}

var calls = map[uint64]call{
	unix.SYS_SENDTO: {"sendto", -1, false}, unix.SYS_SENDMSG: {"sendmsg", -1, false}, unix.SYS_SETSOCKOPT: {"setsockopt", -1, false},
	unix.SYS_WRITE: {"write", -1, false}, unix.SYS_WRITEV: {"writev", -1, false}, unix.SYS_PWRITE64: {"pwrite64", -1, false},
	unix.SYS_FSYNC: {"fsync", -1, false}, unix.SYS_FDATASYNC: {"fdatasync", -1, false}, unix.SYS_FTRUNCATE: {"ftruncate", -1, false},
	unix.SYS_FCHMOD: {"fchmod", -1, false}, unix.SYS_FCHOWN: {"fchown", -1, false}, unix.SYS_FLOCK: {"flock", -1, false},
	unix.SYS_OPENAT: {"openat", 1, false}, unix.SYS_MKDIRAT: {"mkdirat", 1, false}, unix.SYS_UNLINKAT: {"unlinkat", 1, false},
	unix.SYS_RENAMEAT: {"renameat", 1, false}, unix.SYS_RENAMEAT2: {"renameat", 1, false}, unix.SYS_RENAME: {"renameat", 0, false},
	unix.SYS_FCHMODAT: {"fchmodat", 1, false}, unix.SYS_UNLINK: {"unlinkat", 0, false},
	unix.SYS_RECVFROM: {"recvfrom", -1, true}, unix.SYS_RECVMSG: {"recvmsg", -1, true}, unix.SYS_INOTIFY_ADD_WATCH: {"inotify_add_watch", 1, true},
}

// A step of a process is one of the calls on something: "renameat .last-good", by the name of the file without numbers. Between two
// steps that change something a kill makes no difference to anybody.
type step struct {
	call
	on  string
	nth int // how many of the same call on the same have come before, and 1
}

func (s step) String() string { return fmt.Sprintf("%s %s, number %d", s.name, s.on, s.nth) }

// verdict is what becomes of a step: 0 lets it be, an error number fails it, and kill ends the process before it.
type verdict unix.Errno

const kill verdict = 0xffff

// tracer follows the steps of a running process, in all of its threads.
type tracer struct {
	pid    int
	decide func(step) verdict
	seen   map[step]int // by step without its number
	latest atomic.Int64 // nanoseconds of the clock at the latest step
	busy   atomic.Int64 // threads that are in the middle of a step: a disk may take its time
	armed  atomic.Bool
	quit   atomic.Bool
	ended  chan error
}

// trace begins to follow a process, once it has nothing to do. decide is called at each of its steps from then on, and stop ends it.
func trace(t testing.TB, pid int, decide func(step) verdict) *tracer {
	t.Helper()
	tr := &tracer{pid: pid, decide: decide, seen: map[step]int{}, ended: make(chan error, 1)}
	tr.latest.Store(time.Now().UnixNano())
	attached := make(chan error)
	go onThread(func() { // what is traced answers to one thread only, and is let go where that ends
		err := tr.attach()
		attached <- err
		if err == nil {
			err = tr.run()
			tr.quit.Store(true)
			tr.ended <- err
		}
	})
	if err := <-attached; err != nil {
		nstest.Missing(t, "ptrace: %v", err)
	}
	tr.quiet(t, 100*time.Millisecond)
	tr.armed.Store(true)
	return tr
}

// onThread runs f on a thread that ends with the calling goroutine, or with another one: the main thread of a process never ends.
func onThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		f()
		return
	}
	elsewhere := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(elsewhere)
		f()
	}()
	<-elsewhere
	runtime.UnlockOSThread()
}

// stop lets the process go on alone, if it lives.
func (tr *tracer) stop(t testing.TB) {
	t.Helper()
	tr.quit.Store(true)
	if err := ends(t, "the tracer", tr.ended); err != nil {
		t.Fatal(err)
	}
}

// quiet waits until the process has taken no step for a time and is in none, or has ended.
func (tr *tracer) quiet(t testing.TB, d time.Duration) {
	t.Helper()
	until(t, "the process has nothing to do", func() (bool, string) {
		return tr.busy.Load() == 0 && tr.rest() >= d || tr.quit.Load(), tr.String()
	})
}

// rest is how long ago the latest step was.
func (tr *tracer) rest() time.Duration { return time.Since(time.Unix(0, tr.latest.Load())) }

func (tr *tracer) String() string {
	return fmt.Sprintf("%d steps under way, the latest %s ago", tr.busy.Load(), tr.rest())
}

const traceOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE

func (tr *tracer) attach() error {
	for seized := map[int]bool{}; ; {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", tr.pid))
		if err != nil {
			return err
		}
		fresh := false
		for _, task := range tasks {
			tid, err := strconv.Atoi(filepath.Base(task))
			if err != nil || seized[tid] {
				continue
			}
			seized[tid], fresh = true, true
			_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, traceOptions, 0, 0)
			if errno == unix.ESRCH || errno == unix.EPERM && len(seized) > 1 {
				continue // gone, or followed since its birth
			}
			if errno != 0 {
				return errno
			}
			if err := unix.PtraceInterrupt(tid); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
		if !fresh {
			return nil
		}
	}
}

// run serves stops until the process has ended, or stop was called.
func (tr *tracer) run() error {
	under := map[int]verdict{} // threads in the middle of a step, and what becomes of it
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD|unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ECHILD) {
			return nil
		}
		if err != nil {
			return err
		}
		if tid == 0 {
			if tr.quit.Load() {
				return tr.detach()
			}
			time.Sleep(20 * time.Microsecond)
			continue
		}
		if !ws.Stopped() {
			continue
		}
		signal := 0
		switch {
		case ws.StopSignal() == unix.SIGTRAP|0x80:
			if tr.syscall(tid, under) {
				unix.Kill(tr.pid, unix.SIGKILL)
				continue
			}
		case int(ws)>>16 != 0: // an event: a birth, an interruption
		default:
			signal = int(ws.StopSignal())
		}
		if err := unix.PtraceSyscall(tid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
}

// detach lets all threads go. Those that run are stopped first.
func (tr *tracer) detach() error {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", tr.pid))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil || unix.PtraceInterrupt(tid) != nil {
			continue
		}
		var ws unix.WaitStatus
		if _, err := unix.Wait4(tid, &ws, unix.WALL|unix.WNOTHREAD, nil); err != nil || !ws.Stopped() {
			continue
		}
		signal := 0
		if s := ws.StopSignal(); int(ws)>>16 == 0 && s != unix.SIGTRAP|0x80 {
			signal = int(s)
		}
		unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(signal), 0, 0)
	}
	return nil
}

var numbers = regexp.MustCompile("[0-9]+")

// text reads a text of the process.
func (tr *tracer) text(at uintptr) string {
	// What follows the page may not be there: then the kernel reads the first part alone.
	buf := make([]byte, 256)
	page := min(len(buf), int(4096-at%4096))
	local := unix.Iovec{Base: &buf[0]}
	local.SetLen(len(buf))
	n, err := unix.ProcessVMReadv(tr.pid, []unix.Iovec{local}, []unix.RemoteIovec{{Base: at, Len: page}, {Base: at + uintptr(page), Len: len(buf) - page}}, 0)
	if err != nil {
		return ""
	}
	text, _, _ := strings.Cut(string(buf[:n]), "\x00")
	return text
}

// syscall serves the entry to, or the exit from, a system call. It tells whether the process is to be killed.
func (tr *tracer) syscall(tid int, under map[int]verdict) (killed bool) {
	var info [88]byte // struct ptrace_syscall_info
	const getSyscallInfo, entry, exit = 0x420e, 1, 2
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), uintptr(len(info)), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return false
	}
	switch info[0] {
	case entry:
		c, is := calls[binary.NativeEndian.Uint64(info[24:])]
		if !is {
			return false
		}
		arg := func(i int) uint64 { return binary.NativeEndian.Uint64(info[32+8*i:]) }
		s := step{call: c}
		if c.path < 0 {
			s.on, _ = os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tr.pid, int32(arg(0))))
		} else {
			s.on = tr.text(uintptr(arg(c.path)))
		}
		if strings.HasPrefix(s.on, "anon_inode:[event") || strings.HasPrefix(s.on, "pipe:") {
			return false // the Go runtime speaks to itself, and the log
		}
		if c.name == "openat" && arg(2)&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT) == 0 {
			s.looks = true
		}
		s.on = strings.Trim(numbers.ReplaceAllString(filepath.Base(s.on), ""), ":[]")
		tr.latest.Store(time.Now().UnixNano())
		if !s.looks {
			under[tid] = 0
			tr.busy.Store(int64(len(under)))
		}
		if !tr.armed.Load() {
			return false
		}
		tr.seen[s]++
		s.nth = tr.seen[s]
		switch v := tr.decide(s); v {
		case 0:
		case kill:
			return true
		default:
			var regs unix.PtraceRegs
			if unix.PtraceGetRegs(tid, &regs) == nil {
				regs.Orig_rax = ^uint64(0) // no such call
				if unix.PtraceSetRegs(tid, &regs) == nil {
					under[tid] = v
				}
			}
		}
	case exit:
		v, is := under[tid]
		if !is {
			return false
		}
		delete(under, tid)
		tr.busy.Store(int64(len(under)))
		tr.latest.Store(time.Now().UnixNano())
		if v != 0 {
			var regs unix.PtraceRegs
			if unix.PtraceGetRegs(tid, &regs) == nil {
				regs.Rax = uint64(-int64(v))
				unix.PtraceSetRegs(tid, &regs)
			}
		}
	}
	return false
}
