// Package sieve finds the few of many rules that a packet could match, by intervals.
//
// Be aware: a Sieve may let rules through that do not match, never the other way round. Whoever asks must still try what it
// lets through, and gets what he would have got from trying all.
package sieve

import (
	"math/bits"
	"slices"

	"ringwall/rules/addrset"
)

// Key is a value on an axis, such as an address or a port, as a number.
type Key = addrset.U128

// Range is the keys from Lo to Hi, both included.
type Range = addrset.Range[Key]

// Sieve is a fixed list of rules, numbered from 0. It may be shared between goroutines.
type Sieve struct {
	words int // of a row
	axes  []axis
	all   row // every rule
}

// axis is one dimension of packets, cut where the rules that take a value change.
type axis struct {
	number int
	starts []Key // of intervals, rising; the first is 0
	rows   []row // the rules that take the keys of each interval
	absent row   // the rules that take a packet without a value on this axis
}

// row is a set of rules: bit i of word i/64.
type row []uint64

func (r row) set(i int)   { r[i/64] |= 1 << (i % 64) }
func (r row) clear(i int) { r[i/64] &^= 1 << (i % 64) }

// The bounds of an axis: how many ends of ranges it looks at, and how many bytes its rows may have. Beyond them it grows coarser.
const (
	mostEnds  = 1 << 18
	mostBytes = 8 << 20
)

// New makes a Sieve of so many rules. asks is the keys of an axis that a rule takes; false where the rule takes every packet
// there, also one without a value. The ranges may come in any order and overlap.
func New(rules, axes int, asks func(rule, axis int) ([]Range, bool)) *Sieve {
	s := &Sieve{words: (rules + 63) / 64}
	s.all = make(row, s.words)
	for i := range rules {
		s.all.set(i)
	}
	for n := range axes {
		if a, ok := newAxis(n, rules, func(rule int) ([]Range, bool) { return asks(rule, n) }); ok {
			s.axes = append(s.axes, a)
		}
	}
	return s
}

// Find appends the rules, in order, that could take a packet. value is the packet's on an axis, false where it has none.
func (s *Sieve) Find(dst []int32, value func(axis int) (Key, bool)) []int32 {
	const first = 4 // rows that are met at once: a branch for each takes longer than to look at it
	rows := [16]row{s.all, s.all, s.all, s.all}
	n := min(len(s.axes), len(rows))
	for i := range s.axes[:n] {
		a := &s.axes[i]
		rows[i] = a.absent
		if k, ok := value(a.number); ok {
			rows[i] = a.at(k)
		}
	}
	r0, r1, r2, r3 := rows[0][:s.words], rows[1][:s.words], rows[2][:s.words], rows[3][:s.words]
	for w := range s.words {
		x := r0[w] & r1[w] & r2[w] & r3[w]
		if x == 0 {
			continue
		}
		for _, r := range rows[first:max(first, n)] {
			x &= r[w]
		}
		for ; x != 0; x &= x - 1 {
			dst = append(dst, int32(64*w+bits.TrailingZeros64(x)))
		}
	}
	return dst
}

// at is the row of the interval that a key is in.
func (a *axis) at(k Key) row {
	lo, hi := 0, len(a.starts) // the last start that is not above k is at lo or after, and before hi
	for hi-lo > 1 {
		mid := int(uint(lo+hi) >> 1)
		if s := a.starts[mid]; s.Hi < k.Hi || s.Hi == k.Hi && s.Lo <= k.Lo {
			lo = mid
		} else {
			hi = mid
		}
	}
	return a.rows[lo]
}

// end is where a range begins or has ended.
type end struct {
	at   Key
	rule int32
	open bool
}

// newAxis makes an axis, false where every rule takes everything.
func newAxis(number, rules int, asks func(rule int) ([]Range, bool)) (axis, bool) {
	a := axis{number: number, absent: make(row, (rules+63)/64)}
	var ends []end
	most := min(max(mostEnds/2/rules, 8), 1024)
	asked := false
	for rule := range rules {
		ranges, asksFor := asks(rule)
		if !asksFor {
			a.absent.set(rule)
			continue
		}
		if !asked {
			asked, ends = true, make([]end, 0, 2*(rules-rule))
		}
		for _, r := range coarser(ranges, most) {
			ends = append(ends, end{r.Lo, int32(rule), true})
			if r.Hi != r.Hi.Last() {
				ends = append(ends, end{r.Hi.Next(), int32(rule), false})
			}
		}
	}
	if !asked {
		return a, false
	}
	slices.SortFunc(ends, func(a, b end) int { return a.at.Compare(b.at) })
	a.cut(ends, rules)
	return a, true
}

// coarser is ranges that cover some ranges, and of which there are not more than most.
func coarser(ranges []Range, most int) []Range {
	if len(ranges) <= most {
		return ranges
	}
	ranges = slices.Clone(ranges)
	slices.SortFunc(ranges, func(a, b Range) int { return a.Lo.Compare(b.Lo) })
	var out []Range
	for group := range slices.Chunk(ranges, (len(ranges)+most-1)/most) {
		hull := group[0]
		for _, r := range group {
			if r.Hi.Compare(hull.Hi) > 0 {
				hull.Hi = r.Hi
			}
		}
		out = append(out, hull)
	}
	return out
}

// cut makes the intervals between the sorted ends, several in one where there would be too many: such a one has all the rules
// of its parts.
func (a *axis) cut(ends []end, rules int) {
	places := 1
	for i := range ends {
		if i == 0 || ends[i].at != ends[i-1].at {
			places++
		}
	}
	together := 1 + places*len(a.absent)*8/mostBytes
	a.starts, a.rows = make([]Key, 0, 1+places/together), make([]row, 0, 1+places/together)
	open := make([]int32, rules) // how many of a rule's ranges the key is in
	now := slices.Clone(a.absent)
	interned := newRows()
	here, at := slices.Clone(now), Key{}
	place := 0
	for i := 0; i < len(ends); {
		next := ends[i].at
		if next != (Key{}) {
			place++
		}
		cuts := place%together == 0
		if cuts && next != (Key{}) {
			a.push(at, interned.of(here))
			at = next
		}
		for ; i < len(ends) && ends[i].at == next; i++ {
			rule := int(ends[i].rule)
			if ends[i].open {
				if open[rule]++; open[rule] == 1 {
					now.set(rule)
					here.set(rule)
				}
			} else if open[rule]--; open[rule] == 0 {
				now.clear(rule)
			}
		}
		if cuts {
			copy(here, now)
		}
	}
	a.push(at, interned.of(here))
}

func (a *axis) push(at Key, r row) {
	a.starts, a.rows = append(a.starts, at), append(a.rows, r)
}

// rows keeps one copy of equal rows.
type rows map[uint64][]row

func newRows() rows { return make(rows) }

// of is the copy of a row.
func (rs rows) of(r row) row {
	h := uint64(14695981039346656037)
	for _, w := range r {
		h = (h ^ w) * 1099511628211
		h ^= h >> 29
	}
	for _, have := range rs[h] {
		if slices.Equal(have, r) {
			return have
		}
	}
	r = slices.Clone(r)
	rs[h] = append(rs[h], r)
	return r
}
