package kernel_test

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/daemon/enforce"
	"ringwall/netfilter/compile"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
	"ringwall/rules/source"
	"ringwall/rules/workload"
)

// many is how many entries or rules the benchmarks of bulk have.
const (
	manyEntries = 1_000_000
	manyRules   = 10_000
)

// The lists of the benchmarks: disjoint entries all over the address space, in order, as nft wants them too.
var bulkLists = []struct {
	name  string
	entry func(i int, rng *rand.Rand) string
}{
	{"addresses", func(i int, rng *rand.Rand) string { return dotted(uint32(i)<<12 | rng.Uint32N(1<<12)) }},
	{"prefixes", func(i int, rng *rand.Rand) string {
		return dotted(uint32(i)<<12|rng.Uint32N(15)<<8) + "/24"
	}},
	{"mixed", func(i int, rng *rand.Rand) string {
		bits := 22 + rng.Uint32N(11)
		switch n := rng.Uint32N(10); {
		case n < 4:
			bits = 24
		case n < 7:
			bits = 32
		}
		host := uint32(1)<<(32-bits) - 1
		return fmt.Sprintf("%s/%d", dotted((uint32(i)<<12|rng.Uint32N(3<<10))&^host), bits)
	}},
}

func dotted(a uint32) string { return fmt.Sprintf("%d.%d.%d.%d", a>>24, a>>16&255, a>>8&255, a&255) }

// listOf is a list of so many entries.
func listOf(n int, entry func(int, *rand.Rand) string) []string {
	rng := rand.New(rand.NewPCG(1, 1))
	list := make([]string, n)
	for i := range list {
		list[i] = entry(i, rng)
	}
	return list
}

const bulkPolicy = "version: 1\nfailsafe: {ssh: [198.51.100.0/24]}\nsets:\n  listed: {file: list.txt}\n  banned: {dynamic: true}\nblock: [listed, banned]\n"

// writeBulk writes the files of a policy that blocks a list, and returns the policy's.
func writeBulk(b testing.TB, dir string, list []string) string {
	b.Helper()
	file := filepath.Join(dir, "policy.yaml")
	for name, text := range map[string]string{file: bulkPolicy, filepath.Join(dir, "list.txt"): strings.Join(list, "\n") + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return file
}

// writeNFT writes a table that drops what comes from a list.
func writeNFT(b testing.TB, file, header string, list []string) {
	b.Helper()
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "table inet filter {\n set listed {\n  type ipv4_addr\n  %s\n  elements = {\n", header)
	for _, e := range list {
		fmt.Fprintf(w, "   %s,\n", e)
	}
	fmt.Fprint(w, "  }\n }\n chain input {\n  type filter hook prerouting priority -300\n  ip saddr @listed drop\n }\n}\n")
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
}

// nftFile has nft load a file.
func nftFile(b testing.TB, file string) {
	b.Helper()
	if out, err := exec.Command("nft", "-f", file).CombinedOutput(); err != nil {
		b.Fatalf("nft: %v\n%.500s", err, out)
	}
}

// openBulk makes an Enforcer for the namespace of the calling goroutine.
func openBulk(b testing.TB) *enforce.Enforcer {
	b.Helper()
	e, err := enforce.Open(b.Context(), enforce.Options{State: b.TempDir(), Lazy: true})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// reload does what the daemon does when its files have changed, and returns how long it took to read them.
func reload(b testing.TB, e *enforce.Enforcer, file string) (reading time.Duration) {
	b.Helper()
	defer e.Slack()()
	opt := e.LoadOptions()
	opt.NoLints, opt.Brief = true, true
	begun := time.Now()
	c := enforce.Load(source.OS{}, file, opt)
	reading = time.Since(begun)
	r, err := e.Apply(b.Context(), c, enforce.Files)
	if err != nil || !r.Applied {
		b.Fatalf("not enforced: %v, %s", err, c.Problem())
	}
	return reading
}

// cpuTime is the processor time of this process and of what it ran, on all processors: it depends less on what else goes on.
func cpuTime(b testing.TB) (sum time.Duration) {
	b.Helper()
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return sum
}

// compiled is the table of a policy file.
func compiled(b testing.TB, file string) *ruleset.Ruleset {
	b.Helper()
	p, diags := policy.Load(source.OS{}, file, policy.Options{})
	if diags.HasErrors() {
		b.Fatal(diags)
	}
	rs, err := compile.Compile(p, compile.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return rs
}

// times collects what takes how long, side by side.
type times struct {
	b     *testing.B
	taken map[string][]time.Duration
}

// in times something in a namespace of its own.
func (t *times) in(what string, prepare func() func()) {
	// A thread that has left its namespace is of no more use: a goroutine of its own takes it along.
	nstest.New(t.b).Do(t.b, func() {
		do := prepare()
		runtime.GC()
		begun, spent := time.Now(), cpuTime(t.b)
		do()
		t.taken[what] = append(t.taken[what], time.Since(begun))
		t.taken[what+"-cpu"] = append(t.taken[what+"-cpu"], cpuTime(t.b)-spent)
	})
}

// median is that of what took so long.
func (t *times) median(what string) time.Duration {
	all := slices.Clone(t.taken[what])
	slices.Sort(all)
	return all[len(all)/2]
}

// report tells the medians, in milliseconds, and the ratios.
func (t *times) report(ratios ...[2]string) {
	for what := range t.taken {
		t.b.ReportMetric(float64(t.median(what).Microseconds())/1000, what+"-ms")
	}
	for _, r := range ratios {
		t.b.ReportMetric(float64(t.median(r[0]))/float64(t.median(r[1])), r[0]+"/"+r[1])
		t.b.ReportMetric(float64(t.median(r[0]+"-cpu"))/float64(t.median(r[1]+"-cpu")), r[0]+"/"+r[1]+"-cpu")
	}
	t.b.ReportMetric(0, "ns/op") // the preparations are none of ours
}

// raw has the kernel take the batch that makes a table.
func raw(b testing.TB, want *ruleset.Ruleset) func() {
	b.Helper()
	c, err := kernel.Dial(kernel.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	e, err := c.Encode(b.Context(), want)
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		if err := e.Send(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBulk holds lists of a million, from the file to enforcement, against the kernel's own time for the same elements and
// against nft, which BULK_WITHOUT_NFT=1 leaves out. With -benchtime 5x it takes the median of five, interleaved. What ends with -cpu
// is processor time.
func BenchmarkBulk(b *testing.B) {
	for _, l := range bulkLists {
		b.Run(l.name, func(b *testing.B) {
			list := listOf(manyEntries, l.entry)
			dir := b.TempDir()
			file := writeBulk(b, dir, list)
			want := compiled(b, file)
			variants := map[string]string{"nft": "flags interval"}
			if l.name == "addresses" {
				variants = map[string]string{"nft": fmt.Sprintf("size %d", 2*len(list)), "nft-unhinted": ""}
			}
			for name, header := range variants {
				writeNFT(b, filepath.Join(dir, name), header, list)
			}
			t := times{b, make(map[string][]time.Duration)}
			withNFT := os.Getenv("BULK_WITHOUT_NFT") == ""
			for b.Loop() {
				t.in("ours", func() func() {
					e := openBulk(b)
					b.Cleanup(func() { e.Close() })
					return func() { reload(b, e, file) }
				})
				t.in("raw", func() func() { return raw(b, want) })
				if withNFT {
					for name := range variants {
						t.in(name, func() func() { return func() { nftFile(b, filepath.Join(dir, name)) } })
					}
				}
			}
			ratios := [][2]string{{"ours", "raw"}}
			if withNFT {
				for name := range variants {
					ratios = append(ratios, [2]string{name, "ours"})
				}
			}
			t.report(ratios...)
		})
	}
}

// BenchmarkBulkEdit changes ten lines of a list of a million: the time to enforce it once the file is read, and the share of the
// commit in that.
func BenchmarkBulkEdit(b *testing.B) {
	for _, l := range bulkLists {
		b.Run(l.name, func(b *testing.B) {
			nstest.Enter(b)
			list := listOf(manyEntries, l.entry)
			dir := b.TempDir()
			e := openBulk(b)
			defer e.Close()
			reload(b, e, writeBulk(b, dir, list))
			rng := rand.New(rand.NewPCG(2, 2))
			t := times{b, make(map[string][]time.Duration)}
			for b.Loop() {
				for range 10 {
					i := rng.IntN(len(list))
					list[i] = l.entry(i, rng)
				}
				file := writeBulk(b, dir, list)
				runtime.GC()
				begun, spent := time.Now(), cpuTime(b)
				reading := reload(b, e, file)
				t.taken["read"] = append(t.taken["read"], reading)
				t.taken["enforce"] = append(t.taken["enforce"], time.Since(begun)-reading)
				t.taken["cpu"] = append(t.taken["cpu"], cpuTime(b)-spent)
			}
			t.report()
		})
	}
}

// rulesPolicy is a policy of so many rules for hosts, one of which says something else each time.
func rulesPolicy(n, changed int) string {
	var b strings.Builder
	b.WriteString("version: 1\nfailsafe: {ssh: [198.51.100.0/24]}\nin:\n")
	for i := range n {
		host := i
		if i == n/2 {
			host = n + changed
		}
		fmt.Fprintf(&b, "  - {allow: tcp/%d, from: 10.%d.%d.0/24, id: r%d}\n", 1024+i%60000, host/250, host%250, i)
	}
	return b.String()
}

// BenchmarkBulkRules commits 10,000 rules, against the kernel's own time for the same batch and nft's for the same table.
func BenchmarkBulkRules(b *testing.B) {
	file := filepath.Join(b.TempDir(), "policy.yaml")
	if err := os.WriteFile(file, []byte(rulesPolicy(manyRules, 0)), 0o644); err != nil {
		b.Fatal(err)
	}
	want := compiled(b, file)
	f, err := os.Create(file + ".nft")
	if err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(want.WriteNFT(f), f.Close()); err != nil {
		b.Fatal(err)
	}
	t := times{b, make(map[string][]time.Duration)}
	for b.Loop() {
		t.in("ours", func() func() {
			c, err := kernel.Dial(kernel.Options{})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { c.Close() })
			return func() {
				if _, err := c.Apply(b.Context(), want); err != nil {
					b.Fatal(err)
				}
			}
		})
		t.in("raw", func() func() { return raw(b, want) })
		t.in("nft", func() func() { return func() { nftFile(b, file+".nft") } })
	}
	t.report([2]string{"ours", "raw"}, [2]string{"nft", "ours"})
}

// BenchmarkBulkRule changes one rule of 10,000, of every shape: the time until it is enforced, reading included, and that of the
// reading alone.
func BenchmarkBulkRule(b *testing.B) {
	policies := map[string]func(changed int) string{"plain": func(changed int) string { return rulesPolicy(manyRules, changed) }}
	for _, shape := range workload.Shapes {
		w := workload.Generate(shape, manyRules, 1)
		i := manyRules/2 + slices.IndexFunc(w.Rules[manyRules/2:], func(r workload.Rule) bool { return !r.Dport.IsAny() })
		policies[string(shape)] = func(changed int) string {
			port := uint16(20_000 + changed%20_000)
			w.Rules[i].Dport = workload.Ports{Lo: port, Hi: port}
			return w.YAML()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		b.Run(name, func(b *testing.B) {
			nstest.Enter(b)
			file := filepath.Join(b.TempDir(), "policy.yaml")
			save := func(n int) {
				if err := os.WriteFile(file, []byte(policies[name](n)), 0o644); err != nil {
					b.Fatal(err)
				}
			}
			e := openBulk(b)
			defer e.Close()
			save(0)
			reload(b, e, file)
			t := times{b, make(map[string][]time.Duration)}
			for n := 1; b.Loop(); n++ {
				save(n)
				runtime.GC()
				begun, spent := time.Now(), cpuTime(b)
				reading := reload(b, e, file)
				t.taken["read"] = append(t.taken["read"], reading)
				t.taken["reload"] = append(t.taken["reload"], time.Since(begun))
				t.taken["cpu"] = append(t.taken["cpu"], cpuTime(b)-spent)
			}
			t.report()
		})
	}
}
