package ruleset

import (
	"bytes"
	"encoding/binary"
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/sieve"
)

// index finds the rules of a chain that a packet could match by their first expressions, so that a long chain need not be
// walked. A rule that it lets through is run like any other, so it decides nothing.
type index struct{ *sieve.Sieve }

// longChain is how many rules a chain must have for an index to pay.
const longChain = 24

// Indexed is the machine with indexes of its long chains. It does what m does.
func (m *Machine) Indexed() *Machine {
	n := *m
	n.indexes = make([]*index, len(m.programs))
	for _, p := range m.programs {
		if len(p.rules) >= longChain {
			n.indexes[p.index] = m.newIndex(p.chain)
		}
	}
	return &n
}

func (m *Machine) newIndex(c *Chain) *index {
	asked := make([]map[Field][]sieve.Range, len(c.Rules))
	for i, r := range c.Rules {
		asked[i] = m.asks(r)
	}
	return &index{sieve.New(len(c.Rules), len(table), func(rule, axis int) ([]sieve.Range, bool) {
		ranges, ok := asked[rule][Field(axis)]
		return ranges, ok
	})}
}

// find appends the rules that the packet could match.
func (i *index) find(dst []int32, w *walk) []int32 {
	return i.Find(dst, func(axis int) (sieve.Key, bool) {
		v := w.value(Field(axis))
		if v == nil {
			return sieve.Key{}, false
		}
		return keyOf(v.bytes()), true
	})
}

// asks is what a rule asks of fields before it does anything else, as far as it is ranges of values.
func (m *Machine) asks(r *Rule) map[Field][]sieve.Range {
	asked := make(map[Field][]sieve.Range, 4)
	for _, e := range r.Exprs {
		var f Field
		var ranges []sieve.Range
		ok := false
		switch e := e.(type) {
		case Cmp:
			f = e.Field
			ranges, ok = e.ranges()
		case In:
			f, ok = e.Field, !e.Not
			for _, i := range e.Elems {
				ranges = append(ranges, sieve.Range{Lo: keyOf(i.Lo), Hi: keyOf(i.Hi)})
			}
		case Lookup:
			f = e.Field
			if s := m.sets[e.Set]; !e.Not && !s.Dynamic {
				ranges, ok = s.ranges(e.Mask), true
			}
		case Label: // asks, but of no field
		default:
			return asked
		}
		if _, twice := asked[f]; ok && !twice {
			asked[f] = ranges
		}
	}
	return asked
}

// ranges is the values that compare so, false where that are most values.
func (c Cmp) ranges() ([]sieve.Range, bool) {
	lo := keyOf(c.Value)
	hi := lo
	switch {
	case c.Op != Eq:
		return nil, false
	case c.Wildcard:
		hi = keyOf(append(slices.Clone(c.Value), bytes.Repeat([]byte{0xff}, 16)...))
	case c.Mask != nil:
		// What matches is between these, wherever the mask has its gaps.
		mask := keyOf(c.Mask)
		hi = addrset.U128{Hi: lo.Hi | ^mask.Hi, Lo: lo.Lo | ^mask.Lo}
	}
	return []sieve.Range{{Lo: lo, Hi: hi}}, true
}

// ranges is the addresses that are in a static set once they are masked, and where the mask has gaps maybe more.
func (s *Set) ranges(mask []byte) []sieve.Range {
	var rest sieve.Key
	if mask != nil {
		m := keyOf(mask)
		rest = sieve.Key{Hi: ^m.Hi, Lo: ^m.Lo}
	}
	out := make([]sieve.Range, 0, s.Elems4.Len()+s.Elems6.Len())
	add := func(lo, hi sieve.Key) {
		out = append(out, sieve.Range{Lo: lo, Hi: sieve.Key{Hi: hi.Hi | rest.Hi, Lo: hi.Lo | rest.Lo}})
	}
	for _, r := range s.Elems4.Ranges() {
		add(keyOf(r.Lo.Addr().AsSlice()), keyOf(r.Hi.Addr().AsSlice()))
	}
	for _, r := range s.Elems6.Ranges() {
		add(r.Lo, r.Hi)
	}
	return out
}

// keyOf is a value as a key, names and numbers alike: its bytes and then zeros. Values of one field keep their order.
func keyOf(v []byte) sieve.Key {
	var b [16]byte
	copy(b[:], v)
	return sieve.Key{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}
