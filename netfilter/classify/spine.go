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

// part is the lines from one on and below another, as far as they are left after some steps.
type part struct {
	step      int
	from, end int32
}

// late is how a member that would need many guards is kept in order. It is tested without them, and a packet that is in it goes through
// the outer lines before it: by two structures that many members share, and the few lines that follow one by one.
type late struct {
	spine   *spine
	step    int // the step that it is a member of
	it      item
	value   Value // of the probe
	outside *outside
	ends    [2]int32 // of the shared structures; the second begins where the first ends
	made    *Node
}

func (b *builder) spine(items []item, cell Box) *Node {
	sp := &spine{cell: cell, left: [][]item{items}, made: make(map[part]*Node)}
	for late := 0; ; {
		s := b.choose(items, &cell, late < b.Late)
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
	return sp.node(b, part{0, 0, math.MaxInt32})
}

// add takes a step, and chooses where the structures end that its late members share.
func (sp *spine) add(s *separation) {
	step := len(sp.steps)
	sp.steps = append(sp.steps, s)
	if len(s.late) == 0 {
		return
	}
	slices.SortFunc(s.late, func(x, y *late) int { return cmp.Compare(x.it.line, y.it.line) })
	// The fewer members share a structure, the more structures there are, and the fewer lines follow each. Which members they end
	// at depends on these members alone, so that an edit moves few ends.
	ends := 1.5 * math.Cbrt(float64(len(s.late)))
	wide := uint64(1) << max(0, int(math.Log2(float64(len(s.late))/ends)+0.5))
	narrow := uint64(1) << max(0, int(math.Log2(float64(wide)/ends)+0.5))
	var now [2]int32
	for i, l := range s.late {
		l.spine, l.step = sp, step
		h := l.it.hash() >> 8
		if i == 0 || h%wide == 0 {
			now[0] = l.it.line
		}
		if i == 0 || h%narrow == 0 {
			now[1] = l.it.line
		}
		l.ends = now
	}
}

// node is the structure for a part of the lines.
func (sp *spine) node(b *builder, p part) *Node {
	if n := sp.made[p]; n != nil {
		return n
	}
	n := &Node{Cell: sp.cell}
	if p.step > 0 {
		n.Part = &Part{int(p.from), int(p.end)}
	}
	sp.made[p] = n
	for i := p.step; i < len(sp.steps); i++ {
		step := Step{Probe: sp.steps[i].probe}
		for _, g := range sp.steps[i].groups {
			if from, end := g.between(p.from, p.end); from < end {
				step.Cases = append(step.Cases, b.entry(g, from, end, 1))
			}
		}
		if len(step.Cases) > 0 {
			n.Steps = append(n.Steps, step)
		}
	}
	rest := sp.left[len(sp.steps)]
	for i := range rest {
		if rest[i].line >= p.from && rest[i].line < p.end {
			n.Steps = append(n.Steps, Step{Test: b.test(&rest[i])})
		}
	}
	return n
}

// between is the places of a group's items for lines from one on and below another.
func (g *group) between(from, end int32) (int, int) {
	place := func(line int32) int {
		return sort.Search(len(g.items), func(i int) bool { return g.items[i].line >= line })
	}
	first := place(from)
	return first, first + len(trimmed(g.items[first:place(end)]))
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
	for _, end := range l.ends {
		if l.outside.meet(&l.it, l.value, from, end) > few {
			n.Steps = append(n.Steps, Step{Call: l.spine.node(b, part{l.step + 1, from, end})})
			from = end
		}
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
