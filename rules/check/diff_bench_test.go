package check

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// ruleList is a policy of n rules of the kinds that servers have. Seeds draw unlike ones.
func ruleList(n int, seed uint64) []string {
	r := rand.New(rand.NewPCG(seed, 1))
	var out []string
	for i := range n {
		verdict := "allow"
		if r.IntN(4) == 0 {
			verdict = "deny"
		}
		net := fmt.Sprintf("10.%d.%d.0/%d", r.IntN(256), r.IntN(256), 24)
		switch r.IntN(6) {
		case 0:
			net = fmt.Sprintf("10.%d.0.0/16", r.IntN(256))
		case 1:
			net = fmt.Sprintf("2001:db8:%x::/48", r.IntN(65536))
		}
		what := []string{"ssh", "[http, https]", "tcp/5432", "udp/53", "any", "tcp/8000-8010", fmt.Sprintf("tcp/%d", 1024+r.IntN(2000))}[r.IntN(7)]
		rule := fmt.Sprintf("  - {%s: %s, from: %s, id: r%d}\n", verdict, what, net, i)
		if r.IntN(4) == 0 {
			rule = fmt.Sprintf("  - {%s: %s, from: %s, to: 10.%d.0.0/16, id: r%d}\n", verdict, what, net, r.IntN(256), i)
		}
		out = append(out, rule)
	}
	return out
}

func policyOf(rules []string) string { return "version: 1\nin:\n" + strings.Join(rules, "") }

func BenchmarkDiff(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		rules := ruleList(n, 1)
		p := load(b, policyOf(rules))
		edit := func(i int, rule string) string {
			was := rules[i]
			rules[i] = rule
			text := policyOf(rules)
			rules[i] = was
			return text
		}
		for _, tt := range []struct{ name, text string }{
			{"same", policyOf(rules)},
			{"one-edit", edit(n/2, "  - {allow: tcp/9999, from: 203.0.113.0/24, id: new}\n")},
			{"wide-edit", edit(n/2, "  - {deny: any, id: all}\n")},
			{"default", strings.Replace(policyOf(rules), "in:", "defaults: {in: reject}\nin:", 1)},
			{"unlike", policyOf(ruleList(n, 2))},
		} {
			q := load(b, tt.text)
			b.Run(fmt.Sprint(n, "/", tt.name), func(b *testing.B) {
				var d *Difference
				for b.Loop() {
					d = Diff(p, q, DiffOptions{Work: DiffWork})
				}
				b.ReportMetric(float64(len(d.Verdicts)), "lines")
				b.ReportMetric(float64(len(d.Undecided)), "undecided")
			})
		}
	}
}
