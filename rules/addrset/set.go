package addrset

import (
	"iter"
	"slices"
)

// Range is the numbers from Lo to Hi, both included.
type Range[K Key[K]] struct{ Lo, Hi K }

// Set is a set of numbers. The zero Set is empty. Its ranges are sorted, disjoint and never adjacent,
// so that equal sets have equal ranges.
type Set[K Key[K]] struct{ ranges []Range[K] }

// Of is the set of all numbers in any of the ranges, in whatever order, overlapping or not.
// A range with Lo above Hi counts as empty. Of keeps no reference to its argument.
func Of[K Key[K]](ranges ...Range[K]) Set[K] { return Take(slices.Clone(ranges)) }

// Take is Of for a list that the set may keep and change: one of a million ranges is not copied.
func Take[K Key[K]](ranges []Range[K]) Set[K] {
	if isSet(ranges) {
		return Set[K]{ranges}
	}
	backwards := func(r Range[K]) bool { return r.Lo.Compare(r.Hi) > 0 }
	ascending := func(a, b Range[K]) int { return a.Lo.Compare(b.Lo) }
	ranges = slices.DeleteFunc(ranges, backwards)
	if !slices.IsSortedFunc(ranges, ascending) {
		if four, ok := any(ranges).([]Range[U32]); ok && len(four) >= radixFrom {
			sortByDigits(four)
		} else {
			slices.SortFunc(ranges, ascending)
		}
	}
	out := ranges[:0]
	for _, r := range ranges {
		out = push(out, r)
	}
	return Set[K]{out}
}

// isSet tells whether ranges are as a set has them.
func isSet[K Key[K]](ranges []Range[K]) bool {
	var next K // after the range before
	for i, r := range ranges {
		if i > 0 && (next.Compare(r.Lo) >= 0 || next == next.First()) || r.Lo.Compare(r.Hi) > 0 {
			return false
		}
		next = r.Hi.Next()
	}
	return true
}

// push appends r, whose Lo is not below that of any range in rs, merging it with the last where they touch.
func push[K Key[K]](rs []Range[K], r Range[K]) []Range[K] {
	if n := len(rs); n > 0 {
		last := &rs[n-1]
		if last.Hi == last.Hi.Last() || r.Lo.Compare(last.Hi.Next()) <= 0 {
			if r.Hi.Compare(last.Hi) > 0 {
				last.Hi = r.Hi
			}
			return rs
		}
	}
	return append(rs, r)
}

// One is the set of a single number.
func One[K Key[K]](k K) Set[K] { return Set[K]{[]Range[K]{{k, k}}} }

// Between is the set of the numbers from lo to hi, both included; empty where lo is above hi.
func Between[K Key[K]](lo, hi K) Set[K] { return Of(Range[K]{lo, hi}) }

// All is the set of all numbers.
func All[K Key[K]]() Set[K] {
	var k K
	return Set[K]{[]Range[K]{{k.First(), k.Last()}}}
}

// Ranges returns the ranges, sorted, disjoint and never adjacent. The caller must not change them.
func (s Set[K]) Ranges() []Range[K] { return s.ranges }

// Len is the number of ranges.
func (s Set[K]) Len() int { return len(s.ranges) }

// Parts is s in at most n parts of about as many ranges, in order: for who looks at a large set on several processors.
func (s Set[K]) Parts(n int) iter.Seq[Set[K]] {
	return func(yield func(Set[K]) bool) {
		for ranges := range slices.Chunk(s.ranges, max(1, (s.Len()+n-1)/n)) {
			if !yield(Set[K]{ranges}) {
				return
			}
		}
	}
}

// IsEmpty tells whether s holds nothing.
func (s Set[K]) IsEmpty() bool { return len(s.ranges) == 0 }

// IsAll tells whether s holds every number.
func (s Set[K]) IsAll() bool {
	return len(s.ranges) == 1 && s.ranges[0].Lo == s.ranges[0].Lo.First() && s.ranges[0].Hi == s.ranges[0].Lo.Last()
}

// Equal tells whether s and t hold the same numbers.
func (s Set[K]) Equal(t Set[K]) bool { return s.is(t) || slices.Equal(s.ranges, t.ranges) }

// Contains tells whether k is in s.
func (s Set[K]) Contains(k K) bool {
	lo, hi := 0, len(s.ranges)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); s.ranges[mid].Hi.Compare(k) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s.ranges) && s.ranges[lo].Lo.Compare(k) <= 0
}

// few is how many times as many ranges a set has as one of few: then it is worth asking first whether anything would change, since what
// does not change is not copied.
const few = 8

// Union is the numbers in s or t.
func (s Set[K]) Union(t Set[K]) Set[K] {
	if s.Len() < t.Len() {
		s, t = t, s
	}
	switch {
	case t.IsEmpty() || s.IsAll() || s.is(t):
		return s
	case t.IsAll():
		return t
	case t.Len() <= s.Len()/few && s.Covers(t):
		return s
	}
	a := s.ranges
	out := make([]Range[K], 0, len(a)+t.Len())
	for _, r := range t.ranges {
		n := skip(a, r.Lo)
		if n < len(a) && a[n].Lo.Compare(r.Lo) <= 0 {
			n++
		}
		out, a = push(pushAll(out, a[:n]), r), a[n:]
	}
	return Set[K]{pushAll(out, a)}
}

// pushAll is push of every range of a set that begins where those in rs do or after.
func pushAll[K Key[K]](rs, more []Range[K]) []Range[K] {
	for len(more) > 0 && len(rs) > 0 && (rs[len(rs)-1].Hi == rs[len(rs)-1].Hi.Last() || more[0].Lo.Compare(rs[len(rs)-1].Hi.Next()) <= 0) {
		rs, more = push(rs, more[0]), more[1:]
	}
	return append(rs, more...)
}

// is tells whether s and t are the same ranges in memory.
func (s Set[K]) is(t Set[K]) bool {
	return s.Len() == t.Len() && s.Len() > 0 && &s.ranges[0] == &t.ranges[0]
}

// skip is the index of the first of rs, sorted and disjoint, whose Hi is not below k. It looks near the front
// first, so that walking a short list along a long one costs little.
func skip[K Key[K]](rs []Range[K], k K) int {
	lo, hi := 0, 1
	for hi <= len(rs) && rs[hi-1].Hi.Compare(k) < 0 {
		lo, hi = hi, 2*hi
	}
	hi = min(hi, len(rs))
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); rs[mid].Hi.Compare(k) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Intersect is the numbers in both s and t.
func (s Set[K]) Intersect(t Set[K]) Set[K] {
	if s.IsAll() {
		return t
	}
	if t.IsAll() {
		return s
	}
	var out []Range[K]
	for a, b := s.ranges, t.ranges; len(a) > 0 && len(b) > 0; {
		switch {
		case a[0].Hi.Compare(b[0].Lo) < 0:
			a = a[skip(a, b[0].Lo):]
			continue
		case b[0].Hi.Compare(a[0].Lo) < 0:
			b = b[skip(b, a[0].Lo):]
			continue
		}
		lo, hi := a[0].Lo, a[0].Hi
		if b[0].Lo.Compare(lo) > 0 {
			lo = b[0].Lo
		}
		if b[0].Hi.Compare(hi) < 0 {
			hi = b[0].Hi
		}
		out = append(out, Range[K]{lo, hi})
		if a[0].Hi.Compare(b[0].Hi) < 0 {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return Set[K]{out}
}

// Overlaps tells whether s and t share a number.
func (s Set[K]) Overlaps(t Set[K]) bool {
	if len(s.ranges) == 1 && len(t.ranges) == 1 {
		a, b := &s.ranges[0], &t.ranges[0]
		return a.Lo.Compare(b.Hi) <= 0 && b.Lo.Compare(a.Hi) <= 0
	}
	for a, b := s.ranges, t.ranges; len(a) > 0 && len(b) > 0; {
		switch {
		case a[0].Hi.Compare(b[0].Lo) < 0:
			a = a[skip(a, b[0].Lo):]
		case b[0].Hi.Compare(a[0].Lo) < 0:
			b = b[skip(b, a[0].Lo):]
		default:
			return true
		}
	}
	return false
}

// Minus is the numbers in s and not in t.
func (s Set[K]) Minus(t Set[K]) Set[K] {
	switch {
	case t.IsEmpty() || s.IsEmpty():
		return s
	case s.is(t):
		return Set[K]{}
	case t.Len() <= s.Len()/few && !s.Overlaps(t):
		return s
	}
	var out []Range[K]
	a, b := s.ranges, t.ranges
	for len(a) > 0 && len(b) > 0 {
		switch n := alike(a, b); {
		case n > 0:
			a, b = a[n:], b[n:]
		case a[0].Hi.Compare(b[0].Lo) < 0:
			n := skip(a, b[0].Lo)
			out, a = append(out, a[:n]...), a[n:]
		case b[0].Hi.Compare(a[0].Lo) < 0:
			b = b[skip(b, a[0].Lo):]
		default:
			out, a = minus(out, a[0], b), a[1:]
		}
	}
	return Set[K]{append(out, a...)}
}

// alike is how many ranges are the same at the beginning of both lists.
func alike[K Key[K]](a, b []Range[K]) int {
	const block = 64 // so many are compared as memory
	most := min(len(a), len(b))
	a, b = a[:most], b[:most]
	i := 0
	for i+block <= most && *(*[block]Range[K])(a[i:]) == *(*[block]Range[K])(b[i:]) {
		i += block
	}
	for ; i < most; i++ {
		if a[i].Lo != b[i].Lo || a[i].Hi != b[i].Hi {
			return i
		}
	}
	return most
}

// Differ is s.Minus(t) and t.Minus(s), in one pass: sets that nearly agree are compared in less time than either takes to be read.
func (s Set[K]) Differ(t Set[K]) (only, other Set[K]) {
	switch {
	case s.is(t):
		return only, other
	case s.IsEmpty() || t.IsEmpty():
		return s, t
	}
	a, b := s.ranges, t.ranges
	for len(a) > 0 && len(b) > 0 {
		if n := alike(a, b); n > 0 {
			a, b = a[n:], b[n:]
			continue
		}
		m, n := entangled(a, b)
		only.ranges, other.ranges = minusAll(only.ranges, a[:m], b[:n]), minusAll(other.ranges, b[:n], a[:m])
		a, b = a[m:], b[n:]
	}
	only.ranges, other.ranges = append(only.ranges, a...), append(other.ranges, b...)
	return only, other
}

// entangled is how many ranges at the beginning of both lists, which are not empty, overlap no later one of the other: one at least in
// one of them.
func entangled[K Key[K]](a, b []Range[K]) (m, n int) {
	if a[0].Hi.Compare(b[0].Lo) < 0 {
		return skip(a, b[0].Lo), 0
	}
	if b[0].Hi.Compare(a[0].Lo) < 0 {
		return 0, skip(b, a[0].Lo)
	}
	end := a[0].Lo
	for {
		switch {
		case m < len(a) && a[m].Lo.Compare(end) <= 0 || m == 0:
			end, m = later(end, a[m].Hi), m+1
		case n < len(b) && b[n].Lo.Compare(end) <= 0:
			end, n = later(end, b[n].Hi), n+1
		default:
			return m, n
		}
	}
}

// minusAll appends what remains of ranges without others.
func minusAll[K Key[K]](out, rs, without []Range[K]) []Range[K] {
	for _, r := range rs {
		without = without[skip(without, r.Lo):]
		out = minus(out, r, without)
	}
	return out
}

func later[K Key[K]](a, b K) K {
	if a.Compare(b) > 0 {
		return a
	}
	return b
}

// minus appends what remains of r without a set, which has nothing before it.
func minus[K Key[K]](out []Range[K], r Range[K], without []Range[K]) []Range[K] {
	for _, w := range without {
		if w.Lo.Compare(r.Hi) > 0 {
			break
		}
		if w.Lo.Compare(r.Lo) > 0 {
			out = append(out, Range[K]{r.Lo, w.Lo.Prev()})
		}
		if w.Hi.Compare(r.Hi) >= 0 {
			return out
		}
		r.Lo = w.Hi.Next()
	}
	return append(out, r)
}

// Complement is every number that is not in s.
func (s Set[K]) Complement() Set[K] { return All[K]().Minus(s) }

// Covers tells whether every number of t is in s.
func (s Set[K]) Covers(t Set[K]) bool {
	a := s.ranges
	if len(a) == 1 && len(t.ranges) > 0 {
		first, last := &t.ranges[0], &t.ranges[len(t.ranges)-1]
		return a[0].Lo.Compare(first.Lo) <= 0 && last.Hi.Compare(a[0].Hi) <= 0
	}
	for _, r := range t.ranges {
		a = a[skip(a, r.Hi):]
		if len(a) == 0 || a[0].Lo.Compare(r.Lo) > 0 {
			return false
		}
	}
	return true
}

// Min is the smallest number of s, false where s is empty.
func (s Set[K]) Min() (k K, ok bool) {
	if s.IsEmpty() {
		return k, false
	}
	return s.ranges[0].Lo, true
}
