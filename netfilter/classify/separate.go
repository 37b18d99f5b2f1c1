package classify

import (
	"cmp"
	"math"
	"slices"
)

// separation is a way to split items: those that a probe sends to groups, and the rest.
type separation struct {
	probe  Probe
	groups []*group // by value, in order
	rest   []item
	late   []*late
	spread bool // of late members
}

// group is the items that give a probe one answer, and the guards they need, in order.
type group struct {
	value Value
	cell  Box
	items []item
	made  []made
}

// made is the case of a group's first items, so many.
type made struct {
	count int
	Case
}

func (v Value) compare(o Value) int {
	return cmp.Or(v.Addr[0].Compare(o.Addr[0]), v.Addr[1].Compare(o.Addr[1]), cmp.Compare(v.Proto, o.Proto), cmp.Compare(v.Dport, o.Dport))
}

// What things cost a packet, in nanoseconds, roughly: what counts is how they compare.
const (
	costProbe = 140
	costField = 25
	costJump  = 35
	costTest  = 10
)

func (p Probe) cost() float64 { return costProbe + costField*float64(p.asks()) }

// guess is what it may cost to find a packet's line among so many items.
func guess(items float64) float64 {
	const plain = 16
	if items <= plain {
		return costTest * items * 0.6
	}
	return costTest*plain*0.6 + 150*math.Log2(items/plain)
}

// choose is the best way to split items, nil where testing them one by one is.
func (b *builder) choose(items []item, cell *Box, late bool) *separation {
	const least = 6 // items
	if len(items) < least {
		return nil
	}
	real := 0
	for i := range items {
		if !items[i].fixed() {
			real++
		}
	}
	if real < least {
		return nil
	}
	type scored struct {
		probe Probe
		cost  float64
	}
	var best []scored
	for _, p := range b.probes(items, cell) {
		members, square, groups := b.counter.count(p, items, b.Width)
		if members < 3 || groups == 0 {
			continue
		}
		n, m := float64(len(items)), float64(members)
		share := m / float64(real)
		cost := p.cost() + share*(costJump+guess(square/m)) + (1-share)*guess(n-m)
		best = append(best, scored{p, cost})
	}
	slices.SortStableFunc(best, func(x, y scored) int { return cmp.Compare(x.cost, y.cost) })
	const (
		tried = 6         // candidates looked at in full
		tie   = 1.0 / 256 // of the cost: closer ones stay in the order that guesses put them in, so that an edit seldom makes them change places
	)
	pick := func(some []bool) *trial {
		t, chosen, most := &b.trials[0], &b.trials[1], math.Inf(1)
		for _, c := range best[:min(tried, len(best))] {
			if c.cost > most/(1-tie) {
				break
			}
			if b.try(t, items, some, c.probe, late, most) && t.enough(real) {
				t, chosen, most = chosen, t, t.cost*(1-tie)
			}
		}
		if most/(1-tie) >= costTest*0.6*float64(len(items)) {
			return nil
		}
		if some != nil {
			b.try(chosen, items, nil, chosen.probe, late, math.Inf(1))
		}
		return chosen
	}
	some := b.sample(items)
	chosen := pick(some)
	if some != nil && chosen != nil && !chosen.enough(real) { // the sample was of others
		chosen = pick(nil)
	}
	if chosen == nil {
		return nil
	}
	return b.separate(items, cell, chosen)
}

// probes is the probes worth a thought, for items within a cell.
func (b *builder) probes(items []item, cell *Box) (out []Probe) {
	known := [2]uint8{uint8(Bits(cell.Addr[Src], b.Width)), uint8(Bits(cell.Addr[Dst], b.Width))}
	lengths := [2][]uint8{}
	for a := range lengths {
		lengths[a] = append(lengths[a], 0)
		var n [129]int
		total := 0
		for i := range items {
			if !items[i].fixed() && items[i].bits[a] > known[a] {
				n[items[i].bits[a]]++
				total++
			}
		}
		// Lengths that a fifth more of the items have, each time, the longest first.
		const steps = 6
		have, next := 0, 0
		for l := b.Width; l > int(known[a]); l-- {
			if have += n[l]; n[l] > 0 && have >= next {
				lengths[a] = append(lengths[a], uint8(l))
				next = have + max(1, total/steps)
			} else if n[l] > 0 && n[l-1] == 0 && have > 0 && have < total && len(lengths[a]) < 3*steps {
				continue
			}
		}
		// And the shortest.
		for l := int(known[a]) + 1; l <= b.Width; l++ {
			if n[l] > 0 {
				if !slices.Contains(lengths[a], uint8(l)) {
					lengths[a] = append(lengths[a], uint8(l))
				}
				break
			}
		}
	}
	knownPort := cell.Port[Dport].bits()
	asked := func(p Probe) bool { return p.Proto && cell.Proto != AnyProto && p.Dport <= knownPort }
	for _, ports := range []Probe{{}, {Proto: true}, {Proto: true, Dport: PortBits}} {
		if asked(ports) {
			continue
		}
		for _, src := range lengths[Src] {
			for _, dst := range lengths[Dst] {
				p := ports
				p.Bits = [2]uint8{src, dst}
				if p != (Probe{}) {
					out = append(out, p)
				}
			}
		}
	}
	// Prefixes of ports by themselves: what is left of long lists is ranges of ports, to and from anywhere.
	for _, bits := range []uint8{12, 10, 8, 6, 4} {
		if p := (Probe{Proto: true, Dport: bits}); !asked(p) {
			out = append(out, p)
		}
	}
	return out
}

// counter counts answers.
type counter struct {
	slots []slot
	round uint32
}

type slot struct {
	hash  uint64
	n     uint32
	round uint32
}

// count is how many items a probe takes, the sum of the squares of its groups' sizes, and their number.
func (c *counter) count(p Probe, items []item, width int) (members int, square float64, groups int) {
	size := 1
	for size < 2*len(items) {
		size *= 2
	}
	if len(c.slots) < size {
		c.slots, c.round = make([]slot, size), 0
	}
	c.round++
	mask := uint64(len(c.slots) - 1)
	for i := range items {
		it := &items[i]
		if it.fixed() || !p.takes(it) {
			continue
		}
		members++
		h := p.hash(it, width)
		for at := h & mask; ; at = (at + 1) & mask {
			s := &c.slots[at]
			if s.round != c.round {
				*s = slot{h, 0, c.round}
				groups++
			}
			if s.hash == h {
				square += float64(2*s.n + 1)
				s.n++
				break
			}
		}
	}
	return members, square, groups
}

// outside finds, among items that a probe does not send to a group, those that meet one that it does.
type outside struct {
	*builder
	probe   Probe
	items   []item
	shapes  []shape
	buckets map[bucket][]outer // of those that fix the same of an answer, in order
}

// outer is an item, and what tells of most that they don't meet it.
type outer struct {
	line, at int32
	proto    int16
	dport    Ports
}

func (o *outer) overlaps(b *Box) bool {
	return (o.proto == b.Proto || o.proto == AnyProto || b.Proto == AnyProto) && o.dport.overlaps(b.Port[Dport])
}

// shape is what of a probe's answer an item fixes.
type shape struct {
	bits  [2]uint8
	proto bool
	dport uint8
}

type bucket struct {
	shape shape
	value Value
}

func newOutside(b *builder, p Probe, items []item) *outside {
	return &outside{builder: b, probe: p, items: items, buckets: make(map[bucket][]outer)}
}

// answer is what of an answer a shape keeps.
func (sh shape) answer(v Value, width int) Value {
	for a, n := range sh.bits {
		v.Addr[a] = first(v.Addr[a], int(n), width)
	}
	if !sh.proto {
		v.Proto = 0
	}
	v.Dport &= portMask(sh.dport)
	return v
}

// bucket is where an item belongs.
func (o *outside) bucket(it *item) bucket {
	p := o.probe
	sh := shape{
		bits:  [2]uint8{min(it.bits[0], p.Bits[0]), min(it.bits[1], p.Bits[1])},
		proto: p.Proto && it.Proto != AnyProto,
	}
	if sh.proto {
		sh.dport = min(it.portBits, p.Dport)
	}
	v := Value{Addr: [2]Key{it.Addr[0].Lo, it.Addr[1].Lo}, Proto: uint8(it.Proto), Dport: it.Port[Dport].Lo}
	return bucket{sh, sh.answer(v, o.Width)}
}

// add adds the item with a number, in order.
func (o *outside) add(i int) {
	it := &o.items[i]
	at := o.bucket(it)
	list := o.buckets[at]
	if list == nil && !slices.Contains(o.shapes, at.shape) {
		o.shapes = append(o.shapes, at.shape)
	}
	o.buckets[at] = append(list, outer{it.line, int32(i), it.Proto, it.Port[Dport]})
}

// insert adds an item out of order.
func (o *outside) insert(i int) {
	o.add(i)
	slices.SortFunc(o.buckets[o.bucket(&o.items[i])], func(x, y outer) int { return cmp.Compare(x.at, y.at) })
}

// meeting appends the items before a member that meet it and lead elsewhere, from a line up to before another; not more than most, and not
// in order.
func (o *outside) meeting(dst []int32, m *item, v Value, from, to int32, most int) []int32 {
	target := o.lines[m.line].Target
	byLine := func(e outer, line int32) int { return cmp.Compare(e.line, line) }
	for _, sh := range o.shapes {
		list := o.buckets[bucket{sh, sh.answer(v, o.Width)}]
		if from > 0 {
			at, _ := slices.BinarySearchFunc(list, from, byLine)
			list = list[at:]
		}
		for i := range list {
			e := &list[i]
			if e.line >= to {
				break
			}
			if !e.overlaps(&m.Box) {
				continue
			}
			if it := &o.items[e.at]; (it.guard || o.lines[it.line].Target != target) && it.overlaps(&m.Box) {
				if dst = append(dst, e.at); len(dst) == most {
					return dst
				}
			}
		}
	}
	return dst
}
