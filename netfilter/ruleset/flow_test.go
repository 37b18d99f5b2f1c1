package ruleset

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ringwall/rules/policy"
)

// The expressions of the tests below.
var (
	ask4, ask6 = needIPv4.expr(), needIPv6.expr()
	askTCP     = Cmp{Field: L4Proto, Value: []byte{policy.ProtoTCP}}
	from10     = Cmp{Field: Saddr4, Mask: []byte{255, 0, 0, 0}, Value: []byte{10, 0, 0, 0}}
	fromDoc    = Cmp{Field: Saddr6, Value: netip.MustParseAddr("2001:db8::1").AsSlice()}
	port22     = Cmp{Field: Dport, Value: []byte{0, 22}}
	dropIt     = Verdict{Kind: Drop}
)

func jumpTo(chain string) Verdict { return Verdict{Jump, chain} }
func rules(of ...[]Expr) (r []*Rule) {
	for _, e := range of {
		r = append(r, &Rule{Exprs: e})
	}
	return r
}

// TestCheckFollowsPackets has fields loaded in chains that do not ask for what the fields need.
func TestCheckFollowsPackets(t *testing.T) {
	in := func(f Field, not bool, values ...byte) In {
		i := In{Field: f, Not: not}
		for _, v := range values {
			i.Elems = append(i.Elems, Interval{[]byte{v}, []byte{v}})
		}
		return i
	}
	by := func(keys ...Key) VMapRef { return VMapRef{Map: "map", Keys: keys} }
	keyed := func(interval bool, keys []Field, elems ...MapElem) *Map {
		return &Map{Name: "map", Keys: keys, Interval: interval, Elems: elems}
	}
	proto, port := Key{Field: L4Proto}, Key{Field: Dport}
	to := jumpTo("four")
	for _, tt := range []struct {
		name   string
		base   []*Rule // lead to the chain "four", which loads ip saddr, or to "tcp", which loads th dport
		m      *Map
		chains []*Chain
		alone  string // the one of them that is there though nothing leads to it
		want   string // the mistake, if any
	}{
		{name: "asked before the jump", base: rules([]Expr{ask4, to})},
		{name: "asked for both families", base: rules([]Expr{ask4, to}, []Expr{ask6, to}), want: "chain four, rule 0: ip saddr without meta nfproto"},
		{name: "one of two jumps asks", base: rules([]Expr{ask4, to}, []Expr{to}), want: "chain four, rule 0: ip saddr without meta nfproto"},
		{name: "asked after it", base: rules([]Expr{to}, []Expr{ask4, dropIt}), want: "ip saddr without"},
		{name: "asked in the rule before", base: rules([]Expr{ask6, dropIt}, []Expr{to}), want: "ip saddr without"},
		{name: "the other is excluded", base: rules([]Expr{Cmp{Field: NFProto, Op: Ne, Value: []byte{IPv6}}, to}), want: "ip saddr without"},
		{name: "under a mask", base: rules([]Expr{Cmp{Field: NFProto, Mask: []byte{2}, Value: []byte{2}}, to}), want: "ip saddr without"},
		{name: "not in a set", base: rules([]Expr{in(NFProto, true, IPv6), to}), want: "ip saddr without"},
		{name: "in a set of one", base: rules([]Expr{in(NFProto, false, IPv4), to})},
		{name: "in a set of two", base: rules([]Expr{in(NFProto, false, IPv4, IPv6), to}), want: "ip saddr without"},
		{name: "in sets that have one in common", base: rules([]Expr{in(NFProto, false, IPv4, IPv6), in(NFProto, false, IPv4, 7), to})},
		{name: "through a chain", base: rules([]Expr{ask4, jumpTo("between")}), chains: []*Chain{{Name: "between", Rules: rules([]Expr{to})}}},
		{name: "in a chain between", base: rules([]Expr{jumpTo("between")}), chains: []*Chain{{Name: "between", Rules: rules([]Expr{ask4, to})}}},
		{name: "through a chain that others use", base: rules([]Expr{ask4, jumpTo("between")}, []Expr{jumpTo("between")}),
			chains: []*Chain{{Name: "between", Rules: rules([]Expr{to})}}, want: "ip saddr without"},
		{name: "a chain that stands before its callers", base: rules([]Expr{jumpTo("b")}, []Expr{ask4, jumpTo("a")}),
			chains: []*Chain{{Name: "a", Rules: rules([]Expr{to})}, {Name: "b", Rules: rules([]Expr{jumpTo("a")})}}, want: "ip saddr without"},
		{name: "by goto", base: rules([]Expr{ask4, Verdict{Goto, "four"}}, []Expr{Verdict{Goto, "four"}}), want: "ip saddr without"},
		{name: "nobody leads there", base: rules([]Expr{dropIt}), alone: "four", want: "ip saddr without"},
		{name: "another base chain leads there", base: rules([]Expr{ask4, to}), chains: []*Chain{{Name: "output", Hook: &Hook{Point: Output}, Rules: rules([]Expr{to})}},
			want: "ip saddr without"},
		{name: "by an anonymous map", base: rules([]Expr{VMap{NFProto, []VMapElem{{Interval{[]byte{IPv4}, []byte{IPv4}}, to}}}})},
		{name: "by a range of one", base: rules([]Expr{VMap{NFProto, []VMapElem{{Interval{[]byte{IPv4}, []byte{IPv6}}, to}}}}), want: "ip saddr without"},
		{name: "by another element of it", want: "ip saddr without",
			base: rules([]Expr{VMap{NFProto, []VMapElem{{Interval{[]byte{IPv4}, []byte{IPv4}}, to}, {Interval{[]byte{IPv6}, []byte{IPv6}}, to}}}})},
		{name: "by an element of a map", base: rules([]Expr{by(Key{Field: NFProto})}), m: keyed(false, []Field{NFProto}, mapElem(to, IPv4))},
		{name: "by two", base: rules([]Expr{by(Key{Field: NFProto})}), m: keyed(false, []Field{NFProto}, mapElem(to, IPv4), mapElem(to, IPv6)), want: "ip saddr without"},
		{name: "under a mask by an element", base: rules([]Expr{by(Key{NFProto, []byte{2}})}), m: keyed(false, []Field{NFProto}, mapElem(to, IPv4)), want: "ip saddr without"},
		{name: "under a mask in another rule", base: rules([]Expr{by(Key{Field: NFProto})}, []Expr{by(Key{NFProto, []byte{2}})}),
			m: keyed(false, []Field{NFProto}, mapElem(to, IPv4)), want: "ip saddr without"},
		{name: "a map of something else", base: rules([]Expr{ask4, by(proto)}), m: keyed(false, []Field{L4Proto}, mapElem(to, 6))},
		{name: "a map of something else, and two rules", base: rules([]Expr{ask4, by(proto)}, []Expr{by(proto)}), m: keyed(false, []Field{L4Proto}, mapElem(to, 6)),
			want: "ip saddr without"},
		{name: "a range of a map", base: rules([]Expr{by(proto)}), m: keyed(true, []Field{L4Proto}, MapElem{Interval{[]byte{6}, []byte{7}}, jumpTo("tcp")}), want: "th dport without"},
		{name: "the port after the protocol", base: rules([]Expr{by(proto, port)}), m: keyed(false, []Field{L4Proto, Dport}, mapElem(jumpTo("tcp"), 6, 0, 22))},
		{name: "the protocol after the port", base: rules([]Expr{by(port, proto)}), m: keyed(false, []Field{Dport, L4Proto}, mapElem(jumpTo("tcp"), 0, 22, 6))},
		{name: "an element of a protocol without ports", base: rules([]Expr{by(proto, port)}),
			m: keyed(false, []Field{L4Proto, Dport}, mapElem(jumpTo("tcp"), 1, 0, 22), mapElem(jumpTo("tcp"), 6, 0, 22)), want: "th dport without"},
		{name: "a map of protocols without ports leads elsewhere", base: rules([]Expr{by(proto)}), m: keyed(false, []Field{L4Proto}, mapElem(dropIt, 1), mapElem(jumpTo("tcp"), 6))},
		{name: "the address before the family", base: rules([]Expr{by(Key{Field: Saddr4}, proto)}), m: keyed(false, []Field{Saddr4, L4Proto}, mapElem(jumpTo("tcp"), 10, 0, 0, 1, 6)),
			want: "chain input, rule 0: ip saddr without meta nfproto"},
		{name: "no map teaches what it does not ask", base: rules([]Expr{askTCP, by(port)}, []Expr{by(port)}),
			m: keyed(false, []Field{Dport}, mapElem(jumpTo("tcp"), 0, 22)), want: "th dport without"},
		{name: "asked where it is needed", base: rules([]Expr{jumpTo("asks")}), chains: []*Chain{{Name: "asks", Rules: rules([]Expr{ask4, from10, dropIt})}}},
		{name: "asked behind it", base: rules([]Expr{jumpTo("asks")}), chains: []*Chain{{Name: "asks", Rules: rules([]Expr{from10, ask4, dropIt})}}, want: "chain asks, rule 0"},
		{name: "asked for the other", base: rules([]Expr{ask4, jumpTo("asks")}), chains: []*Chain{{Name: "asks", Rules: rules([]Expr{fromDoc, dropIt})}}, want: "ip6 saddr without"},
		{name: "ICMP of one family", base: rules([]Expr{Cmp{Field: L4Proto, Value: []byte{1}}, jumpTo("icmp")}),
			chains: []*Chain{{Name: "icmp", Rules: rules([]Expr{Cmp{Field: ICMPType, Value: []byte{8}}, dropIt})}}, want: "icmp type without meta nfproto"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &Ruleset{Chains: []*Chain{{Name: "input", Hook: &Hook{Point: Input}, Rules: tt.base}}}
			if tt.m != nil {
				r.Maps = append(r.Maps, tt.m)
			}
			r.Chains = append(r.Chains, tt.chains...)
			for name, load := range map[string]Expr{"four": from10, "tcp": port22} {
				if leadsTo(r, name) || tt.alone == name {
					r.Chains = append(r.Chains, &Chain{Name: name, Rules: rules([]Expr{load, dropIt})})
				}
			}
			switch err := r.Check(); {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestFlowIsSound sends packets of every family and some protocols through rule sets drawn at random: what is known of a chain is so of
// every packet that comes there, and what is trimmed is missed by none.
func TestFlowIsSound(t *testing.T) {
	const sets = 3000
	known, before, after := 0, 0, 0
	size := func(r *Ruleset) (n int) {
		for _, ch := range r.Chains {
			for _, rule := range ch.Rules {
				n += len(rule.Exprs)
			}
		}
		return n
	}
	for seed := range uint64(sets) {
		r := drawn(rand.New(rand.NewPCG(seed, 0)))
		whole, err := NewMachine(r, nil)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		flow := newFlow(r)
		for _, ch := range r.Chains {
			if flow.chains[ch.Name].known != anything {
				known++
			}
		}
		lean := drawn(rand.New(rand.NewPCG(seed, 0)))
		before += size(lean)
		lean.Trim(func(*Chain, *Rule, Field) bool { return true })
		after += size(lean)
		trimmed, err := NewMachine(lean, nil)
		if err != nil {
			t.Fatalf("seed %d, trimmed: %v", seed, err)
		}
		for _, addr := range []string{"10.0.0.1", "2001:db8::1"} {
			for proto := range uint8(20) {
				pkt := policy.Packet{Src: netip.MustParseAddr(addr), Dst: netip.MustParseAddr(addr), Proto: proto}
				stage := Stage{Hook: Input, Pkt: &pkt}
				got := whole.Walk(Bits{}, stage)
				for _, name := range got.Path() {
					k := flow.chains[name].known
					if !k.families.has(family(&pkt)) || !k.protocols.has(proto) {
						t.Fatalf("seed %d: a packet of %s and protocol %d comes to chain %s, of which %v is known", seed, addr, proto, name, k)
					}
				}
				if again := trimmed.Walk(Bits{}, stage); again.String() != got.String() {
					t.Fatalf("seed %d, %s, protocol %d: trimmed %s, else %s", seed, addr, proto, again, got)
				}
			}
		}
	}
	t.Logf("something is known of %d chains of %d; %d expressions of %d are trimmed", known, 9*sets, before-after, before)
	if known < sets || before-after < sets/4 {
		t.Error("too little is known for a test")
	}
}

func family(pkt *policy.Packet) byte {
	if pkt.Is6() {
		return IPv6
	}
	return IPv4
}

// leadsTo tells whether anything leads to a chain.
func leadsTo(r *Ruleset, name string) (leads bool) {
	look := func(v Verdict) { leads = leads || v.Chain == name }
	for _, m := range r.Maps {
		for _, e := range m.Elems {
			look(e.Verdict)
		}
	}
	for _, ch := range r.Chains {
		for _, rule := range ch.Rules {
			switch e := rule.Exprs[len(rule.Exprs)-1].(type) {
			case Verdict:
				look(e)
			case VMap:
				for _, el := range e.Elems {
					look(el.Verdict)
				}
			}
		}
	}
	return leads
}

// drawn is a rule set of chains that ask for families and protocols and lead to one another, at random.
func drawn(rng *rand.Rand) *Ruleset {
	const chains, maps = 9, 3
	r := new(Ruleset)
	values := map[Field][]byte{NFProto: {IPv4, IPv6}, L4Proto: {1, 6, 7, 17}}
	field := func() Field { return []Field{NFProto, L4Proto}[rng.IntN(2)] }
	value := func(f Field) []byte { return []byte{values[f][rng.IntN(len(values[f]))]} }
	span := func(f Field) Interval {
		i := Interval{value(f), value(f)}
		if rng.IntN(3) > 0 || i.Lo[0] > i.Hi[0] {
			i.Hi = i.Lo
		}
		return i
	}
	mask := func() []byte {
		if rng.IntN(8) > 0 {
			return nil
		}
		return []byte{byte(rng.IntN(256))}
	}
	verdict := func(after int) Verdict {
		if kind := VerdictKind(rng.IntN(7)); kind <= Return {
			return Verdict{Kind: kind}
		}
		if to := after + 1 + rng.IntN(3); to < chains {
			return Verdict{[]VerdictKind{Jump, Goto}[rng.IntN(2)], fmt.Sprint("c", to)}
		}
		return Verdict{Kind: Return}
	}
	ask := func() Expr {
		f := field()
		if rng.IntN(3) == 0 {
			return In{Field: f, Not: rng.IntN(3) == 0, Elems: []Interval{span(f)}}
		}
		return Cmp{Field: f, Mask: mask(), Op: Op(rng.IntN(3) / 2), Value: value(f)}
	}
	for i := range maps {
		m := &Map{Name: fmt.Sprint("m", i), Keys: []Field{field()}, Interval: rng.IntN(2) == 0}
		if !m.Interval {
			m.Keys = append(m.Keys, field())
		}
		for range rng.IntN(4) {
			e := MapElem{Interval: span(m.Keys[0]), Verdict: verdict(3*i + 2)} // which a chain before that looks up
			if !m.Interval {
				e.Lo = append(slices.Clone(e.Lo), value(m.Keys[1])...)
				e.Hi = e.Lo
			}
			if n := len(m.Elems); n == 0 || slices.Compare(m.Elems[n-1].Hi, e.Lo) < 0 {
				m.Elems = append(m.Elems, e)
			}
		}
		r.Maps = append(r.Maps, m)
	}
	for i := range chains {
		ch := &Chain{Name: fmt.Sprint("c", i)}
		if i == 0 {
			ch.Hook = &Hook{Point: Input}
		}
		for range 1 + rng.IntN(5) {
			rule := new(Rule)
			for range rng.IntN(3) {
				rule.Exprs = append(rule.Exprs, ask())
			}
			switch n := rng.IntN(6); {
			case n == 0:
				f := field()
				rule.Exprs = append(rule.Exprs, VMap{Field: f, Elems: []VMapElem{{span(f), verdict(i)}}})
			case n == 1:
				m := r.Maps[i/3+rng.IntN(maps-i/3)]
				ref := VMapRef{Map: m.Name}
				for _, f := range m.Keys {
					ref.Keys = append(ref.Keys, Key{f, mask()})
				}
				rule.Exprs = append(rule.Exprs, ref)
			default:
				rule.Exprs = append(rule.Exprs, verdict(i))
			}
			ch.Rules = append(ch.Rules, rule)
		}
		r.Chains = append(r.Chains, ch)
	}
	rng.Shuffle(len(r.Chains), func(i, j int) { r.Chains[i], r.Chains[j] = r.Chains[j], r.Chains[i] })
	return r
}

// TestTrimKeepsWhatPacketsMayLack trims what tells whether a packet has a transport protocol at all.
func TestTrimKeepsWhatPacketsMayLack(t *testing.T) {
	every := In{Field: L4Proto, Elems: []Interval{{[]byte{0}, []byte{255}}}}
	r := &Ruleset{Chains: []*Chain{{Name: "input", Hook: &Hook{Point: Input}, Rules: rules([]Expr{every, dropIt}, []Expr{askTCP, every, dropIt})}}}
	r.Trim(func(*Chain, *Rule, Field) bool { return true })
	if got := r.Chains[0].Rules; len(got[0].Exprs) != 2 || len(got[1].Exprs) != 2 {
		t.Errorf("trimmed to %v and %v", got[0].Exprs, got[1].Exprs)
	}
}
