package ruleset

import "bytes"

// program is a chain as a Machine runs it: other chains, sets and maps are at hand instead of their names.
type program struct {
	chain *Chain
	rules [][]step
	index int // of the machine's indexes
}

// step is an expression of a rule. The most frequent ones are laid out; the others are run as they are.
type step struct {
	do          doing
	field       Field
	not         bool
	op          Op
	prefix      bool // of a name is compared
	mask, value []byte
	elems       []Interval
	keys        []Key
	lookup      *lookup
	way         way
	expr        Expr
}

// doing is what a step does.
type doing uint8

const (
	runs doing = iota // its expression
	compares
	finds
	leads
	looksUp
)

// way is how a rule ends, and where it goes on.
type way struct {
	how ending
	to  *program
}

// compile makes the programs of a rule set, and its maps.
func (m *Machine) compile(r *Ruleset) {
	for i, c := range r.Chains {
		m.programs[c.Name] = &program{chain: c, index: i}
	}
	for _, v := range r.Maps {
		m.maps[v.Name] = m.newLookup(v)
	}
	for _, p := range m.programs {
		n := 0
		for _, rule := range p.chain.Rules {
			n += len(rule.Exprs)
		}
		p.rules = make([][]step, len(p.chain.Rules))
		all := make([]step, 0, n)
		for i, rule := range p.chain.Rules {
			from := len(all)
			for _, e := range rule.Exprs {
				all = append(all, m.step(e))
			}
			p.rules[i] = all[from:]
		}
	}
}

func (m *Machine) step(e Expr) step {
	switch e := e.(type) {
	case Cmp:
		return step{do: compares, field: e.Field, mask: e.Mask, value: e.Value, op: e.Op, prefix: e.Wildcard}
	case In:
		return step{do: finds, field: e.Field, elems: e.Elems, not: e.Not}
	case Verdict:
		return step{do: leads, way: m.way(e)}
	case VMapRef:
		return step{do: looksUp, keys: e.Keys, lookup: m.maps[e.Map]}
	}
	return step{expr: e}
}

func (m *Machine) way(v Verdict) way {
	how, to, _ := ended(v)
	return way{how, m.programs[to]}
}

// rule runs the steps of a rule until one does not go on.
func (w *walk) rule(steps []step) way {
	for i := range steps {
		s := &steps[i]
		switch s.do {
		case compares:
			v := w.value(s.field)
			if v == nil || !s.compare(v) {
				return way{}
			}
		case finds:
			v := w.value(s.field)
			if v == nil || find(s.elems, v.bytes()) == s.not {
				return way{}
			}
		case leads:
			return s.way
		case looksUp:
			return w.lookUp(s)
		default:
			how, to, ok := w.expr(s.expr)
			if how != goesOn {
				return way{how, w.programs[to]}
			}
			if !ok {
				return way{}
			}
		}
	}
	return way{}
}

// lookUp runs a lookup in a named map. Where the packet lacks a field the rule ends, as it does where the map lacks the key.
func (w *walk) lookUp(s *step) way {
	var buf [maxKeyBytes]byte
	key := buf[:0]
	for i := range s.keys {
		k := &s.keys[i]
		v := w.value(k.Field)
		if v == nil {
			return way{}
		}
		masked := *v
		masked.masked(k.Mask)
		key = append(key, masked.data[:k.Field.Size()]...)
	}
	return s.lookup.find(key)
}

// compare tells whether a value compares so.
func (s *step) compare(v *value) bool {
	switch {
	case s.prefix:
		return bytes.HasPrefix(v.bytes(), s.value) == (s.op == Eq)
	case s.op <= Ne:
		return v.is(s.mask, s.value) == (s.op == Eq)
	}
	masked := *v
	sign := bytes.Compare(masked.masked(s.mask), s.value)
	switch s.op {
	case Lt:
		return sign < 0
	case Le:
		return sign <= 0
	case Gt:
		return sign > 0
	}
	return sign >= 0
}

// is tells whether a value is another one under a mask.
func (v *value) is(mask, other []byte) bool {
	if mask == nil {
		return bytes.Equal(v.bytes(), other)
	}
	for i, m := range mask {
		if v.data[i]&m != other[i] {
			return false
		}
	}
	return true
}

// value is a field of the packet at the hook that it is at, nil where it has none.
func (w *walk) value(f Field) *value {
	if f >= Field(len(w.loaded)) {
		return nil
	}
	l := &w.loaded[f]
	if l.at != w.at {
		l.value, l.ok = w.load(f)
		l.at = w.at
	}
	if !l.ok {
		return nil
	}
	return &l.value
}

// loaded is a field's value, as it was when a base chain with a number was run.
type loaded struct {
	value
	ok bool
	at uint64
}
