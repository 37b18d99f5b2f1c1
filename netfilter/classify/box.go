package classify

import (
	"math/bits"

	"ringwall/rules/addrset"
)

// Key is an address as a number; of IPv4 it has 32 bits.
type Key = addrset.U128

// Span is the addresses from Lo to Hi, both included.
type Span struct{ Lo, Hi Key }

// Ports is the ports from Lo to Hi, both included.
type Ports struct{ Lo, Hi uint16 }

// AllPorts is every port, and whatever a protocol without ports has in their place.
var AllPorts = Ports{0, 1<<16 - 1}

// AnyProto is the Proto of a Box that takes every protocol.
const AnyProto = -1

// The addresses of a Box.
const (
	Src = iota
	Dst
)

// The ports of a Box.
const (
	Dport = iota
	Sport
)

// Box is packets of one family: those that are in each of its parts.
type Box struct {
	Addr  [2]Span  // of Src and Dst
	Port  [2]Ports // of Dport and Sport; AllPorts unless Proto is a protocol with ports
	Proto int16    // a transport protocol, or AnyProto
}

// Everything is the box of all packets of a family, whose addresses have so many bits.
func Everything(width int) Box {
	all := Span{Hi: last(Key{}, 0, width)}
	return Box{Addr: [2]Span{all, all}, Port: [2]Ports{AllPorts, AllPorts}, Proto: AnyProto}
}

// atMost tells whether a key is another or comes before it: taking the one from the other borrows nothing.
func atMost(k, o Key) bool {
	_, borrow := bits.Sub64(o.Lo, k.Lo, 0)
	_, borrow = bits.Sub64(o.Hi, k.Hi, borrow)
	return borrow == 0
}

func (s *Span) isEmpty() bool { return !atMost(s.Lo, s.Hi) }

func (s *Span) overlaps(o *Span) bool { return atMost(s.Lo, o.Hi) && atMost(o.Lo, s.Hi) }
func (s *Span) covers(o *Span) bool   { return atMost(s.Lo, o.Lo) && atMost(o.Hi, s.Hi) }

func (s Span) meet(o Span) Span {
	if !atMost(o.Lo, s.Lo) {
		s.Lo = o.Lo
	}
	if !atMost(s.Hi, o.Hi) {
		s.Hi = o.Hi
	}
	return s
}

func (p Ports) overlaps(o Ports) bool { return p.Lo <= o.Hi && o.Lo <= p.Hi }
func (p Ports) covers(o Ports) bool   { return p.Lo <= o.Lo && o.Hi <= p.Hi }
func (p Ports) meet(o Ports) Ports    { return Ports{max(p.Lo, o.Lo), min(p.Hi, o.Hi)} }

// overlaps tells whether a packet may be in both boxes.
func (b *Box) overlaps(o *Box) bool {
	return (b.Proto == o.Proto || b.Proto == AnyProto || o.Proto == AnyProto) &&
		b.Port[Dport].overlaps(o.Port[Dport]) && b.Addr[Dst].overlaps(&o.Addr[Dst]) &&
		b.Addr[Src].overlaps(&o.Addr[Src]) && b.Port[Sport].overlaps(o.Port[Sport])
}

// covers tells whether every packet of o is in b.
func (b *Box) covers(o *Box) bool {
	return (b.Proto == o.Proto || b.Proto == AnyProto) &&
		b.Port[Dport].covers(o.Port[Dport]) && b.Port[Sport].covers(o.Port[Sport]) &&
		b.Addr[Src].covers(&o.Addr[Src]) && b.Addr[Dst].covers(&o.Addr[Dst])
}

// meet is what two boxes that overlap have in common.
func (b *Box) meet(o *Box) Box {
	m := Box{
		Addr:  [2]Span{b.Addr[0].meet(o.Addr[0]), b.Addr[1].meet(o.Addr[1])},
		Port:  [2]Ports{b.Port[0].meet(o.Port[0]), b.Port[1].meet(o.Port[1])},
		Proto: b.Proto,
	}
	if m.Proto == AnyProto {
		m.Proto = o.Proto
	}
	return m
}

// Bits is the length of the longest prefix that holds a span, of addresses of so many bits.
func Bits(s Span, width int) int {
	lead := 128
	if x := s.Lo.Hi ^ s.Hi.Hi; x != 0 {
		lead = bits.LeadingZeros64(x)
	} else if x := s.Lo.Lo ^ s.Hi.Lo; x != 0 {
		lead = 64 + bits.LeadingZeros64(x)
	}
	return lead - (128 - width)
}

// PortBits is how many bits a port has.
const PortBits = 16

// bits is the length of the longest prefix that holds the ports.
func (p Ports) bits() uint8 { return uint8(PortBits - bits.Len16(p.Lo^p.Hi)) }

// portMask has the first so many of a port's bits.
func portMask(n uint8) uint16 { return ^uint16(0) << (PortBits - n) }

// first is the first address of a key's prefix of so many bits.
func first(k Key, n, width int) Key {
	n += 128 - width
	switch {
	case n <= 64:
		return Key{Hi: k.Hi &^ (^uint64(0) >> n)}
	case n < 128:
		return Key{Hi: k.Hi, Lo: k.Lo &^ (^uint64(0) >> (n - 64))}
	}
	return k
}

// last is the last address of a key's prefix of so many bits.
func last(k Key, n, width int) Key {
	n += 128 - width
	switch {
	case n <= 64:
		return Key{Hi: k.Hi | ^uint64(0)>>n, Lo: ^uint64(0)}
	case n < 128:
		return Key{Hi: k.Hi, Lo: k.Lo | ^uint64(0)>>(n-64)}
	}
	return k
}
