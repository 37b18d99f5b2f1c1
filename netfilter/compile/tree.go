package compile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ringwall/netfilter/classify"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// tree is a family's half of a list as chains and maps. Names in it begin with its own, and say what is known of a packet there; so
// an edit that changes few nodes changes few chains.
type tree struct {
	*compiler
	family family
	name   string
	rules  []*policy.Rule
	lines  []line
	boxes  []classify.Line
	root   *classify.Node
	chains map[*classify.Node]string
	maps   map[*classify.Table]ruleset.VMapRef
	taken  map[string]int
	named  []string // the chains of the rules, as far as they were asked for
}

// The bounds of a structure, see classify.Options.
const (
	guards, moreGuards         = 2, 32
	manyGuards, manyMoreGuards = 4, 64 // of many lines
	mostGuards                 = 128   // where none may be late at all
	late                       = 4
	// manyBytes is from how much memory a line on a structure is to be sparing with it, or of how many lines.
	manyBytes, manyLines = 2500, 30_000
	// mostBytes is how much memory a structure may take for each line; one that takes more is made again with fewer guards.
	mostBytes = 20_000
)

// build makes the structure of the tree, which is reached through so many chains and leads to the rules' own.
func (t *tree) build(reached int) {
	const followed = 16 // chains, by the kernel
	opt := classify.Options{Width: t.family.width(), Guards: guards, MoreGuards: moreGuards, Late: late, Levels: followed - reached - t.actions(), Plenty: manyBytes * len(t.lines)}
	if len(t.lines) >= manyLines {
		opt.Sparing, opt.Guards, opt.MoreGuards = true, manyGuards, manyMoreGuards
	}
	if t.opt.EveryWay { // late members share what they are asked for, so many ways lead there
		opt.Late, opt.MoreGuards = 0, mostGuards
	}
	t.root = classify.Build(t.boxes, opt)
	for opt.MoreGuards > 0 && t.root.Bytes() > mostBytes*len(t.lines) {
		opt.Guards, opt.MoreGuards = opt.Guards/2, opt.MoreGuards/2
		t.root = classify.Build(t.boxes, opt)
	}
}

// actions is how many chains follow one another from a rule's own on.
func (t *tree) actions() int {
	if slices.ContainsFunc(t.rules, func(r *policy.Rule) bool { return r.Action.Verdict == policy.Reject }) {
		return 2
	}
	return 1
}

// emit makes the tree's chains and maps.
func (t *tree) emit() {
	t.chains, t.maps, t.taken = make(map[*classify.Node]string), make(map[*classify.Table]ruleset.VMapRef), make(map[string]int)
	t.chainOf(t.root, t.name)
}

// chainOf is the chain of a node, which gets a name like the one that is given where it has none yet.
func (t *tree) chainOf(n *classify.Node, name string) string {
	if have, ok := t.chains[n]; ok {
		return have
	}
	name = t.unique(name + t.part(n))
	t.chains[n] = name
	ch := t.chain(name)
	t.structures[ch] = t
	for i := range n.Steps {
		s := &n.Steps[i]
		switch {
		case s.Table != nil && s.Table.Few():
			ch.Rules = append(ch.Rules, t.cases(s.Table, n)...)
		case s.Table != nil:
			ch.Rules = append(ch.Rules, t.probe(s.Table, name))
		case s.Call != nil:
			called := t.chainOf(s.Call, t.name)
			ch.Rules = append(ch.Rules, rule(nil, ruleset.Verdict{Kind: ruleset.Jump, Chain: called}))
		default:
			ch.Rules = append(ch.Rules, t.test(&s.Test, n, name))
		}
	}
	return name
}

// unique is a name that is not taken, with a number where the plain one is.
func (t *tree) unique(name string) string {
	const most = 200
	if len(name) > most {
		name = name[:most]
	}
	t.taken[name]++
	if n := t.taken[name]; n > 1 {
		return t.unique(fmt.Sprintf("%s/%d", name, n))
	}
	return name
}

// part says in a name up to which rule lines are looked for, where not all are.
func (t *tree) part(n *classify.Node) string {
	if n.Below == 0 || n.Below >= len(t.lines) {
		return ""
	}
	if n.Rest {
		return "/before/" + t.id(n.Below) + "/rest"
	}
	return "/before/" + t.id(n.Below)
}

// id is the rule of a line, as a part of a name.
func (t *tree) id(line int) string {
	return strings.ReplaceAll(t.rules[t.boxes[line].Target].ID, "~", "/")
}

// test is the rule of a test.
func (t *tree) test(test *classify.Test, n *classify.Node, name string) *ruleset.Rule {
	l := &t.lines[test.Line]
	var asks conj
	if !test.Known {
		asks = l.asks(t.family, &test.Box, &n.Cell)
	}
	switch {
	case test.Guard:
		return rule(asks, ruleset.Verdict{Kind: ruleset.Return})
	case test.Then != nil:
		then, ok := t.chains[test.Then]
		if !ok {
			then = t.chainOf(test.Then, t.name+"/late/"+t.id(test.Line))
		}
		return rule(asks, to(then))
	}
	return rule(asks, to(t.target(test.Line)))
}

// target is the chain of a line's rule.
func (t *tree) target(line int) string {
	rule := t.boxes[line].Target
	if t.named == nil {
		t.named = make([]string, len(t.rules))
	}
	if t.named[rule] == "" {
		t.named[rule] = ChainName(t.rules[rule])
	}
	return t.named[rule]
}

// probe is the rule of a probe in a chain.
func (t *tree) probe(table *classify.Table, chain string) *ruleset.Rule {
	ref, ok := t.maps[table]
	if !ok {
		if table.Below > 0 {
			chain = t.name + "/before/" + t.id(table.Below)
		}
		ref = t.mapOf(table, chain)
		t.maps[table] = ref
	}
	var head conj
	if table.Probe.Bits != [2]uint8{} {
		head = t.family.guard()
	}
	return rule(head, ref)
}

// cases is the rules that try the few cases of a table one by one, in a node's chain.
func (t *tree) cases(table *classify.Table, n *classify.Node) (out []*ruleset.Rule) {
	for i := range table.Cases {
		c := &table.Cases[i]
		if box, some := table.Probe.Cell(&n.Cell, c.Value, t.family.width()); some {
			l := line{Box: box}
			out = append(out, rule(l.asks(t.family, &box, &n.Cell), t.verdict(table.Probe, c)))
		}
	}
	return out
}

// verdict leads to a case.
func (t *tree) verdict(p classify.Probe, c *classify.Case) ruleset.Verdict {
	if c.Node == nil {
		return ruleset.Verdict{Kind: ruleset.Goto, Chain: t.target(c.Line)}
	}
	to, ok := t.chains[c.Node]
	if !ok {
		to = t.chainOf(c.Node, t.known(p, c.Value))
	}
	return ruleset.Verdict{Kind: ruleset.Jump, Chain: to}
}

// known is a name that says an answer.
func (t *tree) known(p classify.Probe, v classify.Value) string {
	name := append(make([]byte, 0, 64), t.name...)
	next := byte('/')
	part := func() {
		name = append(name, next)
		next = '.'
	}
	for a, bits := range p.Bits {
		if bits > 0 {
			part()
			name = t.family.appendText(append(name, "sd"[a]), v.Addr[a], int(bits))
		}
	}
	if p.Proto {
		part()
		name = append(name, protoText(v.Proto)...)
	}
	if p.Dport > 0 {
		part()
		name = strconv.AppendUint(name, uint64(v.Dport), 10)
		if p.Dport < classify.PortBits {
			name = strconv.AppendUint(append(name, '-'), uint64(p.Dport), 10)
		}
	}
	return string(name)
}

// mapOf makes the map of a table, whose name begins with a chain's.
func (t *tree) mapOf(table *classify.Table, chain string) ruleset.VMapRef {
	f, p := t.family, table.Probe
	m := &ruleset.Map{Size: mapRoom(len(table.Cases))}
	var ref ruleset.VMapRef
	var kind []string
	for a, field := range [2]ruleset.Field{f.saddr(), f.daddr()} {
		if bits := int(p.Bits[a]); bits > 0 {
			key := ruleset.Key{Field: field}
			if bits < f.width() {
				key.Mask = mask(bits, f.width())
			}
			ref.Keys = append(ref.Keys, key)
			kind = append(kind, fmt.Sprintf("%c%d", "sd"[a], bits))
		}
	}
	if p.Proto {
		ref.Keys = append(ref.Keys, ruleset.Key{Field: ruleset.L4Proto})
		kind = append(kind, "proto")
	}
	switch {
	case p.Dport == classify.PortBits:
		ref.Keys = append(ref.Keys, ruleset.Key{Field: ruleset.Dport})
		kind = append(kind, "port")
	case p.Dport > 0:
		ref.Keys = append(ref.Keys, ruleset.Key{Field: ruleset.Dport, Mask: mask(int(p.Dport), classify.PortBits)})
		kind = append(kind, fmt.Sprintf("port%d", p.Dport))
	}
	for _, k := range ref.Keys {
		m.Keys = append(m.Keys, k.Field)
	}
	m.Name = t.unique(chain + "/by-" + strings.Join(kind, "-"))
	ref.Map = m.Name
	t.rs.Maps = append(t.rs.Maps, m)
	size := 0
	for _, k := range m.Keys {
		size += k.Size()
	}
	m.Elems = make([]ruleset.MapElem, 0, len(table.Cases))
	keys := make([]byte, 0, size*len(table.Cases))
	for i := range table.Cases {
		c := &table.Cases[i]
		key := keys[len(keys) : len(keys) : len(keys)+size]
		keys = keys[:len(keys)+size]
		for a, bits := range p.Bits {
			if bits > 0 {
				key = f.appendBytes(key, c.Value.Addr[a])
			}
		}
		if p.Proto {
			key = append(key, c.Value.Proto)
		}
		if p.Dport > 0 {
			key = binary.BigEndian.AppendUint16(key, c.Value.Dport)
		}
		m.Elems = append(m.Elems, ruleset.MapElem{Interval: ruleset.Interval{Lo: key, Hi: key}, Verdict: t.verdict(p, c)})
	}
	slices.SortFunc(m.Elems, func(x, y ruleset.MapElem) int { return bytes.Compare(x.Lo, y.Lo) })
	return ref
}

// mask is the first so many of a field's bits.
func mask(ones, bits int) []byte {
	m := make([]byte, bits/8)
	for i := range ones {
		m[i/8] |= 0x80 >> (i % 8)
	}
	return m
}

// mapRoom is the size that the kernel is told for a map of n elements, with space to grow in place. It makes a table of four thirds of
// that many buckets, rounded up to a power of two, and has it in one piece of memory with what a map is besides, rounded up as well: so
// these sizes leave the least of both unused.
func mapRoom(n int) uint32 {
	for _, small := range []uint32{12, 48} {
		if n+n/8 <= int(small) {
			return small
		}
	}
	size := uint32(96)
	for int(size) < n+n/8 {
		size *= 2
	}
	return size
}

// protoText is a protocol as a part of a name.
func protoText(proto uint8) string {
	switch proto {
	case policy.ProtoTCP:
		return "tcp"
	case policy.ProtoUDP:
		return "udp"
	}
	return fmt.Sprintf("proto%d", proto)
}
