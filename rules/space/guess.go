package space

import (
	"math/bits"
	"math/rand/v2"

	"ringwall/rules/addrset"
)

// guess tries some packets of a box, the same each time. Where many boxes leave most packets free, that finds one at
// once; that it finds none says nothing. What it finds is as wide as it can be made.
func (s *Search) guess(b *Box, others []*Box) (Box, bool) {
	const tries = 12
	var limits uint32
	for _, o := range others {
		limits |= o.limits
	}
	r := rand.New(rand.NewPCG(1, 2))
	free := func(w *Box) bool {
		for i, o := range others {
			if o.Overlaps(w) {
				s.Left -= i + 1
				return false
			}
		}
		s.Left -= len(others)
		return true
	}
	for range tries {
		if s.Left < len(others) {
			return Box{}, false
		}
		w := *b
		for rest := limits; rest != 0; rest &= rest - 1 {
			w.narrow(Dim(bits.TrailingZeros32(rest)), r)
		}
		if !free(&w) {
			continue
		}
		for rest := limits; rest != 0; rest &= rest - 1 {
			d := Dim(bits.TrailingZeros32(rest))
			wide := w
			wide.sets[d] = b.sets[d]
			if d < addresses {
				wide.addrs[d] = b.addrs[d]
			}
			wide.limits = w.limits&^(1<<d) | b.limits&(1<<d)
			if free(&wide) {
				w = wide
			}
		}
		return w, true
	}
	return Box{}, false
}

// narrow leaves one value along a dimension.
func (b *Box) narrow(d Dim, r *rand.Rand) {
	b.limits |= 1 << d
	switch {
	case d >= addresses:
		b.sets[d] = addrset.One(drawn(b.sets[d], r, draw32))
	case b.Six:
		b.addrs[d].V6 = addrset.One(drawn(b.addrs[d].V6, r, draw128))
	default:
		b.addrs[d].V4 = addrset.One(drawn(b.addrs[d].V4, r, draw32))
	}
}

// drawn is a number of a set: each range is as likely as any other.
func drawn[K addrset.Key[K]](s addrset.Set[K], r *rand.Rand, draw func(*rand.Rand, K, K) K) K {
	in := s.Ranges()[r.IntN(s.Len())]
	return draw(r, in.Lo, in.Hi)
}

func draw32(r *rand.Rand, lo, hi addrset.U32) addrset.U32 {
	return lo + addrset.U32(r.Uint64N(uint64(hi-lo)+1))
}

func draw128(r *rand.Rand, lo, hi addrset.U128) addrset.U128 {
	between := func(lo, hi uint64) uint64 {
		if hi-lo == ^uint64(0) {
			return r.Uint64()
		}
		return lo + r.Uint64N(hi-lo+1)
	}
	k := addrset.U128{Hi: between(lo.Hi, hi.Hi)}
	first, last := uint64(0), ^uint64(0)
	if k.Hi == lo.Hi {
		first = lo.Lo
	}
	if k.Hi == hi.Hi {
		last = hi.Lo
	}
	k.Lo = between(first, last)
	return k
}
