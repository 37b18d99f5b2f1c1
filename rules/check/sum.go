package check

import (
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// sum is few boxes in the place of many of one label. They may hold more packets than these; what is meant are those of
// them about which what decided before, and what decides now, are among those named. All of these are treated
// differently, wherever they are: so the sum is exact, however wide its boxes.
func (d *differ) sum(list []found) []found {
	var wide []found
	for _, f := range list {
		for _, b := range []*space.Box{&f.box, f.other} {
			if b != nil {
				g := f
				g.box, g.other, g.both, g.sum = d.wide(f.dir, *b), nil, false, 1
				wide = append(wide, g)
			}
		}
	}
	if united := absorb(merge(wide)); len(united) <= max(2, mostBoxes(list[0].rules)) {
		return united
	}
	return []found{d.hull(wide)}
}

// wide is a box without what only splits hairs where it may hold more than is meant: other addresses than a few, long
// lists of them, and what only says which packets of a connection are not meant.
func (d *differ) wide(dir policy.Dir, b space.Box) space.Box {
	whole := d.space.Whole(dir, b.Six)
	for _, dim := range []space.Dim{space.HopLimit, space.Spoofed, space.Socket} {
		b = b.With(dim, whole.Set(dim))
	}
	for _, dim := range []space.Dim{space.State, space.SrcIn, space.DstIn} {
		if b.Set(dim).Contains(0) { // new packets; addresses that need not be in a dynamic set
			b = b.With(dim, whole.Set(dim))
		}
	}
	for _, dim := range []space.Dim{space.Src, space.Dst} {
		if !d.naming.isShort(b.Addrs(dim), b.Six) {
			b = b.WithAddrs(dim, whole.Addrs(dim))
		}
	}
	return b
}

// absorb drops what lies in something else.
func absorb(list []found) []found {
	const readable = 100
	if len(list) > readable {
		return list
	}
	gone := make([]bool, len(list))
	for i := range list {
		for j := range list {
			if i != j && !gone[j] && list[j].covers(&list[i]) && (j < i || !list[i].covers(&list[j])) {
				list[j].take(&list[i])
				gone[i] = true
				break
			}
		}
	}
	var out []found
	for i, f := range list {
		if !gone[i] {
			out = append(out, f)
		}
	}
	return out
}

// covers tells whether all of g is in f.
func (f *found) covers(g *found) bool {
	in := func(b *space.Box) bool { return b == nil || f.box.Covers(b) || f.both && f.other.Covers(b) }
	return in(&g.box) && in(g.other)
}

// hull is one box for all, of both families where there are both.
func (d *differ) hull(list []found) found {
	var families [2][]space.Box
	f := list[0]
	for i, g := range list {
		if i > 0 {
			f.take(&g)
		}
		if g.box.Six {
			families[1] = append(families[1], g.box)
		} else {
			families[0] = append(families[0], g.box)
		}
	}
	switch {
	case len(families[0]) == 0:
		f.box = space.Hull(families[1])
		return f
	case len(families[1]) == 0:
		f.box = space.Hull(families[0])
		return f
	}
	all := space.Hull(slices.Concat(families[0], families[1]))
	four, six := space.Hull(families[0]), space.Hull(families[1])
	for dim := space.Sport; dim <= space.DstIn; dim++ {
		if !four.Set(dim).Equal(six.Set(dim)) {
			four, six = four.With(dim, all.Set(dim)), six.With(dim, all.Set(dim))
		}
	}
	v4, v6 := four.Set(space.Key), six.Set(space.Key)
	icmp, icmp6 := protocol(policy.ProtoICMP), protocol(policy.ProtoICMPv6)
	rest := v4.Union(v6).Minus(icmp).Minus(icmp6)
	f.box = four.With(space.Key, rest.Union(v4.Intersect(icmp)).Union(v4.Intersect(icmp6)))
	six = six.With(space.Key, rest.Union(v6.Intersect(icmp)).Union(v6.Intersect(icmp6)))
	f.both, f.other = true, &six
	return f
}

// protocol is the keys of a protocol.
func protocol(proto uint8) space.Set {
	return addrset.Between(policy.Key(proto, 0), policy.Key(proto, 1<<16-1))
}
