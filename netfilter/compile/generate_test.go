package compile

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// generator makes policies at random, of everything that the language has. Values come from small pools, so that rules overlap.
type generator struct{ *rand.Rand }

func (g generator) chance(oneIn int) bool { return g.IntN(oneIn) == 0 }

// some is a sublist, in order, of at least one item.
func some[T any](g generator, list ...T) []T {
	var out []T
	for _, x := range list {
		if g.chance(3) {
			out = append(out, x)
		}
	}
	if out == nil {
		return []T{list[g.IntN(len(list))]}
	}
	return out
}

func one[T any](g generator, list ...T) T { return list[g.IntN(len(list))] }

// choice is a value of a match key: absent, positive, negative or both.
func choice[T any](g generator, absent int, list ...T) (c policy.Choice[T]) {
	if !g.chance(absent) {
		return c
	}
	switch g.IntN(3) {
	case 0:
		c.Yes = some(g, list...)
	case 1:
		c.No = some(g, list...)
	default:
		c.Yes, c.No = some(g, list...), some(g, list...)
	}
	return c
}

func (g generator) policy() *policy.Policy {
	p := &policy.Policy{
		Transit: !g.chance(3),
		Base: policy.Base{
			Loopback: !g.chance(4), Established: !g.chance(4), Neighbour: !g.chance(4), Multicast: !g.chance(4),
			ICMPErrors: !g.chance(4), DHCPClient: !g.chance(4), Invalid: !g.chance(4), ReversePath: g.chance(3),
		},
		Sets:  map[string]*policy.Set{"banned": {Name: "banned", Dynamic: &policy.Dynamic{}}, "guests": {Name: "guests", Dynamic: &policy.Dynamic{}}},
		Given: map[string]addrset.Addrs{"banned": g.ranges(), "guests": g.ranges()},
	}
	for i := range p.Defaults {
		p.Defaults[i] = one(g, policy.Allow, policy.Deny, policy.Reject)
	}
	if g.chance(2) {
		p.Block = g.terms()
	}
	for range g.IntN(3) {
		p.Failsafe = append(p.Failsafe, policy.Failsafe{What: g.what(), From: g.terms()})
	}
	for _, dir := range policy.Dirs {
		if dir == policy.Forward && !p.Transit {
			continue
		}
		for i := range g.IntN(6) {
			p.Lists[dir] = append(p.Lists[dir], g.rule(dir, i))
		}
	}
	return p
}

func (g generator) rule(dir policy.Dir, n int) *policy.Rule {
	r := &policy.Rule{ID: fmt.Sprintf("rule-%d", n), List: dir}
	if g.chance(4) {
		r.ID = fmt.Sprintf("allow-ssh-3f9a2c~%d", n+2)
	}
	r.Action = g.action()
	m := &r.Match
	m.What, m.From, m.To, m.Sport = g.what(), g.addresses(), g.addresses(), addrset.All[addrset.U16]()
	if g.chance(4) {
		m.What = policy.PortWhat()
		if g.chance(2) {
			ports := addrset.Of(addrset.Range[addrset.U32]{Lo: policy.Key(policy.ProtoTCP, 20), Hi: policy.Key(policy.ProtoTCP, 30)})
			m.What = policy.What{V4: ports, V6: ports}
		}
		m.Sport = g.ports()
		if g.chance(3) {
			m.Sport = m.Sport.Complement()
		}
	}
	patterns := []policy.Pattern{"eth0", "eth1", "eth*", "e*", "br-*", "br-x*", "wan"}
	if dir != policy.Out {
		m.IIf = choice(g, 4, patterns...)
		m.MAC = choice(g, 6, policy.MAC{2, 0, 0, 0, 0, 1}, policy.MAC{2, 0, 0, 0, 0, 2}, policy.MAC{2, 0, 0, 0, 0, 3})
	}
	if dir != policy.In {
		m.OIf = choice(g, 4, patterns...)
	}
	all := ^uint32(0)
	m.Mark = choice(g, 5, policy.Mark{Value: 1, Mask: all}, policy.Mark{Value: 2, Mask: all}, policy.Mark{Value: 7, Mask: all},
		policy.Mark{Value: 0x10, Mask: 0xf0}, policy.Mark{Value: 0x80000000, Mask: 0xc0000000})
	if dir == policy.Out {
		owners := []policy.Owner{{ID: 0}, {ID: 1}, {ID: 1000}, {ID: 1<<32 - 2}}
		m.User, m.Group = choice(g, 4, owners...), choice(g, 5, owners...)
	}
	if g.chance(5) {
		r.Expires = 1_800_000_000
	}
	return r
}

func (g generator) action() policy.Action {
	a := policy.Action{Verdict: one(g, policy.Allow, policy.Deny, policy.Reject), Log: g.chance(3)}
	if a.Verdict != policy.Deny && g.chance(3) {
		a.Limit = &policy.Limit{Rate: 10, Unit: one(g, policy.Second, policy.Day), Burst: 10, PerSource: g.chance(2), Text: "10/minute"}
	}
	if a.Verdict == policy.Allow && g.chance(3) {
		a.Connections = &policy.Connections{Max: 5, PerSource: g.chance(2)}
	}
	return a
}

func (g generator) what() policy.What {
	key := policy.Key
	span := func(proto uint8, lo, hi uint16) addrset.Set[addrset.U32] {
		return addrset.Between(key(proto, lo), key(proto, hi))
	}
	both := func(s addrset.Set[addrset.U32]) policy.What { return policy.What{V4: s, V6: s} }
	if g.chance(4) {
		return policy.AnyWhat()
	}
	var w policy.What
	for range 1 + g.IntN(4) {
		switch g.IntN(10) {
		case 0:
			w = w.Union(both(span(one[uint8](g, 6, 17, 132), 0, 65535)))
		case 1, 2:
			w = w.Union(both(span(6, 22, one[uint16](g, 22, 23, 80))))
		case 3:
			w = w.Union(both(span(17, 53, 53))).Union(both(span(6, 53, 53)))
		case 4:
			w = w.Union(policy.What{V4: span(1, 0x800, 0x8ff), V6: span(58, 0x8000, 0x80ff)})
		case 5:
			w = w.Union(policy.What{V4: span(1, 0x0306, 0x0306).Union(span(1, 0x0506, 0x0507)), V6: span(58, 0, 0xffff)})
		case 6:
			w = w.Union(both(span(47, 0, 65535)))
		case 7:
			w = w.Union(both(addrset.Between(key(254, 0), ^addrset.U32(0))))
		case 8:
			w = w.Union(policy.What{V6: span(6, 443, 443)})
		case 9: // ports that look like the types of an echo request
			w = w.Union(both(span(17, 0x800, 0x8ff))).Union(policy.What{V4: span(1, 0x800, 0x8ff)})
		}
	}
	return w
}

func (g generator) ports() addrset.Set[addrset.U16] {
	var s addrset.Set[addrset.U16]
	for range 1 + g.IntN(3) {
		lo := one[addrset.U16](g, 1, 53, 1024, 40000)
		s = s.Union(addrset.Between(lo, lo+one[addrset.U16](g, 0, 0, 1, 1000)))
	}
	return s
}

// ranges is addresses of both families, or of one.
func (g generator) ranges() (a addrset.Addrs) {
	for range 1 + g.IntN(4) {
		lo := 0x0a000000 + addrset.U32(g.IntN(40))
		hi := lo + one[addrset.U32](g, 0, 0, 1, 7, 255)
		if g.chance(3) {
			a.V6 = a.V6.Union(addrset.Between(addrset.U128{Hi: 0x20010db8 << 32, Lo: uint64(lo)}, addrset.U128{Hi: 0x20010db8 << 32, Lo: uint64(hi)}))
		} else {
			a.V4 = a.V4.Union(addrset.Between(lo, hi))
		}
	}
	if g.chance(4) {
		a = a.Union(addrset.OfPrefix(netip.MustParsePrefix(one(g, "10.0.0.0/27", "fe80::/10", "0.0.0.0/0", "::/0", "2001:db8::/64", "::/128"))))
	}
	if g.chance(8) {
		// More ranges than a rule holds.
		for i := range addrset.U32(20) {
			a.V4 = a.V4.Union(addrset.One(0x0a000000 + 2*i))
			a.V6 = a.V6.Union(addrset.Between(addrset.U128{Lo: uint64(16 * i)}, addrset.U128{Lo: uint64(16*i + one[addrset.U32](g, 0, 5))}))
		}
	}
	return a
}

// addresses is any, or terms.
func (g generator) addresses() policy.Addrs {
	if g.chance(2) {
		return policy.AnyAddrs()
	}
	return g.terms()
}

// terms is addresses with and without dynamic sets.
func (g generator) terms() policy.Addrs {
	term := func() (t policy.Term) {
		t.Static = g.ranges()
		if g.chance(3) {
			t.Static = t.Static.Minus(g.ranges())
		}
		if g.chance(3) {
			t.Static = addrset.AllAddrs().Minus(t.Static)
		}
		if g.chance(3) {
			t.In = some(g, "banned", "guests")
		} else if g.chance(3) {
			t.NotIn = some(g, "banned", "guests")
		}
		return t
	}
	a := policy.Addrs{Terms: []policy.Term{term()}}
	if g.chance(4) {
		a.Terms = append(a.Terms, term())
	}
	return a
}

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 7))} }
