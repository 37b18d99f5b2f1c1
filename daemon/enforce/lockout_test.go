package enforce

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
)

// cgroup makes a cgroup of the unified hierarchy, gone when the test ends. It is named as host.CgroupID takes it, and by its path.
func cgroup(t *testing.T) (name, path string) {
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if unix.Statfs(root, &fs) != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		name = fmt.Sprintf("ringwall-test-%d", os.Getpid())
		path = filepath.Join(root, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			break
		}
		t.Cleanup(func() {
			for range 100 { // until its processes are gone
				if os.Remove(path) == nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Errorf("%s is left", path)
		})
		return name, path
	}
	nstest.Missing(t, "no cgroup can be made here")
	return "", ""
}

// TestSSHListensElsewhere has the listeners of an SSH service found by its cgroup, and their connections be sessions.
func TestSSHListensElsewhere(t *testing.T) {
	if os.Getenv("LISTEN_IN_CGROUP") != "" {
		serveInCgroup(t)
		return
	}
	ns := nstest.Enter(t)
	peer := nstest.New(t)
	nstest.Veth(t, ns, "veth0", peer, "veth0")
	ns.Addr(t, "veth0", "192.0.2.1/24")
	peer.Addr(t, "veth0", "192.0.2.2/24")
	name, path := cgroup(t)

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe, "-test.run", "^TestSSHListensElsewhere$")
	child.Env = append(os.Environ(), "LISTEN_IN_CGROUP="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		in.Close()
		child.Wait()
	}()
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}

	e := open(t, t.TempDir())
	const text = "version: 1\nin:\n  - {allow: ssh, from: any, id: ssh}\n"
	e.ssh = []string{name}
	if l, err := e.Lockout(load(e, text)); err != nil || l == nil || len(l.NoWay) != 1 || l.NoWay[0] != 2222 {
		t.Errorf("without a session: %v, %v", l, err)
	}
	var c net.Conn
	peer.Do(t, func() { c, err = net.Dial("tcp", "192.0.2.1:2222") })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if l, err := e.Lockout(load(e, text)); err != nil || l == nil || !strings.Contains(l.String(), "the session from 192.0.2.2 to port 2222") {
		t.Errorf("with a session: %v, %v", l, err)
	}
	if l, err := e.Lockout(load(e, strings.Replace(text, "ssh,", "tcp/2222,", 1))); err != nil || l != nil {
		t.Errorf("admitted: %v, %v", l, err)
	}
	e.ssh = nil
	if l, err := e.Lockout(load(e, text)); err != nil || l != nil {
		t.Errorf("another service's: %v, %v", l, err)
	}
}

// serveInCgroup is the child: it joins the cgroup, listens, and ends with its input.
func serveInCgroup(t *testing.T) {
	if err := os.WriteFile(filepath.Join(os.Getenv("LISTEN_IN_CGROUP"), "cgroup.procs"), []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", ":2222")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println()
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	os.Stdin.Read(make([]byte, 1))
}

// TestWhatIsEnforcedLocksNobodyOut has a policy that is enforced, though it would refuse a session, be applied again.
func TestWhatIsEnforcedLocksNobodyOut(t *testing.T) {
	nstest.Enter(t)
	l, err := net.Listen("tcp", ":22")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	e := open(t, t.TempDir())
	const text = "version: 1\nin:\n  - {allow: http, from: any, id: web}\n"
	held, notes := e.Guard(load(e, text), false)
	if held == nil || held.Applied || len(held.Changes) == 0 || held.Lockout == nil || len(notes) != 0 {
		t.Fatalf("%+v, %q", held, notes)
	}
	if held, notes := e.Guard(load(e, text), true); held != nil || len(notes) != 1 {
		t.Errorf("all the same: %+v, %q", held, notes)
	}
	apply(t, e, text)
	if held, notes := e.Guard(load(e, text), false, host.Session{}); held != nil || len(notes) != 0 {
		t.Errorf("again: %+v, %q", held, notes)
	}
}
