package enforce

import (
	"fmt"
	"net/netip"
	"testing"

	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
)

// manyFlows is how many connections the benchmarks have the kernel track.
const manyFlows = 100_000

// tracked has the kernel of the test's namespace track many connections, and makes an Enforcer that enforces a policy there.
func tracked(b *testing.B, text string) *Enforcer {
	b.Helper()
	nstest.Enter(b)
	e, err := Open(b.Context(), Options{State: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { e.Close() })
	if r, err := e.Apply(b.Context(), load(e, text), Files); err != nil || !r.Applied {
		b.Fatalf("%+v, %v", r, err)
	}
	here := netip.MustParseAddrPort("192.0.2.17:443")
	for i := range manyFlows {
		peer := netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, byte(i >> 16), byte(i >> 8), byte(i)}), 40000)
		if err := e.host.Track(host.Tuple{Src: peer, Dst: here}); err != nil {
			b.Fatal(err)
		}
	}
	return e
}

const benchText = "version: 1\nsets: {banned: {dynamic: true}}\nblock: [banned]\nin:\n  - {allow: https, from: any, id: web}\n"

// BenchmarkBan is how long a user waits for a ban, beside many connections that have to be gone through.
func BenchmarkBan(b *testing.B) {
	e := tracked(b, benchText)
	i := 0
	for b.Loop() {
		i++
		p := netip.MustParsePrefix(fmt.Sprintf("203.0.%d.%d/32", i>>8, i&255))
		if _, err := e.Ban(b.Context(), BanRequest{Prefixes: []netip.Prefix{p}}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		e.later.Wait()
		b.StartTimer()
	}
}

// BenchmarkCut is how long an apply takes that finds many connections to go through and none to cut.
func BenchmarkCut(b *testing.B) {
	for name, text := range map[string]string{"block": benchText, "cut": benchText + "established: cut\n"} {
		b.Run(name, func(b *testing.B) {
			e := tracked(b, text)
			c := load(e, text)
			for b.Loop() {
				if r, err := e.Apply(b.Context(), c, Files); err != nil || len(r.Cut) != 0 {
					b.Fatalf("%+v, %v", r, err)
				}
			}
		})
	}
}

// BenchmarkPreview is how long a client waits for what a policy means for many connections.
func BenchmarkPreview(b *testing.B) {
	e := tracked(b, benchText)
	c := load(e, "version: 1\nin:\n  - {allow: http, from: any, id: web}\n")
	for b.Loop() {
		r := &Report{}
		if e.Preview(c)(r); r.Impact.Connections.Judged != manyFlows {
			b.Fatalf("%+v", r.Impact.Connections.Judged)
		}
	}
}
