package compile

import (
	"bytes"
	"math/bits"
	"net/netip"
	"slices"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// spot says where in their spans the values of a packet are.
type spot uint8

const (
	atFirst spot = iota
	atLast
	atAny // the one, the other, or between
)

// drawIn makes a packet of a region; false where it finds none. The spot is where it is in what own asks, or all where that is nil.
func (w *witness) drawIn(r *region, at spot, own *region) (policy.Packet, bool) {
	pkt := policy.Packet{
		Dir: r.dir, HopLimit: 64, Socket: true, HasMAC: r.dir != policy.Out, IIf: "eth0", OIf: "eth0", Time: 1_700_000_000,
	}
	six := r.proto == ruleset.IPv6 || r.proto == 0 && w.rng.IntN(2) == 0
	full := anywhere(r.dir)
	for i, s := range r.spans {
		asked := s != full.spans[i]
		there := at
		if own != nil && own.spans[i] == full.spans[i] {
			there = atAny
		}
		n := w.within(s, there)
		switch i {
		case axisSrc, axisDst:
			addr := &pkt.Src
			if i == axisDst {
				addr = &pkt.Dst
			}
			switch {
			case six && asked:
				*addr = n.Addr()
			case six:
				*addr = w.rng.plain6().Addr()
			case asked:
				*addr = addrset.U32(n.Lo).Addr()
			default:
				*addr = w.rng.plain4().Addr()
			}
		case axisProto:
			pkt.Proto = uint8(n.Lo)
			if !asked {
				pkt.Proto = []uint8{policy.ProtoTCP, policy.ProtoUDP}[w.rng.IntN(2)]
			}
		case axisDport, axisSport:
			port := uint16(n.Lo)
			if !asked {
				port = uint16(w.rng.plainPort())
			}
			if i == axisDport {
				pkt.Dport = port
			} else {
				pkt.Sport = port
			}
		}
	}
	if !policy.HasPorts(pkt.Proto) {
		pkt.Dport, pkt.Sport = 0, 0
	}
	for _, e := range r.rest {
		w.meet(&pkt, r, e)
	}
	if r.at != nil {
		w.set(&pkt, r.at.field, r.at.value, nil)
	}
	return pkt, possible(&pkt)
}

// within is a value of a span.
func (w *witness) within(s extent, at spot) addrset.U128 {
	if at == atAny {
		at = spot(w.rng.IntN(3))
	}
	switch at {
	case atFirst:
		return s.Lo
	case atLast:
		return s.Hi
	}
	// A random number of as many bits as the span has, if that is in it.
	wide := addrset.U128{Hi: s.Lo.Hi ^ s.Hi.Hi, Lo: s.Lo.Lo ^ s.Hi.Lo}
	n := s.Lo
	if wide.Hi != 0 {
		mask := ^uint64(0) >> bits.LeadingZeros64(wide.Hi)
		n.Hi, n.Lo = n.Hi&^mask|w.rng.Uint64()&mask, w.rng.Uint64()
	} else if wide.Lo != 0 {
		mask := ^uint64(0) >> bits.LeadingZeros64(wide.Lo)
		n.Lo = n.Lo&^mask | w.rng.Uint64()&mask
	}
	if n.Compare(s.Lo) < 0 || n.Compare(s.Hi) > 0 {
		return s.Lo
	}
	return n
}

// masked is a number as the value of a field of so many bytes, under a mask; of more bytes all are set.
func masked(n addrset.U128, size int, mask []byte) []byte {
	b := n.Addr().AsSlice()
	if size < 8 && n.Compare(addrset.U128{Lo: 1<<(8*size) - 1}) > 0 {
		b = bytes.Repeat([]byte{0xff}, size)
	}
	b = b[len(b)-size:]
	for i, m := range mask {
		b[i] &= m
	}
	return b
}

// meet makes a packet of a region what an expression asks for, where it can.
func (w *witness) meet(pkt *policy.Packet, r *region, e ruleset.Expr) {
	switch e := e.(type) {
	case ruleset.Cmp:
		switch {
		case e.Op == ruleset.Eq && e.Wildcard:
			w.set(pkt, e.Field, append(slices.Clone(e.Value), '7'), nil)
		case e.Op == ruleset.Eq:
			w.set(pkt, e.Field, e.Value, e.Mask)
		}
	case ruleset.In:
		if e.Not {
			return
		}
		axis, _, spans := axisOf(e.Field)
		from := w.rng.IntN(len(e.Elems))
		for n := range e.Elems {
			i := e.Elems[(from+n)%len(e.Elems)]
			if !spans {
				w.set(pkt, e.Field, [][]byte{i.Lo, i.Hi}[w.rng.IntN(2)], nil)
				return
			}
			if s, ok := meet(r.spans[axis], extent{Lo: number(i.Lo), Hi: number(i.Hi)}); ok {
				w.set(pkt, e.Field, masked(w.within(s, atAny), len(i.Lo), nil), nil)
				return
			}
		}
	}
}

// set gives a packet a field's value, under a mask.
func (w *witness) set(pkt *policy.Packet, f ruleset.Field, v, mask []byte) {
	n := uint64(0)
	for _, b := range v {
		n = n<<8 | uint64(b)
	}
	addr := func(a *netip.Addr) {
		b := a.AsSlice()
		if len(b) != len(v) {
			return
		}
		for i := range b {
			m := byte(0xff)
			if mask != nil {
				m = mask[i]
			}
			b[i] = b[i]&^m | v[i]&m
		}
		*a, _ = netip.AddrFromSlice(b)
	}
	switch f {
	case ruleset.Saddr4, ruleset.Saddr6:
		addr(&pkt.Src)
	case ruleset.Daddr4, ruleset.Daddr6:
		addr(&pkt.Dst)
	case ruleset.L4Proto:
		pkt.Proto = uint8(n)
	case ruleset.Dport:
		pkt.Dport = uint16(n)
	case ruleset.Sport:
		pkt.Sport = uint16(n)
	case ruleset.ICMPType, ruleset.ICMP6Type:
		pkt.Type = uint8(n)
	case ruleset.ICMPCode, ruleset.ICMP6Code:
		pkt.Code = uint8(n)
	case ruleset.IIfName:
		pkt.IIf = string(v)
	case ruleset.OIfName:
		pkt.OIf = string(v)
	case ruleset.MetaMark:
		pkt.Mark = uint32(n)
	case ruleset.SkUID:
		pkt.UID = uint32(n)
	case ruleset.SkGID:
		pkt.GID = uint32(n)
	case ruleset.Time:
		pkt.Time = int64(n / 1e9)
	case ruleset.EtherSaddr:
		copy(pkt.MAC[:], v)
	}
}
