package space

import (
	"errors"
	"math/bits"
	"slices"

	"ringwall/rules/addrset"
)

// Search looks for packets, within a bound on the work. The zero Search has no work left.
type Search struct {
	Left int // how many comparisons of boxes may still be made
	// Used takes up boxes, where it is not nil: those of others that Outside showed to hold a whole box together, and
	// perhaps more.
	Used map[*Box]bool
}

// ErrTooComplex says that a question was given up: the answer would have taken more work than was allowed.
var ErrTooComplex = errors.New("too complex to decide")

// Outside finds packets of a box that are in none of the others, as a box; false where there are none.
// The error is ErrTooComplex.
func (s *Search) Outside(b *Box, others []*Box) (Box, bool, error) {
	const many = 16 // boxes, from which on luck is cheaper than certainty
	if len(others) >= many {
		if w, found := s.guess(b, others); found {
			return w, true, nil
		}
	}
	return s.outside(*b, slices.Clone(others))
}

// few is how many ranges of addresses are compared in about the time that boxes are.
const few = 8

// ranges is how many ranges of addresses the box has.
func (b *Box) ranges() int {
	return b.addrs[Src].V4.Len() + b.addrs[Src].V6.Len() + b.addrs[Dst].V4.Len() + b.addrs[Dst].V6.Len()
}

// outside takes one box after the other away from b, each time the one that leaves the fewest pieces. Others is its
// own to change.
func (s *Search) outside(b Box, others []*Box) (Box, bool, error) {
	for {
		if s.Left -= len(others) + 1; s.Left < 0 {
			return Box{}, false, ErrTooComplex
		}
		near, pivot, fewest := others[:0], 0, dims+1
		shared := ^uint32(0) // the dimensions along which none of them covers b
		ranges := b.ranges()
		for _, o := range others {
			if ranges > few {
				s.Left -= min(ranges, o.ranges()) / few
			}
			beyond, meets := o.beyond(&b)
			if !meets {
				continue
			}
			if beyond == 0 {
				s.use(o)
				return Box{}, false, nil
			}
			shared &= beyond
			if n := bits.OnesCount32(beyond); n < fewest {
				fewest, pivot = n, len(near)
			}
			near = append(near, o)
		}
		if len(near) == 0 {
			return b, true, nil
		}
		if w, found := s.gap(&b, near, shared); found {
			return w, true, nil
		}
		o := near[pivot]
		near[pivot] = near[len(near)-1]
		near = near[:len(near)-1]
		s.use(o)
		pieces := b.Minus(o)
		s.Left -= (ranges + o.ranges()) * len(pieces) / few
		last := len(pieces) - 1
		for i := range pieces[:last] {
			if w, found, err := s.outside(pieces[i], slices.Clone(near)); found || err != nil {
				return w, found, err
			}
		}
		b, others = pieces[last], near
	}
}

func (s *Search) use(b *Box) {
	if s.Used != nil {
		s.Used[b] = true
	}
}

// beyond is the dimensions along which b does not cover c, as bits; false where they don't overlap.
func (b *Box) beyond(c *Box) (out uint32, meets bool) {
	if b.Six != c.Six {
		return 0, false
	}
	for rest := b.limits; rest != 0; rest &= rest - 1 {
		d := Dim(bits.TrailingZeros32(rest))
		var covers, overlaps bool
		switch {
		case d >= addresses:
			covers = b.sets[d].Covers(c.sets[d])
			overlaps = covers || b.sets[d].Overlaps(c.sets[d])
		case b.Six:
			covers = b.addrs[d].V6.Covers(c.addrs[d].V6)
			overlaps = covers || b.addrs[d].V6.Overlaps(c.addrs[d].V6)
		default:
			covers = b.addrs[d].V4.Covers(c.addrs[d].V4)
			overlaps = covers || b.addrs[d].V4.Overlaps(c.addrs[d].V4)
		}
		if !overlaps {
			return 0, false
		}
		if !covers {
			out |= 1 << d
		}
	}
	return out, true
}

// gap looks for packets that lie beside all others along one of some dimensions.
func (s *Search) gap(b *Box, others []*Box, along uint32) (Box, bool) {
	for ; along != 0; along &= along - 1 {
		d := Dim(bits.TrailingZeros32(along))
		out := *b
		out.limits |= 1 << d
		switch {
		case d >= addresses:
			out.sets[d] = beside(s, b.sets[d], others, func(o *Box) Set { return o.sets[d] })
			if !out.sets[d].IsEmpty() {
				return out, true
			}
		case b.Six:
			out.addrs[d].V6 = beside(s, b.addrs[d].V6, others, func(o *Box) addrset.Set[addrset.U128] { return o.addrs[d].V6 })
			if !out.addrs[d].V6.IsEmpty() {
				return out, true
			}
		default:
			out.addrs[d].V4 = beside(s, b.addrs[d].V4, others, func(o *Box) addrset.Set[addrset.U32] { return o.addrs[d].V4 })
			if !out.addrs[d].V4.IsEmpty() {
				return out, true
			}
		}
	}
	return Box{}, false
}

// beside is what of a set none of the others hold. It may be empty where looking would be too much work.
func beside[K addrset.Key[K]](s *Search, of addrset.Set[K], others []*Box, set func(*Box) addrset.Set[K]) addrset.Set[K] {
	const many = 1 << 15 // ranges
	n := 0
	for _, o := range others {
		if n += set(o).Len(); n > many {
			return addrset.Set[K]{}
		}
	}
	s.Left -= n / 2
	rs := make([]addrset.Range[K], 0, n)
	for _, o := range others {
		rs = append(rs, set(o).Ranges()...)
	}
	return of.Minus(addrset.Of(rs...))
}

// Subtract is the packets of some boxes that are in none of the others, as boxes. The error is ErrTooComplex.
func (s *Search) Subtract(boxes, others []Box) ([]Box, error) {
	for i := range others {
		var rest []Box
		for j := range boxes {
			if s.Left--; s.Left < 0 {
				return nil, ErrTooComplex
			}
			rest = append(rest, boxes[j].Minus(&others[i])...)
		}
		boxes = rest
	}
	return boxes, nil
}
