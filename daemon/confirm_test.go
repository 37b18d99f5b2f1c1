package daemon

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/store"
	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// clock is the time that a daemon under test goes by.
type clock struct{ up, wall atomic.Int64 }

// timed has a daemon go by a clock that stands still, in a boot of its own.
func (w *wall) timed() *clock {
	c := &clock{}
	c.up.Store(int64(time.Hour))
	c.wall.Store(time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	w.cfg.Boot = "first"
	w.cfg.Uptime = func() time.Duration { return time.Duration(c.up.Load()) }
	w.cfg.Now = func() time.Time { return time.Unix(0, c.wall.Load()) }
	return c
}

// pass lets time pass on both clocks.
func (c *clock) pass(d time.Duration) {
	c.wall.Add(int64(d))
	c.up.Add(int64(d))
}

// length is how long changes stand in these tests, by the clock that they set.
const length = time.Minute

// enters has a daemon enforce a policy for a window, over the socket.
func (w *wall) enters(t *testing.T, text string) *enforce.Report {
	t.Helper()
	r, err := w.client.Apply(t.Context(), candidate("other.yaml", text), false, asking(control.PolicyRequest{Confirm: length}))
	if err != nil || !r.Applied || r.Awaited == nil {
		t.Fatalf("apply for a window: %+v, %v", r, err)
	}
	return r
}

// asking is a request for an apply, but for the policy.
func asking(with control.PolicyRequest) func(*control.PolicyRequest) {
	return func(req *control.PolicyRequest) { req.Confirm, req.ConfirmRequest = with.Confirm, with.ConfirmRequest }
}

// anyway confirms from anywhere.
var anyway = control.ConfirmRequest{AnySession: true}

// session opens a connection to a fake SSH port of this namespace, and returns what sshd would say of it.
func session(t *testing.T, l net.Listener) *host.Session {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { served.Close() })
	return &host.Session{Peer: netip.MustParseAddrPort(served.RemoteAddr().String()), Local: netip.MustParseAddrPort(served.LocalAddr().String())}
}

func fakeSSH(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// isBack waits until the policy before the window is enforced again, and the window's is refused.
func (w *wall) isBack(t *testing.T) *control.Status {
	t.Helper()
	s := w.reaches(t, "the policy before is back", func(s *control.Status) bool { return s.Enforced && s.Rules == 1 && s.Awaited == nil })
	if c := chains(t); c["in.mail"] || !c["in.web"] {
		t.Errorf("the kernel holds %v", c)
	}
	if len(s.Refused) != 1 {
		t.Errorf("refused: %+v", s.Refused)
	}
	if _, err := store.At(w.cfg.State).Pending(); err == nil {
		t.Error("the record of the window is still there")
	}
	return s
}

func TestWindowExpires(t *testing.T) {
	w := build(t, webText)
	c := w.timed()
	w.start(t)
	r := w.enters(t, mailText)
	if r.Awaited.Left != length.Seconds() || r.Awaited.Back != w.status(t).Awaited.Back {
		t.Errorf("%+v", r.Awaited)
	}
	c.pass(length - time.Second)
	s := w.status(t)
	if s.Awaited == nil || s.Awaited.Left != 1 || s.Rules != 2 || !s.Enforced || s.Awaited.Digest != s.Digest {
		t.Errorf("within the window: %+v", s)
	}
	if told := w.told(); !strings.Contains(told, "NOT CONFIRMED") {
		t.Errorf("the service manager is told %q", told)
	}
	numbers := func(lines ...string) {
		t.Helper()
		text, err := w.client.Metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !strings.Contains(string(text), "\n"+line+"\n") {
				t.Errorf("no line %s in\n%s", line, text)
			}
		}
	}
	numbers("ringwall_confirm_pending 1", "ringwall_rollbacks_total 0")
	if c := chains(t); !c["in.mail"] {
		t.Errorf("the kernel holds %v", c)
	}
	c.pass(time.Second)
	s = w.isBack(t)
	if s.Stale() || !strings.Contains(strings.Join(s.Notes, "\n"), "not confirmed within 1m0s") {
		t.Errorf("after the window: %+v", s)
	}
	numbers("ringwall_confirm_pending 0", "ringwall_rollbacks_total 1")
	if _, err := w.client.Confirm(t.Context(), anyway); err == nil {
		t.Error("what is over was confirmed")
	}
	w.kill(t)
	w.start(t)
	if s := w.status(t); s.Rules != 1 || s.Stale() {
		t.Errorf("after a restart: %+v", s)
	}
}

func TestClockJumpsDoNotMatter(t *testing.T) {
	w := build(t, webText)
	c := w.timed()
	w.start(t)
	w.enters(t, mailText)
	for _, jump := range []time.Duration{100 * time.Hour, -200 * time.Hour} {
		c.wall.Add(int64(jump))
		for range 3 { // the loop has looked at the time in between
			time.Sleep(2 * w.cfg.Tick)
			if s := w.status(t); s.Awaited == nil || s.Awaited.Left != length.Seconds() {
				t.Fatalf("after a jump of %s: %+v", jump, s.Awaited)
			}
		}
	}
	c.up.Add(int64(length))
	w.isBack(t)
}

func TestConfirmed(t *testing.T) {
	w := build(t, webText)
	c := w.timed()
	w.start(t)
	if _, err := w.client.Confirm(t.Context(), anyway); err == nil || !strings.Contains(err.Error(), enforce.ErrNothingPending.Error()) {
		t.Errorf("nothing to confirm: %v", err)
	}
	entered := w.enters(t, mailText)
	if last, err := store.At(w.cfg.State).LastGood(); err != nil || last.Digest == entered.Digest {
		t.Errorf("what is not confirmed is the last good policy: %v", err)
	}
	r, err := w.client.Confirm(t.Context(), anyway)
	if err != nil || r.Digest != entered.Digest || len(r.Notes) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	c.pass(2 * length)
	time.Sleep(3 * w.cfg.Tick)
	if s := w.status(t); s.Rules != 2 || s.Awaited != nil {
		t.Errorf("%+v", s)
	}
	if last, err := store.At(w.cfg.State).LastGood(); err != nil || last.Digest != entered.Digest {
		t.Errorf("what was confirmed is not stored: %v", err)
	}
	if _, err := store.At(w.cfg.State).Pending(); err == nil {
		t.Error("the record of the window is still there")
	}
}

// TestOnlyANewConnectionConfirms has SSH connections that were there before the change, and one that was opened after it.
func TestOnlyANewConnectionConfirms(t *testing.T) {
	w := build(t, webText)
	w.timed()
	ssh := fakeSSH(t)
	before := session(t, ssh)
	w.start(t)
	w.enters(t, mailText)
	confirm := func(req control.ConfirmRequest) error {
		t.Helper()
		_, err := w.client.Confirm(t.Context(), req)
		return err
	}
	gone := &host.Session{Peer: netip.MustParseAddrPort("198.51.100.7:50000"), Local: before.Local}
	for name, c := range map[string]struct {
		req  control.ConfirmRequest
		want string
	}{
		"an old one":      {control.ConfirmRequest{Session: before}, "is older than the change"},
		"one that is not": {control.ConfirmRequest{Session: gone}, "none of this host's"},
		"none":            {control.ConfirmRequest{}, host.ErrNoSession.Error()},
		"tmux":            {control.ConfirmRequest{NoSession: host.ErrMultiplexer.Error()}, "tmux"},
	} {
		if err := confirm(c.req); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "ringwall confirm") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s := w.status(t); s.Awaited == nil {
		t.Fatal("something has confirmed")
	}

	// Old stays old after a restart, and new stays new.
	after := session(t, ssh)
	who := w.status(t).Awaited.Who
	w.kill(t)
	w.start(t)
	if s := w.status(t); s.Awaited == nil || s.Rules != 2 || s.Awaited.Who != who || !strings.HasPrefix(who, "root (pid ") {
		t.Fatalf("after a restart: %+v, %+v", s, s.Awaited)
	}
	if err := confirm(control.ConfirmRequest{Session: before}); err == nil || !strings.Contains(err.Error(), "is older") {
		t.Errorf("an old one, after a restart: %v", err)
	}
	if err := confirm(control.ConfirmRequest{Session: after}); err != nil {
		t.Errorf("a new one: %v", err)
	}
	if s := w.status(t); s.Awaited != nil || s.Rules != 2 {
		t.Errorf("%+v", s)
	}
	if list, err := w.client.History(t.Context()); err != nil || len(list) != 2 || list[0].Who != who {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestWindowOutlivesTheDaemon ends the daemon within the window and starts it before and after the deadline, in the same boot
// and, in another namespace, in another one.
func TestWindowOutlivesTheDaemon(t *testing.T) {
	for _, c := range []struct {
		name   string
		boot   string        // the next one
		passes time.Duration // while the daemon is away
		jumps  time.Duration // of the time of day beside that
		over   bool
	}{
		{"before the deadline", "first", length / 2, 0, false},
		{"after the deadline", "first", length + time.Second, 0, true},
		{"the clock was set back", "first", length + time.Second, -time.Hour, true},
		{"the clock was set on", "first", length / 2, time.Hour, false},
		{"another boot, before", "second", length / 2, 0, false},
		{"another boot, after", "second", length + time.Second, 0, true},
		{"another boot, no clock", "second", length / 2, -100 * 24 * time.Hour, true},
	} {
		for _, from := range []string{"socket", "files"} {
			t.Run(c.name+" "+from, func(t *testing.T) {
				w := build(t, webText)
				now := w.timed()
				if from == "files" {
					w.cfg.Confirm = length
				}
				w.start(t)
				if from == "files" {
					w.save(t, mailText)
					w.reaches(t, "the edit is enforced", func(s *control.Status) bool { return s.Rules == 2 && s.Awaited != nil })
				} else {
					w.enters(t, mailText)
				}
				w.kill(t)
				now.pass(c.passes)
				now.wall.Add(int64(c.jumps))
				if c.boot != w.cfg.Boot {
					w.cfg.Boot = c.boot
					w.ns = nstest.Enter(t)
					now.up.Store(int64(time.Minute))
				}
				w.start(t)
				if c.over {
					s := w.isBack(t)
					if from == "files" && (!s.Stale() || !strings.Contains(s.Reload.Error, "not confirmed within")) {
						t.Errorf("%+v", s)
					}
					return
				}
				s := w.status(t)
				if s.Awaited == nil || !s.Enforced || s.Rules != 2 || s.Awaited.Left != (length-c.passes).Seconds() {
					t.Fatalf("%+v, %+v", s, s.Awaited)
				}
				if c := chains(t); !c["in.mail"] {
					t.Errorf("the kernel holds %v", c)
				}
				now.pass(length - c.passes)
				w.isBack(t)
			})
		}
	}
}

// TestRebootForgetsOldConnections has a connection that was opened before the daemon's start not count after a reboot:
// the boot enforced the old policy.
func TestRebootForgetsOldConnections(t *testing.T) {
	w := build(t, webText)
	w.timed()
	w.start(t)
	w.enters(t, mailText)
	w.kill(t)
	w.cfg.Boot = "second"
	w.ns = nstest.Enter(t)
	ssh := fakeSSH(t)
	early := session(t, ssh)
	w.start(t)
	if _, err := w.client.Confirm(t.Context(), control.ConfirmRequest{Session: early}); err == nil || !strings.Contains(err.Error(), "is older") {
		t.Errorf("a connection that was there before: %v", err)
	}
	if _, err := w.client.Confirm(t.Context(), control.ConfirmRequest{Session: session(t, ssh)}); err != nil {
		t.Error(err)
	}
}

// TestCrashesOfAWindow starts the daemon with what a crash leaves between any two steps of a change.
func TestCrashesOfAWindow(t *testing.T) {
	for name, c := range map[string]struct {
		crash func(t *testing.T, w *wall, dir store.Dir, p store.Pending)
		on    bool // the window goes on
	}{
		"before the commit, and nothing stored": {func(t *testing.T, w *wall, dir store.Dir, p store.Pending) {
			p.Listed, p.Old = false, nil
			again(t, dir.RemovePending(), dir.SavePending(p))
			w.commit(t, webText)
		}, false},
		"after the commit, and nothing stored": {func(t *testing.T, w *wall, dir store.Dir, p store.Pending) {
			p.Listed, p.Old = false, nil
			again(t, dir.RemovePending(), dir.SavePending(p))
		}, false},
		"before the connections are listed": {func(t *testing.T, w *wall, dir store.Dir, p store.Pending) {
			p.Listed, p.Old = false, nil
			again(t, dir.SavePending(p))
		}, true},
		"the record is damaged": {func(t *testing.T, w *wall, dir store.Dir, p store.Pending) {
			again(t, os.WriteFile(filepath.Join(dir.Path(), "pending"), []byte("x"), 0o600))
		}, false},
		"the policy is damaged": {func(t *testing.T, w *wall, dir store.Dir, p store.Pending) {
			again(t, os.WriteFile(filepath.Join(dir.Path(), "unconfirmed"), []byte("x"), 0o600))
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := build(t, webText)
			now := w.timed()
			w.start(t)
			w.enters(t, mailText)
			w.kill(t)
			dir := store.At(w.cfg.State)
			p, err := dir.Pending()
			if err != nil {
				t.Fatal(err)
			}
			c.crash(t, w, dir, p)
			w.start(t)
			s := w.status(t)
			if on := s.Awaited != nil; on != c.on || !s.Enforced || on != (s.Rules == 2) {
				t.Errorf("%+v", s)
			}
			now.pass(length)
			w.reaches(t, "the policy before is back", func(s *control.Status) bool { return s.Enforced && s.Rules == 1 && s.Awaited == nil && !s.Stale() })
		})
	}
}

// again fails the test at the first error.
func again(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// commit has the kernel hold a policy, by a process that has a state directory of its own.
func (w *wall) commit(t *testing.T, text string) {
	t.Helper()
	e, err := enforce.Open(t.Context(), enforce.Options{State: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := enforce.Load(source.Memory{w.cfg.Policy: text}, w.cfg.Policy, e.LoadOptions())
	if r, err := e.Apply(t.Context(), c, enforce.Files); err != nil || !r.Applied {
		t.Fatalf("%+v, %v", r, err)
	}
}

// TestDamagedRecordOfAFile has the files hold what is not confirmed when its record is damaged: it stays out.
func TestDamagedRecordOfAFile(t *testing.T) {
	w := build(t, webText)
	w.cfg.Confirm = length
	w.timed()
	w.start(t)
	w.save(t, mailText)
	w.reaches(t, "the edit is enforced", func(s *control.Status) bool { return s.Rules == 2 && s.Awaited != nil })
	w.kill(t)
	again(t, os.WriteFile(filepath.Join(w.cfg.State, "pending"), []byte("x"), 0o600))
	w.start(t)
	s := w.isBack(t)
	if !s.Stale() || !strings.Contains(s.Reload.Error, "held back") {
		t.Errorf("%+v", s)
	}
}

// TestReloadsAreConfirmed has the settings ask for a confirmation of every reload.
func TestReloadsAreConfirmed(t *testing.T) {
	w := build(t, webText)
	w.cfg.Confirm = length
	now := w.timed()
	w.start(t)
	if s := w.status(t); s.Awaited != nil {
		t.Errorf("the first policy of all has nothing before it: %+v", s.Awaited)
	}
	w.save(t, mailText)
	w.reaches(t, "the edit is enforced", func(s *control.Status) bool { return s.Rules == 2 && s.Awaited != nil && !s.Stale() })
	now.pass(length)
	s := w.isBack(t)
	if !s.Stale() || !strings.Contains(s.Reload.Error, "held back: it was not confirmed within 1m0s") || !strings.Contains(w.told(), "not confirmed") {
		t.Errorf("%+v; %q", s, w.told())
	}

	// It stays out over rescans, reloads and restarts.
	if _, err := w.client.Reload(t.Context()); err == nil {
		t.Error("a reload has brought it back")
	}
	w.save(t, mailText)
	w.kill(t)
	w.start(t)
	w.isBack(t)

	// The files go back, and on to something else.
	w.save(t, webText)
	w.reaches(t, "the files are as before", func(s *control.Status) bool { return s.Rules == 1 && !s.Stale() && s.Awaited == nil })
	w.save(t, mailText+"# better\n")
	w.reaches(t, "a changed file is enforced", func(s *control.Status) bool { return s.Rules == 2 && s.Awaited != nil })
	if _, err := w.client.Confirm(t.Context(), anyway); err != nil {
		t.Error(err)
	}
	now.pass(2 * length)
	w.kill(t)
	w.start(t)
	if s := w.status(t); s.Rules != 2 || s.Stale() || s.Awaited != nil {
		t.Errorf("confirmed: %+v", s)
	}
}

// TestAStartIsAReload has a file change while the daemon is away, where reloads are to be confirmed.
func TestAStartIsAReload(t *testing.T) {
	w := build(t, webText)
	w.cfg.Confirm = length
	now := w.timed()
	w.start(t)
	w.kill(t)
	w.save(t, mailText)
	w.start(t)
	if s := w.status(t); s.Awaited == nil || s.Rules != 2 || s.Stale() {
		t.Errorf("%+v", s)
	}
	now.pass(length)
	w.isBack(t)
}

// TestAChangeWithinAWindow opens a window within a window: what comes back is what was confirmed last.
func TestAChangeWithinAWindow(t *testing.T) {
	w := build(t, webText)
	now := w.timed()
	w.start(t)
	w.enters(t, mailText)
	now.pass(length / 2)
	more := strings.Replace(mailText, "in:\n", "in:\n  - {allow: imaps, from: any, id: imaps}\n", 1)
	if r := w.enters(t, more); r.Awaited.Left != length.Seconds() {
		t.Errorf("%+v", r.Awaited)
	}
	now.pass(length - time.Second)
	if s := w.status(t); s.Rules != 3 || s.Awaited == nil {
		t.Errorf("%+v", s)
	}
	// A file that is saved within the window stays within it, and does not make it longer.
	w.save(t, more+"  - {allow: pop3s, from: any, id: pop3s}\n")
	w.reaches(t, "the edit is enforced", func(s *control.Status) bool { return s.Rules == 4 && s.Awaited != nil && s.Awaited.Left == 1 })
	now.pass(time.Second)
	w.isBack(t)

	// Files that say again what was confirmed last end the window.
	w.save(t, webText)
	w.reaches(t, "the files are as before", func(s *control.Status) bool { return !s.Stale() })
	w.enters(t, mailText+"# again\n")
	w.save(t, webText+"# edited\n")
	w.reaches(t, "the edit is enforced", func(s *control.Status) bool { return s.Rules == 1 && s.Awaited != nil })
	w.save(t, webText)
	w.reaches(t, "the window is over", func(s *control.Status) bool { return s.Rules == 1 && s.Awaited == nil && !s.Stale() })
}

// TestPlainApplyConfirms applies within a window without one: that confirms, where a confirmation would count.
func TestPlainApplyConfirms(t *testing.T) {
	w := build(t, webText)
	now := w.timed()
	ssh := fakeSSH(t)
	before := session(t, ssh)
	w.start(t)
	w.enters(t, mailText)
	plain := func(text string, s *host.Session) (*enforce.Report, error) {
		return w.client.Apply(t.Context(), candidate("other.yaml", text), false, asking(control.PolicyRequest{ConfirmRequest: control.ConfirmRequest{Session: s}}))
	}
	more := strings.Replace(mailText, "in:\n", "in:\n  - {allow: imaps, from: any, id: imaps}\n", 1)
	if _, err := plain(more, before); err == nil || !strings.Contains(err.Error(), "awaits its confirmation") || !strings.Contains(err.Error(), "is older") {
		t.Errorf("over an old connection: %v", err)
	}
	if s := w.status(t); s.Rules != 2 || s.Awaited == nil {
		t.Errorf("%+v", s)
	}
	// The same policy again is enforced as it is, and stays unconfirmed.
	if r, err := plain(mailText, before); err != nil || r.Awaited == nil || len(r.Notes) == 0 {
		t.Errorf("the same: %+v, %v", r, err)
	}
	if r, err := plain(more, session(t, ssh)); err != nil || !r.Applied || r.Awaited != nil {
		t.Errorf("over a new connection: %+v, %v", r, err)
	}
	now.pass(2 * length)
	time.Sleep(3 * w.cfg.Tick)
	if s := w.status(t); s.Rules != 3 || s.Awaited != nil {
		t.Errorf("%+v", s)
	}
	w.enters(t, mailText)
	if r, err := plain(more, before); err != nil || !r.Applied {
		t.Errorf("what was confirmed last: %+v, %v", r, err)
	}
	if s := w.status(t); s.Awaited != nil || s.Rules != 3 {
		t.Errorf("%+v", s)
	}
}

func TestTakenDownWithinAWindow(t *testing.T) {
	w := build(t, webText)
	now := w.timed()
	w.start(t)
	w.enters(t, mailText)
	if err := w.client.TakeDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	now.pass(2 * length)
	time.Sleep(3 * w.cfg.Tick)
	if s := w.status(t); s.Source != enforce.Opened || s.Awaited != nil || len(chains(t)) != 0 {
		t.Errorf("%+v", s)
	}
	w.kill(t)
	w.start(t)
	w.follows(t, "a restart closes the wall", 1)
}

// TestNoWindowWithoutARecord has the state directory vanish: what could not come back is not begun.
func TestNoWindowWithoutARecord(t *testing.T) {
	w := build(t, webText)
	w.timed()
	w.start(t)
	w.enters(t, mailText)
	if _, err := w.client.Rollback(t.Context(), control.RollbackRequest{Number: 1}); err != nil {
		t.Fatal(err)
	}
	again(t, os.Rename(w.cfg.State, w.cfg.State+".away"))
	refused := func(want string) {
		t.Helper()
		r, err := w.client.Apply(t.Context(), candidate("other.yaml", mailText), false, asking(control.PolicyRequest{Confirm: length}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v", r, err)
		}
		if s := w.status(t); s.Rules != 1 || s.Awaited != nil || !s.Enforced {
			t.Errorf("%+v", s)
		}
	}
	refused("must be on disk first")
	w.save(t, webText+"# edited\n")
	w.reaches(t, "the edit is not stored", func(s *control.Status) bool { return strings.Contains(strings.Join(s.Notes, " "), notStored) })
	refused(enforce.ErrNotStored.Error())
	again(t, os.Rename(w.cfg.State+".away", w.cfg.State))
}

// TestRollbackWithoutTheStateDirectory brings the policy back although the disk is gone.
func TestRollbackWithoutTheStateDirectory(t *testing.T) {
	w := build(t, webText)
	now := w.timed()
	w.start(t)
	w.enters(t, mailText)
	again(t, os.Rename(w.cfg.State, w.cfg.State+".away"))
	now.pass(length)
	w.reaches(t, "the policy before is back", func(s *control.Status) bool { return s.Enforced && s.Rules == 1 && s.Awaited == nil })
	again(t, os.Rename(w.cfg.State+".away", w.cfg.State))
}

func TestLastGoodAtTheBoot(t *testing.T) {
	w := build(t, webText)
	w.timed()
	w.start(t)
	w.enters(t, mailText)
	w.kill(t)
	e, err := enforce.Open(t.Context(), enforce.Options{State: w.cfg.State})
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.ApplyStored(t.Context())
	if err != nil || !r.Applied || r.Rules != 1 {
		t.Errorf("the boot enforces %+v, %v", r, err)
	}
	again(t, e.Close())
	w.start(t)
	if s := w.status(t); s.Awaited == nil || s.Rules != 2 {
		t.Errorf("the daemon goes on: %+v", s)
	}
}

// files is the policy's files as a client loads them.
func (w *wall) files() *enforce.Candidate {
	return enforce.Load(source.OS{}, w.cfg.Policy, enforce.LoadOptions{Options: policy.Options{Now: time.Now().Unix()}})
}

func TestHistoryAndRollback(t *testing.T) {
	w := build(t, webText)
	w.timed()
	w.start(t)
	text := func(n int) string {
		return strings.Replace(webText, "in:\n", fmt.Sprintf("in:\n  - {allow: tcp/%d, from: any, id: n}\n", 1000+n), 1)
	}
	var digests []string
	for n := range 12 {
		r, err := w.client.Apply(t.Context(), candidate("other.yaml", text(n)), false, asking(control.PolicyRequest{ConfirmRequest: control.ConfirmRequest{Says: "alice"}}))
		if err != nil || !r.Applied {
			t.Fatalf("%+v, %v", r, err)
		}
		digests = append([]string{r.Digest}, digests...)
	}
	history := func() []enforce.Past {
		t.Helper()
		list, err := w.client.History(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	list := history()
	if len(list) != 10 {
		t.Fatalf("%d policies", len(list))
	}
	for i, p := range list {
		if p.Number != i || p.Enforced != (i == 0) || p.Digest != digests[i] || p.Rules != 2 ||
			!strings.HasPrefix(p.Who, "root (pid ") || !strings.HasSuffix(p.Who, "), says alice") || p.Applied.IsZero() {
			t.Errorf("policy %d: %+v", i, p)
		}
	}
	if _, err := w.client.Rollback(t.Context(), control.RollbackRequest{Number: 10}); err == nil || !strings.Contains(err.Error(), "no policy 10") {
		t.Errorf("too far back: %v", err)
	}
	back := func(n int) *enforce.Report {
		t.Helper()
		r, err := w.client.Rollback(t.Context(), control.RollbackRequest{Number: n})
		if err != nil || !r.Applied {
			t.Fatalf("rollback %d: %+v, %v", n, r, err)
		}
		return r
	}
	if r := back(9); r.Digest != digests[9] || r.Source != enforce.RolledBack {
		t.Errorf("%+v", r)
	}
	if list := history(); len(list) != 10 || list[0].Digest != digests[9] || list[1].Digest != digests[0] {
		t.Errorf("%+v", list)
	}
	if s := w.status(t); s.Digest != digests[9] || !s.Stale() || !s.Enforced {
		t.Errorf("%+v", s)
	}
	if r := back(1); r.Digest != digests[0] {
		t.Errorf("%+v", r)
	}
	back(1)

	// Neither a look at the files nor a restart brings back what was rolled back.
	w.save(t, webText)
	if _, err := w.client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "rolled back by root") {
		t.Errorf("%v", err)
	}
	w.kill(t)
	w.start(t)
	if s := w.status(t); s.Digest != digests[9] || !s.Stale() || s.Source != enforce.LastGood {
		t.Errorf("after a restart: %+v", s)
	}
	// To name it does.
	if r, err := w.client.Apply(t.Context(), w.files(), false); err != nil || r.Source != enforce.Files || r.Rules != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	w.kill(t)
	w.start(t)
	w.follows(t, "the files again", 1)
}

func TestRollbackOfAFile(t *testing.T) {
	w := build(t, webText)
	now := w.timed()
	w.start(t)
	w.save(t, mailText)
	w.follows(t, "the edit", 2)
	r, err := w.client.Rollback(t.Context(), control.RollbackRequest{Number: 1})
	if err != nil || !r.Applied {
		t.Fatalf("%+v, %v", r, err)
	}
	s := w.isBack(t)
	if !s.Stale() || !strings.Contains(s.Reload.Error, "rolled back by root") {
		t.Errorf("%+v", s)
	}
	w.save(t, webText)
	w.follows(t, "the files say what is enforced", 1)

	// For a window.
	w.save(t, mailText+"# again\n")
	w.follows(t, "another edit", 2)
	if r, err = w.client.Rollback(t.Context(), control.RollbackRequest{Number: 1, Confirm: length}); err != nil || r.Awaited == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	if s := w.status(t); s.Rules != 1 || s.Awaited == nil {
		t.Errorf("%+v", s)
	}
	now.pass(length)
	w.follows(t, "the files are back", 2)
}

func TestRollbackEndsAWindow(t *testing.T) {
	w := build(t, webText)
	w.timed()
	w.start(t)
	w.enters(t, mailText)
	list, err := w.client.History(t.Context())
	if err != nil || len(list) != 1 || list[0].Number != 1 || list[0].Enforced {
		t.Errorf("%+v, %v", list, err)
	}
	r, err := w.client.Rollback(t.Context(), control.RollbackRequest{Number: 1})
	if err != nil || !r.Applied || r.Rules != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if s := w.isBack(t); s.Stale() {
		t.Errorf("%+v", s)
	}
}

// TestAWindowGoesPastTheGuard has a change that would lock a live session out: for a window it is enforced, and says whom.
func TestAWindowGoesPastTheGuard(t *testing.T) {
	w, _ := visited(t, sshText)
	now := w.timed()
	w.start(t)
	w.follows(t, "the first policy", 1)
	r, err := w.client.Apply(t.Context(), candidate("other.yaml", otherText), false)
	if err != nil || r.Applied || r.Lockout == nil {
		t.Fatalf("without a window: %+v, %v", r, err)
	}
	r, err = w.client.Apply(t.Context(), candidate("other.yaml", otherText), false, asking(control.PolicyRequest{Confirm: length}))
	if err != nil || !r.Applied || r.Awaited == nil || !strings.Contains(strings.Join(r.Notes, "\n"), "192.0.2.2") {
		t.Fatalf("for a window: %+v, %v", r, err)
	}
	if c := chains(t); !c["in.him"] {
		t.Errorf("the kernel holds %v", c)
	}
	now.pass(length)
	w.follows(t, "the policy before is back", 1)

	// So has a reload where reloads are to be confirmed.
	w.kill(t)
	w.cfg.Confirm = length
	w.start(t)
	w.save(t, otherText)
	w.reaches(t, "the edit is enforced", func(s *control.Status) bool { return s.Rules == 2 && s.Awaited != nil && !s.Stale() })
	now.pass(length)
	w.reaches(t, "the policy before is back", func(s *control.Status) bool { return s.Rules == 1 && s.Enforced && s.Reload.Held })
}
