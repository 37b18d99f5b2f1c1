package enforce

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
)

// TestFeaturesForcedOff enforces, edits, bans, takes over and looks, as on kernels that can do less, with packets.
func TestFeaturesForcedOff(t *testing.T) {
	for _, without := range []kernel.Features{{}, {Persist: true}, {Labels: true}, {ValidatesOnce: true}, {Persist: true, Labels: true, ValidatesOnce: true}} {
		t.Run(fmt.Sprintf("%+v", without), func(t *testing.T) {
			pair := nstest.NewPair(t)
			pair.Host.Do(t, func() {
				l, err := net.Listen("tcp", "[::]:80")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { l.Close() })
			})
			reaches := func(addr string) (ok bool) {
				pair.Peer.Do(t, func() {
					c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, "80"), 300*time.Millisecond)
					if ok = err == nil; ok {
						c.Close()
					}
				})
				return ok
			}
			state := t.TempDir()
			var e *Enforcer
			next := func() {
				t.Helper()
				if e != nil {
					e.Close()
				}
				pair.Host.Do(t, func() {
					var err error
					if e, err = Open(t.Context(), Options{State: state, Kernel: kernel.Options{Without: without}}); err != nil {
						t.Fatal(err)
					}
				})
			}
			next()
			defer func() { e.Close() }()

			forward := webText + "defaults: {forward: deny}\nforward: [{allow: tcp/80, iif: eth1}]\n"
			text := strings.Replace(forward, "  ssh: [198.51.100.0/24]", "  ssh: [203.0.113.0/24]", 1)
			apply(t, e, text)
			if !reaches(nstest.Host4) || !reaches(nstest.Host6) {
				t.Error("what is allowed does not get in")
			}
			apply(t, e, strings.NewReplacer("[http, https]", "https", "tcp/80, from", "tcp/443, from").Replace(text))
			if reaches(nstest.Host4) || reaches(nstest.Host6) {
				t.Error("what is denied gets in")
			}
			apply(t, e, text)

			next()
			intact(t, e)
			if r := apply(t, e, text); r.Pending() {
				t.Errorf("the next process finds something to do: %v %q", r.Changes, r.Kernel)
			}
			if f, _ := e.Features(); without.Persist && f.Persist || without.Labels && f.Labels || without.ValidatesOnce && f.ValidatesOnce {
				t.Errorf("features %+v", f)
			}
			ban := []netip.Prefix{netip.MustParsePrefix(nstest.Peer4 + "/32")}
			if _, err := e.Ban(t.Context(), BanRequest{Prefixes: ban}); err != nil {
				t.Fatal(err)
			}
			if reaches(nstest.Host4) || !reaches(nstest.Host6) {
				t.Error("the ban has another effect")
			}
			page, err := e.Show(t.Context())
			if err != nil || !page.Enforced || lineOf(page, "in", "web").Counts.Packets == 0 || lineOf(page, "block", "block").Counts.Packets == 0 {
				t.Errorf("show: %+v, %v", page, err)
			}
			if r, err := e.DryRun(t.Context(), load(e, webText), true); err != nil || !r.Validated || !r.Pending() {
				t.Errorf("dry-run: %+v, %v", r, err)
			}
			if _, err := e.Unban(t.Context(), "", ban); err != nil {
				t.Fatal(err)
			}
			if !reaches(nstest.Host4) {
				t.Error("still banned")
			}
			if err := e.TakeDown(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}
