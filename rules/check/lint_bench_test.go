package check

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
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
		// lists of thousands of prefixes, overlapping and subtracted, as large as Load takes them for so many rules
		"lists": func(b *strings.Builder, n int) {
			b.WriteString("sets:\n")
			r := rand.New(rand.NewPCG(7, 8))
			for i := range 10 {
				fmt.Fprintf(b, "  s%d: [", i)
				for range 400_000 / n {
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
		// the same along four, so that covers take hundreds of rules and no proof is short
		"knot": func(b *strings.Builder, n int) {
			r := rand.New(rand.NewPCG(9, 10))
			b.WriteString("defaults: {forward: deny}\nforward:\n")
			span := func(low, width int) (int, int) {
				lo := low + r.IntN(width/3)
				return lo, lo + width/3 + r.IntN(width/3)
			}
			for range n {
				a, z := span(1, 60000)
				c, d := span(1, 60000)
				e, f := span(0, 1<<16)
				g, h := span(0, 1<<16)
				fmt.Fprintf(b, "- {%s: tcp/%d-%d, sport: %d-%d, from: 10.0.%d.%d-10.0.%d.%d, to: 10.1.%d.%d-10.1.%d.%d}\n", []string{"allow", "deny"}[r.IntN(2)],
					a, z, c, d, e>>8, e&255, f>>8, f&255, g>>8, g&255, h>>8, h&255)
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

// TestLintEnds holds the time for ten thousand rules of the worst kind, and that what is not decided is said and never
// claimed: each rule called dead must not decide any packet tried.
func TestLintEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds")
	}
	const bound = 10 * time.Second
	p := shaped(t, "knot", 10000)
	begun := worked(t)
	diags := Lint(p, now)
	if took := worked(t) - begun; took > bound {
		t.Errorf("took %v", took)
	}
	dead := map[string]bool{}
	open := false
	for _, d := range diags {
		switch d.Code {
		case policy.LintNeverMatches:
			_, rest, _ := strings.Cut(d.Message, `"`)
			id, _, _ := strings.Cut(rest, `"`)
			dead[id] = true
		case policy.LintNotDecided:
			open = open || d.Severity == diag.Remark
		}
	}
	if len(dead) == 0 || !open {
		t.Errorf("%d rules are dead, and it is said of others that it is not decided: %v", len(dead), open)
	}
	r := rand.New(rand.NewPCG(11, 12))
	for range 2000 {
		pkt := policy.Packet{Dir: policy.Forward, Proto: policy.ProtoTCP, IIf: "a", OIf: "b", Time: now,
			Dport: uint16(1 + r.IntN(60000)), Sport: uint16(1 + r.IntN(60000)),
			Src: (addrset.U32(10<<24) + addrset.U32(r.IntN(1<<16))).Addr(), Dst: (addrset.U32(10<<24+1<<16) + addrset.U32(r.IntN(1<<16))).Addr()}
		if d := p.Decide(&pkt); dead[d.By] {
			t.Fatalf("%s decides %s and is said to be dead", d.By, pkt)
		}
	}
}

// worked is the processor time that this process has used: that of the clock depends on what else the machine does.
func worked(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkLint(b *testing.B) {
	for _, name := range []string{"host", "nested", "mixed", "crossing", "knot", "dynamic", "lists"} {
		for _, n := range []int{1000, 10000} {
			if name == "lists" {
				n /= 10 // each of the rules has hundreds of ranges or thousands
			}
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				p := shaped(b, name, n)
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
