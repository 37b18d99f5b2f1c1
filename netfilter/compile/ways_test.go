package compile

import (
	"testing"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/workload"
)

// ways is how many rules and elements of maps a kernel visits that follows every way from the base chains on.
func ways(rs *ruleset.Ruleset) (n float64) {
	chains, maps := make(map[string]*ruleset.Chain), make(map[string]*ruleset.Map)
	for _, ch := range rs.Chains {
		chains[ch.Name] = ch
	}
	for _, m := range rs.Maps {
		maps[m.Name] = m
	}
	known := make(map[string]float64)
	var below func(name string) float64
	follow := func(v ruleset.Verdict) float64 {
		if v.Chain == "" {
			return 0
		}
		return below(v.Chain)
	}
	below = func(name string) float64 {
		if n, ok := known[name]; ok {
			return n
		}
		n := 1.0
		for _, r := range chains[name].Rules {
			n++
			for _, e := range r.Exprs {
				switch e := e.(type) {
				case ruleset.Verdict:
					n += follow(e)
				case ruleset.VMapRef:
					for _, elem := range maps[e.Map].Elems {
						n += 1 + follow(elem.Verdict)
					}
				}
			}
		}
		known[name] = n
		return n
	}
	for _, ch := range rs.Chains {
		if ch.Hook != nil {
			n += below(ch.Name)
		}
	}
	return n
}

// TestFewWays compiles for kernels that follow every way: no more are in the result than a few for each of its rules and elements.
func TestFewWays(t *testing.T) {
	const most = 8 // in is judged at two hooks, which go there from four places
	for _, shape := range workload.Shapes {
		t.Run(string(shape), func(t *testing.T) {
			rules := 3000
			if shape == "fw" {
				rules = 10_000 // of which most that a probe would take must stay outside
			}
			p := workload.Generate(shape, rules, 1).Policy()
			count := func(opt Options) (n, objects float64) {
				rs, err := Compile(p, opt)
				if err != nil {
					t.Fatal(err)
				}
				for _, ch := range rs.Chains {
					objects += float64(1 + len(ch.Rules))
				}
				for _, m := range rs.Maps {
					objects += float64(len(m.Elems))
				}
				if opt.EveryWay {
					if _, err := Verify(p, rs); err != nil {
						t.Error(err)
					}
				}
				return ways(rs), objects
			}
			few, objects := count(Options{EveryWay: true})
			t.Logf("%.3g ways through %.0f rules, chains and elements", few, objects)
			if few > most*objects {
				t.Errorf("%.3g ways through %.0f rules, chains and elements", few, objects)
			}
			many, objects := count(Options{})
			t.Logf("%.3g ways through %.0f where the kernel validates once", many, objects)
			if shape == "fw" && many < 1000*objects {
				t.Error("a structure with late lines has few ways: the count is wrong")
			}
		})
	}
}
