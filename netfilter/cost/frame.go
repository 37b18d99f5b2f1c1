package cost

import (
	"encoding/binary"
	"fmt"
	"net"

	"ringwall/rules/policy"
)

// Every frame is of one length, whatever is in it, since the kernel copies one template.
const (
	etherHeader = 14
	packetBytes = 80 // from the IP header on
	frameBytes  = etherHeader + packetBytes
	stride      = 96 // from one frame to the next in the table
)

// tagAt is where in a packet its index stands: the last four bytes.
const tagAt = packetBytes - 4

// putFrame writes the Ethernet frame of a packet: UDP, TCP (a SYN), ICMP or ICMPv6, all checksums right. The index is its tag.
func putFrame(b []byte, to net.HardwareAddr, p *policy.Packet, index uint32) error {
	b = b[:frameBytes]
	clear(b)
	copy(b, to)
	copy(b[6:], net.HardwareAddr{2, 0, 0, 0, 0, 1})
	ip := b[etherHeader:]
	binary.BigEndian.PutUint32(ip[tagAt:], index)
	hops := p.HopLimit
	if hops == 0 {
		hops = 64
	}
	var body, addrs []byte // of the transport protocol; both addresses
	if p.Src.Is4() && p.Dst.Is4() {
		binary.BigEndian.PutUint16(b[12:], 0x0800)
		ip[0], ip[8], ip[9] = 0x45, hops, p.Proto
		binary.BigEndian.PutUint16(ip[2:], packetBytes)
		ip[6] = 0x40 // don't fragment
		copy(ip[12:], p.Src.AsSlice())
		copy(ip[16:], p.Dst.AsSlice())
		binary.BigEndian.PutUint16(ip[10:], checksum(0, ip[:20]))
		addrs, body = ip[12:20], ip[20:]
	} else if p.Src.Is6() && p.Dst.Is6() {
		binary.BigEndian.PutUint16(b[12:], 0x86dd)
		ip[0], ip[6], ip[7] = 0x60, p.Proto, hops
		binary.BigEndian.PutUint16(ip[4:], packetBytes-40)
		copy(ip[8:], p.Src.AsSlice())
		copy(ip[24:], p.Dst.AsSlice())
		addrs, body = ip[8:40], ip[40:]
	} else {
		return fmt.Errorf("packet from %s to %s: two families", p.Src, p.Dst)
	}
	sum := 0 // where in body the checksum stands
	pseudo := uint32(p.Proto) + uint32(len(body)) + partial(addrs)
	switch p.Proto {
	case policy.ProtoUDP:
		binary.BigEndian.PutUint16(body, p.Sport)
		binary.BigEndian.PutUint16(body[2:], p.Dport)
		binary.BigEndian.PutUint16(body[4:], uint16(len(body)))
		sum = 6
	case policy.ProtoTCP:
		binary.BigEndian.PutUint16(body, p.Sport)
		binary.BigEndian.PutUint16(body[2:], p.Dport)
		body[12], body[13] = 5<<4, 1<<1 // five words, SYN
		binary.BigEndian.PutUint16(body[14:], 65535)
		sum = 16
	case policy.ProtoICMP, policy.ProtoICMPv6:
		body[0], body[1] = p.Type, p.Code
		binary.BigEndian.PutUint16(body[4:], uint16(index)) // the identifier of an echo
		sum = 2
		if p.Proto == policy.ProtoICMP {
			pseudo = 0
		}
	default:
		return fmt.Errorf("protocol %d has no frame", p.Proto)
	}
	c := checksum(pseudo, body)
	if c == 0 && p.Proto == policy.ProtoUDP {
		c = 0xffff // zero would be none
	}
	binary.BigEndian.PutUint16(body[sum:], c)
	return nil
}

// partial is the sum of RFC 1071, not folded yet.
func partial(b []byte) (sum uint32) {
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	return sum
}

// checksum is the Internet checksum of b and of what was summed before.
func checksum(before uint32, b []byte) uint16 {
	sum := before + partial(b)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
