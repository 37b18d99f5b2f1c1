package ruleset

import "ringwall/rules/sieve"

// index finds the rules of a chain that a packet could match by their first expressions, so that a long chain need not be
// walked. A rule that it lets through is run like any other, so it decides nothing.
type index struct{ *sieve.Sieve }

// longChain is how many rules a chain must have for an index to pay.
const longChain = 24

func (p *program) newIndex(chain int) *index {
	first, end := p.first[chain], p.first[chain+1]
	return &index{sieve.New(int(end-first), len(table), func(rule, axis int) ([]extent, bool) {
		return p.asks(first+int32(rule), Field(axis))
	})}
}

// find appends the rules that the packet could match.
func (i *index) find(dst []int32, w *walk) []int32 {
	return i.Find(dst, func(axis int) (value, bool) { return w.value(Field(axis)) })
}

// asks is the values that a rule asks a field to have before it does anything else; false where it takes any, or most.
func (p *program) asks(rule int32, f Field) ([]extent, bool) {
	for i := p.begins[rule]; i < p.begins[rule+1]; i++ {
		s := &p.steps[i]
		switch {
		case s.do > isIn:
			if s.do != runs {
				return nil, false
			}
			if _, is := p.exprs[s.from].(Label); !is { // which asks, but of no field
				return nil, false
			}
		case s.field != f || s.not:
		case s.do == equals:
			// What matches is between these, wherever the mask has its gaps.
			return []extent{{Lo: s.value, Hi: over(s.value, s.mask)}}, true
		case s.do == finds:
			return p.ranges[s.from:s.to], true
		case s.do == isIn && !p.sets[s.from].Dynamic:
			return p.sets[s.from].ranges(s.mask), true
		}
	}
	return nil, false
}

// over is the last value that is another one under a mask.
func over(v, mask value) value { return value{Hi: v.Hi | ^mask.Hi, Lo: v.Lo | ^mask.Lo} }

// ranges is the addresses that are in a static set once they are masked, and where the mask has gaps maybe more.
func (s *Set) ranges(mask value) []extent {
	out := make([]extent, 0, s.Elems4.Len()+s.Elems6.Len())
	for _, r := range s.Elems4.Ranges() {
		out = append(out, extent{Lo: valueOfV4(r.Lo), Hi: over(valueOfV4(r.Hi), mask)})
	}
	for _, r := range s.Elems6.Ranges() {
		out = append(out, extent{Lo: r.Lo, Hi: over(r.Hi, mask)})
	}
	return out
}
