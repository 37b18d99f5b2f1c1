// Package space is the exact algebra of sets of packets, as unions of boxes: what tests are proved with, and what
// comparing two policies by meaning stands on.
//
// Be aware: a Box belongs to the Space that made it; boxes of different spaces must not meet.
package space

import (
	"math/bits"

	"ringwall/rules/addrset"
)

// Dim is one thing that a packet is looked at for. The source and destination have dimensions of their own kind.
type Dim uint8

// The dimensions. All but the first two are sets of 32-bit numbers.
const (
	Src Dim = iota
	Dst
	Key       // policy.Key
	Sport     // of protocols with ports; others have every one
	IIf       // names by number, see names
	OIf       //
	MAC       // 0: none; 1: one that nobody names; then those named
	Mark      // classes of marks, see marks
	Socket    // 0 or 1
	UID       // without a socket, every one
	GID       //
	HopLimit  // 1 to 255
	State     // policy.State
	Spoofed   // 0 or 1
	Time      // the spans between the moments at which rules expire
	SrcIn     // which dynamic sets hold the source, see NewFree
	DstIn     //
	dims      = iota
	addresses = Key // the dimensions before this one are addresses
)

// Set is a set of numbers along a dimension.
type Set = addrset.Set[addrset.U32]

// Box is the packets of one family that are in a set along each dimension. No set is empty: a box holds a packet.
type Box struct {
	Six   bool
	addrs [addresses]addrset.Addrs // of Src and Dst; of the other family empty
	sets  [dims]Set                // from Key on
	// limits has the bit of every dimension along which the box is not the whole space.
	limits uint32
}

// Addrs is the addresses of the box along Src or Dst.
func (b *Box) Addrs(d Dim) addrset.Addrs { return b.addrs[d] }

// Set is the numbers of the box along any other dimension.
func (b *Box) Set(d Dim) Set { return b.sets[d] }

// Overlaps tells whether a packet is in both boxes.
func (b *Box) Overlaps(c *Box) bool {
	if b.Six != c.Six {
		return false
	}
	for both := b.limits & c.limits; both != 0; both &= both - 1 {
		switch d := Dim(bits.TrailingZeros32(both)); {
		case d < addresses:
			if !b.addrs[d].Overlaps(c.addrs[d]) {
				return false
			}
		case !b.sets[d].Overlaps(c.sets[d]):
			return false
		}
	}
	return true
}

// Equal tells whether both hold the same packets.
func (b *Box) Equal(c *Box) bool {
	if b.Six != c.Six {
		return false
	}
	for either := b.limits | c.limits; either != 0; either &= either - 1 {
		switch d := Dim(bits.TrailingZeros32(either)); {
		case d < addresses:
			if !b.addrs[d].Equal(c.addrs[d]) {
				return false
			}
		case !b.sets[d].Equal(c.sets[d]):
			return false
		}
	}
	return true
}

// Covers tells whether every packet of c is in b.
func (b *Box) Covers(c *Box) bool {
	if b.Six != c.Six {
		return false
	}
	for rest := b.limits; rest != 0; rest &= rest - 1 {
		switch d := Dim(bits.TrailingZeros32(rest)); {
		case d < addresses:
			if !b.addrs[d].Covers(c.addrs[d]) {
				return false
			}
		case !b.sets[d].Covers(c.sets[d]):
			return false
		}
	}
	return true
}

// Intersect is the packets in both boxes, false where there are none.
func (b *Box) Intersect(c *Box) (Box, bool) {
	out := *b
	if b.Six != c.Six {
		return out, false
	}
	for rest := c.limits; rest != 0; rest &= rest - 1 {
		d := Dim(bits.TrailingZeros32(rest))
		ok := false
		if d < addresses {
			ok = out.limitAddrs(d, c.addrs[d])
		} else {
			ok = out.Limit(d, c.sets[d])
		}
		if !ok {
			return out, false
		}
	}
	return out, true
}

// Limit keeps the packets that are in a set along a dimension other than Src and Dst, false where none are left: the
// box is void then.
func (b *Box) Limit(d Dim, s Set) bool {
	if s.IsAll() {
		return true
	}
	b.sets[d] = b.sets[d].Intersect(s)
	b.limits |= 1 << d
	return !b.sets[d].IsEmpty()
}

// With is the box with another set along a dimension other than Src and Dst, which must not be empty.
func (b *Box) With(d Dim, s Set) Box {
	c := *b
	c.sets[d] = s
	c.limits |= 1 << d
	return c
}

// WithAddrs is With along Src or Dst, with addresses of the box's family only.
func (b *Box) WithAddrs(d Dim, s addrset.Addrs) Box {
	c := *b
	c.addrs[d] = s
	c.limits |= 1 << d
	return c
}

// LimitAddrs keeps the packets whose source or destination is in a set, false where none are left: the box is void
// then.
func (b *Box) LimitAddrs(d Dim, s addrset.Addrs) bool {
	if b.Six {
		return s.V6.IsAll() || b.limitAddrs(d, addrset.Addrs{V6: s.V6})
	}
	return s.V4.IsAll() || b.limitAddrs(d, addrset.Addrs{V4: s.V4})
}

// limitAddrs is LimitAddrs with addresses of the box's family only.
func (b *Box) limitAddrs(d Dim, s addrset.Addrs) bool {
	b.addrs[d] = b.addrs[d].Intersect(s)
	b.limits |= 1 << d
	return !b.addrs[d].IsEmpty()
}

// Minus is the packets in b and not in c, as disjoint boxes: at most one for each dimension that limits c.
func (b *Box) Minus(c *Box) []Box {
	if !b.Overlaps(c) {
		return []Box{*b}
	}
	var out []Box
	rest := *b // what is in c along the dimensions gone through
	for left := c.limits; left != 0; left &= left - 1 {
		d := Dim(bits.TrailingZeros32(left))
		piece := rest
		piece.limits |= 1 << d
		rest.limits |= 1 << d
		if d < addresses {
			if piece.addrs[d] = rest.addrs[d].Minus(c.addrs[d]); !piece.addrs[d].IsEmpty() {
				out = append(out, piece)
			}
			rest.addrs[d] = rest.addrs[d].Intersect(c.addrs[d])
			continue
		}
		if piece.sets[d] = rest.sets[d].Minus(c.sets[d]); !piece.sets[d].IsEmpty() {
			out = append(out, piece)
		}
		rest.sets[d] = rest.sets[d].Intersect(c.sets[d])
	}
	return out
}
