package policy

import (
	"slices"
	"strconv"

	"ringwall/rules/addrset"
)

// protocol is a protocol with a name in policies. The numbers are IANA's.
type protocol struct {
	name     string
	number   uint8
	only4    bool
	only6    bool
	combined bool // ICMP and ICMPv6 under one name
}

// protocolTable is every named protocol, by name.
var protocolTable = [...]protocol{
	{name: "ah", number: 51},
	{name: "dccp", number: ProtoDCCP},
	{name: "eigrp", number: 88},
	{name: "esp", number: 50},
	{name: "etherip", number: 97},
	{name: "gre", number: 47},
	{name: "icmp", number: ProtoICMP, combined: true},
	{name: "icmpv6", number: ProtoICMPv6, only6: true},
	{name: "igmp", number: ProtoIGMP, only4: true},
	{name: "ipcomp", number: 108},
	{name: "ipip", number: 4},
	{name: "ipv6", number: 41},
	{name: "ospf", number: 89},
	{name: "pim", number: 103},
	{name: "sctp", number: ProtoSCTP},
	{name: "tcp", number: ProtoTCP},
	{name: "udp", number: ProtoUDP},
	{name: "udplite", number: ProtoUDPLite},
	{name: "vrrp", number: 112},
}

// protocolNamed finds a protocol, nil where no name is such.
func protocolNamed(name string) *protocol {
	i := slices.IndexFunc(protocolTable[:], func(p protocol) bool { return p.name == name })
	if i < 0 {
		return nil
	}
	return &protocolTable[i]
}

// protoNumber is the number of a named protocol, 0 where there is none.
func protoNumber(name string) uint8 {
	if p := protocolNamed(name); p != nil {
		return p.number
	}
	return 0
}

// what is all packets of the protocol.
func (p *protocol) what() What {
	s := wholeProto(p.number)
	none := addrset.Set[addrset.U32]{}
	switch {
	case p.combined:
		return What{s, wholeProto(ProtoICMPv6)}
	case p.only4:
		return What{s, none}
	case p.only6:
		return What{none, s}
	}
	return What{s, s}
}

// protoText is a protocol's name in a family, or proto/N where it has none in policies.
func protoText(proto uint8, six bool) string {
	i := slices.IndexFunc(protocolTable[:], func(p protocol) bool {
		return p.number == proto && !(six && (p.only4 || p.combined)) && !(!six && p.only6)
	})
	if i < 0 {
		return "proto/" + strconv.Itoa(int(proto))
	}
	return protocolTable[i].name
}

// ProtocolName is the name that policies have for a protocol, whatever the family; empty where it has none.
func ProtocolName(proto uint8) string {
	i := slices.IndexFunc(protocolTable[:], func(p protocol) bool { return p.number == proto })
	if i < 0 {
		return ""
	}
	return protocolTable[i].name
}

// protoByNumber reads the N of proto/N, which is that number in both families.
func protoByNumber(text string) (What, *complaint) {
	n, wrong := number(text, 255)
	if wrong != "" {
		hint := "a protocol is a name, or `proto/` with a number from 0 to 255"
		if protocolNamed(text) != nil {
			hint = "write `" + text + "`"
		}
		return What{}, complain("bad-what", hint, "%s", wrong)
	}
	s := wholeProto(uint8(n))
	return What{s, s}, nil
}
