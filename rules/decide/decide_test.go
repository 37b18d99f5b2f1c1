package decide_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/decide"
	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
	"ringwall/rules/workload"
)

// TestDecidesAsThePolicy holds an Asker against the policy's own Decide, on policies of every kind of rule.
func TestDecidesAsThePolicy(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policytest.Policy(t, rapid.SampledFrom([]int{4, 100}).Draw(t, "rules"))
		a := decide.New(p).Asker()
		for range 40 {
			pkt := policytest.Packet(t, rapid.SampledFrom(policy.Dirs[:]).Draw(t, "dir"))
			if got, want := a.Decide(&pkt), p.Decide(&pkt); got != want {
				t.Fatalf("%s: %s by %s, want %s by %s", pkt.String(), got.Verdict, got.By, want.Verdict, want.By)
			}
		}
	})
}

func TestPlace(t *testing.T) {
	for _, shape := range workload.Shapes {
		w := workload.Generate(shape, 500, 1)
		p := w.Policy()
		a := decide.New(p).Asker()
		decided := 0
		for _, pkt := range w.Packets(2000, 2) {
			d, want := a.Decide(&pkt), w.Decide(&pkt)
			if (d.Rule != nil) != (want >= 0) {
				t.Fatalf("%s: %s decides %s, want rule %d", shape, d.By, pkt.String(), want)
			}
			if d.Rule == nil {
				continue
			}
			decided++
			if got := a.Place(d.Rule); got != want {
				t.Fatalf("%s: rule %d decides %s, want rule %d", shape, got, pkt.String(), want)
			}
		}
		if decided == 0 {
			t.Errorf("%s: no rule decides anything", shape)
		}
	}
	short := &policy.Policy{Base: policy.DefaultBase()}
	short.Lists[policy.In] = workload.Generate(workload.Host, 3, 1).Policy().Lists[policy.In]
	a := decide.New(short).Asker()
	for i, r := range short.Lists[policy.In] {
		if got := a.Place(r); got != i {
			t.Errorf("rule %d of a short list is at %d", i, got)
		}
	}
}

// TestDecideAllocatesNothing holds for packets of every shape, once an Asker has seen some.
func TestDecideAllocatesNothing(t *testing.T) {
	w := workload.Generate(workload.FW, 1000, 1)
	a, packets := decide.New(w.Policy()).Asker(), w.Packets(1000, 2)
	for i := range packets {
		a.Decide(&packets[i])
	}
	i := 0
	if n := testing.AllocsPerRun(len(packets), func() { a.Decide(&packets[i%len(packets)]); i++ }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, shape := range workload.Shapes {
		for _, n := range []int{1000, 10000} {
			w := workload.Generate(shape, n, 1)
			p, packets := w.Policy(), w.Packets(4096, 2)
			a := decide.New(p).Asker()
			for _, way := range []struct {
				name   string
				decide func(*policy.Packet) policy.Decision
			}{{"linear", p.Decide}, {"index", a.Decide}} {
				b.Run(fmt.Sprintf("%s/%d/%s", shape, n, way.name), func(b *testing.B) {
					for i := 0; b.Loop(); i++ {
						way.decide(&packets[i%len(packets)])
					}
				})
			}
		}
	}
}
