package nstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// NS is a network namespace with its loopback up, gone when the test ends.
type NS struct{ file *os.File }

// New makes a namespace. Without root or nf_tables the test is skipped, or fails where the environment says CI=true.
func New(t testing.TB) *NS {
	t.Helper()
	made := make(chan *NS)
	var err error
	go func() {
		// The thread is never unlocked, so that it ends with the goroutine: it is of no use outside the namespace.
		runtime.LockOSThread()
		var ns *NS
		ns, err = create()
		made <- ns
	}()
	ns := <-made
	if err != nil {
		Missing(t, "no network namespace: %v", err)
	}
	t.Cleanup(func() { ns.file.Close() })
	return ns
}

// Enter makes a namespace and moves the test's goroutine into it until the test ends.
func Enter(t testing.TB) *NS {
	t.Helper()
	ns := New(t)
	home, err := enter(ns.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(home) })
	return ns
}

// create makes a namespace around the calling thread.
func create() (*NS, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("unshare: %w", err)
	}
	if err := probe(); err != nil {
		return nil, fmt.Errorf("nf_tables: %w", err)
	}
	// Duplicate address detection would hold every IPv6 address back for a second.
	for _, conf := range []string{"all", "default"} {
		path := filepath.Join("/proc/sys/net/ipv6/conf", conf, "accept_dad")
		if err := os.WriteFile(path, []byte("0"), 0); err != nil && !os.IsNotExist(err) {
			return nil, err
		}
	}
	if err := linkUp("lo"); err != nil {
		return nil, err
	}
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	return &NS{f}, nil
}

// probe tells whether the kernel answers for nf_tables, by asking for the generation.
func probe() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	const getGen = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN
	req := make([]byte, 20)
	req[0] = 20
	req[4], req[5] = byte(getGen&0xff), byte(getGen>>8)
	req[6] = unix.NLM_F_REQUEST
	if err := unix.Sendto(fd, req, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, buf, 0)
	if err != nil {
		return err
	}
	if n >= 20 && buf[4] == unix.NLMSG_ERROR && buf[5] == 0 && buf[16] != 0 {
		return unix.ENOTSUP
	}
	return nil
}

// enter moves the calling goroutine's thread into a namespace and pins it there. It returns where it came from.
func enter(to *os.File) (home *os.File, err error) {
	runtime.LockOSThread()
	home, err = os.Open("/proc/thread-self/ns/net")
	if err == nil {
		err = unix.Setns(int(to.Fd()), unix.CLONE_NEWNET)
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("enter a network namespace: %w", err)
	}
	return home, nil
}

// leave undoes enter. A thread that cannot return stays pinned and dies with its goroutine.
func leave(home *os.File) {
	defer home.Close()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
}

// Do runs f on the calling goroutine, inside the namespace. Sockets that f opens stay there.
func (ns *NS) Do(t testing.TB, f func()) {
	t.Helper()
	home, err := enter(ns.file)
	if err != nil {
		t.Fatal(err)
	}
	defer leave(home)
	f()
}

// Go runs f inside the namespace on a goroutine of its own, and returns at once. f must not call the Fatal methods of a test.
func (ns *NS) Go(f func()) error {
	entered := make(chan error)
	go func() {
		// Never unlocked: the thread ends with f.
		runtime.LockOSThread()
		err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET)
		entered <- err
		if err == nil {
			f()
		}
	}()
	return <-entered
}

// Path is a path under which the namespace can be opened by this process and its children, while the test runs.
func (ns *NS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd()) }

// Run runs a command inside the namespace and returns what it printed. A command that fails ends the test.
func (ns *NS) Run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := ns.Input(t, "", name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// Input runs a command inside the namespace with an input, and returns what it printed on either stream.
func (ns *NS) Input(t testing.TB, input, name string, args ...string) (out string, err error) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		Missing(t, "%v", err)
	}
	ns.Do(t, func() {
		cmd := exec.Command(name, args...)
		cmd.Stdin = strings.NewReader(input)
		var b []byte
		b, err = cmd.CombinedOutput()
		out = string(b)
	})
	return out, err
}

// Sysctl sets a kernel parameter of the namespace, written with slashes: "net/ipv4/ip_forward".
func (ns *NS) Sysctl(t testing.TB, key, value string) {
	t.Helper()
	ns.Do(t, func() {
		if err := os.WriteFile(filepath.Join("/proc/sys", key), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	})
}
