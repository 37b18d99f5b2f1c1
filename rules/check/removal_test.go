package check

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// TestRemoval follows the hints of no-effect and never-matches in crowded policies: it removes each reported rule alone,
// all of them, and whatever choice of them. Every packet that the rules can tell apart must be judged as before.
func TestRemoval(t *testing.T) {
	const policies, most, ports = 3000, 7, 6
	r := rand.New(rand.NewPCG(21, 22))
	reported := map[string]int{}
	for range policies {
		var text strings.Builder
		text.WriteString("version: 1\nsets: {d: {dynamic: true}}\nfailsafe: {tcp/1: 10.0.0.3}\nin:\n")
		for i := range 2 + r.IntN(most-1) {
			lo := 1 + r.IntN(ports)
			fmt.Fprintf(&text, "- {%s: tcp/%d-%d, from: %s, id: r%d", []string{"allow", "allow", "deny"}[r.IntN(3)], lo, lo+r.IntN(ports),
				[]string{"any", "10.0.0.1", "10.0.0.0/31", "d", "not d"}[r.IntN(5)], i)
			if r.IntN(8) == 0 {
				text.WriteString(", log: true")
			}
			text.WriteString("}\n")
		}
		p, diags := policy.Load(source.Memory{"p": text.String()}, "p", policy.Options{})
		if p == nil {
			t.Fatal(diags)
		}
		var out []*policy.Rule
		for _, d := range Lint(p, now) {
			if d.Code != policy.LintNeverMatches && d.Code != policy.LintNoEffect {
				continue
			}
			reported[d.Code]++
			for _, r := range p.Lists[policy.In] {
				if strings.HasPrefix(d.Message, fmt.Sprintf("rule %q ", r.ID)) {
					out = append(out, r)
				}
			}
		}
		for n := 1; n < 1<<len(out); n++ {
			var gone []*policy.Rule
			for k, r := range out {
				if n&(1<<k) != 0 {
					gone = append(gone, r)
				}
			}
			less := without(p, gone...)
			for _, holds := range []addrset.Addrs{{}, ip("10.0.0.1"), ip("10.0.0.2"), addrset.AllAddrs()} {
				given := map[string]addrset.Addrs{"d": holds}
				before, after := p.With(given), less.With(given)
				for port := range uint16(2*ports + 1) {
					for last := range byte(4) {
						pkt := policy.Packet{Dir: policy.In, Proto: policy.ProtoTCP, IIf: "eth0", Src: netip.AddrFrom4([4]byte{10, 0, 0, last}),
							Dst: netip.AddrFrom4([4]byte{192, 0, 2, 1}), Sport: 9, Dport: port, HopLimit: 64, Time: now}
						if was, is := before.Decide(&pkt), after.Decide(&pkt); effect(was) != effect(is) {
							var ids []string
							for _, r := range gone {
								ids = append(ids, r.ID)
							}
							t.Fatalf("%s\n%s: %s by %s, and without %v %s by %s", &text, pkt, was.Verdict, was.By, ids, is.Verdict, is.By)
						}
					}
				}
			}
		}
	}
	for _, code := range []string{policy.LintNeverMatches, policy.LintNoEffect} {
		if reported[code] < policies/10 {
			t.Errorf("only %d rules are reported by %s", reported[code], code)
		}
	}
}

func ip(text string) addrset.Addrs {
	a := netip.MustParseAddr(text)
	return addrset.OfRange(a, a)
}
