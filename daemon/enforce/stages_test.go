package enforce

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/rules/check"
	"ringwall/rules/policy"
	"ringwall/rules/source"
	"ringwall/rules/workload"
)

// stopwatch collects what each stage of a reload takes.
type stopwatch struct {
	wall, spent map[string][]time.Duration
	made        map[string][]uint64 // bytes, allocated
	order       []string
}

func newStopwatch() *stopwatch {
	return &stopwatch{wall: map[string][]time.Duration{}, spent: map[string][]time.Duration{}, made: map[string][]uint64{}}
}

// of times a stage.
func (s *stopwatch) of(stage string, do func()) {
	begun, spent, made := time.Now(), processorTime(), allocated()
	do()
	if s.wall[stage] == nil {
		s.order = append(s.order, stage)
	}
	s.wall[stage], s.spent[stage] = append(s.wall[stage], time.Since(begun)), append(s.spent[stage], processorTime()-spent)
	s.made[stage] = append(s.made[stage], allocated()-made)
}

// allocated is the bytes that this process has allocated.
func allocated() uint64 {
	all := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(all)
	return all[0].Value.Uint64()
}

// report tells the medians, in milliseconds and megabytes.
func (s *stopwatch) report(b *testing.B) {
	for _, stage := range s.order {
		b.ReportMetric(milliseconds(s.wall[stage]), stage+"-ms")
		b.ReportMetric(milliseconds(s.spent[stage]), stage+"-cpu-ms")
		b.ReportMetric(s.megabytes(stage), stage+"-MB")
	}
	b.ReportMetric(0, "ns/op")
}

func (s *stopwatch) megabytes(stage string) float64 {
	all := s.made[stage]
	slices.Sort(all)
	return float64(all[len(all)/2]) / 1e6
}

func milliseconds(all []time.Duration) float64 {
	slices.Sort(all)
	return float64(all[len(all)/2].Microseconds()) / 1000
}

// processorTime is what this process has taken of all processors.
func processorTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkStages takes the stages of a reload one by one, of policies of 10,000 rules, of which one is another each time.
func BenchmarkStages(b *testing.B) {
	const rules = 10_000
	defer debug.SetGCPercent(debug.SetGCPercent(policy.GCPercent))
	for _, shape := range workload.Shapes {
		b.Run(string(shape), func(b *testing.B) {
			nstest.Enter(b)
			ctx := context.Background()
			e, err := Open(ctx, Options{State: b.TempDir(), Lazy: true})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			w := workload.Generate(shape, rules, 1)
			i := rules/2 + slices.IndexFunc(w.Rules[rules/2:], func(r workload.Rule) bool { return !r.Dport.IsAny() })
			file := filepath.Join(b.TempDir(), "policy.yaml")
			save := func(n int) {
				w.Rules[i].Dport = workload.Ports{Lo: uint16(20_000 + n), Hi: uint16(20_000 + n)}
				if err := os.WriteFile(file, []byte(w.YAML()), 0o644); err != nil {
					b.Fatal(err)
				}
			}
			opt := e.LoadOptions()
			opt.NoLints, opt.Brief = true, true
			save(0)
			if r, err := e.Apply(ctx, Load(source.OS{}, file, opt), Files); err != nil || !r.Applied {
				b.Fatal(r, err)
			}
			s := newStopwatch()
			must := func(err error) {
				if err != nil {
					b.Fatal(err)
				}
			}
			for n := 1; b.Loop(); n++ {
				save(n)
				debug.FreeOSMemory() // as the daemon does between reloads
				s.of("sum", func() {
					defer e.Slack()()
					rec := source.NewRecorder(source.OS{})
					c := &Candidate{Entry: file, brief: true}
					s.of("load", func() { c.Policy, c.Diags = policy.Load(rec, file, opt.Options) })
					s.of("digest", func() { c.Bundle, c.Digest = rec.Bundle(), rec.Digest() })
					s.of("tests", func() { c.Tests = check.Tests(c.Policy) })
					s.of("guard", func() { e.Guard(c, false) })
					r, compared := e.beginReport(c)
					s.of("compile", func() { e.prove(c) })
					s.of("report", compared)
					var change *kernel.Change
					s.of("plan", func() {
						change, err = e.conn.Plan(ctx, c.proof.rules)
						must(err)
					})
					s.of("verify", func() {
						_, err := e.proved(c, r)
						must(err)
					})
					s.of("commit", func() { must(e.commit(ctx, c.proof.rules, change, r)) })
					before := e.running.Policy
					e.running = Running{Candidate: c, Source: Files, rules: c.proof.rules}
					s.of("cut", func() { e.cutRefused(ctx, before, r) })
				})
			}
			s.report(b)
			if testing.Verbose() {
				for _, stage := range s.order {
					fmt.Printf("  %-5s %-8s %7.1f ms  %7.1f ms of CPU  %6.1f MB\n", shape, stage, milliseconds(s.wall[stage]), milliseconds(s.spent[stage]), s.megabytes(stage))
				}
			}
		})
	}
}

// BenchmarkStart has policies of 1,000 rules enforced where nothing was.
func BenchmarkStart(b *testing.B) {
	const rules = 1000
	defer debug.SetGCPercent(debug.SetGCPercent(policy.GCPercent))
	for _, shape := range workload.Shapes {
		b.Run(string(shape), func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "policy.yaml")
			if err := os.WriteFile(file, []byte(workload.Generate(shape, rules, 1).YAML()), 0o644); err != nil {
				b.Fatal(err)
			}
			s := newStopwatch()
			for b.Loop() {
				nstest.New(b).Do(b, func() {
					debug.FreeOSMemory()
					s.of("start", func() {
						e, err := Open(context.Background(), Options{State: b.TempDir(), Lazy: true})
						if err != nil {
							b.Fatal(err)
						}
						b.Cleanup(func() { e.Close() })
						defer e.Slack()()
						opt := e.LoadOptions()
						opt.NoLints, opt.Brief = true, true
						if r, err := e.Apply(context.Background(), Load(source.OS{}, file, opt), Files); err != nil || !r.Applied {
							b.Fatal(r, err)
						}
					})
				})
			}
			s.report(b)
		})
	}
}
