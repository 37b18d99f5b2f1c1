package policy

import (
	"fmt"
	"strconv"

	"ringwall/rules/addrset"
)

// String is the address as aa:bb:cc:dd:ee:ff.
func (a MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", a[0], a[1], a[2], a[3], a[4], a[5])
}

// parseMAC reads aa:bb:cc:dd:ee:ff, in either case.
func parseMAC(text string) (a MAC, ok bool) {
	if len(text) != len("aa:bb:cc:dd:ee:ff") {
		return a, false
	}
	for i := range a {
		n, err := strconv.ParseUint(text[3*i:3*i+2], 16, 8)
		if err != nil || i > 0 && text[3*i-1] != ':' {
			return a, false
		}
		a[i] = byte(n)
	}
	return a, true
}

// String is N, or N/MASK where not all bits count, in hexadecimal.
func (m Mark) String() string {
	if m.Mask == ^uint32(0) {
		return fmt.Sprintf("%#x", m.Value)
	}
	return fmt.Sprintf("%#x/%#x", m.Value, m.Mask)
}

// keyText is a range of keys of one family as policies write it: "tcp/80", "tcp/8000-8010", "icmp/8", "gre", "any".
// A range over several protocols is "proto/A-B".
func keyText(lo, hi addrset.U32, six bool) string {
	first, last := uint8(lo>>16), uint8(min(hi>>16, 255))
	name := protoText(first, six)
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
		types := span(uint16(lo)>>8, uint16(hi)>>8)
		if uint8(lo) == 0 && uint8(hi) == 255 {
			return name + "/" + types
		}
		return fmt.Sprintf("%s/%s/%s", name, types, span(uint16(lo)&0xff, uint16(hi)&0xff))
	}
	return name
}
