package addrset

import "slices"

// Builder makes a Set of ranges that come one by one, in whatever order, overlapping or not. Those that come in order are as a set has
// them from the beginning on. The zero Builder is ready.
type Builder[K Key[K]] struct {
	ranges []Range[K]
	mixed  bool // some are out of order
}

// Grow makes room for n more ranges. Room that is not used takes no memory, where there was none before.
func (b *Builder[K]) Grow(n int) {
	if len(b.ranges) == 0 {
		b.ranges = make([]Range[K], 0, n) // slices.Grow writes to all of it
		return
	}
	b.ranges = slices.Grow(b.ranges, n)
}

// Len is how many ranges there are, those that follow each other counting as one.
func (b *Builder[K]) Len() int { return len(b.ranges) }

// Add adds a range; one with Lo above Hi counts as empty.
func (b *Builder[K]) Add(r Range[K]) {
	if r.Lo.Compare(r.Hi) > 0 {
		return
	}
	if len(b.ranges) == 0 {
		b.ranges = append(b.ranges, r)
		return
	}
	last := &b.ranges[len(b.ranges)-1]
	switch beyond := r.Lo.Compare(last.Hi); {
	case beyond > 0 && r.Lo == last.Hi.Next():
		last.Hi = r.Hi
	case beyond > 0:
		b.ranges = append(b.ranges, r)
	case r.Lo.Compare(last.Lo) < 0:
		b.ranges, b.mixed = append(b.ranges, r), true
	case r.Hi.Compare(last.Hi) > 0:
		last.Hi = r.Hi
	}
}

// Last is the range that came last, with those that it goes on from; false where there is none.
func (b *Builder[K]) Last() (r Range[K], ok bool) {
	if len(b.ranges) == 0 {
		return r, false
	}
	return b.ranges[len(b.ranges)-1], true
}

// Append is Add for who knows that r is not empty, and neither overlaps nor follows the Last one, but lies beyond.
func (b *Builder[K]) Append(r Range[K]) { b.ranges = append(b.ranges, r) }

// Set is what was added. The Builder is empty then.
func (b *Builder[K]) Set() Set[K] {
	ranges, mixed := b.ranges, b.mixed
	*b = Builder[K]{}
	if mixed {
		return Take(ranges)
	}
	return Set[K]{ranges}
}

// Join is the union of two sets whose memory nobody else uses: the room behind the ranges of a, where there is enough, is all that it
// takes.
func Join[K Key[K]](a, b Set[K]) Set[K] {
	switch first, second := a.ranges, b.ranges; {
	case len(first) == 0:
		return b
	case len(second) == 0:
		return a
	case cap(first)-len(first) < len(second):
		return a.Union(b)
	case first[len(first)-1].Hi.Compare(second[0].Lo) < 0:
		return Set[K]{pushAll(first, second)}
	default:
		return Take(merge(first, second))
	}
}

// merge puts the second of two sorted lists into the first, which has the room for it, from the end on: nothing is overwritten that is
// not yet moved.
func merge[K Key[K]](first, second []Range[K]) []Range[K] {
	all := first[:len(first)+len(second)]
	for len(second) > 0 {
		from := &second
		if len(first) > 0 && first[len(first)-1].Lo.Compare(second[len(second)-1].Lo) > 0 {
			from = &first
		}
		last := len(*from) - 1
		all[len(first)+len(second)-1] = (*from)[last]
		*from = (*from)[:last]
	}
	return all
}

// Trim is s without the memory that it has and does not need, where that is much.
func (s Set[K]) Trim() Set[K] {
	if cap(s.ranges) > len(s.ranges)+len(s.ranges)/4 {
		return Set[K]{slices.Clone(s.ranges)}
	}
	return s
}
