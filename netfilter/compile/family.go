package compile

import "ringwall/netfilter/ruleset"

// family is the address family that something matches: none in particular, or one.
type family uint8

const (
	both family = iota
	ipv4
	ipv6
)

// families is every single one.
var families = [...]family{ipv4, ipv6}

func familyOf(v6 bool) family {
	if v6 {
		return ipv6
	}
	return ipv4
}

// set is the name of a family's set.
func (f family) set(kind, name string) string {
	if f == ipv6 {
		return kind + "6." + name
	}
	return kind + "4." + name
}

// digit is the family's digit in names.
func (f family) digit() string {
	if f == ipv6 {
		return "6"
	}
	return "4"
}

// guard is the expression that lets only the family pass; nothing for both.
func (f family) guard() conj { return familyGuards[f] }

var familyGuards = [...]conj{
	ipv4: {equal(ruleset.NFProto, ruleset.IPv4)}, ipv6: {equal(ruleset.NFProto, ruleset.IPv6)}, both: nil,
}

func (f family) saddr() ruleset.Field {
	if f == ipv6 {
		return ruleset.Saddr6
	}
	return ruleset.Saddr4
}

func (f family) daddr() ruleset.Field {
	if f == ipv6 {
		return ruleset.Daddr6
	}
	return ruleset.Daddr4
}
