package daemon

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
)

// The policies of a host at 192.0.2.1 that somebody at 192.0.2.2 looks after.
const (
	sshText   = "version: 1\nin:\n  - {allow: ssh, from: 192.0.2.0/24, id: ssh}\n"
	otherText = "version: 1\nin:\n  - {allow: ssh, from: 198.51.100.0/24, id: ssh}\n  - {deny: any, from: 192.0.2.2, id: him}\n"
	nobody    = "version: 1\nin:\n  - {allow: http, from: any, id: web}\n"
)

// dial connects from a namespace, which must succeed.
func dial(t testing.TB, ns *nstest.NS, addr string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	ns.Do(t, func() { c, err = net.Dial("tcp", addr) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// visited is a daemon whose host somebody is logged in to, from 192.0.2.2.
func visited(t *testing.T, text string) (w *wall, session net.Conn) {
	w = build(t, text)
	peer := nstest.New(t)
	w.peer = peer
	nstest.Veth(t, w.ns, "veth0", peer, "veth0")
	w.ns.Addr(t, "veth0", "192.0.2.1/24")
	peer.Addr(t, "veth0", "192.0.2.2/24")
	w.ns.Listen(t, ":22", func(net.Conn) { <-t.Context().Done() })
	return w, dial(t, peer, "192.0.2.1:22")
}

func TestReloadThatLocksOutIsHeldBack(t *testing.T) {
	w, session := visited(t, sshText)
	w.start(t)
	w.follows(t, "the first policy", 1)
	w.save(t, otherText)
	const who = "the session from 192.0.2.2 to port 22 could not connect again: refused by rule him, "
	s := w.reaches(t, "the edit is held back", func(s *control.Status) bool { return s.Reload.Held })
	if !s.Enforced || !s.Stale() || s.Rules != 1 || !strings.Contains(s.Reload.Error, "held back: "+who) || !strings.Contains(s.Reload.Error, "policy.yaml:4") {
		t.Errorf("%+v", s)
	}
	if told := w.told(); !strings.Contains(told, "READY=1") || !strings.Contains(told, "held back: "+who) {
		t.Errorf("the service manager is told %q", told)
	}
	if m, err := w.client.Metrics(t.Context()); err != nil || !strings.Contains(string(m), "\nringwall_reload_held_back 1\n") {
		t.Errorf("metrics: %v\n%s", err, m)
	}
	w.mu.Lock()
	if log := w.log.String(); !strings.Contains(log, who) {
		t.Errorf("log:\n%s", log)
	}
	w.mu.Unlock()
	if _, err := w.client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), who) {
		t.Errorf("reload: %v", err)
	}
	if c := chains(t); c["in.him"] {
		t.Error("it went to the kernel")
	}

	w.kill(t)
	w.start(t)
	if s := w.status(t); !s.Reload.Held || !s.Enforced || s.Rules != 1 || s.Source != enforce.LastGood {
		t.Errorf("after a restart: %+v", s)
	}
	w.save(t, sshText+"# changed\n")
	w.follows(t, "the content changes", 1)

	// Whoever leaves is not waited for, and whoever looks after the host is asked for.
	session.Close()
	w.save(t, otherText+"# changed\n")
	w.follows(t, "nobody is locked out any more", 2)
	w.save(t, nobody)
	s = w.reaches(t, "no way in is held back", func(s *control.Status) bool { return s.Reload.Held })
	if !strings.Contains(s.Reload.Error, "nobody could connect to SSH (port 22): neither failsafe nor a rule admits anybody") {
		t.Errorf("%+v", s)
	}
	w.save(t, nobody+"failsafe: {ssh: [192.0.2.2]}\n")
	w.follows(t, "a failsafe is a way in", 1)
}

func TestApplyThatLocksOutIsRefused(t *testing.T) {
	w, _ := visited(t, sshText)
	w.start(t)
	r, err := w.client.Apply(t.Context(), candidate("other.yaml", otherText), false)
	if err != nil || r.Applied || r.Lockout == nil || len(r.Lockout.Sessions) != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if s := r.Lockout.Sessions[0]; s.Peer.Addr() != netip.MustParseAddr("192.0.2.2") || s.Local.Port() != 22 || s.By != "him" || !s.Rule || s.At != "other.yaml:4" || s.Control {
		t.Errorf("%+v", s)
	}
	if s := w.status(t); s.Rules != 1 || s.Stale() {
		t.Errorf("%+v", s)
	}
	force := func(req *control.PolicyRequest) { req.Force = true }
	r, err = w.client.Apply(t.Context(), candidate("other.yaml", otherText), false, force)
	if err != nil || !r.Applied || !strings.Contains(strings.Join(r.Notes, "\n"), "could not connect again") {
		t.Errorf("forced: %+v, %v", r, err)
	}

	// A session that is not found by itself is the client's to tell.
	from := func(req *control.PolicyRequest) {
		req.Sessions = []host.Session{{Peer: netip.MustParseAddrPort("203.0.113.9:5000"), Local: netip.MustParseAddrPort("192.0.2.1:22")}}
	}
	r, err = w.client.Apply(t.Context(), candidate("other.yaml", sshText), false, from)
	if err != nil || r.Applied || r.Lockout == nil || len(r.Lockout.Sessions) != 1 || !r.Lockout.Sessions[0].Control {
		t.Errorf("the control connection's session: %+v, %v", r, err)
	}

	// The files, held back, are enforced where a user says so.
	w.save(t, otherText+"# saved\n")
	w.reaches(t, "the files are enforced, since what was enforced refused him, too", func(s *control.Status) bool { return s.Reload.Held })
	c := candidate(w.cfg.Policy, otherText+"# saved\n")
	if r, err = w.client.Apply(t.Context(), c, false, force); err != nil || !r.Applied || r.Source != enforce.Files {
		t.Errorf("%+v, %v", r, err)
	}
	w.follows(t, "forced", 2)
}

// TestStartThatLocksOutIsNotOpen has a host whose first policy would lock out be closed by the emergency policy.
func TestStartThatLocksOutIsNotOpen(t *testing.T) {
	w, _ := visited(t, otherText)
	w.start(t)
	s := w.status(t)
	if !s.Enforced || s.Source != enforce.Emergency || !s.Reload.Held {
		t.Errorf("%+v", s)
	}
	if c := chains(t); c["in.him"] || !c["pre"] {
		t.Errorf("the kernel holds %v", c)
	}
	w.save(t, sshText)
	w.follows(t, "mended", 1)
}
