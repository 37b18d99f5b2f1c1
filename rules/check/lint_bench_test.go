package check

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// shapes is large policies as people and tools write them, and some that nobody should, by name; each writes n rules.
func shapes() map[string]func(b *strings.Builder, n int) {
	return map[string]func(*strings.Builder, int){
		// services opened to networks of both families, a subtraction, two services in one rule
		"host": func(b *strings.Builder, n int) {
			b.WriteString("in:\n")
			for i := range n {
				fmt.Fprintf(b, "- {allow: [tcp/%d, udp/53], from: [10.%d.%d.0/24, 2001:db8:%x::/48, not 10.%d.%d.7]}\n", 1000+i%50, i/256, i%256, i, i/256, i%256)
			}
		},
		// exceptions from exceptions: chains of prefixes, narrow ones first, verdicts in turn
		"nested": func(b *strings.Builder, n int) {
			b.WriteString("in:\n")
			for i := range n {
				bits := 32 - i%16
				fmt.Fprintf(b, "- {%s: tcp/%d-%d, from: 10.%d.%d.0/%d, ignore: [host-bits]}\n", []string{"allow", "deny"}[i%2], 1000+i%16, 2000+i%16, i/16%256, i/4096, bits)
			}
		},
		// a router's list: wildcards on either side, port ranges, verdicts at random
		"mixed": func(b *strings.Builder, n int) {
			r := rand.New(rand.NewPCG(3, 4))
			b.WriteString("defaults: {forward: deny}\nforward:\n")
			prefix := func(bits int) string {
				if bits == 0 {
					return "0.0.0.0/0"
				}
				return fmt.Sprintf("10.%d.%d.%d/%d", r.IntN(8), r.IntN(64), r.IntN(256), bits)
			}
			for range n {
				lo := 1 + r.IntN(60000)
				what := []string{"any", "tcp", "tcp/22", "tcp/443", fmt.Sprintf("tcp/%d-%d", lo, lo+r.IntN(5000)), fmt.Sprintf("udp/%d", lo), "udp/53"}[r.IntN(7)]
				ends := []int{0, 16, 16, 20, 24, 24, 24, 32, 32}
				from, to := ends[r.IntN(9)], ends[2+r.IntN(7)]
				if r.IntN(2) == 0 {
					from, to = to, from
				}
				fmt.Fprintf(b, "- {%s: %s, from: %s, to: %s, ignore: [host-bits]}\n", []string{"allow", "deny"}[r.IntN(2)], what, prefix(from), prefix(to))
			}
		},
		// lists of thousands of prefixes, overlapping and subtracted
		"lists": func(b *strings.Builder, n int) {
			b.WriteString("sets:\n")
			r := rand.New(rand.NewPCG(7, 8))
			for i := range 10 {
				fmt.Fprintf(b, "  s%d: [", i)
				for range 20000 {
					fmt.Fprintf(b, "%d.%d.%d.0/24, ", 1+r.IntN(200), r.IntN(256), r.IntN(256))
				}
				b.WriteString("192.0.2.0/24]\n")
			}
			b.WriteString("in:\n")
			for i := range n {
				fmt.Fprintf(b, "- {%s: tcp/%d, from: [s%d, not s%d]}\n", []string{"allow", "deny"}[r.IntN(2)], 1000+i%500, r.IntN(10), r.IntN(10))
			}
		},
		// every range crosses many others along three dimensions at once
		"crossing": func(b *strings.Builder, n int) {
			r := rand.New(rand.NewPCG(5, 6))
			b.WriteString("defaults: {forward: deny}\nforward:\n")
			span := func() string {
				lo := r.IntN(1 << 15)
				hi := lo + r.IntN(1<<15)
				return fmt.Sprintf("10.0.%d.%d-10.0.%d.%d", lo>>8, lo&255, hi>>8, hi&255)
			}
			for range n {
				lo := 1 + r.IntN(30000)
				fmt.Fprintf(b, "- {%s: tcp/%d-%d, from: %s, to: %s}\n", []string{"allow", "deny"}[r.IntN(2)], lo, lo+r.IntN(30000), span(), span())
			}
		},
		// bans and blocks by dynamic sets around ordinary rules
		"dynamic": func(b *strings.Builder, n int) {
			b.WriteString("sets:\n")
			for i := range 8 {
				fmt.Fprintf(b, "  d%d: {dynamic: true}\n", i)
			}
			b.WriteString("block: [d0, d1]\nin:\n")
			for i := range n {
				if i%100 == 0 {
					fmt.Fprintf(b, "- {deny: tcp/%d-%d, from: d%d}\n", 1+i%1000, 51+i%1000, 2+i/100%6)
					continue
				}
				fmt.Fprintf(b, "- {allow: tcp/%d, from: [10.%d.%d.0/24, not d%d]}\n", 1000+i%50, i/256, i%256, i%8)
			}
		},
	}
}

func shaped(tb testing.TB, name string, n int) *policy.Policy {
	tb.Helper()
	var text strings.Builder
	text.WriteString("version: 1\n")
	shapes()[name](&text, n)
	p, diags := policy.Load(source.Memory{"p": text.String()}, "p", policy.Options{})
	if p == nil {
		tb.Fatal(diags)
	}
	return p
}

func BenchmarkLint(b *testing.B) {
	for _, name := range []string{"host", "nested", "mixed", "crossing", "dynamic", "lists"} {
		for _, n := range []int{1000, 10000} {
			if name == "lists" {
				n /= 10 // each of the rules has some 20,000 ranges
			}
			p := shaped(b, name, n)
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				findings, open := 0, 0
				for b.Loop() {
					findings, open = 0, 0
					for _, d := range Lint(p, now) {
						if d.Code == policy.LintNotDecided {
							open++
						} else {
							findings++
						}
					}
				}
				b.ReportMetric(float64(findings), "findings")
				b.ReportMetric(float64(open), "open")
			})
		}
	}
}
