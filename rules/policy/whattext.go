package policy

import (
	"fmt"
	"slices"
	"strconv"

	"ringwall/rules/addrset"
)

// Texts is w as a list of items in the words of policies: "tcp/22", "tcp+udp/53", "icmp/echo-request", "gre", "any". It
// is false where a family has, of what is not ICMP, something else than the other, so that one list can't say it. A
// family that has nothing counts for nothing. What policies have no word for, such as a range of protocols, gets one
// of the same kind: "proto/3-5". With both families, ICMP of the wrong one, which no host sends, is passed over.
func (w What) Texts() ([]string, bool) {
	icmp, icmp6 := wholeProto(ProtoICMP), wholeProto(ProtoICMPv6)
	own, own6 := w.V4.Intersect(icmp), w.V6.Intersect(icmp6)
	rest, rest6 := w.V4.Minus(icmp), w.V6.Minus(icmp6)
	switch {
	case w.IsEmpty():
		return nil, true
	case w.V4.IsAll() && w.V6.IsAll(), w.V4.IsAll() && w.V6.IsEmpty(), w.V4.IsEmpty() && w.V6.IsAll():
		return []string{"any"}, true
	case w.V4.IsEmpty():
		rest = rest6
	case !w.V6.IsEmpty():
		rest, rest6 = rest.Minus(icmp6), rest6.Minus(icmp)
		if !rest.Equal(rest6) {
			return nil, false
		}
	}
	return slices.Concat(protoTexts(rest), icmpTexts(own, own6)), true
}

// protoTexts is keys of anything but ICMP, those of TCP and UDP together where they have the same ports.
func protoTexts(s addrset.Set[addrset.U32]) []string {
	ports := func(proto uint8) (out []string) {
		for _, r := range s.Intersect(wholeProto(proto)).Ranges() {
			out = append(out, portsText(r))
		}
		return out
	}
	var out []string
	tcp, udp := ports(ProtoTCP), ports(ProtoUDP)
	for _, p := range tcp {
		if slices.Contains(udp, p) {
			out = append(out, "tcp+udp"+p)
		} else {
			out = append(out, "tcp"+p)
		}
	}
	for _, p := range udp {
		if !slices.Contains(tcp, p) {
			out = append(out, "udp"+p)
		}
	}
	whole := -1 // the first of a run of whole protocols
	end := func(last int) {
		switch {
		case whole == -1:
		case whole == last:
			out = append(out, protoText(uint8(last), false))
		default:
			out = append(out, fmt.Sprintf("proto/%d-%d", whole, last))
		}
		whole = -1
	}
	for proto := range 256 {
		of := s.Intersect(wholeProto(uint8(proto)))
		all := of.Equal(wholeProto(uint8(proto)))
		switch {
		case proto == ProtoTCP || proto == ProtoUDP:
			end(proto - 1)
		case all && whole == -1:
			whole = proto
		case all:
		default:
			end(proto - 1)
			for _, r := range of.Ranges() {
				out = append(out, keyText(r.Lo, r.Hi, false))
			}
		}
	}
	end(255)
	return out
}

// portsText is what follows the protocol of a range of keys: "/22", "/8000-8010", nothing for all ports.
func portsText(r addrset.Range[addrset.U32]) string {
	if uint16(r.Lo) == 0 && uint16(r.Hi) == 1<<16-1 {
		return ""
	}
	return "/" + span(uint16(r.Lo), uint16(r.Hi))
}

// icmpTexts is keys of ICMP of both families, by name where both have the same type.
func icmpTexts(v4, v6 addrset.Set[addrset.U32]) []string {
	if v4.Equal(wholeProto(ProtoICMP)) && v6.Equal(wholeProto(ProtoICMPv6)) {
		return []string{"icmp"}
	}
	var out []string
	for _, n := range icmpTable {
		if n.v4 < 0 || n.v6 < 0 {
			continue
		}
		a, b := wholeType(ProtoICMP, n.v4), wholeType(ProtoICMPv6, n.v6)
		if v4.Covers(a) && v6.Covers(b) {
			out = append(out, "icmp/"+n.name)
			v4, v6 = v4.Minus(a), v6.Minus(b)
		}
	}
	for _, r := range v4.Ranges() {
		out = append(out, icmpRange(r, false)...)
	}
	for _, r := range v6.Ranges() {
		out = append(out, icmpRange(r, true)...)
	}
	return out
}

// wholeType is an ICMP type with every code.
func wholeType(proto uint8, t int) addrset.Set[addrset.U32] {
	return addrset.Between(Key(proto, uint16(t)<<8), Key(proto, uint16(t)<<8|0xff))
}

// icmpRange is a range of keys of ICMP: whole types together, codes apart.
func icmpRange(r addrset.Range[addrset.U32], six bool) (out []string) {
	name := "icmp/"
	if six {
		name = "icmpv6/"
	}
	add := func(lo, hi addrset.U32) {
		types := strconv.Itoa(int(lo >> 8 & 0xff))
		if lo>>8 != hi>>8 {
			types += "-" + strconv.Itoa(int(hi>>8&0xff))
		}
		switch {
		case lo&0xff == 0 && hi&0xff == 0xff:
		default:
			types += "/" + span(uint16(lo)&0xff, uint16(hi)&0xff)
		}
		out = append(out, name+types)
	}
	lo := r.Lo
	if lo&0xff != 0 && lo|0xff < r.Hi {
		add(lo, lo|0xff)
		lo = lo | 0xff + 1
	}
	if r.Hi&0xff != 0xff && lo>>8 != r.Hi>>8 {
		add(lo, r.Hi&^0xff-1)
		lo = r.Hi &^ 0xff
	}
	add(lo, r.Hi)
	return out
}
