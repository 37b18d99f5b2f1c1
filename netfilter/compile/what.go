package compile

import (
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// detail is, by protocol, the keys' lower halves that are matched: ports of a protocol with ports, type and code of ICMP, else
// all or nothing.
type detail [256]addrset.Set[addrset.U16]

// detailOf takes a family's half of a WHAT apart.
func detailOf(s addrset.Set[addrset.U32], f family) *detail {
	var d detail
	for _, r := range s.Ranges() {
		for proto := r.Lo >> 16; proto <= min(r.Hi>>16, 255); proto++ {
			lo, hi := addrset.U16(0), addrset.U16(1<<16-1)
			if proto == r.Lo>>16 {
				lo = addrset.U16(r.Lo)
			}
			if proto == r.Hi>>16 {
				hi = addrset.U16(r.Hi)
			}
			d[proto] = d[proto].Union(addrset.Between(lo, hi))
		}
	}
	for proto := range d {
		if !policy.HasPorts(uint8(proto)) && !isICMP(uint8(proto), f) && !d[proto].IsAll() {
			// A protocol without detail has the key 0 alone.
			if d[proto].Contains(0) {
				d[proto] = addrset.All[addrset.U16]()
			} else {
				d[proto] = addrset.Set[addrset.U16]{}
			}
		}
	}
	return &d
}

// isICMP tells whether a protocol is the family's ICMP, which has types.
func isICMP(proto uint8, f family) bool {
	return proto == policy.ProtoICMP && f == ipv4 || proto == policy.ProtoICMPv6 && f == ipv6
}

// shared moves what two details match alike, both families in one, into a third.
func shared(a, b *detail) *detail {
	var both detail
	for proto := range both {
		icmp := isICMP(uint8(proto), ipv4) || isICMP(uint8(proto), ipv6)
		if a[proto].Equal(b[proto]) && (!icmp || a[proto].IsAll()) {
			both[proto], a[proto], b[proto] = a[proto], addrset.Set[addrset.U16]{}, addrset.Set[addrset.U16]{}
		}
	}
	return &both
}

// traffic is the packets that a WHAT, and source ports beside it, describe.
type traffic struct {
	what  policy.What
	sport addrset.Set[addrset.U16]
	reply bool // what answers these packets, instead of them
}

// lines is the traffic of a family as few lines; for both, what both have in common is in one.
func (t traffic) lines(f family) []conj {
	switch f {
	case ipv4:
		return t.of(detailOf(t.what.V4, ipv4), ipv4)
	case ipv6:
		return t.of(detailOf(t.what.V6, ipv6), ipv6)
	}
	v4, v6 := detailOf(t.what.V4, ipv4), detailOf(t.what.V6, ipv6)
	common := shared(v4, v6)
	out := t.of(common, both)
	out = append(out, t.of(v4, ipv4)...)
	return append(out, t.of(v6, ipv6)...)
}

// of is the lines of what a family's packets are matched by: protocols without detail together, protocols with the same ports
// together, and each ICMP by itself.
func (t traffic) of(d *detail, f family) []conj {
	var whole addrset.Set[addrset.U8]
	var groups []addrset.Set[addrset.U8]
	var details []addrset.Set[addrset.U16]
	for proto := range d {
		one, ports := addrset.One(addrset.U8(proto)), d[proto]
		if ports.IsEmpty() || !t.sport.IsAll() && !policy.HasPorts(uint8(proto)) {
			continue
		}
		if ports.IsAll() {
			whole = whole.Union(one)
			continue
		}
		found := false
		for i := range groups {
			if !isICMP(uint8(proto), f) && details[i].Equal(ports) {
				groups[i], found = groups[i].Union(one), true
			}
		}
		if !found {
			groups, details = append(groups, one), append(details, ports)
		}
	}
	var out []conj
	if !whole.IsEmpty() {
		out = append(out, and(f.guard(), protocols(whole), t.ports(addrset.All[addrset.U16]())))
	}
	for i, protos := range groups {
		head := and(f.guard(), protocols(protos))
		if proto, _ := protos.Min(); isICMP(uint8(proto), f) {
			out = append(out, product([]conj{head}, types(details[i], f, t.reply))...)
		} else {
			out = append(out, and(head, t.ports(details[i])))
		}
	}
	return out
}

func protocols(s addrset.Set[addrset.U8]) conj {
	if s.IsAll() {
		return nil
	}
	return conj{numbers(ruleset.L4Proto, s, false)}
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
