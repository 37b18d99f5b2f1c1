package kernel

import (
	"bytes"
	"net/netip"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

func ip(s string) []byte { return netip.MustParseAddr(s).AsSlice() }

func one(v []byte) ruleset.Interval { return ruleset.Interval{Lo: v, Hi: v} }

func set4(prefixes ...string) (s addrset.Set[addrset.U32]) {
	for _, p := range prefixes {
		s = s.Union(addrset.OfPrefix(netip.MustParsePrefix(p)).V4)
	}
	return s
}

func set6(prefixes ...string) (s addrset.Set[addrset.U128]) {
	for _, p := range prefixes {
		s = s.Union(addrset.OfPrefix(netip.MustParsePrefix(p)).V6)
	}
	return s
}

// sample is three values of a field.
func sample(f ruleset.Field) (a, b, c []byte) {
	switch {
	case f.IsName():
		return []byte("eth0"), []byte("eth1"), []byte("wg0")
	case f == ruleset.Time:
		return f.Value(1900000000e9), f.Value(1900000010e9), f.Value(2000000000e9)
	}
	return f.Value(2), f.Value(8), f.Value(64)
}

// every is a rule set with every expression, and every field in each that can take it.
func every() *ruleset.Ruleset {
	r := &ruleset.Ruleset{
		Sets: []*ruleset.Set{
			{Name: "plain4", Elems4: set4("192.0.2.1/32", "192.0.2.2/32")},
			{Name: "plain6", V6: true, Size: 64, Elems6: set6("2001:db8::1/128")},
			{Name: "block4", Interval: true, Comment: "from policy.yaml:3", Elems4: set4("10.0.0.0/8", "192.0.2.9/32", "255.255.255.0/24")},
			{Name: "block6", V6: true, Interval: true, Elems6: set6("::/16", "2001:db8::/32", "ff00::/8")},
			{Name: "empty4", Interval: true},
			{Name: "dyn4.bans", Interval: true, Dynamic: true, Timed: true},
			{Name: "dyn6.bans", V6: true, Interval: true, Dynamic: true, Timed: true, Timeout: 3600, Size: 1000},
			{Name: "meter4", Dynamic: true, Packets: true, Timed: true, Timeout: 60, Size: 1000},
			{Name: "meter6", V6: true, Dynamic: true, Packets: true, Timed: true, Timeout: 60, Size: 1000},
			{Name: "conns4", Dynamic: true, Packets: true, Size: 1000},
		},
		Counters: []ruleset.Counter{{Name: "in.ssh"}, {Name: "base.in.default"}},
		Limits: []ruleset.LimitObject{
			{Name: "slow", Rate: ruleset.Rate{Packets: 10, Unit: 60, Burst: 10}},
			{Name: "fast", Rate: ruleset.Rate{Packets: 1000, Unit: 1, Burst: 5, Over: true}},
		},
	}
	verdict := ruleset.Verdict{Kind: ruleset.Accept}
	rule := func(e ...ruleset.Expr) *ruleset.Rule { return &ruleset.Rule{Exprs: append(e, verdict)} }
	target := &ruleset.Chain{Name: "in.ssh", Rules: []*ruleset.Rule{
		{Exprs: []ruleset.Expr{ruleset.Count{Counter: "in.ssh"}}, Comment: "ssh policy.yaml:12"},
		rule(),
	}}
	var mapRules []*ruleset.Rule
	r.Maps, mapRules = everyMap()
	var fieldRules []*ruleset.Rule
	for _, f := range ruleset.Fields() {
		fieldRules = append(fieldRules, usesOf(f)...)
	}
	r.Chains = []*ruleset.Chain{
		target,
		{Name: "fields", Rules: fieldRules},
		{Name: "maps", Rules: mapRules},
		{Name: "rest", Rules: restRules()},
	}
	for p := ruleset.Prerouting; p <= ruleset.Postrouting; p++ {
		r.Chains = append(r.Chains, &ruleset.Chain{
			Name: p.String(), Hook: &ruleset.Hook{Point: p, Priority: -10 + 5*int32(p), Drop: p == ruleset.Input},
			Rules: []*ruleset.Rule{{Exprs: []ruleset.Expr{ruleset.Count{Counter: "base.in.default"}}}},
		})
	}
	return r
}

// needs is what must be matched before a field, for nft to print it, and for it to mean anything.
func needs(f ruleset.Field) []ruleset.Expr {
	proto := func(n byte) []ruleset.Expr {
		return []ruleset.Expr{ruleset.Cmp{Field: ruleset.L4Proto, Value: []byte{n}}}
	}
	family := func(n byte) []ruleset.Expr {
		return []ruleset.Expr{ruleset.Cmp{Field: ruleset.NFProto, Value: []byte{n}}}
	}
	switch f {
	case ruleset.Saddr4, ruleset.Daddr4:
		return family(2)
	case ruleset.Saddr6, ruleset.Daddr6, ruleset.HopLimit:
		return family(10)
	case ruleset.Sport, ruleset.Dport:
		return proto(6)
	case ruleset.ICMPType, ruleset.ICMPCode:
		return proto(1)
	case ruleset.ICMP6Type, ruleset.ICMP6Code:
		return proto(58)
	case ruleset.EtherSaddr:
		return []ruleset.Expr{ruleset.Cmp{Field: ruleset.IIfType, Value: ruleset.IIfType.Value(1)}}
	}
	return nil
}

// usesOf is rules that use a field in every way.
func usesOf(f ruleset.Field) []*ruleset.Rule {
	a, b, c := sample(f)
	span := ruleset.Interval{Lo: a, Hi: b}
	var out []*ruleset.Rule
	add := func(e ...ruleset.Expr) {
		out = append(out, &ruleset.Rule{
			Exprs:   append(append(needs(f), e...), ruleset.Verdict{Kind: ruleset.Return}),
			Comment: f.String(),
		})
	}
	vmap := func(e ...ruleset.VMapElem) {
		out = append(out, &ruleset.Rule{Exprs: append(needs(f), ruleset.VMap{Field: f, Elems: e})})
	}
	jump := ruleset.Verdict{Kind: ruleset.Jump, Chain: "in.ssh"}
	drop := ruleset.Verdict{Kind: ruleset.Drop}

	add(ruleset.Cmp{Field: f, Value: a})
	add(ruleset.Cmp{Field: f, Op: ruleset.Ne, Value: a})
	add(ruleset.In{Field: f, Elems: []ruleset.Interval{one(a), one(b)}})
	add(ruleset.In{Field: f, Not: true, Elems: []ruleset.Interval{one(a), one(c)}})
	vmap(ruleset.VMapElem{Interval: one(a), Verdict: jump}, ruleset.VMapElem{Interval: one(b), Verdict: drop})
	if f.IsName() {
		add(ruleset.Cmp{Field: f, Value: []byte("wg"), Wildcard: true})
		add(ruleset.Cmp{Field: f, Op: ruleset.Ne, Value: []byte("wg"), Wildcard: true})
		return out
	}
	for op := ruleset.Lt; op <= ruleset.Ge; op++ {
		add(ruleset.Cmp{Field: f, Op: op, Value: a})
	}
	if f.Size() > 1 {
		add(ruleset.Cmp{Field: f, Mask: b, Op: ruleset.Ne, Value: f.Value(0)})
	}
	most := bytes.Repeat([]byte{0xff}, f.Size())
	if f == ruleset.Time {
		most = f.Value(18446744073e9) // the last whole second
	}
	add(ruleset.In{Field: f, Elems: []ruleset.Interval{span, one(c)}})
	add(ruleset.In{Field: f, Elems: []ruleset.Interval{span}})
	add(ruleset.In{Field: f, Not: true, Elems: []ruleset.Interval{span}})
	add(ruleset.In{Field: f, Elems: []ruleset.Interval{{Lo: f.Value(0), Hi: a}, {Lo: c, Hi: most}}})
	vmap(ruleset.VMapElem{Interval: span, Verdict: jump}, ruleset.VMapElem{Interval: one(c), Verdict: drop})
	return out
}

// restRules is what is not about one field.
func restRules() []*ruleset.Rule {
	mask4, mask6 := ip("255.255.255.0"), ip("ffff:ffff:ffff:ffff::")
	rate := ruleset.Rate{Packets: 10, Unit: 60, Burst: 20}
	over := ruleset.Rate{Packets: 7, Unit: 86400, Burst: 5, Over: true}
	v4, v6 := needs(ruleset.Saddr4), needs(ruleset.Saddr6)
	var out []*ruleset.Rule
	add := func(first []ruleset.Expr, e ...ruleset.Expr) {
		out = append(out, &ruleset.Rule{Exprs: append(append([]ruleset.Expr{}, first...), e...)})
	}
	add(v4, ruleset.Lookup{Field: ruleset.Saddr4, Set: "block4"}, ruleset.Verdict{Kind: ruleset.Drop})
	add(v4, ruleset.Lookup{Field: ruleset.Daddr4, Set: "plain4", Not: true}, ruleset.Verdict{Kind: ruleset.Accept})
	add(v4, ruleset.Lookup{Field: ruleset.Daddr4, Mask: mask4, Set: "plain4"}, ruleset.Verdict{Kind: ruleset.Return})
	add(v6, ruleset.Lookup{Field: ruleset.Saddr6, Mask: mask6, Set: "plain6"}, ruleset.Verdict{Kind: ruleset.Jump, Chain: "in.ssh"})
	add(v6, ruleset.Lookup{Field: ruleset.Saddr6, Set: "block6"}, ruleset.Verdict{Kind: ruleset.Goto, Chain: "in.ssh"})
	add(v4, ruleset.Cmp{Field: ruleset.Saddr4, Mask: ip("255.0.0.0"), Value: ip("10.0.0.0")})
	add(v6, ruleset.Cmp{Field: ruleset.Saddr6, Mask: mask6, Value: ip("2001:db8::")})
	add(v4, ruleset.Meter{Field: ruleset.Saddr4, Set: "meter4", Rate: &rate})
	add(v6, ruleset.Meter{Field: ruleset.Saddr6, Mask: mask6, Set: "meter6", Rate: &over})
	add(v4, ruleset.Meter{Field: ruleset.Saddr4, Set: "conns4", Conns: &ruleset.ConnLimit{Max: 20}})
	add(nil, ruleset.LimitRef{Limit: "slow"})
	add(nil, ruleset.Limit{Rate: rate})
	add(nil, ruleset.Limit{Rate: over})
	add(nil, ruleset.ConnLimit{Max: 100})
	add(nil, ruleset.Log{Group: 7})
	add(nil, ruleset.Log{Group: 65535, Prefix: "drop in.ssh"})
	add(nil, ruleset.SetLabel{Bit: 0})
	add(nil, ruleset.SetLabel{Bit: 127})
	add(nil, ruleset.Label{Bit: 1})
	add(nil, ruleset.Label{Bit: 64, Not: true})
	add([]ruleset.Expr{ruleset.Cmp{Field: ruleset.L4Proto, Value: []byte{6}}}, ruleset.Reject{With: ruleset.TCPReset})
	add(nil, ruleset.Reject{With: ruleset.PortUnreachable})
	add(nil, ruleset.Reject{With: ruleset.AdminProhibited})
	return out
}
