package workload_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"ringwall/rules/policy"
	"ringwall/rules/source"
	"ringwall/rules/workload"
)

// TestSameForEver pins what is drawn: documented figures are of these policies.
func TestSameForEver(t *testing.T) {
	want := map[workload.Shape]string{
		workload.Host: "afa022a6", workload.ACL: "6960a48f", workload.FW: "f6f34148", workload.IPC: "52ca12b0", workload.Six: "bfda01b6",
	}
	for _, shape := range workload.Shapes {
		h := sha256.New()
		w := workload.Generate(shape, 1000, 1)
		h.Write([]byte(w.YAML()))
		for _, p := range w.Packets(1000, 1) {
			fmt.Fprintln(h, p.Src, p.Dst, p.Proto, p.Sport, p.Dport, p.Type)
		}
		if got := hex.EncodeToString(h.Sum(nil)[:4]); got != want[shape] {
			t.Errorf("%s: the policy and packets of seed 1 are %s, were %s", shape, got, want[shape])
		}
	}
	if a, b := workload.Generate(workload.FW, 100, 1), workload.Generate(workload.FW, 100, 2); slices.Equal(a.Rules, b.Rules) {
		t.Error("two seeds give one policy")
	}
}

// TestPolicyIsTheYAML holds the policy against what Load makes of the file.
func TestPolicyIsTheYAML(t *testing.T) {
	for _, shape := range workload.Shapes {
		w := workload.Generate(shape, 1000, 1)
		p := w.Policy()
		want, found := policy.Load(source.Memory{p.Entry: w.YAML()}, p.Entry, policy.Options{})
		if len(found) > 0 {
			t.Fatalf("%s: %d findings, first %+v", shape, len(found), found[0])
		}
		for i, r := range p.Lists[policy.In] {
			l := *want.Lists[policy.In][i]
			if l.At.Pos != r.At.Pos {
				t.Fatalf("%s: rule %d stands at %v, not %v", shape, i, l.At, r.At)
			}
			l.At, l.AnyFrom = r.At, r.AnyFrom
			if want, got := fmt.Sprintf("%+v", l), fmt.Sprintf("%+v", *r); want != got {
				t.Fatalf("%s: rule %d is\n%s, loaded\n%s", shape, i, got, want)
			}
		}
		if p.Defaults != want.Defaults || p.Base != want.Base || len(want.Lists[policy.In]) != 1000 {
			t.Errorf("%s: the policies differ", shape)
		}
	}
}

// TestPolicyMeansTheRules holds Decide of the policy against the plain rules.
func TestPolicyMeansTheRules(t *testing.T) {
	for _, shape := range workload.Shapes {
		for _, n := range []int{1, 10, 1000} {
			w := workload.Generate(shape, n, 1)
			p := w.Policy()
			for _, pkt := range w.Packets(2000, 1) {
				verdict, by := policy.Deny, policy.ByDefault
				if i := w.Decide(&pkt); i >= 0 {
					by = workload.RuleID(i)
					if w.Rules[i].Allow {
						verdict = policy.Allow
					}
				}
				if d := p.Decide(&pkt); d.By != by || d.Verdict != verdict {
					t.Fatalf("%s %d: %+v: %s by %s, the rules say %s by %s", shape, n, pkt, d.Verdict, d.By, verdict, by)
				}
			}
		}
	}
}

// TestShapes holds the policies to what they are for: most rules decide some packet, verdicts are mixed, packets reach them.
func TestShapes(t *testing.T) {
	const n = 2000
	for _, shape := range workload.Shapes {
		w := workload.Generate(shape, n, 1)
		allow, both, ports, sport, single := 0, 0, 0, 0, 0
		for _, r := range w.Rules {
			count := func(to *int, is bool) {
				if is {
					*to++
				}
			}
			count(&allow, r.Allow)
			count(&both, r.From.Bits() > 0 && r.To.Bits() > 0)
			count(&ports, r.Dport.Lo != r.Dport.Hi)
			count(&sport, !r.Sport.IsAny())
			count(&single, r.From.IsSingleIP())
		}
		decides := make(map[int]bool)
		rng := rand.New(rand.NewPCG(1, 1))
		for i := range n {
			for range 8 {
				pkt := w.Inside(i, rng)
				d := w.Decide(&pkt)
				if d < 0 || d > i {
					t.Fatalf("%s: a packet within rule %d is decided by %d", shape, i, d)
				}
				decides[d] = true
			}
		}
		misses := 0
		packets := w.Packets(n, 1)
		for _, pkt := range packets {
			if w.Decide(&pkt) < 0 {
				misses++
			}
		}
		t.Logf("%-4s per cent: allow %d, both prefixes %d, ranges of ports %d, source ports %d, single sources %d; rules that decide %d; misses %d",
			shape, allow*100/n, both*100/n, ports*100/n, sport*100/n, single*100/n, len(decides)*100/n, misses*100/n)
		if len(decides) < n/2 {
			t.Errorf("%s: only %d of %d rules decide anything", shape, len(decides), n)
		}
		if misses > n/4 {
			t.Errorf("%s: %d of %d packets miss all rules", shape, misses, n)
		}
		if mixed := shape != workload.Host; mixed != (allow > n/2 && allow < n*9/10) || mixed != (both > n/4) || mixed != (ports > 0) {
			t.Errorf("%s: %d allow, %d with both prefixes, %d with ranges", shape, allow, both, ports)
		}
	}
}
