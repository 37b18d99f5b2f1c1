package classify

import (
	"cmp"
	"math"
	"slices"
	"sort"
)

// spine is the outermost steps. Each probe splits what the ones before it left over. The lines that come before a line X, in the order
// given, have the same structure without what comes after them; so a structure that finds the first line before X, after some of
// the steps, shares nearly all its nodes with the whole. That is what members are asked for last that would need too many guards: see late.
type spine struct {
	cell   Box
	steps  []*separation
	left   [][]item // before each step, and after all
	lines  [][]member
	users  map[part][]*late
	made   map[part]*Node
	rests  map[part]*Node
	tables map[table]*Table
	// reached is where shared tables lead to.
	reached map[table][]reached
}

// part is the lines below an end, as far as they are left after some steps. Those below its base, which comes before the end or is it,
// are a part as well, which several share.
type part struct {
	step      int
	base, end int32
}

// table is the part of a table, of one of the steps.
type table struct {
	part
	step int
}

// reached is how many of a group's items a table leads to.
type reached struct{ group, count int }

// member is a line of a group.
type member struct {
	line  int32
	group int
}

// late is how a member that would need many guards is kept in order. It is tested without them, and a packet that is in it goes through
// the outer lines before it: those below an end by a structure that many members share, and the few that follow one by one.
type late struct {
	spine   *spine
	step    *separation
	part    part // that it is asked for, of the steps that follow its own
	it      item
	value   Value // of the probe
	outside *outside
	calls   bool // the part is worth asking: it has more than a few lines that meet the member
	made    *Node
}

func (b *builder) spine(items []item, cell Box) *Node {
	sp := &spine{cell: cell, left: [][]item{items}}
	most := min(b.Late, (b.Levels-others)/2)
	for late := 0; ; {
		s := b.step(items, &cell, late < most)
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
	sp.spread(b)
	if b.Plenty == 0 || b.Sparing {
		return sp.root(b)
	}
	b.Sparing = sp.guess() > b.Plenty
	root := sp.root(b)
	if !b.Sparing && root.Bytes() > b.Plenty {
		b.Sparing = true
		root = sp.root(b)
	}
	return root
}

// root makes the nodes.
func (sp *spine) root(b *builder) *Node {
	sp.users, sp.made, sp.rests = make(map[part][]*late), make(map[part]*Node), make(map[part]*Node)
	sp.tables, sp.reached = make(map[table]*Table), make(map[table][]reached)
	for i, s := range sp.steps {
		for _, g := range s.groups {
			g.made = nil
		}
		sp.share(b, i)
	}
	return sp.node(b, part{end: math.MaxInt32})
}

// guess is about what the structure takes where late members are not sparing, in bytes, before any of it is made.
func (sp *spine) guess() int {
	cases, later := 0.0, 0
	for _, s := range slices.Backward(sp.steps) {
		// A structure has half of the cases of the later steps, and they are two fifths of all.
		cases += math.Sqrt(shareWeight*float64(len(s.late))) * float64(later) / 2
		later += len(s.groups)
	}
	return int(caseBytes * cases * 5 / 2)
}

// others is how many levels the root and what comes after all late steps take.
const others = 1 + maxDepth

// spread has as many late steps as must take two levels instead of three, the last ones: what is shared is in each of their members' nodes,
// which is the less, the fewer steps follow.
func (sp *spine) spread(b *builder) {
	levels := others
	for _, s := range sp.steps {
		if len(s.late) > 0 {
			levels += 3
		}
	}
	for _, s := range slices.Backward(sp.steps) {
		if levels <= b.Levels {
			return
		}
		if len(s.late) > 0 {
			s.spread = true
			levels--
		}
	}
}

// manyLines is from how many lines on memory and the time of a load count for more.
const manyLines = 30_000

// step is the next split of items. Where many lines are left, members are late only if without that too few would be probed for: the steps
// that may have such are few, and the lines are the more in need of them the fewer are left.
func (b *builder) step(items []item, cell *Box, late bool) *separation {
	const enough = 4 // one in so many
	if !late || len(b.lines) < manyLines {
		return b.choose(items, cell, late)
	}
	s := b.choose(items, cell, false)
	if s == nil || enough*(len(items)-len(s.rest)) < len(items) {
		s = b.choose(items, cell, true)
	}
	return s
}

// add takes a step.
func (sp *spine) add(s *separation) {
	sp.steps = append(sp.steps, s)
	lines := make([]member, 0, len(s.late)+len(s.groups))
	for i, g := range s.groups {
		for j := range g.items {
			if !g.items[j].guard {
				lines = append(lines, member{g.items[j].line, i})
			}
		}
	}
	slices.SortFunc(lines, func(x, y member) int { return cmp.Compare(x.line, y.line) })
	sp.lines = append(sp.lines, lines)
	slices.SortFunc(s.late, func(x, y *late) int { return cmp.Compare(x.it.line, y.it.line) })
}

// The fewer members share a structure, the more structures there are, and the fewer lines follow each. The weights are of a test against
// what a line adds to the structures.
const shareWeight, sparingWeight = 6, 40

// share chooses where the structures end that the late members of a step share.
func (sp *spine) share(b *builder, step int) {
	s := sp.steps[step]
	if len(s.late) == 0 {
		return
	}
	few, many := math.Sqrt(float64(len(s.late))/shareWeight), 1.0
	if b.Sparing {
		few, many = math.Sqrt(float64(len(s.late))/sparingWeight), 8
		if len(b.lines) >= manyLines {
			many = 16
		}
	}
	p := part{step + 1, s.late[0].it.line, s.late[0].it.line}
	for _, l := range s.late {
		if l.it.marks(few) {
			p.end = l.it.line
			if l.it.marks(many * few) {
				p.base = l.it.line
			}
		}
		l.spine, l.step, l.part, l.made = sp, s, p, nil
		const least = 6 // lines that are tested one by one at less cost
		b.near = l.outside.meeting(b.near[:0], &l.it, l.value, 0, p.end, least+1)
		if l.calls = len(b.near) > least; l.calls {
			sp.users[p] = append(sp.users[p], l)
			if shared := p.shared(); shared != p {
				sp.users[shared] = append(sp.users[shared], l)
			}
		}
	}
}

// shared is the part below the base.
func (p part) shared() part { return part{p.step, p.base, p.base} }

// node is the structure for a part of the lines.
func (sp *spine) node(b *builder, p part) *Node {
	if n := sp.made[p]; n != nil {
		return n
	}
	n := &Node{Cell: sp.cell}
	sp.made[p] = n
	if p.step == 0 {
		for _, s := range sp.steps {
			t := &Table{Probe: s.probe, Cases: make([]Case, len(s.groups))}
			for i, g := range s.groups {
				t.Cases[i] = b.entry(g, len(g.items), 1)
			}
			n.Steps = append(n.Steps, Step{Table: t})
		}
		b.tests(n, sp.left[len(sp.steps)])
		return n
	}
	n.Below = int(p.end)
	parts := slices.Compact([]part{p.shared(), p})
	for i := p.step; i < len(sp.steps); i++ {
		for _, p := range parts {
			if t := sp.table(b, table{p, i}); t != nil {
				n.Steps = append(n.Steps, Step{Table: t})
			}
		}
	}
	if rest := sp.rest(b, p.shared()); rest != nil {
		n.Steps = append(n.Steps, Step{Call: rest})
	}
	b.tests(n, sp.remaining(p, p.base))
	return n
}

// rest is the node of what a part's base has of the lines that no probe has taken, nil if nothing.
func (sp *spine) rest(b *builder, p part) *Node {
	n, made := sp.rests[p]
	if made {
		return n
	}
	if items := sp.remaining(p, 0); len(items) > 0 {
		n = &Node{Cell: sp.cell, Below: int(p.end), Rest: true}
		b.tests(n, items)
	}
	sp.rests[p] = n
	return n
}

// remaining is what is left after all steps from a line on, as far as a part's users meet it.
func (sp *spine) remaining(p part, from int32) (out []item) {
	all := sp.left[len(sp.steps)]
	at := func(line int32) int { return sort.Search(len(all), func(i int) bool { return all[i].line >= line }) }
	for i := at(from); i < at(p.end); i++ {
		if meets(sp.users[p], &all[i]) {
			out = append(out, all[i])
		}
	}
	return out
}

// meets tells whether an item meets any of some late members.
func meets(users []*late, it *item) bool {
	return slices.ContainsFunc(users, func(l *late) bool { return l.it.overlaps(&it.Box) })
}

// table is the table of a part, of a step: what its base has, where it is that, and else what it has besides. It is nil where nobody needs it.
func (sp *spine) table(b *builder, at table) *Table {
	t, made := sp.tables[at]
	if made {
		return t
	}
	s, users, shared := sp.steps[at.step], sp.users[at.part], at.shared()
	var have []reached
	from := int32(0)
	if shared != at.part {
		sp.table(b, table{shared, at.step})
		have, from = sp.reached[table{shared, at.step}], at.base
	}
	find := func(line int32) int {
		return sort.Search(len(sp.lines[at.step]), func(i int) bool { return sp.lines[at.step][i].line >= line })
	}
	groups := b.numbers[:0]
	for _, m := range sp.lines[at.step][find(from):find(at.end)] {
		groups = append(groups, m.group)
	}
	b.numbers = groups
	slices.Sort(groups)
	var reach []reached
	for _, i := range slices.Compact(groups) {
		before := 0
		for len(have) > 0 && have[0].group <= i {
			if have[0].group == i {
				before = have[0].count
			}
			have = have[1:]
		}
		if count := s.groups[i].reach(before, at.end, users); count > 0 {
			reach = append(reach, reached{i, count})
		}
	}
	if len(reach) > 0 {
		t = &Table{Probe: s.probe, Cases: make([]Case, len(reach))}
		if shared == at.part {
			t.Below = int(at.end)
		}
		for i, r := range reach {
			t.Cases[i] = b.entry(s.groups[r.group], r.count, 1)
		}
	}
	sp.tables[at] = t
	if shared == at.part {
		sp.reached[at] = reach
	}
	return t
}

// reach is how many of a group's items users are asked for that want the lines below an end: none where those from an index on do not
// concern them, and also those after the end that do not, so that few different numbers are asked for.
func (g *group) reach(from int, end int32, users []*late) int {
	below := sort.Search(len(g.items), func(i int) bool { return g.items[i].line >= end })
	if from >= below || g.concerning(users, from, below) == below {
		return 0
	}
	if next := g.concerning(users, below, len(g.items)); next < len(g.items) {
		return len(trimmed(g.items[:next]))
	}
	return len(g.items)
}

// concerning is the first of a group's items from an index on that concerns users, up to before another, which it is where none does.
func (g *group) concerning(users []*late, from, to int) int {
	for i := from; i < to; i++ {
		if it := &g.items[i]; !it.guard && meets(users, it) {
			return i
		}
	}
	return to
}

// node is what a packet goes through that is in the member.
func (l *late) node(b *builder) *Node {
	if l.made != nil {
		return l.made
	}
	n := &Node{Cell: l.it.Box}
	l.made = n
	from := int32(0)
	if l.calls {
		if shared := l.spine.node(b, l.part); l.step.spread {
			n.Steps = append(n.Steps, shared.within(&l.it.Box)...)
		} else {
			n.Steps = append(n.Steps, Step{Call: shared})
		}
		from = l.part.end
	}
	b.near = l.outside.meeting(b.near[:0], &l.it, l.value, from, l.it.line, len(l.outside.items))
	rest := make([]item, 0, len(b.near)+1)
	for _, i := range b.near {
		o := &l.outside.items[i]
		rest = append(rest, b.item(o.meet(&l.it.Box), int(o.line), false))
	}
	slices.SortFunc(rest, func(x, y item) int { return cmp.Compare(x.line, y.line) })
	rest = b.reduce(append(rest, l.it), &l.it.Box)
	n.Steps = slices.Grow(n.Steps, len(rest))
	for i := range rest {
		t := b.test(&rest[i])
		t.Known = rest[i].line == l.it.line
		n.Steps = append(n.Steps, Step{Test: t})
	}
	return n
}

// within is a part's steps for packets of a box.
func (n *Node) within(box *Box) (out []Step) {
	for _, s := range n.Steps {
		if s.Table == nil && s.Call == nil {
			if !s.Test.Box.overlaps(box) {
				continue
			}
			s.Test.Box = s.Test.Box.meet(box)
		}
		out = append(out, s)
	}
	return out
}
