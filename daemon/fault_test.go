package daemon

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/store"
	"ringwall/netfilter/nstest"
)

// The ports of the prober: every policy of these tests denies the one and allows the other.
const (
	deniedPort  = 9999
	allowedPort = 53
)

// oldText and newText differ in rules, sets and failsafe: a reload from one to the other changes chains, sets and what is stored.
const oldText = `version: 1
failsafe: {ssh: [192.0.2.0/24]}
sets:
  banned: {dynamic: true}
  good: [203.0.113.0/24, 198.51.100.77]
block: [banned]
in:
  - {allow: dns, id: dns}
  - {allow: [http, https], id: web, from: good}
`

var newText = strings.NewReplacer("192.0.2.0/24", "192.0.2.128/25", "203.0.113.0/24, ", "203.0.113.128/25, 203.0.113.3, ",
	"https], id: web", "https, smtp], id: web").Replace(oldText) + "  - {deny: tcp/8080, id: eight, log: \"eight\"}\n  - {allow: tcp/9000-9100, id: nine}\n"

// probed is a daemon of oldText with a prober at its door.
func probed(t *testing.T, change func(*Config)) (*wall, *nstest.Prober) {
	t.Helper()
	w := build(t, oldText)
	if change != nil {
		change(&w.cfg)
	}
	pair := nstest.Join(t, w.ns)
	w.start(t)
	return w, pair.Probe(t, deniedPort, allowedPort)
}

// turned saves the other policy and waits until it is enforced.
func (w *wall) turned(t *testing.T, what string) *control.Status {
	t.Helper()
	text, rules := oldText, 2
	if w.status(t).Rules == 2 {
		text, rules = newText, 4
	}
	w.save(t, text)
	return w.reaches(t, what, func(s *control.Status) bool { return s.Enforced && s.Rules == rules && !s.Stale() })
}

func says(s *control.Status, note string) bool {
	return strings.Contains(strings.Join(s.Notes, "\n"), note)
}

// TestStateFaults takes the state directory away in every way, under a running daemon and at its start: policies are
// enforced all the same, and it says what it can't.
func TestStateFaults(t *testing.T) {
	faults := map[string]func(t *testing.T, w *wall) (undo func()){
		"full": func(t *testing.T, w *wall) func() {
			fill := filepath.Join(w.cfg.State, "fill")
			f, err := os.Create(fill)
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = f.Write(make([]byte, 4096))
			}
			f.Close()
			return func() { os.Remove(fill) }
		},
		"read-only": func(t *testing.T, w *wall) func() {
			// A mount of its own: of the one below, files are open for writing.
			if err := unix.Mount(w.cfg.State, w.cfg.State, "", unix.MS_BIND, ""); err != nil {
				t.Fatal(err)
			}
			if err := unix.Mount("", w.cfg.State, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				t.Fatal(err)
			}
			return func() { unix.Unmount(w.cfg.State, unix.MNT_DETACH) }
		},
		"vanished": func(t *testing.T, w *wall) func() {
			if err := unix.Unmount(w.cfg.State, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(w.cfg.State); err != nil {
				t.Fatal(err)
			}
			return func() { os.Mkdir(w.cfg.State, 0o700) }
		},
		"a file": func(t *testing.T, w *wall) func() {
			if err := unix.Unmount(w.cfg.State, unix.MNT_DETACH); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(w.cfg.State); err != nil {
				t.Fatal(err)
			}
			write(t, w.cfg.State, "not a directory")
			return func() {
				os.Remove(w.cfg.State)
				os.Mkdir(w.cfg.State, 0o700)
			}
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			w, prober := probed(t, func(c *Config) {
				if err := os.Mkdir(c.State, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := unix.Mount("ringwall-test", c.State, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
					nstest.Missing(t, "%v", err)
				}
				t.Cleanup(func() { unix.Unmount(c.State, unix.MNT_DETACH) })
			})
			t.Cleanup(func() { w.kill(t) })
			undo := fault(t, w)
			t.Cleanup(undo)
			w.turned(t, "an edit is enforced")
			w.reaches(t, "it says that it can't store", func(s *control.Status) bool { return says(s, notStored) })
			w.kill(t)
			w.start(t) // the daemon alone: rules and connections stay
			s := w.reaches(t, "the file is enforced after a restart", func(s *control.Status) bool { return s.Enforced && !s.Stale() && s.Rules == 4 })
			if name != "vanished" && !says(s, notStored) {
				w.reaches(t, "it says again that it can't store", func(s *control.Status) bool { return says(s, notStored) })
			}
			w.turned(t, "another edit is enforced")
			undo()
			w.kill(t)
			w.start(t)
			w.turned(t, "the last edit is enforced")
			w.reaches(t, "all is stored again", func(s *control.Status) bool {
				last, err := store.At(w.cfg.State).LastGood()
				return err == nil && last.Digest == s.Digest && len(s.Notes) == 0
			})
			prober.Closed(t)
		})
	}
}

// spoilt is what a policy file can be that is none.
func spoilt(t *testing.T, path string) map[string]func() {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(text string) func() {
		return func() { must(os.WriteFile(path, []byte(text), 0o644)) }
	}
	return map[string]func(){
		"a directory":         func() { must(os.Mkdir(path, 0o755)) },
		"a dangling symlink":  func() { must(os.Symlink("nowhere", path)) },
		"a loop of symlinks":  func() { must(os.Symlink(filepath.Base(path), path)) },
		"a named pipe":        func() { must(unix.Mkfifo(path, 0o644)) },
		"a device":            func() { must(os.Symlink("/dev/zero", path)) },
		"missing":             func() {},
		"empty":               put(""),
		"binary":              put("\x00\xff\x7fELF\x00\x00\xfe"),
		"half a line":         put(newText[:strings.Index(newText, "https, smtp")+3]),
		"half a bracket":      put(newText[:strings.Index(newText, "]")]),
		"another file format": put(`{"nftables": [{"flush": {"ruleset": null}}]}`),
	}
}

// TestPolicyFileFaults puts everything in the policy's place that is none, under a running daemon and at its start.
func TestPolicyFileFaults(t *testing.T) {
	w, prober := probed(t, nil)
	for name, put := range spoilt(t, w.cfg.Policy) {
		if err := os.RemoveAll(w.cfg.Policy); err != nil {
			t.Fatal(err)
		}
		put()
		s := w.reaches(t, name+" is noticed", func(s *control.Status) bool { return s.Stale() })
		if !s.Enforced || s.Rules != 2 || s.Reload.Error == "" {
			t.Errorf("%s: %+v", name, s)
		}
		w.kill(t)
		w.start(t)
		s = w.status(t)
		if !s.Enforced || s.Source != enforce.LastGood || s.Rules != 2 {
			t.Errorf("started with %s: %+v", name, s)
		}
		if err := os.RemoveAll(w.cfg.Policy); err != nil {
			t.Fatal(err)
		}
		w.save(t, oldText)
		w.reaches(t, "mended after "+name, func(s *control.Status) bool { return !s.Stale() && s.Rules == 2 })
	}
	prober.Closed(t)
}

// TestHalfWritten lets an editor write a policy byte by byte where the daemon looks, as one that writes in place does, over a slow line.
func TestHalfWritten(t *testing.T) {
	w, prober := probed(t, func(c *Config) { c.Watch.Settle, c.Watch.Latest = time.Millisecond, time.Millisecond })
	for range 3 {
		f, err := os.Create(w.cfg.Policy)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range []byte(newText) {
			if _, err := f.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Microsecond)
		}
		f.Close()
		w.reaches(t, "the whole file is enforced", func(s *control.Status) bool { return s.Rules == 4 && !s.Stale() })
		w.turned(t, "the first policy again")
	}
	t.Logf("%d parts were refused", w.status(t).Reload.Bad)
	prober.Closed(t)
}

// TestStoredFaults breaks the stored policies in every way, and the files, before a start: what can't be trusted is not used, and what
// is enforced denies at least as much.
func TestStoredFaults(t *testing.T) {
	w, prober := probed(t, nil)
	w.kill(t)
	path := func(name string) string { return filepath.Join(w.cfg.State, name) }
	whole := map[string][]byte{}
	for _, name := range []string{"last-good", "emergency"} {
		data, err := os.ReadFile(path(name))
		if err != nil {
			t.Fatal(err)
		}
		whole[name] = data
	}
	w.save(t, "in: [")
	flipped := func(data []byte, at int) []byte {
		data = slices.Clone(data)
		data[at] ^= 1
		return data
	}
	good := whole["last-good"]
	body := strings.Index(string(good), "\n") + 1
	other := strings.Replace(string(good), base64.StdEncoding.EncodeToString([]byte(oldText)), base64.StdEncoding.EncodeToString([]byte("version: 1\ndefaults: {in: allow}\n")), 1)
	if other == string(good) {
		t.Fatal("the stored policy is in another form")
	}
	broken := map[string][]byte{
		"empty": {}, "its first line alone": good[:body], "half": good[:len(good)/2], "all but the last byte": good[:len(good)-1], "one bit": flipped(good, len(good)/2),
		"a bit of the digest": flipped(good, body-3), "more": append(slices.Clone(good), ' '), "zeros": make([]byte, len(good)),
		"an open policy without its digest": []byte(other),
	}
	for name, data := range broken {
		for _, emergency := range []bool{true, false} {
			for file, content := range whole {
				if err := os.WriteFile(path(file), content, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(path("last-good"), data, 0o600); err != nil {
				t.Fatal(err)
			}
			if !emergency {
				if err := os.WriteFile(path("emergency"), whole["emergency"][:30], 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w.start(t)
			if s := w.status(t); !s.Enforced || s.Source != enforce.Emergency || !s.Stale() {
				t.Errorf("%s: %+v", name, s)
			}
			w.kill(t)
		}
	}
	w.save(t, oldText)
	w.start(t)
	if s := w.status(t); !s.Enforced || s.Stale() {
		t.Errorf("mended: %+v", s)
	}
	if c := prober.Stop(); c.Leaked != 0 || c.Denied == 0 { // the emergency policy does not admit what the prober sends for comparison
		t.Errorf("%+v", c)
	}
}

// TestUnreadable has the policy file, and the files of the state directory, belong to somebody else who lets nobody read them.
func TestUnreadable(t *testing.T) {
	w := build(t, oldText)
	pair := nstest.Join(t, w.ns)
	how := program{NoOverride: true}
	p := w.spawn(t, how, nil)
	w.answers(t, p, 2)
	until(t, "the policy is stored", func() (bool, string) { // which it is beside the answers
		_, err := os.Stat(filepath.Join(w.cfg.State, "last-good"))
		return err == nil, p.text()
	})
	prober := pair.Probe(t, deniedPort, allowedPort)
	w.save(t, newText)
	for _, path := range []string{w.cfg.Policy, filepath.Join(w.cfg.State, "last-good")} {
		if err := os.Chmod(path, 0); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the file can't be read", func() (bool, string) {
		return strings.Contains(p.text(), "reload failed") || w.stored(newText) == 0, p.text()
	})
	p.kill()
	p = w.spawn(t, how, nil)
	until(t, "something is enforced after a restart", func() (bool, string) {
		client, err := control.Dial(t.Context(), w.cfg.Socket)
		if err != nil {
			return false, err.Error() + p.text()
		}
		defer client.Close()
		s, err := client.Status(t.Context())
		return err == nil && s.Enforced && s.Stale(), fmt.Sprintf("%+v\n%s", s, p.text())
	})
	if c := prober.Stop(); c.Leaked != 0 || c.Denied == 0 {
		t.Errorf("%+v", c)
	}
}

// TestLostEvents floods a daemon that is busy with more events than its socket holds, and deletes the table among them: the loss is noticed
// and the table is put back, though the daemon looks at it by itself once an hour; and what comes later is heard again.
func TestLostEvents(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	var busy atomic.Bool
	w, prober := probed(t, func(c *Config) {
		c.Kernel.Without.Persist, c.Kernel.EventBuffer, c.Tick = true, 4096, time.Hour
		c.Now = func() time.Time {
			if busy.CompareAndSwap(true, false) {
				asked <- struct{}{}
				<-answer
			}
			return time.Now()
		}
	})
	flooded := func(during func()) {
		t.Helper()
		busy.Store(true)
		listed := make(chan error, 1)
		go func() {
			_, err := w.client.Bans(context.Background(), "")
			listed <- err
		}()
		<-asked
		for range 3 {
			w.ns.Run(t, "nft", strings.Repeat("add table ip x; delete table ip x; ", 5))
			for range 15 {
				w.ns.Run(t, "nft", "add table ip x; delete table ip x")
			}
			during()
		}
		answer <- struct{}{}
		if err := <-listed; err != nil {
			t.Fatal(err)
		}
	}
	flooded(func() {})
	s := w.reaches(t, "events are lost", func(s *control.Status) bool { return s.EventsLost > 0 })
	if s.Heals != 0 || !s.Enforced {
		t.Errorf("%+v", s)
	}
	w.turned(t, "an edit is enforced")
	prober.Closed(t)
	lost := w.status(t).EventsLost
	flooded(sync.OnceFunc(func() { w.ns.Run(t, "nft", "delete", "table", "inet", "ringwall") }))
	w.reaches(t, "the table is back", func(s *control.Status) bool { return s.Enforced && s.Heals == 1 && s.EventsLost > lost })
	w.ns.Run(t, "nft", "delete", "table", "inet", "ringwall")
	w.reaches(t, "the table is back once more", func(s *control.Status) bool { return s.Enforced && s.Heals == 2 })
}

// rate is how many reloads a second the daemon is asked for, and seconds how long: longer by SOAK_STORM in the environment.
func rate() (perSecond, seconds int) {
	if n, err := strconv.Atoi(os.Getenv("SOAK_STORM")); err == nil {
		return 100, n
	}
	return 100, 5
}

// TestStormOfReloads changes the file and asks for a reload a hundred times a second.
func TestStormOfReloads(t *testing.T) {
	hangup := make(chan os.Signal, 1)
	w, prober := probed(t, func(c *Config) { c.Hangup = hangup })
	w.hangup = hangup
	perSecond, seconds := rate()
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	before := w.status(t).Reload.Good
	begun := time.Now()
	missed := 0
	for i := range perSecond * seconds {
		<-tick.C
		w.save(t, [2]string{newText, oldText}[i%2])
		select {
		case w.hangup <- syscall.SIGHUP:
		default: // as with signals, one that is pending is enough
			missed++
		}
	}
	took := time.Since(begun)
	s := w.reaches(t, "the last is enforced", func(s *control.Status) bool { return s.Enforced && !s.Stale() && s.Rules == 2 })
	if s.Reload.Bad != 0 {
		t.Errorf("%d reloads were refused", s.Reload.Bad)
	}
	t.Logf("asked %d times in %s; %d reloads, %d requests while one was pending", perSecond*seconds, took.Round(time.Millisecond), s.Reload.Good-before, missed)
	prober.Closed(t)
}

// TestClockJumps sets the clock forwards and back by hours and years under a running daemon.
func TestClockJumps(t *testing.T) {
	var jump atomic.Int64
	w, prober := probed(t, func(c *Config) {
		c.Kernel.Without.Persist = true
		c.Now = func() time.Time { return time.Now().Round(0).Add(time.Duration(jump.Load())) }
	})
	ban := netip.MustParsePrefix("203.0.113.9/32")
	if _, err := w.client.Ban(t.Context(), enforce.BanRequest{Prefixes: []netip.Prefix{ban}}); err != nil {
		t.Fatal(err)
	}
	const year = 365 * 24 * time.Hour
	for _, by := range []time.Duration{time.Hour, -time.Hour, 0, 20 * year, -20 * year, 0} {
		jump.Store(int64(by))
		w.turned(t, fmt.Sprintf("an edit is enforced after a jump by %s", by))
		before := w.status(t)
		w.ns.Run(t, "nft", "insert rule inet ringwall input meta l4proto 254 accept")
		s := w.reaches(t, "a rule is taken out again", func(s *control.Status) bool { return s.Enforced && s.Heals == before.Heals+1 || s.Fight })
		if s.Bans != 1 {
			t.Errorf("%d bans after a jump by %s", s.Bans, by)
		}
		if s.Fight {
			break
		}
	}
	prober.Closed(t)
}

// manager is a service manager with a store for descriptors, as systemd has one.
type manager struct {
	conn *net.UnixConn
	path string

	mu    sync.Mutex
	kept  []*os.File
	texts []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{path: filepath.Join(t.TempDir(), "notify")}
	var err error
	if m.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.conn.Close() })
	go m.serve()
	return m
}

func (m *manager) serve() {
	for {
		text, rights := make([]byte, 4096), make([]byte, 256)
		n, oobn, _, _, err := m.conn.ReadMsgUnix(text, rights)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.texts = append(m.texts, string(text[:n]))
		messages, _ := unix.ParseSocketControlMessage(rights[:oobn])
		for _, message := range messages {
			fds, _ := unix.ParseUnixRights(&message)
			for _, fd := range fds {
				m.kept = append(m.kept, os.NewFile(uintptr(fd), "kept"))
			}
		}
		m.mu.Unlock()
	}
}

// one is the descriptor that is kept.
func (m *manager) one(t *testing.T) *os.File {
	t.Helper()
	var f *os.File
	until(t, "the service manager has a descriptor", func() (bool, string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if len(m.kept) > 0 {
			f = m.kept[0]
		}
		return f != nil && slices.Contains(m.texts, "FDSTORE=1\nFDNAME=nft\nFDPOLL=0"), strings.Join(m.texts, "\n")
	})
	return f
}

// TestOwnedThroughAKill kills the daemon while the service manager keeps its socket: the table stays owned, a flush passes it by, and the
// next daemon takes it over. So with a table that was seized on an old kernel, which would be gone with its owner.
func TestOwnedThroughAKill(t *testing.T) {
	for name, how := range map[string]program{"owned and persistent": {}, "seized on an old kernel": {OldKernel: true}} {
		t.Run(name, func(t *testing.T) {
			w := build(t, oldText)
			w.cfg.Kernel.Without.Persist = how.OldKernel
			pair := nstest.Join(t, w.ns)
			m := newManager(t)
			env := []string{"NOTIFY_SOCKET=" + m.path}
			p := w.spawn(t, how, env)
			s := w.answers(t, p, 2)
			if !how.OldKernel && !s.Persist {
				t.Skip("the kernel has no tables that outlive their owner")
			}
			for how.OldKernel && !s.Fight {
				w.ns.Input(t, "", "nft", "delete", "table", "inet", "ringwall")
				s = w.answers(t, p, 2)
			}
			prober := pair.Probe(t, deniedPort, allowedPort)
			before := w.ns.Run(t, "nft", "list", "table", "inet", "ringwall")
			if !strings.Contains(before, "flags owner") {
				t.Errorf("not owned:\n%.200s", before)
			}
			env = append(env, "LISTEN_FDS=1", "LISTEN_FDNAMES=nft")
			for i := range 3 {
				kept := m.one(t)
				p.kill()
				w.ns.Run(t, "nft", "flush", "ruleset")
				if out, err := w.ns.Input(t, "", "nft", "delete", "table", "inet", "ringwall"); err == nil {
					t.Errorf("it could be deleted: %s", out)
				}
				p = w.spawn(t, how, env, kept)
				s := w.answers(t, p, 2)
				if !s.Owned || s.Heals != 0 {
					t.Errorf("start %d: %+v", i, s)
				}
				if got := w.ns.Run(t, "nft", "list", "table", "inet", "ringwall"); header(got) != header(before) {
					t.Errorf("start %d: %q, was %q", i, header(got), header(before))
				}
				if !strings.Contains(p.text(), "change=none") {
					t.Errorf("start %d changed something: %s", i, p.text())
				}
			}
			prober.Closed(t)

			// An orderly end leaves rules that outlive it, though nobody kept anything.
			p.cmd.Process.Signal(syscall.SIGTERM)
			ends(t, "the daemon", p.ended)
			m.mu.Lock()
			for _, f := range m.kept {
				f.Close()
			}
			m.mu.Unlock()
			if got := w.ns.Run(t, "nft", "list", "tables"); !strings.Contains(got, "inet ringwall") {
				t.Errorf("after an orderly end: %q", got)
			}
		})
	}
}

// header is what nft prints of a table before its contents: its owner and flags.
func header(text string) string {
	head, _, _ := strings.Cut(text, "\n\tchain")
	head, _, _ = strings.Cut(head, "\n\tcounter")
	head, _, _ = strings.Cut(head, "\n\tset")
	return head
}

// TestKeptSocketOfNoUse hands the daemon what is not its socket: it does without.
func TestKeptSocketOfNoUse(t *testing.T) {
	w := build(t, oldText)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	w.cfg.Kept = []*os.File{null}
	w.start(t)
	if s := w.status(t); !s.Enforced {
		t.Errorf("%+v", s)
	}
	w.logged(t, "is of no use")
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.states, "FDSTOREREMOVE=1\nFDNAME=nft") {
		t.Errorf("the service manager is told %q", w.states)
	}
}

// TestGapLeavesNothing opens a connection that must be denied while the table is gone: it ends with the repair, and one from before goes on.
func TestGapLeavesNothing(t *testing.T) {
	w := build(t, oldText)
	pair := nstest.Join(t, w.ns)
	p := w.spawn(t, program{OldKernel: true}, nil)
	w.answers(t, p, 2)
	for _, port := range []string{"53", "9999"} {
		w.ns.Listen(t, net.JoinHostPort(nstest.Host4, port), func(c net.Conn) { io.Copy(c, c) })
	}
	dial := func(port string) net.Conn {
		var c net.Conn
		var err error
		pair.Peer.Do(t, func() { c, err = net.DialTimeout("tcp", net.JoinHostPort(nstest.Host4, port), 10*time.Second) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	echoes := func(c net.Conn, patience time.Duration) bool {
		c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Write([]byte("x")); err != nil {
			return false
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err == nil
	}
	before := dial("53")
	if !echoes(before, 10*time.Second) {
		t.Fatal("no echo")
	}
	p.cmd.Process.Signal(syscall.SIGSTOP)
	w.ns.Run(t, "nft", "delete", "table", "inet", "ringwall")
	gap := dial("9999")
	if !echoes(gap, 10*time.Second) {
		t.Fatal("the host is not open")
	}
	p.cmd.Process.Signal(syscall.SIGCONT)
	until(t, "the table is back", func() (bool, string) { return strings.Contains(p.text(), "put back"), p.text() })
	if echoes(gap, time.Second) {
		t.Error("a connection that was opened in the gap goes on")
	}
	if !echoes(before, 10*time.Second) {
		t.Error("a connection from before the gap is cut")
	}
}
