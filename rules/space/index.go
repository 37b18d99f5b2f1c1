package space

import (
	"math"
	"slices"

	"ringwall/rules/addrset"
)

// Index is boxes by number, kept so that those which overlap another are found without looking at all.
type Index struct {
	boxes   []*Box
	columns [2][3]column // by family: Src, Dst, Key
	hulls   []hull       // of the boxes
	seen    []uint32     // by box: the last question that came across it
	asked   uint32
}

// column is the boxes along one dimension. Cuts divide it so that about as many boxes begin in each part.
type column struct {
	dim   Dim
	cuts  []uint64
	parts [][]int32 // the boxes that touch a part, ascending
	wide  []int32   // those that touch many parts, ascending
}

const (
	maxParts   = 1 << 11 // of an column
	fewParts   = 8       // that a box may touch before it counts as wide
	manyRanges = 256     // of a box, of which the rest have no say in the cuts
)

// hull is from where to where a box reaches along the dimensions of the columns, IPv6 addresses by their upper half: most boxes of a
// part are told apart by it.
type hull [3]struct{ lo, hi uint64 }

// hullDims is the dimensions of columns and hulls.
var hullDims = [...]Dim{Src, Dst, Key}

func newHull(b *Box) (h hull) {
	for i, d := range hullDims {
		h[i].hi = math.MaxUint64
		switch {
		case b.limits&(1<<d) == 0:
		case d >= addresses:
			h[i].lo, h[i].hi = ends(b.sets[d], func(k addrset.U32) uint64 { return uint64(k) })
		case b.Six:
			h[i].lo, h[i].hi = ends(b.addrs[d].V6, func(k addrset.U128) uint64 { return k.Hi })
		default:
			h[i].lo, h[i].hi = ends(b.addrs[d].V4, func(k addrset.U32) uint64 { return uint64(k) })
		}
	}
	return h
}

// ends is the first and the last number of a set that is not empty.
func ends[K addrset.Key[K]](s addrset.Set[K], number func(K) uint64) (lo, hi uint64) {
	rs := s.Ranges()
	return number(rs[0].Lo), number(rs[len(rs)-1].Hi)
}

func (h *hull) meets(o *hull) bool {
	for i := range h {
		if h[i].lo > o[i].hi || o[i].lo > h[i].hi {
			return false
		}
	}
	return true
}

// NewIndex keeps boxes, which get their numbers in order. It must not be shared between goroutines.
func NewIndex(boxes []*Box) *Index {
	ix := &Index{boxes: boxes, seen: make([]uint32, len(boxes)), hulls: make([]hull, len(boxes))}
	for i, b := range boxes {
		ix.hulls[i] = newHull(b)
	}
	for six := range ix.columns {
		for i, d := range hullDims {
			ix.columns[six][i].dim = d
			ix.columns[six][i].fill(boxes, six == 1)
		}
	}
	return ix
}

// fill cuts the column and puts the boxes of one family into its parts.
func (a *column) fill(boxes []*Box, six bool) {
	var ends []uint64
	for _, b := range boxes {
		if b.Six == six && b.limits&(1<<a.dim) != 0 {
			b.spans(a.dim, manyRanges, func(lo, hi uint64) bool {
				ends = append(ends, lo)
				return true
			})
		}
	}
	slices.Sort(ends)
	ends = slices.Compact(ends)
	step := max(1, len(ends)/maxParts)
	for i := step; i < len(ends); i += step {
		a.cuts = append(a.cuts, ends[i])
	}
	a.parts = make([][]int32, len(a.cuts)+1)
	for n, b := range boxes {
		if b.Six != six {
			continue
		}
		touched, ok := a.touched(b)
		if !ok {
			a.wide = append(a.wide, int32(n))
			continue
		}
		for _, i := range touched {
			a.parts[i] = append(a.parts[i], int32(n))
		}
	}
}

// part is the part that a value is in.
func (a *column) part(v uint64) int {
	i, found := slices.BinarySearch(a.cuts, v)
	if found {
		i++
	}
	return i
}

// touched is the few parts that a box is in, false where they are many.
func (a *column) touched(b *Box) ([]int, bool) {
	if b.limits&(1<<a.dim) == 0 {
		return nil, false
	}
	var out []int
	ok := true
	b.spans(a.dim, -1, func(lo, hi uint64) bool {
		for i, last := a.part(lo), a.part(hi); i <= last; i++ {
			if len(out) > 0 && out[len(out)-1] >= i {
				continue
			}
			if len(out) == fewParts {
				ok = false
				return false
			}
			out = append(out, i)
		}
		return true
	})
	return out, ok
}

// spans calls f with the ranges of the box along a dimension, at most n where n is not negative, until f says no. Of
// IPv6 addresses they are those of the upper half.
func (b *Box) spans(d Dim, n int, f func(lo, hi uint64) bool) {
	if d < addresses && b.Six {
		for i, r := range b.addrs[d].V6.Ranges() {
			if i == n || !f(r.Lo.Hi, r.Hi.Hi) {
				return
			}
		}
		return
	}
	s := b.sets[d]
	if d < addresses {
		s = b.addrs[d].V4
	}
	for i, r := range s.Ranges() {
		if i == n || !f(uint64(r.Lo), uint64(r.Hi)) {
			return
		}
	}
}

// Near is the boxes with numbers from lo to below hi that overlap b, ascending by number, appended to out. It takes
// what it has to look at from the search, and stops where nothing is left: then the answer is not whole, and the error
// is ErrTooComplex.
func (ix *Index) Near(s *Search, b *Box, lo, hi int, out []int32) ([]int32, error) {
	ix.asked++
	begin, ranges, reach := len(out), b.ranges(), newHull(b)
	look := func(numbers []int32) bool {
		from, _ := slices.BinarySearch(numbers, int32(lo))
		to, _ := slices.BinarySearch(numbers, int32(hi))
		if s.Left -= (to - from) / 2; s.Left < 0 {
			return false
		}
		for _, n := range numbers[from:max(from, to)] {
			if ix.seen[n] != ix.asked {
				ix.seen[n] = ix.asked
				if ranges > few {
					s.Left -= min(ranges, ix.boxes[n].ranges()) / few
				}
				if reach.meets(&ix.hulls[n]) && ix.boxes[n].Overlaps(b) {
					out = append(out, n)
				}
			}
		}
		return true
	}
	columns := &ix.columns[family(b.Six)]
	best, least := -1, len(ix.boxes)
	var parts []int
	for i := range columns {
		a := &columns[i]
		touched, ok := a.touched(b)
		if !ok {
			continue
		}
		n := len(a.wide)
		for _, p := range touched {
			n += len(a.parts[p])
		}
		if n < least {
			best, least, parts = i, n, touched
		}
	}
	done := true
	if best < 0 {
		for from := lo; from < hi && done; from++ {
			if s.Left--; s.Left < 0 {
				done = false
			} else if ix.boxes[from].Overlaps(b) {
				out = append(out, int32(from))
			}
		}
	} else {
		done = look(columns[best].wide)
		for _, p := range parts {
			done = done && look(columns[best].parts[p])
		}
		slices.Sort(out[begin:])
	}
	if !done {
		return out, ErrTooComplex
	}
	return out, nil
}

func family(six bool) int {
	if six {
		return 1
	}
	return 0
}

// Box is the box with a number.
func (ix *Index) Box(n int32) *Box { return ix.boxes[n] }
