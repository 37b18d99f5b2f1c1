//lint:file-ignore U1000 methods that are called through a generic interface look unused to the linter

package space

import (
	"encoding/binary"
	"slices"

	"ringwall/rules/addrset"
)

// axis is one dimension of boxes, as sets of numbers of its own kind.
type axis[K addrset.Key[K]] interface {
	dim() Dim
	set(*Box) addrset.Set[K]
	put(*Box, addrset.Set[K])
}

type (
	number struct{ d Dim } // any but Src and Dst
	v4     struct{ d Dim } // Src and Dst of IPv4
	v6     struct{ d Dim } // Src and Dst of IPv6
)

func (a number) dim() Dim          { return a.d }
func (a number) set(b *Box) Set    { return b.sets[a.d] }
func (a number) put(b *Box, s Set) { b.sets[a.d], b.limits = s, b.limits|1<<a.d }

func (a v4) dim() Dim          { return a.d }
func (a v4) set(b *Box) Set    { return b.addrs[a.d].V4 }
func (a v4) put(b *Box, s Set) { b.addrs[a.d].V4, b.limits = s, b.limits|1<<a.d }

func (a v6) dim() Dim                                { return a.d }
func (a v6) set(b *Box) addrset.Set[addrset.U128]    { return b.addrs[a.d].V6 }
func (a v6) put(b *Box, s addrset.Set[addrset.U128]) { b.addrs[a.d].V6, b.limits = s, b.limits|1<<a.d }

// domain is what of a box, along an axis, items that count hold; false where that is nothing.
func domain[K addrset.Key[K]](w *walk, items []item, a axis[K], b *Box) (addrset.Set[K], bool) {
	var rs []addrset.Range[K]
	for i := range items {
		if it := &items[i]; w.counts(it) {
			if it.box.limits&(1<<a.dim()) == 0 {
				return a.set(b), true
			}
			rs = append(rs, a.set(it.box).Ranges()...)
		}
	}
	s := addrset.Of(rs...).Intersect(a.set(b))
	return s, !s.IsEmpty()
}

// edge is where an item begins or ends along an axis.
type edge[K any] struct {
	at    K // the first number that is in, or no longer in
	index int
}

// splitBy is walk.split along an axis: it goes along all edges of the items' sets, and puts together the stretches on
// which the same items are left.
func splitBy[K addrset.Key[K]](w *walk, a axis[K], open uint32, items []item, b *Box) ([]part, bool) {
	within, ok := domain(w, items, a, b)
	if !ok {
		return nil, true
	}
	edges, active, ok := edgesOf(w, a, items, within)
	if !ok {
		return nil, false
	}
	s := stretches[K]{walk: w, items: items, open: open, seen: map[string]int{}, same: map[string]int{}}
	inside := len(items) // the index that stands for within
	for i := 0; i < len(edges); {
		at := edges[i].at
		for ; i < len(edges) && edges[i].at == at; i++ {
			active[edges[i].index/64] ^= 1 << (edges[i].index % 64)
		}
		if active[inside/64]&(1<<(inside%64)) == 0 {
			continue
		}
		last := at.Last()
		if i < len(edges) {
			last = edges[i].at.Prev()
		}
		if w.Left -= len(active); w.Left <= w.floor {
			return nil, false
		}
		if !s.add(addrset.Range[K]{Lo: at, Hi: last}, active) {
			return nil, false
		}
	}
	parts := make([]part, len(s.parts))
	for i, p := range s.parts {
		parts[i] = part{*b, p.items}
		a.put(&parts[i].box, addrset.Of(p.ranges...))
	}
	return parts, true
}

// edgesOf is the edges of the items' sets inside a domain, sorted, and as bits the items that are not limited along the
// axis. The domain itself counts as one more item. It is false where the work runs out.
func edgesOf[K addrset.Key[K]](w *walk, a axis[K], items []item, within addrset.Set[K]) (edges []edge[K], active []uint64, ok bool) {
	active = make([]uint64, len(items)/64+1)
	add := func(s addrset.Set[K], index int) {
		for _, r := range s.Ranges() {
			edges = append(edges, edge[K]{r.Lo, index})
			if r.Hi != r.Hi.Last() {
				edges = append(edges, edge[K]{r.Hi.Next(), index})
			}
		}
	}
	for i := range items {
		if items[i].box.limits&(1<<a.dim()) == 0 {
			active[i/64] |= 1 << (i % 64)
			continue
		}
		before := len(edges)
		add(a.set(items[i].box).Intersect(within), i)
		if w.Left -= len(edges) - before; w.Left <= w.floor {
			return nil, nil, false
		}
	}
	add(within, len(items))
	slices.SortFunc(edges, func(x, y edge[K]) int { return x.at.Compare(y.at) })
	return edges, active, true
}

// stretches gathers the parts that splitBy makes.
type stretches[K addrset.Key[K]] struct {
	*walk
	items []item
	open  uint32 // dimensions
	parts []stretch[K]
	seen  map[string]int // parts by which items are active
	same  map[string]int // parts by the items that are left of them
	key   []byte
}

type stretch[K addrset.Key[K]] struct {
	ranges []addrset.Range[K]
	items  []item
}

// add puts a range into the part of its items. It is false where the work runs out.
func (s *stretches[K]) add(r addrset.Range[K], active []uint64) bool {
	s.key = s.key[:0]
	for _, word := range active {
		s.key = binary.NativeEndian.AppendUint64(s.key, word)
	}
	i, ok := s.seen[string(s.key)]
	if !ok {
		raw := string(s.key)
		var here []item
		for n := lowest(active, 0); n != none && n < len(s.items); n = lowest(active, n+1) {
			here = append(here, s.items[n])
		}
		if s.Left -= 2 * len(here); s.Left <= s.floor {
			return false
		}
		i = s.part(s.reduce(here, s.open))
		s.seen[raw] = i
	}
	if i != none {
		s.parts[i].ranges = append(s.parts[i].ranges, r)
	}
	return true
}

// part is the index of the part with some items, none where they make no difference.
func (s *stretches[K]) part(items []item) int {
	if len(items) == 0 {
		return none
	}
	s.key = s.key[:0]
	for _, it := range items { // which it is, and which of its sides are left
		sides := uint64(0)
		if it.old != none {
			sides |= 1
		}
		if it.new != none {
			sides |= 2
		}
		s.key = binary.NativeEndian.AppendUint64(s.key, uint64(it.id)<<2|sides)
	}
	i, ok := s.same[string(s.key)]
	if !ok {
		i = len(s.parts)
		s.parts = append(s.parts, stretch[K]{items: items})
		s.same[string(s.key)] = i
	}
	return i
}
