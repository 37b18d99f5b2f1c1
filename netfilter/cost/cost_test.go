package cost_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ringwall/netfilter/compile"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// TestVerdictsAgree holds which packets come through, and which rules count them, against Decide.
func TestVerdictsAgree(t *testing.T) {
	for _, shape := range workload.Shapes {
		t.Run(string(shape), func(t *testing.T) {
			w := workload.Generate(shape, 200, 1)
			p, packets := w.Policy(), w.Packets(2000, 1)
			h := newHost(t, true)
			h.nft(t, sink)
			h.enforce(t, p, compile.Options{})
			for i, got := range h.delivered(t, packets) {
				if d := p.Decide(&packets[i]); got != (d.Verdict == policy.Allow) {
					t.Fatalf("%+v: delivered %v, Decide says %s by %s", packets[i], got, d.Verdict, d.By)
				}
			}
			rng := rand.New(rand.NewPCG(1, 1))
			for range 4 { // halves of the packets, so that no two rules change places unseen
				want := make(map[string]uint64)
				var half []policy.Packet
				for i := range packets {
					if rng.IntN(2) == 0 {
						half = append(half, packets[i])
						want[counterOf(p.Decide(&packets[i]))]++
					}
				}
				if got := h.counted(t, half); !maps.Equal(got, want) {
					for _, name := range slices.Sorted(maps.Keys(want)) {
						if got[name] != want[name] {
							t.Errorf("%s counted %d packets, want %d", name, got[name], want[name])
						}
					}
					t.Fatalf("%d counters counted, want %d", len(got), len(want))
				}
			}
		})
	}
}

// TestCostGrows is the measure's own test: what must cost more does.
func TestCostGrows(t *testing.T) {
	packet := workload.Generate(workload.Host, 1, 1).Packets(1, 3)
	cost := make(map[int]float64)
	for _, n := range []int{10, 10_000} {
		h := newHost(t, true)
		h.nft(t, sink+linear(n))
		h.load(t, packet)
		h.send(t, 100)
		best := h.send(t, 500)
		for range 5 {
			best = min(best, h.send(t, 500))
		}
		cost[n] = best
	}
	t.Logf("%.0f ns behind 10 rules, %.0f ns behind 10,000", cost[10], cost[10_000])
	if cost[10_000] < 5*cost[10] {
		t.Errorf("%.0f ns behind 10,000 rules, %.0f behind 10", cost[10_000], cost[10])
	}
}

// linear is a rule set of so many rules that match nothing.
func linear(n int) string {
	var b strings.Builder
	b.WriteString("table inet many {\nchain in {\ntype filter hook input priority 0; policy accept;\n")
	for i := range n {
		fmt.Fprintf(&b, "ip saddr 203.0.%d.%d tcp dport 1 drop\n", i>>8, i&255)
	}
	b.WriteString("}\n}\n")
	return b.String()
}
