package classify

import "math"

// Probe is what a lookup asks of a packet, all in one key: prefixes of its addresses, its protocol, a prefix of its destination port.
type Probe struct {
	Bits  [2]uint8 // of source and destination; 0: not asked
	Proto bool
	Dport uint8 // bits of the destination port; 0: not asked, as without Proto
}

// Value is what a packet answers to a probe: the addresses' prefixes, the protocol and the port's prefix; zero where it is not asked.
type Value struct {
	Addr  [2]Key
	Dport uint16
	Proto uint8
}

// takes tells whether all packets of an item's box have the same answer.
func (p Probe) takes(it *item) bool {
	return it.bits[Src] >= p.Bits[Src] && it.bits[Dst] >= p.Bits[Dst] &&
		(!p.Proto || it.Proto != AnyProto) && it.portBits >= p.Dport
}

// value is the answer of an item that the probe takes.
func (p Probe) value(it *item, width int) (v Value) {
	for a, n := range p.Bits {
		if n > 0 {
			v.Addr[a] = first(it.Addr[a].Lo, int(n), width)
		}
	}
	if p.Proto {
		v.Proto = uint8(it.Proto)
	}
	v.Dport = it.Port[Dport].Lo & portMask(p.Dport)
	return v
}

// Cell is the packets of a box that give an answer, and whether there may be any.
func (p Probe) Cell(within *Box, v Value, width int) (_ Box, ok bool) {
	if p.Proto && within.Proto != AnyProto && within.Proto != int16(v.Proto) {
		return Box{}, false
	}
	c := p.cell(within, v, width)
	return c, !c.Addr[Src].isEmpty() && !c.Addr[Dst].isEmpty() && c.Port[Dport].Lo <= c.Port[Dport].Hi
}

// cell is the packets of a box that give an answer, of which there are some.
func (p Probe) cell(within *Box, v Value, width int) Box {
	c := *within
	for a, n := range p.Bits {
		if n > 0 {
			c.Addr[a] = c.Addr[a].meet(Span{v.Addr[a], last(v.Addr[a], int(n), width)})
		}
	}
	if p.Proto {
		c.Proto = int16(v.Proto)
	}
	c.Port[Dport] = c.Port[Dport].meet(Ports{v.Dport, v.Dport | ^portMask(p.Dport)})
	return c
}

// asks is the number of fields that the probe's key is made of.
func (p Probe) asks() (n int) {
	for _, b := range p.Bits {
		if b > 0 {
			n++
		}
	}
	if p.Proto {
		n++
	}
	if p.Dport > 0 {
		n++
	}
	return n
}

func mix(h, x uint64) uint64 {
	h = (h ^ x) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// marks tells whether an item is one of those that mark where a part ends: about one in share. That depends on its box alone, so that an
// edit moves few ends.
func (it *item) marks(share float64) bool {
	every := uint64(1) << max(0, int(math.Log2(share)+0.5))
	return it.hash()>>8%every == 0
}

// hash is a hash of an item's box.
func (it *item) hash() uint64 {
	h := uint64(it.Proto)
	for i := range 2 {
		for _, k := range []Key{it.Addr[i].Lo, it.Addr[i].Hi} {
			h = mix(mix(h, k.Hi), k.Lo)
		}
		h = mix(h, uint64(it.Port[i].Lo)<<16|uint64(it.Port[i].Hi))
	}
	return h
}

// hash is a hash of the answer, for counting.
func (p Probe) hash(it *item, width int) uint64 {
	h := uint64(0x2545f4914f6cdd1d)
	for a, n := range p.Bits {
		if n > 0 {
			k := first(it.Addr[a].Lo, int(n), width)
			h = mix(mix(h, k.Hi), k.Lo)
		}
	}
	if p.Proto {
		h = mix(h, uint64(it.Proto))
	}
	if p.Dport > 0 {
		h = mix(h, uint64(it.Port[Dport].Lo&portMask(p.Dport)))
	}
	return h
}
