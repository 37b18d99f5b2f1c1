package droplog

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"ringwall/rules/policy"
)

// Header is what a packet's own bytes say.
type Header struct {
	Src, Dst netip.Addr
	Length   int   // bytes, from the IP header on, as the header says
	Proto    uint8 // what the last extension header names, in IPv6
	Fragment bool  // a later fragment: nothing beyond Proto is known

	// Ports where HasPorts. A packet that was cut off before its ports has none.
	HasPorts     bool
	Sport, Dport uint16
	// Type and Code of ICMP or ICMPv6, where HasICMP.
	HasICMP    bool
	Type, Code uint8
	// Flags of TCP, where the packet is long enough; else 0.
	Flags uint8
}

var (
	errShort   = errors.New("the packet is cut off within its IP header")
	errVersion = errors.New("the packet is neither IPv4 nor IPv6")
)

// ParseHeader reads a packet from its IP header on. What is cut off behind the addresses is left out, without an error.
func ParseHeader(b []byte) (Header, error) {
	if len(b) == 0 {
		return Header{}, errShort
	}
	switch b[0] >> 4 {
	case 4:
		return parse4(b)
	case 6:
		return parse6(b)
	}
	return Header{}, errVersion
}

// parse4 follows RFC 791.
func parse4(b []byte) (Header, error) {
	size := int(b[0]&0xf) * 4
	if len(b) < 20 || size < 20 {
		return Header{}, errShort
	}
	h := Header{
		Src:      netip.AddrFrom4([4]byte(b[12:16])),
		Dst:      netip.AddrFrom4([4]byte(b[16:20])),
		Length:   int(binary.BigEndian.Uint16(b[2:])),
		Proto:    b[9],
		Fragment: binary.BigEndian.Uint16(b[6:])&0x1fff != 0,
	}
	if !h.Fragment && len(b) >= size {
		h.transport(b[size:], policy.ProtoICMP)
	}
	return h, nil
}

// IPv6 extension headers, from RFC 8200 and RFC 4302.
const (
	extHopByHop    = 0
	extRouting     = 43
	extFragment    = 44
	extAuth        = 51
	extDestination = 60
)

// parse6 follows RFC 8200, extension headers included.
func parse6(b []byte) (Header, error) {
	if len(b) < 40 {
		return Header{}, errShort
	}
	h := Header{
		Src:    netip.AddrFrom16([16]byte(b[8:24])),
		Dst:    netip.AddrFrom16([16]byte(b[24:40])),
		Length: 40 + int(binary.BigEndian.Uint16(b[4:])),
		Proto:  b[6],
	}
	b = b[40:]
	for {
		var size int
		switch h.Proto {
		case extHopByHop, extRouting, extDestination:
			if len(b) < 8 {
				return h, nil
			}
			size = 8 + int(b[1])*8
		case extAuth:
			if len(b) < 8 {
				return h, nil
			}
			size = 8 + int(b[1])*4
		case extFragment:
			if len(b) < 8 {
				return h, nil
			}
			size = 8
			h.Fragment = binary.BigEndian.Uint16(b[2:])&0xfff8 != 0
		default:
			h.transport(b, policy.ProtoICMPv6)
			return h, nil
		}
		h.Proto = b[0]
		if h.Fragment || len(b) < size {
			return h, nil
		}
		b = b[size:]
	}
}

// transport reads the first bytes behind the IP headers. icmp is the number that ICMP has in this family.
func (h *Header) transport(b []byte, icmp uint8) {
	switch {
	case h.Proto == icmp && len(b) >= 2:
		h.HasICMP, h.Type, h.Code = true, b[0], b[1]
	case policy.HasPorts(h.Proto) && len(b) >= 4:
		h.HasPorts = true
		h.Sport = binary.BigEndian.Uint16(b)
		h.Dport = binary.BigEndian.Uint16(b[2:])
		if h.Proto == policy.ProtoTCP && len(b) >= 14 {
			h.Flags = b[13]
		}
	}
}
