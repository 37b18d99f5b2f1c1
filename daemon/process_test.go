package daemon

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/store"
	"ringwall/daemon/watch"
	"ringwall/netfilter/kernel"
	"ringwall/rules/source"
)

// daemonEnv makes this test binary a daemon: a program, as JSON.
const daemonEnv = "RINGWALL_TEST_DAEMON"

// program is how a daemon in a process of its own is run.
type program struct {
	Policy, State, Socket string
	Tick, Settle          time.Duration
	OldKernel             bool // without tables that outlive their owner
	NoOverride            bool // without the right to read everybody's files
}

// TestMain runs the tests, or a daemon.
func TestMain(m *testing.M) {
	text, is := os.LookupEnv(daemonEnv)
	if !is {
		os.Exit(m.Run())
	}
	var p program
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	err := Run(ctx, Config{
		Policy: p.Policy, State: p.State, Socket: p.Socket, Build: "test", Hangup: hangup, Log: log, Tick: p.Tick,
		Watch:  watch.Options{Settle: p.Settle, Latest: p.Settle, Rescan: -1},
		Kernel: kernel.Options{Without: kernel.Features{Persist: p.OldKernel}},
		Notify: Systemd(log), Kept: SystemdKept(), Keep: SystemdKeep(log),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is a daemon in a process of its own.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has
	mu    sync.Mutex
	log   strings.Builder
}

// Write takes up a piece of the log.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// spawn starts the daemon as a process of its own, which wait waits for. files are inherited from the third descriptor on.
func (w *wall) spawn(t testing.TB, how program, env []string, files ...*os.File) *process {
	t.Helper()
	how.Policy, how.State, how.Socket = w.cfg.Policy, w.cfg.State, w.cfg.Socket
	text, err := json.Marshal(how)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, ended: make(chan struct{})}
	p.cmd = exec.Command("/proc/self/exe")
	if len(files) > 0 {
		// Only the process itself knows its number, by which the service manager addresses what it hands over.
		p.cmd = exec.Command("/bin/sh", "-c", "LISTEN_PID=$$ exec /proc/"+fmt.Sprint(os.Getpid())+"/exe")
	}
	if how.NoOverride {
		p.cmd = exec.Command("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", "/proc/"+fmt.Sprint(os.Getpid())+"/exe")
	}
	p.cmd.Env = append(append(os.Environ(), daemonEnv+"="+string(text)), env...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = p, p, files
	w.ns.Do(t, func() { err = p.cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	pidfd, err := unix.PidfdOpen(p.cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		// Whoever waits for a process takes its tracer's stops away: so not before it has ended.
		for {
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, -1); err != unix.EINTR {
				break
			}
		}
		unix.Close(pidfd)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("log of process %d:\n%s", p.cmd.Process.Pid, p.text())
		}
	})
	return p
}

// kill ends the process as the kernel would for want of memory, at whatever it is doing.
func (p *process) kill() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGKILL)
	ends(p.t, fmt.Sprintf("process %d, which was killed,", p.cmd.Process.Pid), p.ended)
}

// answers waits until the process answers with a policy enforced, and returns its status.
func (w *wall) answers(t testing.TB, p *process, rules int) (s *control.Status) {
	t.Helper()
	until(t, fmt.Sprintf("process %d enforces %d rules", p.cmd.Process.Pid, rules), func() (bool, string) {
		select {
		case <-p.ended:
			t.Fatalf("the daemon has ended: %s", p.text())
		default:
		}
		client, err := control.Dial(t.Context(), w.cfg.Socket)
		if err != nil {
			return false, err.Error()
		}
		defer client.Close()
		if s, err = client.Status(t.Context()); err != nil {
			return false, err.Error()
		}
		return s.PID == p.cmd.Process.Pid && s.Enforced && !s.Stale() && s.Rules == rules, fmt.Sprintf("%+v\n%s", s, p.text())
	})
	return s
}

// stands tells which of some policies the kernel's table is, exactly; -1 for none. No daemon may run.
func (w *wall) stands(t testing.TB, texts ...string) int {
	t.Helper()
	e, err := enforce.Open(t.Context(), enforce.Options{State: w.cfg.State, ReadOnly: true, Kernel: w.cfg.Kernel})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for i, text := range texts {
		opt := e.LoadOptions()
		opt.Brief, opt.NoLints = true, true
		c := enforce.Load(source.Memory{w.cfg.Policy: text}, w.cfg.Policy, opt)
		r, err := e.DryRun(t.Context(), c, false)
		if err != nil || r.Refused() {
			t.Fatalf("%v, %v", r.Diagnostics, err)
		}
		if r.Kernel == "" {
			return i
		}
	}
	return -1
}

// stored tells which of some policies is the stored one; -1 for none of them.
func (w *wall) stored(texts ...string) int {
	last, err := store.At(w.cfg.State).LastGood()
	if err != nil {
		return -1
	}
	return slices.IndexFunc(texts, func(text string) bool {
		return strings.Contains(string(last.Bundle), base64.StdEncoding.EncodeToString([]byte(text)))
	})
}
