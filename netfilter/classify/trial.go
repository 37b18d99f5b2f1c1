package classify

import (
	"cmp"
	"slices"
)

// trial is what a probe would do with items, and what that would cost.
type trial struct {
	probe    Probe
	of       []int32 // of each item the number of its cluster, or outer
	clusters []cluster
	slots    []numbered // of clusters, by their values
	round    uint32
	guards   []guard
	late     []int32 // items, in order
	outside  *outside
	members  int
	cost     float64
}

// cluster is the items that give a probe one answer.
type cluster struct {
	value   Value
	members int
	items   int // and their guards
}

// guard is an item that a cluster's members need.
type guard struct{ cluster, item int32 }

// numbered is a cluster's place by the hash of its value, as of a round.
type numbered struct {
	round  uint32
	number int32
}

// staysOut is the number of no cluster.
const staysOut = -1

// sample tells of many items which are looked at to compare probes, about a thousand and one in eight at least; nil where all are. That
// depends on each item's box alone, so that an edit hardly changes how probes compare.
func (b *builder) sample(items []item) (looked []bool) {
	const some, share = 1024, 8
	if len(items) < 2*some {
		return nil
	}
	looked = make([]bool, len(items))
	for i := range items {
		looked[i] = items[i].marks(min(share, float64(len(items))/some))
	}
	return looked
}

// try finds what a probe does with items; false where that costs no less than most. A member that needs too many guards is late or, where
// that is not allowed, stays outside. Where only some members are looked at, the costs of all are taken from theirs, and so is how many stay inside:
// what becomes of each of the others is not known.
func (b *builder) try(t *trial, items []item, some []bool, p Probe, mayBeLate bool, most float64) bool {
	t.begin(p, len(items))
	out := newOutside(b, p, items)
	t.outside = out
	loose := 0 // items that stay outside and need not
	for i := range items {
		switch it := &items[i]; {
		case it.fixed():
			out.add(i)
		case !p.takes(it):
			out.add(i)
			loose++
		default:
			n := t.number(it, b.Width)
			t.clusters[n].members++
			t.clusters[n].items++
			t.of[i] = n
			t.members++
		}
	}
	real := float64(t.members + loose)
	inside := 0.0
	for i := range t.clusters {
		inside += t.clusters[i].cost()
	}
	limit := b.Guards
	if !mayBeLate {
		limit = b.MoreGuards
	}
	total := func(late, members float64) float64 {
		rest := guess(float64(len(items)) - members)
		return p.cost() + (inside+late*(2*costJump+rest))/real + (1-members/real)*rest
	}
	all, before, tried := t.members, inside, 0
	var guards []int32
	for i := range items {
		if t.of[i] == staysOut || some != nil && !some[i] {
			continue
		}
		tried++
		m, c := &items[i], &t.clusters[t.of[i]]
		guards = out.meeting(guards[:0], m, c.value, 0, m.line, limit+1)
		if len(guards) == 0 {
			continue
		}
		inside -= c.cost()
		switch {
		case len(guards) <= limit:
			for _, at := range guards {
				t.guards = append(t.guards, guard{t.of[i], at})
			}
			c.items += len(guards)
		case mayBeLate:
			t.late = append(t.late, int32(i))
		default:
			out.insert(i)
			t.of[i] = staysOut
			c.members--
			c.items--
			t.members--
		}
		inside += c.cost()
		if mayBeLate && total(float64(len(t.late)), float64(t.members)) >= most { // whatever comes makes it more
			return false
		}
	}
	late, members := float64(len(t.late)), float64(t.members)
	if tried > 0 {
		scale := float64(all) / float64(tried)
		late *= scale
		members = float64(all) - (float64(all)-members)*scale
		inside = before + (inside-before)*scale
		t.members = int(members)
	}
	t.cost = total(late, members)
	return t.cost < most
}

// enough tells whether a probe takes as many items as it must, of so many that are not fixed.
func (t *trial) enough(real int) bool {
	const least, share = 64, 10 // or one in so many
	return t.members >= least || share*t.members >= real
}

// cost is the sum of what finding its members in it costs.
func (c *cluster) cost() float64 {
	if c.items == 1 {
		return costTest
	}
	return float64(c.members) * (costJump + guess(float64(c.items)))
}

// begin makes room for so many items, all of them outside.
func (t *trial) begin(p Probe, items int) {
	t.probe, t.members = p, 0
	t.clusters, t.guards, t.late = t.clusters[:0], t.guards[:0], t.late[:0]
	t.of = slices.Grow(t.of[:0], items)[:items]
	for i := range t.of {
		t.of[i] = staysOut
	}
	size := 1
	for size < 2*items {
		size *= 2
	}
	if len(t.slots) < size {
		t.slots, t.round = make([]numbered, size), 0
	}
	t.round++
}

// number is the number of the cluster of a member.
func (t *trial) number(m *item, width int) int32 {
	v := t.probe.value(m, width)
	mask := uint64(len(t.slots) - 1)
	for at := t.probe.hash(m, width) & mask; ; at = (at + 1) & mask {
		s := &t.slots[at]
		if s.round != t.round {
			*s = numbered{t.round, int32(len(t.clusters))}
			t.clusters = append(t.clusters, cluster{value: v})
		}
		if t.clusters[s.number].value == v {
			return s.number
		}
	}
}

// separate splits items as a trial has found.
func (b *builder) separate(items []item, cell *Box, t *trial) *separation {
	s := &separation{probe: t.probe}
	groups, room := make([]group, len(t.clusters)), make([]item, t.members+len(t.guards))
	for i := range t.clusters {
		c := &t.clusters[i]
		groups[i] = group{value: c.value, cell: t.probe.cell(cell, c.value, b.Width), items: room[:0:c.items]}
		room = room[c.items:]
	}
	lates := make([]late, len(t.late))
	s.late, s.rest = make([]*late, 0, len(t.late)), make([]item, 0, len(items)-t.members)
	for i := range items {
		if t.of[i] == staysOut {
			s.rest = append(s.rest, items[i])
			continue
		}
		g, m := &groups[t.of[i]], items[i]
		if n := len(s.late); n < len(t.late) && t.late[n] == int32(i) {
			lates[n] = late{it: m, value: g.value, outside: t.outside}
			m.late = &lates[n]
			s.late = append(s.late, m.late)
		}
		g.items = append(g.items, m)
	}
	slices.SortFunc(t.guards, func(x, y guard) int { return cmp.Or(cmp.Compare(x.cluster, y.cluster), cmp.Compare(x.item, y.item)) })
	for _, at := range slices.Compact(t.guards) {
		g, o := &groups[at.cluster], &items[at.item]
		g.items = append(g.items, b.item(o.meet(&g.cell), int(o.line), true))
	}
	for i := range groups {
		g := &groups[i]
		slices.SortFunc(g.items, func(x, y item) int { return cmp.Compare(x.line, y.line) })
		if g.items = b.reduce(g.items, &g.cell); len(g.items) > 0 {
			s.groups = append(s.groups, g)
		}
	}
	slices.SortFunc(s.groups, func(x, y *group) int { return x.value.compare(y.value) })
	return s
}
