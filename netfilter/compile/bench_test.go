package compile

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// manyRules is a policy of so many rules, each with addresses and ports of its own.
func manyRules(n int) *policy.Policy {
	p := &policy.Policy{Base: policy.DefaultBase(), Defaults: [3]policy.Verdict{policy.Deny, policy.Allow, policy.Deny}}
	for i := range n {
		ports := addrset.Between(policy.Key(policy.ProtoTCP, uint16(i)), policy.Key(policy.ProtoTCP, uint16(i)|7))
		from := addrset.U32(0x0a000000 + 256*i)
		p.Lists[policy.In] = append(p.Lists[policy.In], &policy.Rule{
			ID: fmt.Sprintf("rule-%d", i),
			Match: policy.Match{
				What:  policy.What{V4: ports, V6: ports},
				From:  policy.Addrs{Terms: []policy.Term{{Static: addrset.Addrs{V4: addrset.Between(from, from+255)}}}},
				To:    policy.AnyAddrs(),
				Sport: addrset.All[addrset.U16](),
			},
		})
	}
	return p
}

func BenchmarkCompile(b *testing.B) {
	policies := make(map[string]*policy.Policy)
	for _, n := range []int{10, 1000, 10_000} {
		policies[fmt.Sprint(n)] = manyRules(n)
	}
	for _, n := range []int{1000, 10_000} {
		for _, shape := range workload.Shapes {
			policies[fmt.Sprint(shape, " ", n)] = workload.Generate(shape, n, 1).Policy()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			runs, before := 0, processor(b)
			for b.Loop() {
				runs++
				if _, err := Compile(policies[name], Options{Unchecked: true}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((processor(b)-before)*1000/float64(runs), "cpu-ms/op")
		})
	}
}

// TestCompileAllocatesLittle bounds what compiling takes of memory for each rule: a reload of ten thousand is to need no collection.
func TestCompileAllocatesLittle(t *testing.T) {
	const rules, most = 2000, 10_000 // most is bytes for each
	for _, shape := range workload.Shapes {
		p := workload.Generate(shape, rules, 1).Policy()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Compile(p, Options{Unchecked: true}); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / rules; each > most {
			t.Errorf("%s: compiling allocates %d bytes for each rule, want at most %d", shape, each, most)
		} else {
			t.Logf("%s: %d bytes for each rule", shape, each)
		}
	}
}

// manyCorners is manyRules where each lists prefixes, services and interfaces: more corners than there is time for.
func manyCorners(n int) *policy.Policy {
	p := manyRules(n)
	for i, r := range p.Lists[policy.In] {
		for k := range uint32(6) {
			from := addrset.U32(0xc0000000 + 64*uint32(i) + 8*k)
			r.Match.From.Terms[0].Static.V4 = r.Match.From.Terms[0].Static.V4.Union(addrset.Between(from, from+3))
		}
		r.Match.IIf.Yes = []policy.Pattern{"eth0", "wan*", "br0"}
	}
	return p
}

func BenchmarkVerify(b *testing.B) {
	policies := map[string]*policy.Policy{
		"10": manyRules(10), "1000": manyRules(1000), "10000": manyRules(10_000), "10000 sampled": manyCorners(10_000),
	}
	for _, n := range []int{1000, 10_000} {
		for _, shape := range workload.Shapes {
			policies[fmt.Sprint(shape, " ", n)] = workload.Generate(shape, n, 1).Policy()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(policies)) {
		b.Run(name, func(b *testing.B) {
			p := policies[name]
			rs, err := Compile(p, Options{})
			if err != nil {
				b.Fatal(err)
			}
			var r Report
			runs, before := 0, processor(b)
			for b.Loop() {
				runs++
				if r, err = Verify(p, rs); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((processor(b)-before)*1000/float64(runs), "cpu-ms/op")
			b.ReportMetric(float64(r.Packets), "packets")
			b.ReportMetric(float64(r.Corners), "corners")
		})
	}
}

// processor is the seconds that processors have spent on this process: what a busy machine does not stretch.
func processor(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
