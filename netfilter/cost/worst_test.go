package cost_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"ringwall/netfilter/compile"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// scored is a packet and what it costs when it comes again and again, in nanoseconds.
type scored struct {
	pkt policy.Packet
	ns  float64
}

// each measures packets one by one: the best of so many tries of so many packets.
func (h *host) each(t testing.TB, packets []scored, tries, count int) {
	t.Helper()
	list := make([]policy.Packet, len(packets))
	for i := range packets {
		list[i], packets[i].ns = packets[i].pkt, 0
	}
	h.load(t, list)
	defer pin(t)()
	h.Do(t, func() {
		for range tries {
			for i := range packets {
				h.src.Window(i, i+1)
				took, err := h.src.Send(count)
				if err != nil {
					t.Fatal(err)
				}
				if ns := float64(took.Nanoseconds()) / float64(count); packets[i].ns == 0 || ns < packets[i].ns {
					packets[i].ns = ns
				}
			}
		}
	})
}

// costliest leaves the costliest, in order.
func costliest(packets []scored, n int) []scored {
	slices.SortStableFunc(packets, func(a, b scored) int { return cmp.Compare(b.ns, a.ns) })
	return packets[:min(n, len(packets))]
}

// search finds costly packets: it measures many, keeps the costliest, and goes on with what is like them.
func (b *bench) search(t testing.TB, h *host, w *workload.Workload) []scored {
	t.Helper()
	const kept = 64
	h.load(t, w.Packets(traceLength, 2))
	h.send(t, leastSample)
	// A packet comes for a fifth of a millisecond, so that a slow rule set is searched in the same time, if less well.
	count := min(max(int(200_000/h.send(t, leastSample)), 4), 128)
	var many []scored
	for _, p := range w.Packets(pick(b, 4096, 1<<15), 2) {
		many = append(many, scored{pkt: p})
	}
	h.each(t, many, 1, count)
	best := costliest(many, 16*kept)
	h.each(t, best, 3, count)
	best = costliest(best, kept)
	rng := rand.New(rand.NewPCG(1, 2))
	for range pick(b, 2, 6) {
		next := slices.Clone(best)
		seen := make(map[policy.Packet]bool)
		for _, s := range best {
			seen[s.pkt] = true
		}
		for _, s := range best {
			for range 15 {
				if p := mutant(rng, w, s.pkt); !seen[p] {
					seen[p] = true
					next = append(next, scored{pkt: p})
				}
			}
		}
		h.each(t, next, 2, count)
		best = costliest(next, kept)
	}
	return best
}

// mutant is a packet with one thing of another's, which stands in a rule.
func mutant(rng *rand.Rand, w *workload.Workload, p policy.Packet) policy.Packet {
	other := w.Inside(rng.IntN(len(w.Rules)), rng)
	switch what := rng.IntN(4); {
	case what == 0:
		p.Src = other.Src
	case what == 1 && w.Shape != workload.Host:
		p.Dst = other.Dst
	case what == 2 && policy.HasPorts(p.Proto) == policy.HasPorts(other.Proto):
		p.Sport = other.Sport
	default:
		p.Proto, p.Sport, p.Dport, p.Type = other.Proto, other.Sport, other.Dport, other.Type
	}
	return p
}

// worstPackets finds what the costliest packet costs. In the end the costliest are measured once more, each for itself against
// the bare hook, and all in turn.
func (b *bench) worstPackets(t *testing.T) {
	n := pick(b, 1000, 10_000)
	say("\n%d rules; ns above the bare hook: the costliest packet by itself, the 64 costliest in turn, an ordinary one", n)
	for _, shape := range workload.Shapes {
		t.Run(string(shape), func(t *testing.T) {
			w := workload.Generate(shape, n, 1)
			h := newHost(t, true)
			h.nft(t, sink)
			h.enforce(t, w.Policy(), compile.Options{})
			found := b.search(t, h, w)
			var list []policy.Packet
			for _, s := range found {
				list = append(list, s.pkt)
			}
			variants := bareVariants(t, list)
			for i := range min(8, len(list)) {
				one := newHost(t, true)
				one.nft(t, sink)
				one.enforce(t, w.Policy(), compile.Options{})
				one.load(t, list[i:i+1])
				variants = append(variants, &variant{who: "one", host: one})
			}
			ordinary := newHost(t, true)
			ordinary.nft(t, sink)
			ordinary.enforce(t, w.Policy(), compile.Options{})
			ordinary.load(t, w.Packets(traceLength, 1))
			h.load(t, list)
			variants = append(variants, &variant{who: "all", host: h}, &variant{who: "ordinary", host: ordinary})
			rounds(t, variants, pick(b, 3, 6))
			base, worst, at := variants[0].ns(), 0.0, 0
			for i, v := range variants[2 : len(variants)-2] {
				if v.ns() > worst {
					worst, at = v.ns(), i
				}
			}
			all, some := variants[len(variants)-2].ns(), variants[len(variants)-1].ns()
			p := list[at]
			say("  %-5s %8.0f %8.0f %8.0f   %s %s to %s sport %d dport %d: rule %d", shape, worst-base, all-base, some-base,
				protoName(p.Proto), p.Src, p.Dst, p.Sport, p.Dport, w.Decide(&p)+1)
			b.report.add(result{Section: "worst", Shape: string(shape), Who: ringwall, Rules: n, Measures: map[string]float64{
				"ns_bare": base, "ns_worst": worst, "ns_64_worst": all, "ns_ordinary": some, "ns_worst_above_bare": worst - base,
			}})
		})
	}
}
