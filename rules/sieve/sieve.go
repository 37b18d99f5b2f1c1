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
	axes []axis
	all  axis // takes every rule
}

// axis is one dimension of packets, cut where the rules that take a value change.
type axis struct {
	number int
	starts []Key   // of intervals, rising; the first is 0
	rows   []int32 // the rules that take the keys of each interval, one row after the other
	absent row     // the rules that take a packet without a value on this axis
	blocks []block // that rows are made of; the first is empty
}

// row is a set of rules: the numbers of its blocks.
type row []int32

// block is a part of a row: bit i of word i/64. Rows of neighbouring intervals differ in few rules, and share the other blocks.
type block [blockWords]uint64

const (
	blockWords = 8
	blockRules = 64 * blockWords
)

func (b *block) set(i int)   { b[i/64] |= 1 << (i % 64) }
func (b *block) clear(i int) { b[i/64] &^= 1 << (i % 64) }

// The bounds of an axis: how many ends of ranges it looks at, and about how many bytes its rows may have. Beyond them it grows coarser.
const (
	mostEnds  = 1 << 18
	mostBytes = 8 << 20
)

// New makes a Sieve of so many rules. asks is the keys of an axis that a rule takes; false where the rule takes every packet
// there, also one without a value. The ranges may come in any order and overlap.
func New(rules, axes int, asks func(rule, axis int) ([]Range, bool)) *Sieve {
	s := new(Sieve)
	full := make([]block, (rules+blockRules-1)/blockRules)
	for i := range rules {
		full[i/blockRules].set(i % blockRules)
	}
	s.all.absent = newRows(&s.all).row(full)
	for n := range axes {
		if a, ok := newAxis(n, rules, func(rule int) ([]Range, bool) { return asks(rule, n) }); ok {
			s.axes = append(s.axes, a)
		}
	}
	return s
}

// Find appends the rules, in order, that could take a packet. value is the packet's on an axis, false where it has none.
func (s *Sieve) Find(dst []int32, value func(axis int) (Key, bool)) []int32 {
	const first = 4 // axes that are met at once
	type part struct {
		row
		blocks []block
	}
	all := part{s.all.absent, s.all.blocks}
	parts := [16]part{all, all, all, all}
	n := min(len(s.axes), len(parts))
	for i := range s.axes[:n] {
		a := &s.axes[i]
		parts[i] = part{a.absent, a.blocks}
		if k, ok := value(a.number); ok {
			parts[i].row = a.at(k)
		}
	}
	size := len(all.row)
	r0, r1, r2, r3 := parts[0].row[:size], parts[1].row[:size], parts[2].row[:size], parts[3].row[:size]
	rest := parts[first:max(first, n)]
	for at := range size {
		n0, n1, n2, n3 := r0[at], r1[at], r2[at], r3[at]
		if n0 == 0 || n1 == 0 || n2 == 0 || n3 == 0 {
			continue
		}
		b0, b1, b2, b3 := &parts[0].blocks[n0], &parts[1].blocks[n1], &parts[2].blocks[n2], &parts[3].blocks[n3]
		for w := range blockWords {
			x := b0[w] & b1[w] & b2[w] & b3[w]
			if x == 0 {
				continue
			}
			for i := range rest {
				x &= rest[i].blocks[rest[i].row[at]][w]
			}
			for ; x != 0; x &= x - 1 {
				dst = append(dst, int32(at*blockRules+64*w+bits.TrailingZeros64(x)))
			}
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
	size := len(a.absent)
	return a.rows[lo*size:][:size]
}

// end is where a range begins or has ended.
type end struct {
	at   Key
	rule int32
	open bool
}

// newAxis makes an axis, false where every rule takes everything.
func newAxis(number, rules int, asks func(rule int) ([]Range, bool)) (axis, bool) {
	a := axis{number: number}
	absent := make([]block, (rules+blockRules-1)/blockRules)
	var ends []end
	most := min(max(mostEnds/2/rules, 8), 1024)
	asked := false
	for rule := range rules {
		ranges, asksFor := asks(rule)
		if !asksFor {
			absent[rule/blockRules].set(rule % blockRules)
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
	a.cut(ends, rules, absent)
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
// of its parts. Rules that ask for nothing on the axis are absent.
func (a *axis) cut(ends []end, rules int, absent []block) {
	places := 1
	for i := range ends {
		if i == 0 || ends[i].at != ends[i-1].at {
			places++
		}
	}
	together := 1 + places*(4*len(absent)+8*blockWords)/mostBytes
	open := make([]int32, rules) // how many of a rule's ranges the key is in
	interned := newRows(a)
	a.absent = interned.row(absent)
	a.starts, a.rows = make([]Key, 0, 1+places/together), make([]int32, 0, (1+places/together)*len(absent))
	now, here := slices.Clone(absent), absent
	edited := newEdits(len(absent))
	current, at := slices.Clone(a.absent), Key{}
	push := func() {
		for _, i := range edited.list {
			current[i] = interned.number(here[i])
		}
		a.starts, a.rows = append(a.starts, at), append(a.rows, current...)
	}
	place := 0
	for i := 0; i < len(ends); {
		next := ends[i].at
		if next != (Key{}) {
			place++
		}
		cuts := place%together == 0
		if cuts && next != (Key{}) {
			push()
			edited.keep(func(i int32) bool { return here[i] != now[i] })
			at = next
		}
		for ; i < len(ends) && ends[i].at == next; i++ {
			rule := int(ends[i].rule)
			in, bit := rule/blockRules, rule%blockRules
			if ends[i].open {
				if open[rule]++; open[rule] == 1 {
					now[in].set(bit)
					here[in].set(bit)
					edited.add(in)
				}
			} else if open[rule]--; open[rule] == 0 {
				now[in].clear(bit)
				edited.add(in)
			}
		}
		if cuts {
			for _, i := range edited.list {
				here[i] = now[i]
			}
		}
	}
	push()
}

// edits is the blocks of a row that are other ones than before.
type edits struct {
	list []int32
	is   []bool
}

func newEdits(blocks int) *edits { return &edits{is: make([]bool, blocks)} }

func (e *edits) add(block int) {
	if !e.is[block] {
		e.is[block] = true
		e.list = append(e.list, int32(block))
	}
}

// keep forgets all but some.
func (e *edits) keep(some func(block int32) bool) {
	e.list = slices.DeleteFunc(e.list, func(i int32) bool {
		e.is[i] = some(i)
		return !e.is[i]
	})
}

// rows makes rows of an axis, whose equal blocks are one.
type rows struct {
	*axis
	numbers map[block]int32
}

func newRows(a *axis) rows {
	a.blocks = []block{{}}
	return rows{a, map[block]int32{{}: 0}}
}

// number is the number of a block.
func (rs rows) number(b block) int32 {
	n, ok := rs.numbers[b]
	if !ok {
		n = int32(len(rs.blocks))
		rs.blocks, rs.numbers[b] = append(rs.blocks, b), n
	}
	return n
}

// row is the row of some blocks.
func (rs rows) row(blocks []block) row {
	out := make(row, len(blocks))
	for i := range blocks {
		out[i] = rs.number(blocks[i])
	}
	return out
}
