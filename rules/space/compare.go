package space

import (
	"cmp"
	"math/bits"
	"slices"
)

// Comparison is two ways to judge the packets of one direction, whose difference is sought.
type Comparison struct {
	Old, New []Entry // as Entries makes them: the last of each holds every packet
	// OldDoes and NewDoes number what becomes of the packets of each entry: the same number, the same treatment.
	OldDoes, NewDoes []int
	// Pairs is entries of both sides that do the same, by index and rising on both sides. They decide nothing but the
	// cost: what the boxes of a pair share makes no difference and is not looked at.
	Pairs [][2]int
	// OldFirst and NewFirst leave out the packets that entries from there on decide on both sides. Of a pair, both must
	// stand before them or neither.
	OldFirst, NewFirst int
	Left               int // work that may still be done, in looks at a box along one dimension
}

// Piece is packets that are treated differently, and the entries that decide about them on each side, by index.
type Piece struct {
	Box      Box
	Old, New int
}

// Run finds all packets of a family that are treated differently, as disjoint pieces. Where the work runs out, it may
// miss some: those are in the open boxes.
func (c *Comparison) Run(whole Box) (pieces []Piece, open []Box) {
	w := &walk{Comparison: c}
	items := w.items(whole.Six)
	w.into(whole, every, w.reduce(items, every))
	return w.pieces, w.open
}

// walk is a comparison under way. It splits the packets along one dimension after the other, into those that the same
// items hold, and follows only where a difference is possible.
type walk struct {
	*Comparison
	floor  int // what of Left is for others
	pieces []Piece
	open   []Box
}

// item is a box of an entry on either side, or of entries on both that are a pair.
type item struct {
	id       int
	box      *Box
	old, new int // by index; none where there is no such side, or where another item before it takes all
}

const none = -1

// pieceWork is what a piece costs beside the way to it; it bounds their number.
const pieceWork = 200

// order is the dimensions in the order of splitting, unless there is much to split: those first that make few parts, or
// the parts that people name.
var order = [...]Dim{State, Spoofed, Key, IIf, OIf, SrcIn, DstIn, Src, Dst, Sport, Socket, UID, GID, Mark, MAC, HopLimit, Time}

// every is the bits of all dimensions.
const every = 1<<dims - 1

// next is the dimension to split along, of those whose bits are open; none where no item is limited along any. An item
// that is not limited goes into every part: where there are many items, the fewest of these make the least work. A long
// list of addresses is gone through first, and once.
func next(open uint32, items []item) (Dim, bool) {
	const much, long = 64, 1000
	var limited uint32
	var count [dims]int
	for i := range items {
		b := items[i].box
		limits := b.limits & open
		limited |= limits
		for _, d := range [...]Dim{Src, Dst} {
			if limits&(1<<d) != 0 && b.addrs[d].Len() > long {
				return d, true
			}
		}
		for ; limits != 0; limits &= limits - 1 {
			count[bits.TrailingZeros32(limits)]++
		}
	}
	best, found := Dim(0), false
	for _, d := range order {
		if limited&(1<<d) != 0 && (!found || len(items) > much && count[d] > count[best]) {
			best, found = d, true
		}
	}
	return best, found
}

// items is the boxes of one family. A pair's boxes become what they share, and what each side has alone.
func (w *walk) items(six bool) []item {
	var out []item
	add := func(b *Box, old, new int) { out = append(out, item{len(out), b, old, new}) }
	family := func(e Entry) []*Box {
		var bs []*Box
		for i := range e.Boxes {
			if e.Boxes[i].Six == six {
				bs = append(bs, &e.Boxes[i])
			}
		}
		return bs
	}
	paired := make(map[int]int, len(w.Pairs)) // new by old
	partner := make(map[int]bool, len(w.Pairs))
	for _, p := range w.Pairs {
		paired[p[0]], partner[p[1]] = p[1], true
	}
	for i, e := range w.Old {
		j, ok := paired[i]
		if !ok {
			j = none
		}
		var others []*Box
		if ok {
			others = family(w.New[j])
		}
		mine := family(e)
		for n := range max(len(mine), len(others)) {
			switch {
			case n >= len(others):
				add(mine[n], i, none)
			case n >= len(mine):
				add(others[n], none, j)
			default:
				share(mine[n], others[n], i, j, add)
			}
		}
	}
	for j, e := range w.New {
		if !partner[j] {
			for _, b := range family(e) {
				add(b, none, j)
			}
		}
	}
	return out
}

// share adds the boxes of a pair.
func share(a, b *Box, old, new int, add func(b *Box, old, new int)) {
	if a.Equal(b) {
		add(a, old, new)
		return
	}
	if both, ok := a.Intersect(b); ok {
		add(&both, old, new)
	}
	for _, rest := range a.Minus(b) {
		add(&rest, old, none)
	}
	for _, rest := range b.Minus(a) {
		add(&rest, none, new)
	}
}

// counts tells whether an item can make a difference: items that both sides have are asked in the same order.
func (w *walk) counts(it *item) bool {
	return it.old == none && it.new < w.NewFirst || it.new == none && it.old < w.OldFirst
}

// reduce drops what of some items can't decide about a packet of which only the dimensions whose bits are given are open.
// It is empty where no difference is possible.
func (w *walk) reduce(items []item, open uint32) []item {
	old, new := len(w.Old), len(w.New)
	for i := range items {
		if it := &items[i]; it.box.limits&open == 0 {
			if it.old != none {
				old = min(old, it.old)
			}
			if it.new != none {
				new = min(new, it.new)
			}
		}
	}
	out := make([]item, 0, len(items))
	does, differ, counts := none, false, false
	see := func(n int) {
		if does == none {
			does = n
		}
		differ = differ || does != n
	}
	for _, it := range items {
		if it.old > old {
			it.old = none
		}
		if it.new > new {
			it.new = none
		}
		if it.old == none && it.new == none {
			continue
		}
		if it.old != none {
			see(w.OldDoes[it.old])
		}
		if it.new != none {
			see(w.NewDoes[it.new])
		}
		counts = counts || w.counts(&it)
		out = append(out, it)
	}
	if !differ || !counts {
		return nil
	}
	return out
}

// into goes into a part of the packets, which only some items hold, reduced, and of which only some dimensions are open.
func (w *walk) into(b Box, open uint32, items []item) {
	if len(items) == 0 {
		return
	}
	d, ok := next(open, items)
	if !ok {
		w.found(b, items)
		return
	}
	open &^= 1 << d
	if w.Left -= len(items); w.Left <= w.floor {
		w.giveUp(b, d, items)
		return
	}
	parts, ok := w.split(d, open, items, &b)
	if !ok {
		w.giveUp(b, d, items)
		return
	}
	// The easy parts first, so that what they leave of their share goes to the hard ones.
	slices.SortStableFunc(parts, func(x, y part) int { return cmp.Compare(len(x.items), len(y.items)) })
	floor := w.floor
	for i, p := range parts {
		w.floor = w.Left - max(0, w.Left-floor)/(len(parts)-i)
		w.into(p.box, open, p.items)
	}
	w.floor = floor
}

// found takes up packets about which the first item of each side decides.
func (w *walk) found(b Box, items []item) {
	old, new := len(w.Old), len(w.New)
	for _, it := range items {
		if it.old != none {
			old = min(old, it.old)
		}
		if it.new != none {
			new = min(new, it.new)
		}
	}
	if w.OldDoes[old] != w.NewDoes[new] && (old < w.OldFirst || new < w.NewFirst) {
		w.Left -= pieceWork
		w.pieces = append(w.pieces, Piece{b, old, new})
	}
}

// giveUp leaves a part of the packets open.
func (w *walk) giveUp(b Box, d Dim, items []item) {
	if w.narrow(&b, d, items) {
		w.open = append(w.open, b)
	}
}

// narrow keeps what along d items that count hold, false where that is nothing.
func (w *walk) narrow(b *Box, d Dim, items []item) bool {
	if d < addresses && b.Six {
		s, ok := domain(w, items, v6{d}, b)
		b.addrs[d].V6, b.limits = s, b.limits|1<<d
		return ok
	}
	if d < addresses {
		s, ok := domain(w, items, v4{d}, b)
		b.addrs[d].V4, b.limits = s, b.limits|1<<d
		return ok
	}
	s, ok := domain(w, items, number{d}, b)
	b.sets[d], b.limits = s, b.limits|1<<d
	return ok
}

// part is packets that the same items hold along a dimension.
type part struct {
	box   Box
	items []item // reduced
}

// split makes the parts of a box along a dimension, after which some are open. It is false where the work runs out.
func (w *walk) split(d Dim, open uint32, items []item, b *Box) (parts []part, ok bool) {
	switch {
	case d >= addresses:
		return splitBy(w, number{d}, open, items, b)
	case b.Six:
		return splitBy(w, v6{d}, open, items, b)
	}
	return splitBy(w, v4{d}, open, items, b)
}

// lowest is the index of the lowest bit of a set of bits from one on, none where there is none.
func lowest(words []uint64, from int) int {
	for i := from / 64; i < len(words); i++ {
		word := words[i]
		if i == from/64 {
			word &= ^uint64(0) << (from % 64)
		}
		if word != 0 {
			return i*64 + bits.TrailingZeros64(word)
		}
	}
	return none
}
