package cost_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// The benchmark is a test of this package, so that it has its namespaces, and runs where it is asked for: scripts/bench.
var (
	sections = flag.String("sections", "", "sections of the benchmark to run, by comma; all: every one")
	quick    = flag.Bool("quick", false, "fewer sizes, shapes and rounds")
	jsonFile = flag.String("json", "", "file that the figures are written to")
	plotFile = flag.String("plot", "", "file that the plot is written to, as SVG")
)

// section is a part of the benchmark.
type section struct {
	name, about string
	run         func(*bench, *testing.T)
}

func allSections() []section {
	return []section{
		{"host", "the first packet of a connection, host policies", (*bench).hostPolicies},
		{"mixed", "the first packet of a connection, mixed ordered policies", (*bench).mixedPolicies},
		{"worst", "the costliest packet that a search finds", (*bench).worstPackets},
		{"established", "a packet of an established connection", (*bench).establishedPackets},
		{"blocked", "a packet from a blocked source", (*bench).blockedSources},
		{"load", "from the policy to enforcement: time and memory", (*bench).loads},
		{"bulk", "lists of a million", (*bench).bulk},
		{"reload", "changes, checks and the daemon", (*bench).reloads},
	}
}

// TestBench is the benchmark.
func TestBench(t *testing.T) {
	if *sections == "" {
		t.Skip("run by scripts/bench")
	}
	want := strings.Split(*sections, ",")
	for _, name := range want {
		if name != "all" && !slices.ContainsFunc(allSections(), func(s section) bool { return s.name == name }) {
			t.Fatalf("no section %q", name)
		}
	}
	b := &bench{t: t, quick: *quick, report: newReport(*quick)}
	for _, s := range allSections() {
		if *sections != "all" && !slices.Contains(want, s.name) {
			continue
		}
		begun := time.Now()
		say("\n%s: %s", s.name, s.about)
		t.Run(s.name, func(t *testing.T) { s.run(b, t) })
		say("(%s took %.0f s)", s.name, time.Since(begun).Seconds())
	}
	if b.tr != nil {
		b.report.versions(b.tr)
	}
	if *jsonFile != "" {
		if err := b.report.write(*jsonFile); err != nil {
			t.Fatal(err)
		}
		say("figures: %s", *jsonFile)
	}
	if drawing := b.report.plot(); *plotFile != "" && drawing != nil {
		if err := os.WriteFile(*plotFile, drawing, 0o644); err != nil {
			t.Fatal(err)
		}
		say("plot: %s", *plotFile)
	}
}

// say prints a line of the report.
func say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// pin keeps the calling goroutine on one processor, the last, until it calls what pin returns.
func pin(t testing.TB) (unpin func()) {
	t.Helper()
	runtime.LockOSThread()
	var may, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &may); err != nil {
		t.Fatal(err)
	}
	last := 0
	for cpu := range 1024 {
		if may.IsSet(cpu) {
			last = cpu
		}
	}
	one.Set(last)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	return func() {
		if unix.SchedSetaffinity(0, &may) == nil {
			runtime.UnlockOSThread()
		}
	}
}

// bench is a run of the benchmark.
type bench struct {
	t      *testing.T
	quick  bool
	report *report
	tried  bool
	tr     *tree
}

// tree is the tree of other firewalls, nil where there can be none.
func (b *bench) tree() *tree {
	if !b.tried {
		b.tried, b.tr = true, newTree(b.t)
	}
	return b.tr
}

// pick is the first where little time is to be spent, else the second.
func pick[T any](b *bench, quick, full T) T {
	if b.quick {
		return quick
	}
	return full
}

// variant is one rule set, in a namespace of its own, and what packets cost there.
type variant struct {
	who     string
	rules   int
	host    *host
	samples []float64 // nanoseconds a packet
	count   int       // packets of a sample
}

// The length of a sample, and the bounds of its packets.
const (
	sampleTime  = 8 * time.Millisecond
	leastSample = 512
	mostSample  = 1 << 15
)

// rounds measures variants in turn, one round after the other, so that whatever else the machine does meets all of them.
func rounds(t testing.TB, variants []*variant, rounds int) {
	t.Helper()
	runtime.GC()
	defer pin(t)()
	for _, v := range variants {
		v.host.send(t, leastSample)
		ns := v.host.send(t, leastSample)
		v.count = min(max(int(float64(sampleTime.Nanoseconds())/ns), leastSample), mostSample)
	}
	const inARound = 4
	for range rounds {
		for _, v := range variants {
			v.host.send(t, max(v.count/4, leastSample/2)) // the caches
			for range inARound {
				v.samples = append(v.samples, v.host.send(t, v.count))
			}
		}
	}
}

// ns is what a packet of the variant costs: the tenth percentile of the samples, which others' work on the machine disturbs least.
func (v *variant) ns() float64 { return quantile(v.samples, 0.1) }

func quantile(values []float64, q float64) float64 {
	s := slices.Sorted(slices.Values(values))
	return s[int(q*float64(len(s)-1)+0.5)]
}

// traceLength is how many different packets a policy is tried with.
const traceLength = 1 << 14

// bareVariants is the hook without rules, twice: what the second differs from the first is how exact the figures are.
func bareVariants(t testing.TB, packets []policy.Packet) (out []*variant) {
	for range 2 {
		h := newHost(t, true)
		h.nft(t, sink+tracking)
		h.load(t, packets)
		out = append(out, &variant{who: bare, host: h})
	}
	return out
}

// firsts measures the first packets of connections by every rival that has the shape, at the sizes.
func (b *bench) firsts(t testing.TB, name string, shape workload.Shape, sizes []int) {
	begun := time.Now()
	var variants []*variant
	for _, n := range sizes {
		w := workload.Generate(shape, n, 1)
		packets := w.Packets(traceLength, 1)
		if n == sizes[0] {
			variants = bareVariants(t, packets)
		}
		for _, r := range rivals(b.tree()) {
			if n < r.least || n > r.most || !slices.Contains(r.shapes, shape) {
				continue
			}
			h := newHost(t, true)
			h.nft(t, sink)
			r.guard(t, h, w)
			h.agrees(t, r.name, w, packets)
			h.load(t, packets)
			variants = append(variants, &variant{who: r.name, rules: n, host: h})
		}
	}
	ready := time.Since(begun)
	rounds(t, variants, pick(b, 3, 8))
	base := variants[0].ns()
	for i, v := range variants {
		who := v.who
		if i == 1 {
			who += ", again"
		}
		b.report.add(result{Section: name, Shape: string(shape), Who: who, Rules: v.rules, Measures: map[string]float64{
			"ns": v.ns(), "ns_median": quantile(v.samples, 0.5), "ns_above_bare": v.ns() - base, "samples": float64(len(v.samples)), "packets_a_sample": float64(v.count),
		}})
	}
	say("\n%s: ns a packet (without the bare hook's %.0f); ready after %.0f s", shape, base, ready.Seconds())
	table(variants[1:], sizes, base)
}

// agrees holds a rival to the policy: the packets that come through are those that it allows.
func (h *host) agrees(t testing.TB, who string, w *workload.Workload, packets []policy.Packet) {
	t.Helper()
	sample := packets[:min(512, len(packets))]
	for i, got := range h.delivered(t, sample) {
		rule := w.Decide(&sample[i])
		if want := rule >= 0 && w.Rules[rule].Allow; got != want {
			t.Fatalf("%s, %s of %d rules: %+v is let through: %v, and rule %d says %v", who, w.Shape, len(w.Rules), sample[i], got, rule+1, want)
		}
	}
}

// table prints a line a rival, a column a size.
func table(variants []*variant, sizes []int, base float64) {
	var names []string
	cells := make(map[string]map[int]string)
	for _, v := range variants {
		if cells[v.who] == nil {
			cells[v.who] = make(map[int]string)
			names = append(names, v.who)
		}
		cells[v.who][v.rules] = fmt.Sprintf("%.0f (%.0f)", v.ns(), v.ns()-base)
	}
	line := fmt.Sprintf("  %-18s", "rules")
	for _, n := range sizes {
		line += fmt.Sprintf("%20d", n)
	}
	say("%s", line)
	for _, name := range names {
		line := fmt.Sprintf("  %-18s", name)
		if name == bare {
			line += fmt.Sprintf("%20s", cells[name][0])
			say("%s  again", line)
			continue
		}
		for _, n := range sizes {
			cell := cells[name][n]
			if cell == "" {
				cell = "-"
			}
			line += fmt.Sprintf("%20s", cell)
		}
		say("%s", line)
	}
}

func (b *bench) hostPolicies(t *testing.T) {
	b.firsts(t, "host", workload.Host, pick(b, []int{10, 1000, 10_000}, []int{10, 100, 1000, 10_000, 100_000}))
}

func (b *bench) mixedPolicies(t *testing.T) {
	for _, shape := range workload.Mixed {
		t.Run(string(shape), func(t *testing.T) {
			b.firsts(t, "mixed", shape, pick(b, []int{10, 10_000}, []int{10, 100, 1000, 10_000, 100_000}))
		})
	}
}
