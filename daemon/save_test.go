package daemon

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ringwall/netfilter/kernel"
)

// BenchmarkSaveToEnforced measures the time from saving a policy of a thousand rules to its rules being in the kernel,
// settling included: p50 and p99 over the saves.
func BenchmarkSaveToEnforced(b *testing.B) {
	var rules strings.Builder
	rules.WriteString("version: 1\nfailsafe: {ssh: [198.51.100.0/24]}\nin:\n")
	for i := range 1000 {
		fmt.Fprintf(&rules, "  - {allow: tcp/%d, from: [10.%d.%d.0/24, \"2001:db8:%x::/48\"], id: r%d}\n", 1024+i, i/250, i%250, i, i)
	}
	text := func(n int) string {
		return fmt.Sprintf("%s  - {allow: udp/53, from: 192.0.2.%d, id: last}\n", rules.String(), n%250+1)
	}

	w := build(b, text(0))
	w.start(b)
	conn, err := kernel.Dial(kernel.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	generation := func() uint32 {
		g, err := conn.Generation(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		return g
	}
	var times []time.Duration
	for n := 1; b.Loop(); n++ {
		before := generation()
		w.save(b, text(n))
		saved := time.Now()
		for generation() == before {
			if time.Since(saved) > 10*time.Second {
				b.Fatal("not enforced in ten seconds")
			}
			time.Sleep(time.Millisecond)
		}
		times = append(times, time.Since(saved))
	}
	slices.Sort(times)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(times[len(times)/2]), "p50-ms")
	b.ReportMetric(ms(times[len(times)*99/100]), "p99-ms")
	b.ReportMetric(0, "ns/op") // the pauses between are none of ours
}
