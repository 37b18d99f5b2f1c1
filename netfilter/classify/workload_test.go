package classify

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

func spanOf(p netip.Prefix) Span {
	lo, hi := p.Masked().Addr(), addrset.LastOf(p.Masked())
	if lo.Is4() {
		return Span{Key{Lo: uint64(addrset.V4(lo))}, Key{Lo: uint64(addrset.V4(hi))}}
	}
	return Span{addrset.V6(lo), addrset.V6(hi)}
}

func portsOf(p workload.Ports) Ports {
	if p.IsAny() {
		return AllPorts
	}
	return Ports{p.Lo, p.Hi}
}

func linesOf(w *workload.Workload) (lines []Line, width int) {
	width = 32
	if w.Shape == workload.Six {
		width = 128
	}
	for i, r := range w.Rules {
		b := Everything(width)
		b.Addr = [2]Span{spanOf(r.From), spanOf(r.To)}
		if r.Proto != 0 {
			b.Proto = int16(r.Proto)
		}
		if r.Proto == 6 || r.Proto == 17 {
			b.Port = [2]Ports{portsOf(r.Dport), portsOf(r.Sport)}
		}
		lines = append(lines, Line{Box: b, Target: i})
	}
	return lines, width
}

func pointOf(p *policy.Packet) (q point) {
	for i, a := range []netip.Addr{p.Src, p.Dst} {
		q.addr[i] = spanOf(netip.PrefixFrom(a, a.BitLen())).Lo
	}
	q.proto = p.Proto
	q.port = [2]uint16{p.Dport, p.Sport}
	return q
}

// TestWorkloads reports what the model says of policies of the shapes that are measured.
func TestWorkloads(t *testing.T) {
	sizes := []int{1000, 10000}
	if os.Getenv("LARGE") != "" {
		sizes = append(sizes, 100000)
	}
	for _, n := range sizes {
		for _, shape := range workload.Shapes {
			if only := os.Getenv("SHAPE"); only != "" && !strings.Contains(only, string(shape)) {
				continue
			}
			w := workload.Generate(shape, n, 1)
			lines, width := linesOf(w)
			packets := w.Packets(3000, 2)
			for _, opt := range []Options{{Late: 3}} {
				opt.Width, opt.Guards, opt.MoreGuards = width, 16, 64
				start := time.Now()
				root := Build(lines, opt)
				took := time.Since(start)
				var s size
				depth := root.measure(&s)
				var all walked
				worst, wrong, hit := 0.0, 0, 0
				for i := range packets {
					p := pointOf(&packets[i])
					before := all.cost
					got := root.find(&p, width, &all)
					worst = max(worst, all.cost-before)
					want := firstOf(lines, &p)
					if got != want {
						wrong++
					}
					if want >= 0 {
						hit++
					}
				}
				k := float64(len(packets))
				top, leaf := 0, 0
				for i := range root.Steps {
					if len(root.Steps[i].Cases) > 0 {
						top++
					} else {
						leaf++
					}
				}
				fmt.Printf("%-5s %6d late%d: mean %5.0f worst %6.0f probes %.1f jumps %.1f tests %.1f | %v depth %d root %d+%d wrong %d hit %d %v\n", shape, n, opt.Late,
					all.cost/k, worst, float64(all.probes)/k, float64(all.jumps)/k, float64(all.tests)/k, s, depth, top, leaf, wrong, hit, took.Round(time.Millisecond))
			}
		}
	}
}
