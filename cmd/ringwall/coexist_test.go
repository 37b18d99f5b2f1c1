package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ringwall/netfilter/nstest"
)

// These tests run real software of others beside Ringwall, in network namespaces and mounts of their own, where it is installed.
// `scripts/coexist` runs them; they take too long for every day.

// neighbourhood is a host with somebody else's software, and a peer that talks to it.
type neighbourhood struct {
	nstest.Pair
	dir string // of all files
}

func newNeighbourhood(t *testing.T, needs ...string) *neighbourhood {
	t.Helper()
	if os.Getenv("RINGWALL_COEXIST") == "" {
		t.Skip("scripts/coexist runs this")
	}
	for _, name := range needs {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed", name)
		}
	}
	n := &neighbourhood{Pair: nstest.NewPair(t), dir: t.TempDir()}
	n.Host.Run(t, "ip", "link", "set", "lo", "up")
	return n
}

// file writes a file and returns its path.
func (n *neighbourhood) file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(n.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+"~", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
	return path
}

// start starts a program in the host's namespace; it is ended with the test, politely first.
func (n *neighbourhood) start(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(name, args...)
	log, err := os.Create(filepath.Join(n.dir, filepath.Base(name)+fmt.Sprint(time.Now().UnixNano())+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	n.Host.Do(t, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.end(cmd)
		log.Close()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("%s:\n%s", name, text[max(0, len(text)-6000):])
		}
	})
	return cmd
}

// end ends a program that start started.
func (n *neighbourhood) end(cmd *exec.Cmd) {
	if cmd.ProcessState != nil {
		return
	}
	cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		cmd.Process.Kill()
		<-done
	}
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	var seen string
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		var is bool
		if is, seen = ok(); is {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("not in a minute: %s; seen last: %s", what, seen)
}

// others is every table but Ringwall's, as nft lists them, handles and all, without what counters count.
func (n *neighbourhood) others(t *testing.T) []any {
	t.Helper()
	var all struct {
		Nftables []map[string]map[string]any `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(n.Host.Run(t, "nft", "-j", "-a", "list", "ruleset")), &all); err != nil {
		t.Fatal(err)
	}
	var out []any
	for _, object := range all.Nftables {
		for kind, o := range object {
			table := o["table"]
			if kind == "table" {
				table = o["name"]
			}
			if name, _ := table.(string); kind == "metainfo" || o["family"] == "inet" && strings.HasPrefix(name, "ringwall") {
				continue
			}
			forget(o)
			out = append(out, map[string]any{kind: o})
		}
	}
	return out
}

// forget takes out what packets change.
func forget(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range []string{"packets", "bytes", "expires"} {
			delete(v, key)
		}
		for _, x := range v {
			forget(x)
		}
	case []any:
		for _, x := range v {
			forget(x)
		}
	}
}

// reaches tells whether the peer gets through to a port of the host.
func (n *neighbourhood) reaches(t *testing.T, port int) (ok bool) {
	t.Helper()
	n.Peer.Do(t, func() {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(nstest.Host4, fmt.Sprint(port)), 2*time.Second)
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 5)
		_, err = c.Read(buf)
		ok = err == nil && string(buf) == "hello"
	})
	return ok
}

// serveHello answers at a port of the host.
func (n *neighbourhood) serveHello(t *testing.T, port int) {
	t.Helper()
	n.Host.Listen(t, fmt.Sprint(":", port), func(c net.Conn) { c.Write([]byte("hello")) })
}

// ringwall is the program under test, with a daemon.
type ringwall struct {
	*neighbourhood
	program string
	daemon  *exec.Cmd
	flags   []string
}

func (n *neighbourhood) ringwall(t *testing.T, text string) *ringwall {
	t.Helper()
	w := &ringwall{neighbourhood: n, program: filepath.Join(n.dir, "ringwall")}
	if out, err := exec.Command("go", "build", "-o", w.program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.flags = []string{"--config", n.file(t, "p.yaml", text), "--state-dir", filepath.Join(n.dir, "state"), "--socket", filepath.Join(n.dir, "s")}
	w.run(t)
	return w
}

// run starts the daemon.
func (w *ringwall) run(t *testing.T) {
	t.Helper()
	w.daemon = w.start(t, w.program, append([]string{"run"}, w.flags...)...)
	eventually(t, "the daemon enforces", func() (bool, string) {
		out, err := w.try(t, "status")
		return err == nil, out
	})
}

// try calls a verb.
func (w *ringwall) try(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return w.Host.Input(t, "", w.program, append(args, w.flags...)...)
}

// doctor is what doctor says; whether it finds problems depends on the machine's own files, too.
func (w *ringwall) doctor(t *testing.T) string {
	t.Helper()
	out, _ := w.try(t, "doctor")
	return out
}

// do calls a verb that must not fail.
func (w *ringwall) do(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.try(t, args...)
	if err != nil {
		t.Fatalf("ringwall %q: %v\n%s", args, err, out)
	}
	return out
}

// save changes the policy's file and waits until it is enforced.
func (w *ringwall) save(t *testing.T, text string) {
	t.Helper()
	w.file(t, "p.yaml", text)
	w.do(t, "reload")
}

const (
	admitsText  = "version: 1\nsets: {banned: {dynamic: true}}\nblock: [banned]\nin:\n  - {id: web, allow: [tcp/8080, tcp/9090], from: any}\n"
	refusesText = "version: 1\nsets: {banned: {dynamic: true}}\nblock: [banned]\nin:\n  - {id: web, deny: [tcp/8080, tcp/9090]}\n"
	transitText = "version: 1\ndefaults: {forward: allow}\nin:\n  - {id: web, allow: [tcp/8080, tcp/9090], from: any}\nforward: [{deny: tcp/25}]\n"
)

// through leads Ringwall through everything that it does, and holds after each step that the rules of others are as they were. The
// port is one that others let through.
func (w *ringwall) through(t *testing.T, port int) {
	t.Helper()
	before := w.others(t)
	if len(before) == 0 {
		t.Fatal("nobody else has any rules: nothing can be shown")
	}
	expect := func(step string, reaches bool) {
		t.Helper()
		if got := w.reaches(t, port); got != reaches {
			t.Errorf("%s: the peer gets through: %v, want %v", step, got, reaches)
		}
		if diff := cmp.Diff(before, w.others(t)); diff != "" {
			t.Fatalf("%s changed the rules of others:\n%s", step, diff)
		}
	}
	expect("the first apply", true)
	w.save(t, refusesText)
	expect("a reload that refuses", false)
	w.save(t, transitText)
	expect("a reload that judges transit", true)
	w.save(t, admitsText)
	expect("a reload that admits", true)
	w.file(t, "p.yaml", "version: 1\nin: [{allow: nonsense}]\n")
	if out, err := w.try(t, "reload"); err == nil {
		t.Errorf("a broken policy was taken: %s", out)
	}
	expect("a broken policy", true)
	w.save(t, admitsText)
	other := w.file(t, "other.yaml", refusesText)
	if out, err := w.try(t, "dry-run", other); err == nil {
		t.Errorf("nothing would change: %s", out)
	}
	expect("a dry run", true)
	w.do(t, "apply", "--observe", other)
	expect("observing", true)
	if out := w.do(t, "observe", "report"); !strings.Contains(out, "allow → deny by rule web") {
		t.Errorf("observed: %s", out)
	}
	w.do(t, "observe", "stop")
	expect("the end of observing", true)
	w.do(t, "apply", other)
	expect("apply", false)
	w.do(t, "rollback")
	expect("rollback", true)
	w.do(t, "apply", "--confirm", "10s", other)
	expect("a change to be confirmed", false)
	eventually(t, "what nobody confirmed goes back", func() (bool, string) { return w.reaches(t, port), "" })
	expect("its going back", true)
	w.do(t, "apply", filepath.Join(w.dir, "p.yaml"))
	w.do(t, "ban", nstest.Peer4)
	expect("a ban", false)
	w.do(t, "unban", nstest.Peer4)
	expect("its end", true)
	if _, err := w.Host.Input(t, "", "nft", "delete", "table", "inet", "ringwall"); err == nil {
		eventually(t, "the table is put back", func() (bool, string) {
			out, err := w.try(t, "status")
			return err == nil, out
		})
	}
	expect("healing", true)
	w.end(w.daemon)
	expect("the daemon's end", true)
	w.run(t)
	expect("the daemon's return", true)
	w.do(t, "stop", "--open", "--force")
	expect("the wall's end", true)
	w.do(t, "apply")
	expect("the wall's return", true)
}

const serverText = `package main

import "net"

func main() {
	l, err := net.Listen("tcp", ":80")
	if err != nil {
		panic(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			panic(err)
		}
		c.Write([]byte("hello"))
		c.Close()
	}
}
`

// Docker's published port is decided by Ringwall, and Docker's rules stay Docker's.
func TestCoexistDocker(t *testing.T) {
	n := newNeighbourhood(t, "dockerd", "docker", "iptables", "go")
	socket := "unix://" + filepath.Join(n.dir, "docker.sock")
	n.start(t, "unshare", "-m", "dockerd", "--data-root", filepath.Join(n.dir, "data"), "--exec-root", filepath.Join(n.dir, "exec"),
		"--pidfile", filepath.Join(n.dir, "docker.pid"), "-H", socket, "--storage-driver", "vfs")
	docker := func(args ...string) (string, error) {
		return n.Host.Input(t, "", "docker", append([]string{"-H", socket}, args...)...)
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := docker(args...)
		if err != nil {
			t.Fatalf("docker %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(out)
	}
	eventually(t, "dockerd answers", func() (bool, string) {
		out, err := docker("info")
		return err == nil, out
	})
	source := n.file(t, "server/main.go", serverText)
	build := exec.Command("go", "build", "-o", filepath.Join(n.dir, "server", "server"), source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	archive, err := exec.Command("tar", "-C", filepath.Join(n.dir, "server"), "-c", "server").Output()
	if err != nil {
		t.Fatal(err)
	}
	n.file(t, "image.tar", string(archive))
	must("import", filepath.Join(n.dir, "image.tar"), "hello:latest")
	id := must("run", "-d", "--name", "web", "-p", "8080:80", "hello:latest", "/server")
	t.Cleanup(func() { docker("rm", "-f", id) })
	eventually(t, "the container answers without Ringwall", func() (bool, string) { return n.reaches(t, 8080), must("ps", "-a") })

	w := n.ringwall(t, admitsText)
	w.through(t, 8080)
	found := w.doctor(t)
	for _, line := range []string{"ip filter FORWARD: policy drop, drop (Docker)", "← Ringwall", "note: table ip filter, chain FORWARD", "DOCKER-USER"} {
		if !strings.Contains(found, line) {
			t.Errorf("doctor does not say %q:\n%s", line, found)
		}
	}
	// What Docker does beside Ringwall works as before.
	must("restart", "web")
	eventually(t, "the container answers after a restart", func() (bool, string) { return n.reaches(t, 8080), must("ps", "-a") })
	must("run", "-d", "--name", "second", "-p", "9090:80", "hello:latest", "/server")
	eventually(t, "a second container answers", func() (bool, string) { return n.reaches(t, 9090), must("ps", "-a") })
	w.save(t, refusesText)
	if n.reaches(t, 9090) {
		t.Error("a port that the policy denies is reached")
	}
	must("rm", "-f", "web", "second")
}

// fail2ban's table stays its own, and its bans hold beside Ringwall.
func TestCoexistFail2ban(t *testing.T) {
	n := newNeighbourhood(t, "fail2ban-server", "fail2ban-client", "go")
	n.serveHello(t, 8080)
	conf := filepath.Join(n.dir, "fail2ban")
	if out, err := exec.Command("cp", "-r", "/etc/fail2ban", conf).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	os.RemoveAll(filepath.Join(conf, "jail.d"))
	log := n.file(t, "auth.log", "")
	n.file(t, "fail2ban/filter.d/ringwall-test.conf", "[Definition]\nfailregex = ^ failed from <HOST>$\n")
	n.file(t, "fail2ban/jail.local", "[DEFAULT]\nbanaction = nftables[type=multiport]\nbackend = polling\n[ringwall-test]\nenabled = true\nport = 8080\nfilter = ringwall-test\nlogpath = "+log+"\n")
	n.file(t, "fail2ban/fail2ban.local", "[DEFAULT]\ndbfile = None\n")
	socket := filepath.Join(n.dir, "f2b.sock")
	client := func(args ...string) (string, error) {
		return n.Host.Input(t, "", "fail2ban-client", append([]string{"-c", conf, "-s", socket, "-p", filepath.Join(n.dir, "f2b.pid")}, args...)...)
	}
	n.start(t, "fail2ban-server", "-c", conf, "-s", socket, "-p", filepath.Join(n.dir, "f2b.pid"), "--logtarget", "STDOUT", "-f", "start")
	eventually(t, "fail2ban answers", func() (bool, string) {
		out, err := client("status", "ringwall-test")
		return err == nil, out
	})
	if out, err := client("set", "ringwall-test", "banip", "192.0.2.7"); err != nil {
		t.Fatal(err, out)
	}
	eventually(t, "fail2ban has a table", func() (bool, string) {
		out := n.Host.Run(t, "nft", "list", "ruleset")
		return strings.Contains(out, "192.0.2.7"), out
	})
	w := n.ringwall(t, admitsText)
	w.through(t, 8080)
	if found := w.doctor(t); !strings.Contains(found, "note: table inet f2b-table") || !strings.Contains(found, "fail2ban-client unban") {
		t.Errorf("doctor does not recognise fail2ban:\n%s", found)
	}
	// It bans and unbans beside Ringwall.
	if out, err := client("set", "ringwall-test", "banip", nstest.Peer4); err != nil {
		t.Fatal(err, out)
	}
	eventually(t, "the ban holds", func() (bool, string) { return !n.reaches(t, 8080), "" })
	if out, err := client("set", "ringwall-test", "unbanip", nstest.Peer4); err != nil {
		t.Fatal(err, out)
	}
	eventually(t, "its end holds", func() (bool, string) { return n.reaches(t, 8080), "" })
}

// A ufw that is active is a problem, and what it leaves behind is not; Ringwall touches neither.
func TestCoexistUfw(t *testing.T) {
	n := newNeighbourhood(t, "ufw", "iptables", "go")
	n.serveHello(t, 8080)
	// ufw knows no other directories than /etc: those are copies here.
	for _, dir := range []string{"/etc/ufw", "/etc/default"} {
		if out, err := exec.Command("cp", "-r", dir, filepath.Join(n.dir, filepath.Base(dir))).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	ufw := func(args string) string {
		t.Helper()
		return n.Host.Run(t, "unshare", "-m", "sh", "-ec", fmt.Sprintf("mount --bind %s/ufw /etc/ufw; mount --bind %[1]s/default /etc/default; ufw %s", n.dir, args))
	}
	ufw("allow 8080/tcp")
	ufw("--force enable")
	w := n.ringwall(t, admitsText)
	out, err := w.try(t, "doctor")
	if err == nil || !strings.Contains(out, "problem: table ip filter, chain INPUT (input, priority 0): can still refuse what Ringwall admits: policy drop") || !strings.Contains(out, "`ufw disable` ends it") {
		t.Errorf("doctor beside an active ufw: %v\n%s", err, out)
	}
	if !n.reaches(t, 8080) {
		t.Error("a port that both admit is not reached")
	}
	ufw("delete allow 8080/tcp")
	if n.reaches(t, 8080) {
		t.Error("a port that ufw refuses is reached")
	}
	ufw("disable")
	if rules := n.Host.Run(t, "nft", "list", "ruleset"); !strings.Contains(rules, "ufw-") {
		t.Skip("this ufw leaves nothing behind")
	}
	w.through(t, 8080)
	if out := w.doctor(t); !strings.Contains(out, "note: table ip filter: has chains of ufw that refuse nothing: they are left over") {
		t.Errorf("doctor beside what ufw has left:\n%s", out)
	}
}

// firewalld comes, reloads and goes beside Ringwall, and neither touches the other.
func TestCoexistFirewalld(t *testing.T) {
	n := newNeighbourhood(t, "firewalld", "firewall-cmd", "dbus-daemon", "go")
	n.serveHello(t, 8080)
	bus := filepath.Join(n.dir, "bus")
	conf := n.file(t, "bus.conf", `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=`+bus+`</listen><policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`)
	n.start(t, "dbus-daemon", "--config-file="+conf, "--nofork")
	if out, err := exec.Command("cp", "-r", "/etc/firewalld", filepath.Join(n.dir, "firewalld")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	address := "DBUS_SYSTEM_BUS_ADDRESS=unix:path=" + bus
	inside := func(command string) []string {
		return []string{"-m", "sh", "-ec", fmt.Sprintf("mount --bind %s/firewalld /etc/firewalld; %s exec %s", n.dir, address, command)}
	}
	eventually(t, "the bus is there", func() (bool, string) {
		_, err := os.Stat(bus)
		return err == nil, fmt.Sprint(err)
	})
	daemon := n.start(t, "unshare", inside("firewalld --nofork --nopid")...)
	cmd := func(args string) (string, error) {
		return n.Host.Input(t, "", "unshare", inside("firewall-cmd "+args)...)
	}
	eventually(t, "firewalld answers", func() (bool, string) {
		out, err := cmd("--state")
		return err == nil, out
	})
	if out, err := cmd("--add-port=8080/tcp"); err != nil {
		t.Fatal(err, out)
	}
	w := n.ringwall(t, admitsText)
	out, err := w.try(t, "doctor")
	if err == nil || !strings.Contains(out, "problem: table inet firewalld, chain filter_INPUT (input, priority 10)") || !strings.Contains(out, "systemctl disable --now firewalld") {
		t.Errorf("doctor beside firewalld: %v\n%s", err, out)
	}
	if !n.reaches(t, 8080) {
		t.Error("a port that both admit is not reached")
	}
	own := func() string {
		return counters.ReplaceAllString(n.Host.Run(t, "nft", "-a", "list", "table", "inet", "ringwall"), "")
	}
	others := w.others(t)
	w.save(t, refusesText)
	w.save(t, admitsText)
	w.do(t, "stop", "--open", "--force")
	w.do(t, "apply")
	if diff := cmp.Diff(others, w.others(t)); diff != "" {
		t.Errorf("firewalld's rules changed:\n%s", diff)
	}
	table := own()
	if out, err := cmd("--reload"); err != nil {
		t.Fatal(err, out)
	}
	if now := own(); now != table {
		t.Errorf("firewalld's reload changed Ringwall's table:\n%s\n%s", table, now)
	}
	n.end(daemon)
	if now := own(); now != table {
		t.Errorf("firewalld's end changed Ringwall's table:\n%s\n%s", table, now)
	}
	if left := w.others(t); slices.ContainsFunc(left, func(o any) bool { return strings.Contains(fmt.Sprint(o), "firewalld") }) {
		t.Errorf("firewalld has left something behind: %v", left)
	}
	if out := w.doctor(t); strings.Contains(out, "table inet firewalld") {
		t.Errorf("doctor after firewalld's end:\n%s", out)
	}
}

var counters = regexp.MustCompile(`packets \d+ bytes \d+`)
