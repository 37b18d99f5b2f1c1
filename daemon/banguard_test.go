package daemon

import (
	"net/netip"
	"strings"
	"testing"

	"ringwall/daemon/enforce"
	"ringwall/netfilter/host"
)

// TestBanThatLocksOut bans a host's visitor, by networks and by name.
func TestBanThatLocksOut(t *testing.T) {
	const text = "version: 1\nsets: {banned: {dynamic: true}}\nblock: [banned]\nin:\n  - {allow: ssh, from: any, id: ssh}\n"
	w, visitor := visited(t, text)
	w.start(t)
	bans := func() int { return w.status(t).Bans }
	ban := func(prefix string, set func(*enforce.BanRequest)) *enforce.BanReport {
		t.Helper()
		req := enforce.BanRequest{Prefixes: []netip.Prefix{netip.MustParsePrefix(prefix)}}
		if set != nil {
			set(&req)
		}
		r, err := w.client.Ban(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	const who = "session from 192.0.2.2 to port 22 could not connect again: refused by block"

	if r := ban("198.51.100.0/24", nil); r.Lockout != nil || len(r.Notes) > 0 || bans() != 1 {
		t.Errorf("a network without sessions: %+v", r)
	}
	if r := ban("192.0.2.0/24", nil); r.Lockout == nil || !strings.Contains(r.Lockout.String(), "the "+who) || len(r.Bans) > 0 || bans() != 1 {
		t.Errorf("a network with a session: %+v", r)
	}
	self := func(req *enforce.BanRequest) {
		req.Sessions = []host.Session{{Peer: netip.MustParseAddrPort(visitor.LocalAddr().String()), Local: netip.MustParseAddrPort(visitor.RemoteAddr().String())}}
	}
	if r := ban("192.0.2.2/32", self); r.Lockout == nil || !strings.Contains(r.Lockout.String(), "this "+who) || bans() != 1 {
		t.Errorf("oneself: %+v", r)
	}
	if r := ban("192.0.2.2/32", nil); r.Lockout != nil || bans() != 2 {
		t.Errorf("an address that is named: %+v", r)
	}
	if r := ban("192.0.2.0/25", nil); r.Lockout != nil || bans() != 3 {
		t.Errorf("who is banned already: %+v", r)
	}
	if _, err := w.client.Unban(t.Context(), "", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}); err != nil {
		t.Fatal(err)
	}
	visitor = dial(t, w.peer, "192.0.2.1:22")
	force := func(req *enforce.BanRequest) { self(req); req.Force = true }
	if r := ban("192.0.2.0/24", force); r.Lockout != nil || !strings.Contains(strings.Join(r.Notes, "\n"), who) || bans() != 2 {
		t.Errorf("forced: %+v", r)
	}
}

// TestFailsafeIsNotBanned has a failsafe admit the visitor whatever is banned.
func TestFailsafeIsNotBanned(t *testing.T) {
	w, _ := visited(t, strings.Replace(webText, "198.51.100.0/24", "192.0.2.2", 1))
	w.start(t)
	r, err := w.client.Ban(t.Context(), enforce.BanRequest{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	if err != nil || r.Lockout != nil || len(r.Bans) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
