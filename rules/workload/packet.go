package workload

import (
	"math/rand/v2"
	"net/netip"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Packets draws so many packets, each the first of a connection to this host: nine of ten within a rule, each rule as often as
// any other, at its corners half the time, though an earlier rule may match it too; the tenth of anywhere, so that few rules or
// none match it.
func (w *Workload) Packets(count int, seed uint64) []policy.Packet {
	d := trace{rand.New(rand.NewPCG(seed, uint64(len(w.Rules))))}
	everywhere := Rule{From: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
	if w.Shape == Six {
		everywhere.From = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	}
	everywhere.To = everywhere.From
	if w.Shape == Host {
		everywhere.To, everywhere.Proto = hostPrefix, policy.ProtoTCP // some firewalls admit ICMP unasked
	}
	out := make([]policy.Packet, count)
	for i := range out {
		r := everywhere
		if d.IntN(10) > 0 {
			r = w.Rules[d.IntN(len(w.Rules))]
		}
		out[i] = d.packet(&r, w.Shape == Host)
	}
	return out
}

// Inside draws a packet that a rule of the policy matches, though an earlier one may match it too.
func (w *Workload) Inside(rule int, rng *rand.Rand) policy.Packet {
	d := trace{rng}
	return d.packet(&w.Rules[rule], w.Shape == Host)
}

// hostPrefix is the address of the host whose policies do not name it.
var hostPrefix = netip.MustParsePrefix("198.51.100.1/32")

// trace draws packets.
type trace struct{ *rand.Rand }

func (d trace) packet(r *Rule, host bool) policy.Packet {
	p := policy.Packet{Dir: policy.In, HopLimit: 64, IIf: "veth0", Proto: r.Proto, Src: d.addr(r.From), Dst: d.addr(r.To)}
	if host {
		p.Dst = hostPrefix.Addr()
	}
	if p.Proto == 0 {
		p.Proto = [...]uint8{policy.ProtoTCP, policy.ProtoUDP, policy.ProtoTCP, policy.ProtoICMP}[d.IntN(4)]
		if p.Proto == policy.ProtoICMP && p.Src.Is6() {
			p.Proto = policy.ProtoICMPv6
		}
	}
	switch p.Proto {
	case policy.ProtoICMP:
		p.Type = 8 // echo request
	case policy.ProtoICMPv6:
		p.Type = 128
	default:
		p.Dport, p.Sport = d.port(r.Dport, false), d.port(r.Sport, true)
	}
	return p
}

// addr draws an address of a prefix that a packet can have.
func (d trace) addr(p netip.Prefix) netip.Addr {
	if p.Bits() < 8 { // a site, or a neighbour of none
		if p.Addr().Is4() {
			first := 1 + d.IntN(222)
			if first == 127 {
				first = 10
			}
			return netip.AddrFrom4([4]byte{uint8(first), uint8(d.Uint32()), uint8(d.Uint32()), uint8(d.Uint32())})
		}
		return netip.AddrFrom16([16]byte{0x20 | uint8(d.Uint32())&0x1f, uint8(d.Uint32()), uint8(d.Uint32()), uint8(d.Uint32()),
			uint8(d.Uint32()), uint8(d.Uint32()), 14: uint8(d.Uint32()), 15: uint8(d.Uint32())})
	}
	switch d.IntN(4) {
	case 0:
		return p.Addr()
	case 1:
		return addrset.LastOf(p)
	}
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		if d.Uint32()&1 == 1 {
			b[i/8] |= 1 << (7 - i%8)
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// port draws a port; of a source that may be any, one that clients use.
func (d trace) port(p Ports, source bool) uint16 {
	switch {
	case p.IsAny() && source:
		return uint16(32768 + d.IntN(28232))
	case p.IsAny():
		p = Ports{1, 65535}
	}
	port := p.Lo + uint16(d.IntN(int(p.Hi)-int(p.Lo)+1))
	switch d.IntN(4) {
	case 0:
		port = p.Lo
	case 1:
		port = p.Hi
	}
	if dhcp(port) && p.Lo != p.Hi {
		return max(p.Lo, 1)
	}
	return port
}

// dhcp tells whether what stands before the rules may take a packet with the port.
func dhcp(port uint16) bool {
	switch port {
	case 67, 68, 546, 547:
		return true
	}
	return false
}
