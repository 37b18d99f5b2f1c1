package classify

import (
	"net/netip"
	"testing"

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

// TestWorkloads shows of policies of the shapes that are measured that the first line is found, that a packet passes a small part of
// what it would pass of the list, and that structures are not deeper than the kernel follows.
func TestWorkloads(t *testing.T) {
	const small, large, levels = 1000, 10_000, 12
	for _, shape := range workload.Shapes {
		passed := make(map[int]int)
		for _, n := range []int{small, large} {
			sparing := n == large && shape == workload.FW
			w := workload.Generate(shape, n, 1)
			lines, width := linesOf(w)
			root := Build(lines, Options{Width: width, Guards: 4, MoreGuards: 32, Late: 5, Levels: levels, Sparing: sparing})
			var s size
			if depth := root.measure(&s); depth > levels {
				t.Errorf("%s, %d lines: %d nodes follow one another, want at most %d", shape, n, depth, levels)
			}
			packets := w.Packets(2000, 2)
			listed := 0
			var all walked
			for i := range packets {
				p := pointOf(&packets[i])
				want := firstOf(lines, &p)
				if got := root.find(&p, width, &all); got != want {
					t.Fatalf("%s, %d lines: the first of %+v is %d, found %d", shape, n, p, want, got)
				}
				if listed += want + 1; want < 0 {
					listed += n
				}
			}
			passed[n] = all.passed()
			t.Logf("%s, %d lines: %d passed of %d, a lookup as a dozen; %s", shape, n, passed[n]/len(packets), listed/len(packets), s)
			if n == large && 20*passed[n] > listed {
				t.Errorf("%s, %d lines: packets pass %d, and of the list %d", shape, n, passed[n], listed)
			}
		}
		if passed[large] > 4*passed[small] {
			t.Errorf("%s: packets pass %d of %d lines, and %d of %d", shape, passed[small], small, passed[large], large)
		}
	}
}

func BenchmarkBuild(b *testing.B) {
	const levels = 12
	for _, shape := range workload.Shapes {
		lines, width := linesOf(workload.Generate(shape, 10_000, 1))
		b.Run(string(shape), func(b *testing.B) {
			for b.Loop() {
				Build(lines, Options{Width: width, Guards: 4, MoreGuards: 32, Late: 5, Levels: levels})
			}
		})
	}
}
