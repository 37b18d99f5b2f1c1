package compile

import (
	"fmt"
	"testing"
	"time"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// long is a policy with lists long enough to be looked up.
func (g generator) long() *policy.Policy {
	p := g.policy()
	for _, dir := range policy.Dirs {
		if dir == policy.Forward && !p.Transit {
			continue
		}
		p.Lists[dir] = nil
		for i := range 8 + g.IntN(60) {
			p.Lists[dir] = append(p.Lists[dir], g.rule(dir, i))
		}
	}
	return p
}

// TestLookupsAreEval is TestDecideIsEval for lists that are looked up, whatever their length.
func TestLookupsAreEval(t *testing.T) {
	probes := 0
	for seed := range uint64(rounds(t, 100)) {
		g := newGenerator(seed + 900)
		p := g.long()
		rs, err := Compile(p, Options{LogGroup: 5, NoLabels: g.chance(8), Linear: -1, Brief: int(seed % 2), EveryWay: seed%3 == 0})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		probes += len(rs.Maps)
		m, err := ruleset.NewMachine(rs, Contents(p))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		s := newSampler(p, seed)
		pr := newProof(p, nil)
		pr.ask(rs, m, m.Indexed())
		pr.slowly = 1
		j := pr.newJudge()
		const packets = 600
		for i := range packets {
			pkt := s.draw(i, packets)
			if _, err := j.hold(&pkt); err != nil {
				t.Fatalf("seed %d, packet %d: %v\n%s", seed, i, err, text(t, rs))
			}
		}
		if seed%50 == 0 {
			if _, err := Verify(p, rs); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
	if probes == 0 {
		t.Error("nothing was looked up")
	}
	t.Logf("%d maps", probes)
}

// TestLookupsListTheSame is TestEverythingListsTheSame for lists that are looked up.
func TestLookupsListTheSame(t *testing.T) {
	for seed := range uint64(rounds(t, 3)) {
		rs, err := Compile(newGenerator(seed).long(), Options{LogGroup: 7, Linear: -1})
		if err != nil {
			t.Fatal(err)
		}
		listsTheSame(t, rs)
	}
	for _, shape := range workload.Shapes {
		rs, err := Compile(workload.Generate(shape, 500, 1).Policy(), Options{LogGroup: 7})
		if err != nil {
			t.Fatal(err)
		}
		listsTheSame(t, rs)
	}
}

func TestWorkloadsAreProved(t *testing.T) {
	for _, n := range []int{100, 1000, 10000} {
		for _, shape := range workload.Shapes {
			t.Run(fmt.Sprint(shape, n), func(t *testing.T) {
				w := workload.Generate(shape, n, 1)
				p := w.Policy()
				start := time.Now()
				rs, err := Compile(p, Options{LogGroup: 5})
				if err != nil {
					t.Fatal(err)
				}
				took := time.Since(start)
				m, err := ruleset.NewMachine(rs, nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, pkt := range w.Packets(2000, 3) {
					got := m.Eval(&pkt)
					want := w.Decide(&pkt)
					name := BaseCounter(0, "default")
					if want >= 0 {
						name = ChainName(p.Lists[0][want])
					}
					if len(got.Counters) != 1 || got.Counters[0] != name {
						t.Fatalf("%s: want %s, got %v", pkt.String(), name, got)
					}
				}
				rules, elems := 0, 0
				for _, c := range rs.Chains {
					rules += len(c.Rules)
				}
				for _, m := range rs.Maps {
					elems += len(m.Elems)
				}
				start = time.Now()
				rep, err := Verify(p, rs)
				t.Logf("compile %v, chains %d rules %d maps %d elems %d verify %v %v", took, len(rs.Chains), rules, len(rs.Maps), elems, time.Since(start), rep)
				if err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}
