package space

import (
	"encoding/binary"
	"slices"

	"ringwall/rules/addrset"
)

// Merge unites disjoint boxes of one space into fewer: two that differ along one dimension only become one, again and
// again. With each it returns which boxes went into it, by index.
func Merge(boxes []Box) ([]Box, [][]int) {
	m := merger{known: map[string]uint32{}}
	for i, b := range boxes {
		m.list = append(m.list, m.merged(b, []int{i}))
	}
	dims := slices.Concat([]Dim{Src, Dst}, order[:]) // sources together before ports, as people list them
	for before := -1; before != len(m.list); {
		before = len(m.list)
		for _, d := range dims {
			m.along(d)
		}
	}
	out, from := make([]Box, len(m.list)), make([][]int, len(m.list))
	for i, b := range m.list {
		out[i], from[i] = b.box, b.from
	}
	return out, from
}

// merger is Merge at work.
type merger struct {
	list  []merged
	known map[string]uint32 // numbers of the sets seen so far, by their text
	text  []byte
}

// merged is a box with the numbers of its sets: equal numbers, equal sets.
type merged struct {
	box  Box
	sets [dims]uint32
	from []int
}

func (m *merger) merged(b Box, from []int) merged {
	out := merged{box: b, from: from}
	for d := range Dim(dims) {
		out.sets[d] = m.number(&b, d)
	}
	return out
}

// number is the number of a box's set along a dimension.
func (m *merger) number(b *Box, d Dim) uint32 {
	m.text = m.text[:0]
	if d < addresses {
		m.text = appendRanges(m.text, b.addrs[d].V4)
		m.text = append(m.text, '/')
		for _, r := range b.addrs[d].V6.Ranges() {
			for _, k := range []uint64{r.Lo.Hi, r.Lo.Lo, r.Hi.Hi, r.Hi.Lo} {
				m.text = binary.BigEndian.AppendUint64(m.text, k)
			}
		}
	} else {
		m.text = appendRanges(m.text, b.sets[d])
	}
	n, ok := m.known[string(m.text)]
	if !ok {
		n = uint32(len(m.known))
		m.known[string(m.text)] = n
	}
	return n
}

func appendRanges(to []byte, s Set) []byte {
	for _, r := range s.Ranges() {
		to = binary.BigEndian.AppendUint32(to, uint32(r.Lo))
		to = binary.BigEndian.AppendUint32(to, uint32(r.Hi))
	}
	return to
}

// along unites what differs along one dimension only.
func (m *merger) along(d Dim) {
	type rest struct {
		six  bool
		sets [dims]uint32
	}
	groups := make(map[rest]int, len(m.list))
	var out [][]merged
	for _, b := range m.list {
		key := rest{b.box.Six, b.sets}
		key.sets[d] = 0
		i, ok := groups[key]
		if !ok {
			i = len(out)
			groups[key] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], b)
	}
	if len(out) == len(m.list) {
		return
	}
	m.list = m.list[:0]
	for _, group := range out {
		one := group[0]
		if len(group) > 1 {
			one.box.unite(d, group)
			one.from = nil
			for _, b := range group {
				one.from = append(one.from, b.from...)
			}
			one.sets[d] = m.number(&one.box, d)
		}
		m.list = append(m.list, one)
	}
}

// unite makes a box's set along a dimension the union of those of a group.
func (b *Box) unite(d Dim, group []merged) {
	switch {
	case d >= addresses:
		b.sets[d] = united(group, func(b *Box) Set { return b.sets[d] })
	case b.Six:
		b.addrs[d].V6 = united(group, func(b *Box) addrset.Set[addrset.U128] { return b.addrs[d].V6 })
	default:
		b.addrs[d].V4 = united(group, func(b *Box) Set { return b.addrs[d].V4 })
	}
	b.limits |= 1 << d
}

func united[K addrset.Key[K]](group []merged, set func(*Box) addrset.Set[K]) addrset.Set[K] {
	var rs []addrset.Range[K]
	for i := range group {
		rs = append(rs, set(&group[i].box).Ranges()...)
	}
	return addrset.Of(rs...)
}

// Hull is a box that holds all of some boxes of one family, and maybe more.
func Hull(boxes []Box) Box {
	group := make([]merged, len(boxes))
	for i := range boxes {
		group[i].box = boxes[i]
	}
	out := boxes[0]
	for d := range Dim(dims) {
		out.unite(d, group)
	}
	return out
}
