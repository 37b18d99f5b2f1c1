package classify

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// spine is the outermost steps. Each probe splits what the ones before it left over. The lines that come before a line X, in the order
// given, have the same structure without what comes after them; so a structure that finds the first line before X, after some of
// the steps, shares all its nodes with the whole. That is what members are asked for last that would need too many guards: see late.
type spine struct {
	cell  Box
	steps []*separation
	left  [][]item // before each step, and after all
	made  map[part]*Node
}

// part is the lines below an end, as far as they are left after some steps.
type part struct {
	step int
	end  int32
}

// late is how a member that would need many guards is kept in order. It is tested without them, and a packet that is in it goes through
// the outer lines before it: those below an end by a structure that many members share, and the few that follow one by one.
type late struct {
	spine   *spine
	step    int // the step that it is a member of
	it      item
	value   Value // of the probe
	outside *outside
	end     int32 // of the shared structure
	made    *Node
}

func (b *builder) spine(items []item, cell Box) *Node {
	sp := &spine{cell: cell, left: [][]item{items}, made: make(map[part]*Node)}
	for late := 0; ; {
		s := b.step(items, &cell, late < b.Late)
		if s == nil {
			break
		}
		if len(s.late) > 0 {
			late++
		}
		sp.add(s)
		items = b.reduce(s.rest, &cell)
		sp.left = append(sp.left, items)
	}
	return sp.node(b, part{0, math.MaxInt32})
}

// step is the next split of items. Where many lines are left, members are late only if without that too few would be probed for: the steps
// that may have such are few, and the lines are the more in need of them the fewer are left.
func (b *builder) step(items []item, cell *Box, late bool) *separation {
	const many, enough = 30_000, 4 // lines, and one in so many
	if !late || len(b.lines) < many {
		return b.choose(items, cell, late)
	}
	s := b.choose(items, cell, false)
	if s == nil || enough*(len(items)-len(s.rest)) < len(items) {
		s = b.choose(items, cell, true)
	}
	return s
}

// add takes a step, and chooses where the structures end that its late members share.
func (sp *spine) add(s *separation) {
	step := len(sp.steps)
	sp.steps = append(sp.steps, s)
	if len(s.late) == 0 {
		return
	}
	slices.SortFunc(s.late, func(x, y *late) int { return cmp.Compare(x.it.line, y.it.line) })
	// The fewer members share a structure, the more structures there are, and the fewer lines follow each.
	const weight = 3 // of a test against a case, in memory
	share := math.Sqrt(float64(len(s.late)) / weight)
	end := s.late[0].it.line
	for _, l := range s.late {
		if l.it.marks(share) {
			end = l.it.line
		}
		l.spine, l.step, l.end = sp, step, end
	}
}

// node is the structure for a part of the lines.
func (sp *spine) node(b *builder, p part) *Node {
	if n := sp.made[p]; n != nil {
		return n
	}
	n := &Node{Cell: sp.cell}
	if p.step > 0 {
		n.Below = int(p.end)
	}
	sp.made[p] = n
	for i := p.step; i < len(sp.steps); i++ {
		step := Step{Probe: sp.steps[i].probe}
		for _, g := range sp.steps[i].groups {
			if count := g.below(p.end); count > 0 {
				step.Cases = append(step.Cases, b.entry(g, count, 1))
			}
		}
		if len(step.Cases) > 0 {
			n.Steps = append(n.Steps, step)
		}
	}
	rest := sp.left[len(sp.steps)]
	b.tests(n, rest[:sort.Search(len(rest), func(i int) bool { return rest[i].line >= p.end })])
	return n
}

// below is how many of a group's items count for lines below an end.
func (g *group) below(end int32) int {
	return len(trimmed(g.items[:sort.Search(len(g.items), func(i int) bool { return g.items[i].line >= end })]))
}

// node is what a packet goes through that is in the member.
func (l *late) node(b *builder) *Node {
	if l.made != nil {
		return l.made
	}
	n := &Node{Cell: l.it.Box}
	l.made = n
	const few = 6 // lines that are tested one by one at less cost
	from := int32(0)
	if l.outside.meet(&l.it, l.value, l.end) > few {
		n.Steps = append(n.Steps, Step{Call: l.spine.node(b, part{l.step + 1, l.end})})
		from = l.end
	}
	var rest []item
	for _, i := range l.outside.meeting(nil, &l.it, l.value, from, len(l.outside.items)) {
		o := &l.outside.items[i]
		rest = append(rest, b.item(o.meet(&l.it.Box), int(o.line), false))
	}
	slices.SortFunc(rest, func(x, y item) int { return cmp.Compare(x.line, y.line) })
	for _, it := range b.reduce(append(rest, l.it), &l.it.Box) {
		t := b.test(&it)
		t.Known = it.line == l.it.line
		n.Steps = append(n.Steps, Step{Test: t})
	}
	return n
}
