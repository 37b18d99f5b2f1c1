package policy

import (
	"fmt"
	"net"
	"strconv"

	"ringwall/rules/addrset"
)

// String is the address as aa:bb:cc:dd:ee:ff.
func (a MAC) String() string { return net.HardwareAddr(a[:]).String() }

// String is N, or N/MASK where not all bits count, in hexadecimal.
func (m Mark) String() string {
	if m.Mask == ^uint32(0) {
		return fmt.Sprintf("%#x", m.Value)
	}
	return fmt.Sprintf("%#x/%#x", m.Value, m.Mask)
}

// keyText is a range of keys as policies write it: "tcp/80", "tcp/8000-8010", "icmp/8", "gre", "any". A range over
// several protocols is "any" or "proto/A-B".
func keyText(lo, hi addrset.U32, six bool) string {
	first, last := uint8(lo>>16), uint8(min(hi>>16, 255))
	name := protoText(first)
	switch {
	case lo == 0 && hi == hi.Last():
		return "any"
	case first != last:
		return fmt.Sprintf("proto/%d-%d", first, last)
	case uint16(lo) == 0 && hi >= Key(first, 1<<16-1):
		return name
	case HasPorts(first):
		return name + "/" + span(uint16(lo), uint16(hi))
	case first == ProtoICMP && !six, first == ProtoICMPv6 && six:
		types := span(uint16(lo>>8)&0xff, uint16(hi>>8)&0xff)
		if uint8(lo) == 0 && uint8(hi) == 255 {
			return name + "/" + types
		}
		return fmt.Sprintf("%s/%s/%s", name, types, span(uint16(lo)&0xff, uint16(hi)&0xff))
	}
	return name
}

// protoText is a protocol's name, or proto/N where it has none in policies.
func protoText(proto uint8) string {
	switch proto {
	case ProtoICMP:
		return "icmp"
	case ProtoIGMP:
		return "igmp"
	case ProtoTCP:
		return "tcp"
	case ProtoUDP:
		return "udp"
	case ProtoDCCP:
		return "dccp"
	case ProtoICMPv6:
		return "icmpv6"
	case ProtoSCTP:
		return "sctp"
	case ProtoUDPLite:
		return "udplite"
	case 47:
		return "gre"
	case 50:
		return "esp"
	case 51:
		return "ah"
	}
	return "proto/" + strconv.Itoa(int(proto))
}
