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

// edge is where the items of a group begin or end along an axis.
type edge[K any] struct {
	at    K // the first number that is in, or no longer in
	group int
}

// splitBy is walk.split along an axis: it goes along all edges of the items' sets, and puts together the stretches on
// which the same items are left.
func splitBy[K addrset.Key[K]](w *walk, a axis[K], open uint32, items []item, b *Box) ([]part, bool) {
	within, ok := domain(w, items, a, b)
	if !ok {
		return nil, true
	}
	groups, sets := groupsOf(a, items)
	edges, ok := edgesOf(w, sets, within)
	if !ok {
		return nil, false
	}
	s := stretches[K]{walk: w, groups: groups, open: open, seen: map[string]int{}, same: map[string]int{}}
	active := make([]uint64, len(groups)/64+1)
	active[0] = 1         // the first group is everywhere
	inside := len(groups) // the index that stands for within
	for i := 0; i < len(edges); {
		at := edges[i].at
		for ; i < len(edges) && edges[i].at == at; i++ {
			active[edges[i].group/64] ^= 1 << (edges[i].group % 64)
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

// groupsOf is the items with the same set along an axis, and those sets. The first group is the items that are not
// limited; its set is of no use. Sets are the same if they share their memory, as those do that one name stands for.
func groupsOf[K addrset.Key[K]](a axis[K], items []item) (groups [][]item, sets []addrset.Set[K]) {
	type memory struct {
		first *addrset.Range[K]
		n     int
	}
	groups, sets = make([][]item, 1), make([]addrset.Set[K], 1)
	known := map[memory]int{}
	for _, it := range items {
		if it.box.limits&(1<<a.dim()) == 0 {
			groups[0] = append(groups[0], it)
			continue
		}
		set := a.set(it.box)
		key := memory{&set.Ranges()[0], set.Len()} // no set of a box is empty
		i, ok := known[key]
		if !ok {
			i = len(groups)
			known[key] = i
			groups, sets = append(groups, nil), append(sets, set)
		}
		groups[i] = append(groups[i], it)
	}
	return groups, sets
}

// edgesOf is the edges of the groups' sets inside a domain, sorted. The domain itself counts as one more group. It is
// false where the work runs out.
func edgesOf[K addrset.Key[K]](w *walk, sets []addrset.Set[K], within addrset.Set[K]) ([]edge[K], bool) {
	var edges []edge[K]
	add := func(s addrset.Set[K], group int) {
		for _, r := range s.Ranges() {
			edges = append(edges, edge[K]{r.Lo, group})
			if r.Hi != r.Hi.Last() {
				edges = append(edges, edge[K]{r.Hi.Next(), group})
			}
		}
	}
	for i, set := range sets[1:] {
		before := len(edges)
		add(set.Intersect(within), i+1)
		if w.Left -= len(edges) - before; w.Left <= w.floor {
			return nil, false
		}
	}
	add(within, len(sets))
	slices.SortFunc(edges, func(x, y edge[K]) int { return x.at.Compare(y.at) })
	return edges, true
}

// stretches gathers the parts that splitBy makes.
type stretches[K addrset.Key[K]] struct {
	*walk
	groups [][]item
	open   uint32 // dimensions
	parts  []stretch[K]
	seen   map[string]int // parts by which groups are active
	same   map[string]int // parts by the items that are left of them
	key    []byte
}

type stretch[K addrset.Key[K]] struct {
	ranges []addrset.Range[K]
	items  []item
}

// add puts a range into the part of the items of its groups. It is false where the work runs out.
func (s *stretches[K]) add(r addrset.Range[K], active []uint64) bool {
	s.key = s.key[:0]
	for _, word := range active {
		s.key = binary.NativeEndian.AppendUint64(s.key, word)
	}
	i, ok := s.seen[string(s.key)]
	if !ok {
		raw := string(s.key)
		var here []item
		for n := lowest(active, 0); n != none && n < len(s.groups); n = lowest(active, n+1) {
			here = append(here, s.groups[n]...)
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
