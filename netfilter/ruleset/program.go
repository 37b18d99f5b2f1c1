package ruleset

import (
	"bytes"
	"encoding/binary"
	"sort"

	"ringwall/rules/addrset"
)

// program is a rule set as a Machine runs it: chains, rules and what they do stand in a few arrays, and refer to each other by
// their numbers.
type program struct {
	chains  []*Chain
	sets    []*Set
	first   []int32 // of each chain, its first rule; and the end of all
	begins  []int32 // of each rule, its first step; and the end of all
	steps   []step
	ranges  []extent // that values are found in
	lookups []lookup
	exprs   []Expr // that are run as they are
}

// value is a field's value as it is compared: its bytes, and then zeros. So values of one field keep their order, names too.
type value = addrset.U128

// extent is the values from Lo to Hi.
type extent = addrset.Range[value]

// step is an expression of a rule, or a part of one.
type step struct {
	do          doing
	field       Field
	not         bool
	op          Op
	way         way
	from, to    int32 // what it refers to, in the arrays of the program
	mask, value value
}

// doing is what a step does.
type doing uint8

const (
	equals  doing = iota // compares a field with the value
	orders               // compares which of both is more
	finds                // looks for a field among ranges
	isIn                 // looks a field up in a set
	takes                // takes a field up in the key; where from is 0, as the first
	looksUp              // looks the key up
	ends                 // ends the rule
	runs                 // runs an expression
)

// ending is how a rule ends.
type ending uint8

const (
	goesOn ending = iota // to the next rule
	accepts
	drops
	rejects
	returns
	jumps
	leaves // by goto
)

// way is how a rule ends, and the chain where it goes on.
type way struct {
	how ending
	to  int32
}

// names is what has a name in a rule set, by number.
type names struct {
	chains, sets, maps map[string]int32
	limits             map[string]Rate
}

// newProgram makes the program of a rule set. That of one that is not sound is not to be run.
func newProgram(r *Ruleset) *program {
	known := names{numbered(r.Chains, func(c *Chain) string { return c.Name }), numbered(r.Sets, func(s *Set) string { return s.Name }),
		numbered(r.Maps, func(m *Map) string { return m.Name }), make(map[string]Rate)}
	for _, l := range r.Limits {
		known.limits[l.Name] = l.Rate
	}
	rules, exprs := 0, 0
	for _, c := range r.Chains {
		rules += len(c.Rules)
		for _, rule := range c.Rules {
			exprs += len(rule.Exprs)
		}
	}
	p := &program{
		chains: r.Chains, sets: r.Sets,
		first: make([]int32, 0, len(r.Chains)+1), begins: make([]int32, 0, rules+1), steps: make([]step, 0, exprs+exprs/8),
	}
	for _, m := range r.Maps {
		p.lookups = append(p.lookups, known.lookup(m))
	}
	for _, c := range r.Chains {
		p.first = append(p.first, int32(len(p.begins)))
		for _, rule := range c.Rules {
			p.begins = append(p.begins, int32(len(p.steps)))
			for _, e := range rule.Exprs {
				p.add(known, e)
			}
		}
	}
	p.first, p.begins = append(p.first, int32(len(p.begins))), append(p.begins, int32(len(p.steps)))
	return p
}

func numbered[T any](list []T, name func(T) string) map[string]int32 {
	out := make(map[string]int32, len(list))
	for i, v := range list {
		out[name(v)] = int32(i)
	}
	return out
}

// add appends the steps of an expression.
func (p *program) add(known names, e Expr) {
	from := int32(0)
	switch e := e.(type) {
	case Cmp:
		do := equals
		if e.Op > Ne {
			do = orders
		}
		mask := maskOf(e.Mask)
		if e.Wildcard {
			mask = maskOf(bytes.Repeat([]byte{0xff}, len(e.Value)))
		}
		p.steps = append(p.steps, step{do: do, field: e.Field, not: e.Op == Ne, op: e.Op, mask: mask, value: valueOf(e.Value)})
	case In:
		from = int32(len(p.ranges))
		for _, i := range e.Elems {
			p.ranges = append(p.ranges, i.extent())
		}
		p.steps = append(p.steps, step{do: finds, field: e.Field, not: e.Not, from: from, to: int32(len(p.ranges))})
	case Lookup:
		p.steps = append(p.steps, step{do: isIn, field: e.Field, not: e.Not, from: known.sets[e.Set], mask: maskOf(e.Mask)})
	case VMap:
		l := lookup{}
		for _, el := range e.Elems {
			l.ranges, l.ways = append(l.ranges, el.extent()), append(l.ways, known.way(el.Verdict))
		}
		p.lookups = append(p.lookups, l)
		p.steps = append(p.steps, step{do: takes, field: e.Field, mask: maskOf(nil)}, step{do: looksUp, from: int32(len(p.lookups) - 1)})
	case VMapRef:
		for i, k := range e.Keys {
			p.steps = append(p.steps, step{do: takes, field: k.Field, mask: maskOf(k.Mask), from: int32(i)})
		}
		p.steps = append(p.steps, step{do: looksUp, from: known.maps[e.Map]})
	case Verdict:
		p.steps = append(p.steps, step{do: ends, way: known.way(e)})
	case LimitRef:
		p.runs(Limit{known.limits[e.Limit]})
	case Reject:
		p.runs(e)
		p.steps = append(p.steps, step{do: ends, way: way{how: rejects}})
	default:
		p.runs(e)
	}
}

func (p *program) runs(e Expr) {
	p.steps = append(p.steps, step{do: runs, from: int32(len(p.exprs))})
	p.exprs = append(p.exprs, e)
}

func (known names) way(v Verdict) way {
	switch v.Kind {
	case Accept:
		return way{how: accepts}
	case Return:
		return way{how: returns}
	case Jump:
		return way{jumps, known.chains[v.Chain]}
	case Goto:
		return way{leaves, known.chains[v.Chain]}
	}
	return way{how: drops}
}

// wordOf is a value of a field as a value.
func valueOf(v []byte) value {
	var b [16]byte
	copy(b[:], v)
	return value{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// maskOf is a mask as a value; nil leaves every bit.
func maskOf(mask []byte) value {
	if mask == nil {
		return value{}.Last()
	}
	return valueOf(mask)
}

func under(v, mask value) value { return value{Hi: v.Hi & mask.Hi, Lo: v.Lo & mask.Lo} }

// valueOfV4 is an IPv4 address as a value, and v4 the reverse.
func valueOfV4(a addrset.U32) value { return value{Hi: uint64(a) << 32} }
func v4(v value) addrset.U32        { return addrset.U32(v.Hi >> 32) }

func (i Interval) extent() extent { return extent{Lo: valueOf(i.Lo), Hi: valueOf(i.Hi)} }

// holds tells whether a value that is less than another (negative), the same (0) or more compares so.
func (o Op) holds(sign int) bool {
	switch o {
	case Lt:
		return sign < 0
	case Le:
		return sign <= 0
	case Gt:
		return sign > 0
	}
	return sign >= 0
}

// find is the place of the extent that holds a value in a sorted list, -1 for none.
func find(list []extent, v value) int {
	i := sort.Search(len(list), func(i int) bool { return list[i].Hi.Compare(v) >= 0 })
	if i == len(list) || list[i].Lo.Compare(v) > 0 {
		return -1
	}
	return i
}
