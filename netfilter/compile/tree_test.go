package compile

import (
	"fmt"
	"testing"
	"time"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/workload"
)

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
