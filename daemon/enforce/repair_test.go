package enforce

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ringwall/daemon/store"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
)

// TestBootFromAReadOnlyState enforces the last good policy though nothing can be written, and the host has no table.
func TestBootFromAReadOnlyState(t *testing.T) {
	state := t.TempDir()
	nstest.Enter(t)
	e := open(t, state)
	apply(t, e, webText)
	e.Close()
	if err := errors.Join(unix.Mount(state, state, "", unix.MS_BIND, ""), unix.Mount("", state, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
		nstest.Missing(t, "%v", err)
	}
	t.Cleanup(func() { unix.Unmount(state, unix.MNT_DETACH) })

	nstest.Enter(t)
	e = open(t, state)
	r, err := e.ApplyStored(t.Context())
	if err != nil || !r.Applied || r.Source != LastGood {
		t.Errorf("%+v, %v", r, err)
	}
	intact(t, e)
	if _, err := Open(t.Context(), Options{State: state, Wait: 1}); !errors.As(err, new(*store.HeldError)) {
		t.Errorf("a second process has the directory too: %v", err)
	}
}

// TestStateOfOthers does not believe a state directory that others may write to, and enforces all the same.
func TestStateOfOthers(t *testing.T) {
	nstest.Enter(t)
	state := filepath.Join(t.TempDir(), "state")
	e := open(t, state)
	apply(t, e, webText)
	e.Close()
	if err := os.Chmod(state, 0o777); err != nil {
		t.Fatal(err)
	}
	e = open(t, state)
	if e.Running().Candidate != nil && e.Running().Source != Emergency {
		t.Errorf("it is believed: %+v", e.Running())
	}
	r, err := e.ApplyStored(t.Context())
	if err != nil || !r.Applied || r.Source != Emergency {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = e.Apply(t.Context(), load(e, webText), Files)
	if err == nil || !r.Applied {
		t.Errorf("enforced, and not stored: %+v, %v", r, err)
	}
	intact(t, e)
	if _, err := e.Ban(t.Context(), BanRequest{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}); err == nil {
		t.Error("a ban that is not stored is none")
	}
}

// TestRepairBans takes bans out of the kernel's sets behind the Enforcer's back.
func TestRepairBans(t *testing.T) {
	ns := nstest.Enter(t)
	e, err := Open(t.Context(), Options{State: t.TempDir(), Kernel: kernel.Options{Without: kernel.Features{Persist: true}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	apply(t, e, webText)
	bans := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("203.0.113.7/32"), netip.MustParsePrefix("2001:db8::/64")}
	if _, err := e.Ban(t.Context(), BanRequest{Prefixes: bans}); err != nil {
		t.Fatal(err)
	}
	repair := func(want string) {
		t.Helper()
		if did, err := e.Repair(t.Context()); did != want || err != nil {
			t.Errorf("repaired %q, want %q: %v", did, want, err)
		}
	}
	repair("")
	ns.Run(t, "nft", "add element inet ringwall dyn4.banned { 198.51.100.1 }")
	repair("") // what others ban is no fault
	ns.Run(t, "nft", "delete element inet ringwall dyn4.banned { 203.0.113.7 }")
	repair("bans put back: 1")
	repair("")
	ns.Run(t, "nft", "flush set inet ringwall dyn4.banned; flush set inet ringwall dyn6.banned")
	repair("bans put back: 3")
	repair("")
	ns.Run(t, "nft", "get element inet ringwall dyn4.banned { 203.0.113.7 }")
	ns.Run(t, "nft", "get element inet ringwall dyn6.banned { 2001:db8::1 }")
}
