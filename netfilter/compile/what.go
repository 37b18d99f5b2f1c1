package compile

import (
	"slices"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// detail is what is matched of one protocol: keys' lower halves, which are ports of a protocol with ports, type and code of
// ICMP, else all or nothing.
type detail struct {
	proto uint8
	low   addrset.Set[addrset.U16]
}

// detailsOf takes a family's half of a WHAT apart, by protocol in order.
func detailsOf(s addrset.Set[addrset.U32], f family) []detail {
	var out []detail
	for _, r := range s.Ranges() {
		for proto := r.Lo >> 16; proto <= min(r.Hi>>16, 255); proto++ {
			lo, hi := addrset.U16(0), addrset.U16(1<<16-1)
			if proto == r.Lo>>16 {
				lo = addrset.U16(r.Lo)
			}
			if proto == r.Hi>>16 {
				hi = addrset.U16(r.Hi)
			}
			low := addrset.Between(lo, hi)
			if n := len(out); n > 0 && out[n-1].proto == uint8(proto) {
				out[n-1].low = out[n-1].low.Union(low)
				continue
			}
			out = append(out, detail{uint8(proto), low})
		}
	}
	// A protocol without detail has the key 0 alone.
	plain := func(d detail) bool { return !policy.HasPorts(d.proto) && !isICMP(d.proto, f) }
	out = slices.DeleteFunc(out, func(d detail) bool { return plain(d) && !d.low.Contains(0) })
	for i := range out {
		if plain(out[i]) {
			out[i].low = addrset.All[addrset.U16]()
		}
	}
	return out
}

// isICMP tells whether a protocol is the family's ICMP, which has types.
func isICMP(proto uint8, f family) bool {
	return proto == policy.ProtoICMP && f == ipv4 || proto == policy.ProtoICMPv6 && f == ipv6
}

// share splits what the families match into what they match alike and the rest of each.
func share(v4, v6 []detail) (alike, only4, only6 []detail) {
	for len(v4) > 0 && len(v6) > 0 {
		a, b := v4[0], v6[0]
		switch {
		case a.proto < b.proto:
			only4, v4 = append(only4, a), v4[1:]
			continue
		case a.proto > b.proto:
			only6, v6 = append(only6, b), v6[1:]
			continue
		}
		typed := isICMP(a.proto, ipv4) || isICMP(a.proto, ipv6)
		if a.low.Equal(b.low) && (!typed || a.low.IsAll()) {
			alike = append(alike, a)
		} else {
			only4, only6 = append(only4, a), append(only6, b)
		}
		v4, v6 = v4[1:], v6[1:]
	}
	return alike, append(only4, v4...), append(only6, v6...)
}

// traffic is the packets that a WHAT, and source ports beside it, describe.
type traffic struct {
	what  policy.What
	sport addrset.Set[addrset.U16]
	reply bool // what answers these packets, instead of them
}

// lines is the traffic of a family as few lines; for both, what both have in common is in one.
func (t traffic) lines(f family) []conj {
	switch {
	case t.what.IsAny() && t.sport.IsAll():
		return []conj{f.guard()}
	case f == ipv4:
		return t.of(detailsOf(t.what.V4, ipv4), ipv4)
	case f == ipv6:
		return t.of(detailsOf(t.what.V6, ipv6), ipv6)
	}
	alike, v4, v6 := share(detailsOf(t.what.V4, ipv4), detailsOf(t.what.V6, ipv6))
	return slices.Concat(t.of(alike, both), t.of(v4, ipv4), t.of(v6, ipv6))
}

// of is the lines of what a family's packets are matched by: protocols without detail together, protocols with the same ports
// together, and each ICMP by itself.
func (t traffic) of(ds []detail, f family) []conj {
	type group struct {
		protos addrset.Set[addrset.U8]
		low    addrset.Set[addrset.U16]
		typed  bool // it is ICMP with types, which stands alone
	}
	var groups []group
	for _, d := range ds {
		if !t.sport.IsAll() && !policy.HasPorts(d.proto) {
			continue
		}
		one := addrset.One(addrset.U8(d.proto))
		typed := isICMP(d.proto, f) && !d.low.IsAll()
		i := slices.IndexFunc(groups, func(g group) bool { return !g.typed && !typed && g.low.Equal(d.low) })
		if i < 0 {
			groups = append(groups, group{one, d.low, typed})
		} else {
			groups[i].protos = groups[i].protos.Union(one)
		}
	}
	var out []conj
	for _, g := range groups {
		head := f.guard()
		if !g.protos.IsAll() {
			head = append(head, numbers(ruleset.L4Proto, g.protos, false))
		}
		if g.typed {
			out = append(out, product([]conj{head}, types(g.low, f, t.reply))...)
		} else {
			out = append(out, and(head, t.ports(g.low)))
		}
	}
	return out
}

// ports matches the port that WHAT names, and the source port.
func (t traffic) ports(named addrset.Set[addrset.U16]) (c conj) {
	fields := [...]ruleset.Field{ruleset.Dport, ruleset.Sport}
	if t.reply {
		fields[0], fields[1] = fields[1], fields[0]
	}
	for i, s := range [...]addrset.Set[addrset.U16]{named, t.sport} {
		if !s.IsAll() {
			c = append(c, numbers(fields[i], s, false))
		}
	}
	return c
}

// types matches keys' lower halves as type and code: types whole in one line, and one for each set of codes that types share.
func types(s addrset.Set[addrset.U16], f family, reply bool) []conj {
	typeField, codeField, answer := ruleset.ICMPType, ruleset.ICMPCode, policy.ReplyType
	if f == ipv6 {
		typeField, codeField, answer = ruleset.ICMP6Type, ruleset.ICMP6Code, policy.ReplyType6
	}
	var codes []addrset.Set[addrset.U8]
	var of []addrset.Set[addrset.U8] // the types with those codes
	for t := range 256 {
		var cs addrset.Set[addrset.U8]
		first := addrset.U16(t) << 8
		for _, r := range s.Intersect(addrset.Between(first, first|255)).Ranges() {
			cs = cs.Union(addrset.Between(addrset.U8(r.Lo), addrset.U8(r.Hi)))
		}
		if cs.IsEmpty() {
			continue
		}
		typ := uint8(t)
		if reply {
			typ = answer(typ)
		}
		found := false
		for i := range codes {
			if codes[i].Equal(cs) {
				of[i], found = of[i].Union(addrset.One(addrset.U8(typ))), true
			}
		}
		if !found {
			codes, of = append(codes, cs), append(of, addrset.One(addrset.U8(typ)))
		}
	}
	var out []conj
	for i := range codes {
		c := conj{numbers(typeField, of[i], false)}
		if !codes[i].IsAll() {
			c = append(c, numbers(codeField, codes[i], false))
		}
		out = append(out, c)
	}
	return out
}
