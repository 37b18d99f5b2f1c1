// Package classify finds, for packets, the first of many boxes that holds them, in a few lookups whatever the number of boxes.
//
// An ordered list of boxes is a first match. Build makes of it a structure of nodes, each a list of steps in order:
//
//   - A probe asks for a packet's prefixes, protocol and port at once, and sends it to the node of all boxes that give the same
//     answer. A packet for which that node has no box comes back and goes on with the next step, so no box is ever copied.
//   - A test looks at one box.
//
// Order between a probed box and those that stay outside is kept by guards: an outer box that comes before one inside and meets it is
// tested inside too, and sends the packet back, for the outer steps to decide. A box that would need many guards is late: it is tested
// without them, and whoever is in it is then asked about the outer boxes before it, by a structure that many late boxes share.
//
// The package knows nothing of nftables: boxes have addresses of one family, a protocol and ports.
package classify

import "slices"

// Line is one way to match: packets in a box lead to a target, a number of the caller's.
type Line struct {
	Box
	Target int
	// Loose: more is asked of a packet than that it is in the box. The line's test asks it.
	Loose bool
}

// Node is a list of steps, for the packets of a cell. A packet that no step leads to a line goes back to where it came from. Nodes are
// shared: the same may stand in several places.
type Node struct {
	Cell  Box // what is known of packets here
	Steps []Step
	Below int  // where it is not 0, only lines below this number are looked for
	Rest  bool // of those, the ones that no probe has taken
	total int  // what Bytes has found
}

// Step is one of three: a probe where Table is set, a call where Call is, and a test otherwise.
type Step struct {
	Table *Table
	Call  *Node // which packets go through, and come back from where it leads them to no line
	Test  Test
}

// Table is what a probe finds. Tables are shared: several nodes may ask the same.
type Table struct {
	Probe Probe
	Cases []Case // by value, in order; never empty
	Below int    // as a node's, where several nodes share it
}

// Few tells whether a table has so few cases that to try them one by one takes a packet no longer: to look something up is to go to
// several places in memory that no packet may have been at for a while. And the fewer maps there are, the sooner all is loaded.
func (t *Table) Few() bool { return len(t.Cases) <= 8 }

// Case is what becomes of the packets that give a probe an answer.
type Case struct {
	Value Value
	Node  *Node
	Line  int // where Node is nil: all of them are of this line
}

// Test asks whether a packet is in a box. If so it is sent back where Guard is set, goes on in Then where that is set, and is of the
// line otherwise.
type Test struct {
	Line  int // its number, of those that were given
	Box   Box // what is still to be asked: the line's box within the node's cell
	Guard bool
	Then  *Node
	Known bool // nothing is to be asked: only packets of the line come here
}

// Options bounds a structure.
type Options struct {
	Width int // bits of an address
	// Guards is how many guards a box may need before it is late, and MoreGuards how many where none may be late.
	Guards, MoreGuards int
	// Late is how many steps of the root may have members that are late, see late.
	Late int
	// Levels is how many nodes may follow one another. The root and what comes after all late steps take three, each of these three or, where
	// those would be too many, two at the cost of some memory.
	Levels int
	// Sparing has structures that are alike share most of what they have in common, which takes a packet another lookup now and then.
	Sparing bool
	// Plenty is the bytes from which on a structure is sparing, 0 where it is that only if Sparing is set.
	Plenty int
}

// Build makes the structure for lines in order: the first that a packet is in decides. It depends on the lines alone.
func Build(lines []Line, opt Options) *Node {
	b := &builder{lines: lines, Options: opt}
	all := Everything(opt.Width)
	items := make([]item, len(lines))
	for i := range lines {
		items[i] = b.item(lines[i].Box, i, false)
	}
	return b.spine(b.reduce(items, &all), all)
}

// Probes tells whether anything is looked up at all.
func (n *Node) Probes() bool {
	return slices.ContainsFunc(n.Steps, func(s Step) bool { return s.Table != nil })
}

// Bytes is about what a structure takes in the kernel, without what its targets do.
func (n *Node) Bytes() int {
	if n.total == 0 {
		n.total = n.bytes(seen{make(map[*Node]bool), make(map[*Table]bool)})
	}
	return n.total
}

// seen is what is counted already.
type seen struct {
	nodes  map[*Node]bool
	tables map[*Table]bool
}

// What the parts of a structure take, in bytes: a test is a rule, which the kernel has twice.
const (
	nodeBytes, testBytes = 300, 450
	tableBytes           = 900
	caseBytes            = 100
)

func (n *Node) bytes(seen seen) (total int) {
	if n == nil || seen.nodes[n] {
		return 0
	}
	seen.nodes[n] = true
	total = nodeBytes
	for i := range n.Steps {
		s := &n.Steps[i]
		t := s.Table
		if t == nil {
			total += testBytes + s.Call.bytes(seen) + s.Test.Then.bytes(seen)
			continue
		}
		if t.Few() {
			total += testBytes * len(t.Cases)
		} else {
			total += testBytes
		}
		if seen.tables[t] {
			continue
		}
		seen.tables[t] = true
		if !t.Few() {
			total += tableBytes + caseBytes*len(t.Cases)
		}
		for j := range t.Cases {
			total += t.Cases[j].Node.bytes(seen)
		}
	}
	return total
}

// maxDepth is how deep nodes of probes are nested.
const maxDepth = 2

type builder struct {
	Options
	lines   []Line
	counter counter
	trials  [2]trial // room for the one at hand and the best before it
	numbers []int    // room, as near is
	near    []int32
}

// item is a line, or a guard, at work in a node: what of its box is in the node's cell.
type item struct {
	Box
	bits     [2]uint8 // of the prefixes that hold its addresses
	portBits uint8    // of the one that holds its destination ports
	guard    bool
	line     int32
	late     *late // of a member that the outer lines before it are asked for after it
}

// fixed tells whether an item stays where it is: guards, and members that lead further on, of which there would be too many levels.
func (it *item) fixed() bool { return it.guard || it.late != nil }

func (b *builder) item(box Box, line int, guard bool) item {
	return item{
		Box: box, line: int32(line), guard: guard, portBits: box.Port[Dport].bits(),
		bits: [2]uint8{uint8(Bits(box.Addr[Src], b.Width)), uint8(Bits(box.Addr[Dst], b.Width))},
	}
}

func (b *builder) loose(it *item) bool { return b.lines[it.line].Loose }

// node makes the node of items in order, of which some may be guards.
func (b *builder) node(items []item, cell Box, depth int) *Node {
	n := &Node{Cell: cell}
	for depth < maxDepth {
		s := b.choose(items, &cell, false)
		if s == nil {
			break
		}
		t := &Table{Probe: s.probe, Cases: make([]Case, len(s.groups))}
		for i, g := range s.groups {
			t.Cases[i] = b.entry(g, len(g.items), depth+1)
		}
		n.Steps = append(n.Steps, Step{Table: t})
		items = b.reduce(s.rest, &cell)
	}
	b.tests(n, items)
	return n
}

// tests adds the tests of items in order.
func (b *builder) tests(n *Node, items []item) {
	n.Steps = slices.Grow(n.Steps, len(items))
	for i := range items {
		n.Steps = append(n.Steps, Step{Test: b.test(&items[i])})
	}
}

// entry is the case of a group, of whose items the first so many count.
func (b *builder) entry(g *group, count, depth int) Case {
	for i := range g.made {
		if g.made[i].count == count {
			return g.made[i].Case
		}
	}
	c := Case{Value: g.value}
	items := g.items[:count]
	switch it := &items[0]; {
	case it.guard || b.loose(it) || !it.covers(&g.cell):
		c.Node = b.node(items, g.cell, depth)
		if count < len(g.items) {
			c.Node.Below = int(items[count-1].line) + 1
		}
	case it.late != nil:
		c.Node = it.late.node(b)
	default:
		c.Line = int(it.line)
	}
	g.made = append(g.made, made{count, c})
	return c
}

func (b *builder) test(it *item) Test {
	t := Test{Line: int(it.line), Box: it.Box, Guard: it.guard}
	if it.late != nil && !it.guard {
		t.Then = it.late.node(b)
	}
	return t
}

// reduce leaves out, of items in order, what is covered by one before it, and guards after which nothing comes. The rest takes their place.
func (b *builder) reduce(items []item, cell *Box) []item {
	const few = 128 // items that are compared with each other
	out := items[:0]
	for i := range items {
		it := &items[i]
		covered := false
		for j := max(0, len(out)-few); j < len(out) && !covered; j++ {
			o := &out[j]
			covered = o.bits[Src] <= it.bits[Src] && o.bits[Dst] <= it.bits[Dst] && o.covers(&it.Box) && !b.loose(o)
		}
		if covered {
			continue
		}
		out = append(out, *it)
		if !b.loose(it) && it.covers(cell) {
			break // nothing gets past it
		}
	}
	return trimmed(out)
}

// trimmed is items without the guards at their end.
func trimmed(items []item) []item {
	for len(items) > 0 && items[len(items)-1].guard {
		items = items[:len(items)-1]
	}
	return items
}
