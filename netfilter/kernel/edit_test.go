package kernel_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// edit is a change of one rule of a long list.
type edit struct {
	name string
	do   func(list []*policy.Rule) []*policy.Rule
}

// edits is what people do to a policy. The rules after one that comes or goes stand on other lines then, which their chains tell;
// places is false where that is left out.
func edits(places bool) []edit {
	other := func(r *policy.Rule, id string) *policy.Rule {
		c := *r
		ports := addrset.Between(policy.Key(policy.ProtoTCP, 4242), policy.Key(policy.ProtoTCP, 4242))
		c.ID, c.Match.What = id, policy.What{V4: ports, V6: ports}
		return &c
	}
	moved := func(list []*policy.Rule, by int) (out []*policy.Rule) {
		for _, r := range list {
			if places {
				c := *r
				c.At.Line += by
				r = &c
			}
			out = append(out, r)
		}
		return out
	}
	return []edit{
		{"port", func(list []*policy.Rule) []*policy.Rule {
			list = slices.Clone(list)
			list[len(list)/2] = other(list[len(list)/2], list[len(list)/2].ID)
			return list
		}},
		{"insert", func(list []*policy.Rule) []*policy.Rule {
			return slices.Concat([]*policy.Rule{other(list[len(list)/2], "new")}, moved(list, 1))
		}},
		{"delete", func(list []*policy.Rule) []*policy.Rule {
			return slices.Concat(list[:len(list)/2], moved(list[len(list)/2+1:], -1))
		}},
		{"append", func(list []*policy.Rule) []*policy.Rule {
			return slices.Concat(list, []*policy.Rule{other(list[len(list)/2], "new")})
		}},
	}
}

// compiledList is the table of a policy with another list of `in`.
func compiledList(tb testing.TB, p *policy.Policy, list []*policy.Rule) *ruleset.Ruleset {
	tb.Helper()
	q := *p
	q.Lists[policy.In] = list
	rs, err := compile.Compile(&q, compile.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return rs
}

// TestOneRuleTouchesLittle holds that what a policy is compiled to stays as it is where one rule changes: names, probes and sizes
// depend on what is near it.
func TestOneRuleTouchesLittle(t *testing.T) {
	const rules, most = 2000, 24 // chains and maps, of about 3000
	for _, shape := range workload.Shapes {
		p := workload.Generate(shape, rules, 1).Policy()
		list := p.Lists[policy.In]
		have := compiledList(t, p, list)
		for _, e := range edits(false) {
			n := kernel.Diff(have, compiledList(t, p, e.do(list))).Counts()
			if got := n.ChainsAdded + n.ChainsRemoved + n.MapsAdded + n.MapsRemoved; got > most {
				t.Errorf("%s, %s: %d of %d chains and %d maps come or go: %+v", shape, e.name, got, len(have.Chains), len(have.Maps), n)
			}
			if got := n.RulesAdded + n.RulesRemoved; got == 0 || got > rules/2 {
				t.Errorf("%s, %s: %d rules come or go", shape, e.name, got)
			}
		}
	}
}

// BenchmarkOneRule changes one rule of 10,000, of every shape: how much of the table the kernel is sent, and how long the commit
// takes, there and back. Places are changed with the rule, or left for later.
func BenchmarkOneRule(b *testing.B) {
	for _, shape := range workload.Shapes {
		p := workload.Generate(shape, manyRules, 1).Policy()
		list := p.Lists[policy.In]
		have := compiledList(b, p, list)
		for _, how := range []string{"", "-and-places", "-and-places-later"} {
			places, lazy := how != "", how == "-and-places-later"
			for _, e := range edits(places) {
				if places && (e.name == "port" || e.name == "append") {
					continue // no rule comes after it, or none moves
				}
				name := fmt.Sprintf("%s/%s%s", shape, e.name, how)
				b.Run(name, func(b *testing.B) {
					nstest.Enter(b)
					want := compiledList(b, p, e.do(list))
					c, err := kernel.Dial(kernel.Options{LazyComments: lazy})
					if err != nil {
						b.Fatal(err)
					}
					defer c.Close()
					if _, err := c.Apply(b.Context(), have); err != nil {
						b.Fatal(err)
					}
					n := kernel.Diff(have, want).Counts()
					t := times{b, make(map[string][]time.Duration)}
					for b.Loop() {
						for _, rs := range []*ruleset.Ruleset{want, have} {
							begun, spent := time.Now(), cpuTime(b)
							change, err := c.Plan(b.Context(), rs)
							if err != nil {
								b.Fatal(err)
							}
							planned := time.Now()
							if err := c.Commit(b.Context(), change); err != nil {
								b.Fatal(err)
							}
							t.taken["plan"] = append(t.taken["plan"], planned.Sub(begun))
							t.taken["commit"] = append(t.taken["commit"], time.Since(planned))
							t.taken["cpu"] = append(t.taken["cpu"], cpuTime(b)-spent)
						}
					}
					b.ReportMetric(float64(n.ChainsAdded+n.ChainsRemoved), "chains")
					b.ReportMetric(float64(n.RulesAdded+n.RulesRemoved), "rules")
					b.ReportMetric(float64(n.MapsAdded+n.MapsRemoved), "maps")
					b.ReportMetric(float64(n.EntriesAdded+n.EntriesRemoved), "entries")
					t.report()
				})
			}
		}
	}
}
