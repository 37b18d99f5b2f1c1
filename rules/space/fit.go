package space

import (
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Fit says how what one box names along a dimension lies to what another names there, item by item. Items are what a
// rule writes: ranges of addresses or ports, patterns of interfaces, users.
type Fit uint8

// The ways to lie.
const (
	Inside Fit = 1 << iota // an item of the first is within one of the second
	Strict                 // and less than it
	Across                 // an item of the first shares something with one of the second, and neither is within the other
)

// Fit compares two rules' boxes of one family along a dimension. A box that is not limited there has all of it as one
// item. Of the dimensions with unwritten items (Time, dynamic sets) the whole is the item.
func (s *Space) Fit(d Dim, a *Box, am *policy.Match, b *Box, bm *policy.Match) Fit {
	bit := uint32(1) << d
	switch {
	case a.limits&bit == 0 && b.limits&bit == 0:
		return Inside
	case a.limits&bit == 0:
		return 0
	case b.limits&bit == 0:
		return Inside | Strict
	case d >= addresses:
		as, bs := s.items(d, a, am), s.items(d, b, bm)
		if as == nil && bs == nil && (d == Key || d == Sport) {
			return fitRanges(a.sets[d], b.sets[d])
		}
		if as == nil {
			as = []Set{a.sets[d]}
		}
		if bs == nil {
			bs = []Set{b.sets[d]}
		}
		return fitSets(as, bs)
	case a.Six:
		return fitRanges(a.addrs[d].V6, b.addrs[d].V6)
	}
	return fitRanges(a.addrs[d].V4, b.addrs[d].V4)
}

func fitRanges[K addrset.Key[K]](a, b addrset.Set[K]) (f Fit) {
	for as, bs := a.Ranges(), b.Ranges(); len(as) > 0 && len(bs) > 0; {
		x, y := as[0], bs[0]
		if x.Hi.Compare(y.Lo) >= 0 && y.Hi.Compare(x.Lo) >= 0 {
			low, high := x.Lo.Compare(y.Lo), x.Hi.Compare(y.Hi)
			switch {
			case low == 0 && high == 0:
				f |= Inside
			case low >= 0 && high <= 0:
				f |= Inside | Strict
			case low > 0 || high < 0:
				f |= Across
			}
		}
		if x.Hi.Compare(y.Hi) < 0 {
			as = as[1:]
		} else {
			bs = bs[1:]
		}
	}
	return f
}

func fitSets(as, bs []Set) (f Fit) {
	for _, x := range as {
		for _, y := range bs {
			switch {
			case x.Equal(y):
				f |= Inside
			case y.Covers(x):
				f |= Inside | Strict
			case x.Overlaps(y) && !x.Covers(y):
				f |= Across
			}
		}
	}
	return f
}

// items is the values of a match key that has some, each as a set; nil where it is written otherwise.
func (s *Space) items(d Dim, b *Box, m *policy.Match) []Set {
	switch d {
	case IIf:
		return itemsOf(b.sets[d], m.IIf, s.names.set)
	case OIf:
		return itemsOf(b.sets[d], m.OIf, s.names.set)
	case MAC:
		return itemsOf(b.sets[d], m.MAC, s.macSet)
	case Mark:
		return itemsOf(b.sets[d], m.Mark, s.marks.set)
	case UID:
		return itemsOf(b.sets[d], m.User, ownerSet)
	case GID:
		return itemsOf(b.sets[d], m.Group, ownerSet)
	}
	return nil
}

func itemsOf[T any](all Set, c policy.Choice[T], set func(T) Set) []Set {
	var out []Set
	for _, v := range c.Yes {
		if is := set(v).Intersect(all); !is.IsEmpty() {
			out = append(out, is)
		}
	}
	return out
}

// Sole is the one dimension along which the box is limited, false where there are several or none.
func (b *Box) Sole() (Dim, bool) {
	for d := Src; d < dims; d++ {
		if b.limits == 1<<d {
			return d, true
		}
	}
	return 0, false
}

// Cost is what comparing two boxes item by item takes from a Search.
func Cost(a, b *Box) int { return 1 + (a.ranges()+b.ranges())/few }

// IsLimited tells whether the box is not the whole space along a dimension.
func (b *Box) IsLimited(d Dim) bool { return b.limits&(1<<d) != 0 }

// Sure is the packets of a box of a free space while all dynamic sets are empty, false where there are none.
func (s *Space) Sure(b *Box) (Box, bool) {
	out := *b
	return out, out.Limit(SrcIn, upTo(1)) && out.Limit(DstIn, upTo(1))
}

// Since is the times from a moment on, in Unix seconds.
func (s *Space) Since(time int64) Set {
	k, _ := s.At(time).Min()
	return addrset.Between(k, addrset.U32(len(s.times)))
}
