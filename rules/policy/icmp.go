package policy

import (
	"fmt"
	"strings"

	"ringwall/rules/addrset"
)

// icmpName is a name of an ICMP type, with its number in each family; -1 where a family has none.
type icmpName struct {
	name   string
	v4, v6 int
}

// icmpTable is every named type. The numbers are IANA's; names that both families have mean the same in both.
var icmpTable = [...]icmpName{
	{"address-mask-reply", 18, -1},
	{"address-mask-request", 17, -1},
	{"destination-unreachable", 3, 1},
	{"echo-reply", 0, 129},
	{"echo-request", 8, 128},
	{"information-reply", 16, -1},
	{"information-request", 15, -1},
	{"mld-done", -1, 132},
	{"mld-query", -1, 130},
	{"mld-report", -1, 131},
	{"mld2-report", -1, 143},
	{"neighbour-advertisement", -1, 136},
	{"neighbour-solicitation", -1, 135},
	{"packet-too-big", -1, 2},
	{"parameter-problem", 12, 4},
	{"redirect", 5, 137},
	{"router-advertisement", 9, 134},
	{"router-solicitation", 10, 133},
	{"source-quench", 4, -1},
	{"time-exceeded", 11, 3},
	{"timestamp-reply", 14, -1},
	{"timestamp-request", 13, -1},
}

// icmpItem reads what follows icmp/: a name, which serves each family that has it, or a number of IPv4.
func icmpItem(text string) (What, *complaint) {
	t, code, coded := strings.Cut(text, "/")
	if n := icmpNamed(t); n != nil {
		var w What
		if c := addType(&w.V4, ProtoICMP, n.v4, code, coded); c != nil {
			return What{}, c
		}
		if c := addType(&w.V6, ProtoICMPv6, n.v6, code, coded); c != nil {
			return What{}, c
		}
		return w, nil
	}
	var w What
	n, c := icmpNumber("icmp", t)
	if c == nil {
		c = addType(&w.V4, ProtoICMP, n, code, coded)
	}
	return w, c
}

// icmpv6Item reads what follows icmpv6/: a name that ICMPv6 has, or a number.
func icmpv6Item(text string) (What, *complaint) {
	t, code, coded := strings.Cut(text, "/")
	number := 0
	if n := icmpNamed(t); n != nil {
		if n.v6 < 0 {
			return What{}, complain("bad-icmp", "write `icmp/"+t+"`", "ICMPv6 has no type %s", quote(t))
		}
		number = n.v6
	} else {
		var c *complaint
		if number, c = icmpNumber("icmpv6", t); c != nil {
			return What{}, c
		}
	}
	var w What
	c := addType(&w.V6, ProtoICMPv6, number, code, coded)
	return w, c
}

// addType puts a type into a set, with all its codes or with one. A negative type adds nothing.
func addType(s *addrset.Set[addrset.U32], proto uint8, t int, code string, coded bool) *complaint {
	if t < 0 {
		return nil
	}
	lo, hi := Key(proto, uint16(t)<<8), Key(proto, uint16(t)<<8|255)
	if coded {
		n, wrong := number(code, 255)
		if wrong != "" {
			return complain("bad-icmp", "an ICMP code is a number from 0 to 255", "%s", wrong)
		}
		lo += addrset.U32(n)
		hi = lo
	}
	*s = s.Union(addrset.Between(lo, hi))
	return nil
}

// icmpNamed finds a type by name, nil where no name is such.
func icmpNamed(name string) *icmpName {
	for i := range icmpTable {
		if icmpTable[i].name == name {
			return &icmpTable[i]
		}
	}
	return nil
}

// icmpNumber reads a type's number; what is no number was meant to be a name.
func icmpNumber(proto, text string) (int, *complaint) {
	n, wrong := number(text, 255)
	if wrong == "" {
		return int(n), nil
	}
	if isDigits(text) {
		return 0, complain("bad-icmp", "an ICMP type is a number from 0 to 255, or a name", "%s", wrong)
	}
	c := complain("bad-icmp", "", "unknown ICMP type %s", quote(text))
	switch text {
	case "ping", "echo":
		c.hint = "write `" + proto + "/echo-request`"
	case "fragmentation-needed":
		c.hint = "write `icmp/3/4`, and `icmpv6/packet-too-big` for IPv6"
	case "", "*", "any":
		c.hint = "write `" + proto + "` alone for every type"
	default:
		var names []string
		for _, t := range icmpTable {
			names = append(names, t.name)
		}
		if best := nearest(strings.TrimPrefix(text, "nd-"), names); best != "" {
			c.hint = fmt.Sprintf("did you mean %q?", proto+"/"+best)
		}
	}
	return 0, c
}
