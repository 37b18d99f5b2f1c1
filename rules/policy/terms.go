package policy

import (
	"cmp"
	"slices"

	"ringwall/rules/addrset"
)

// Static returns the addresses of a that are sure when every dynamic set is empty.
func (a Addrs) Static() addrset.Addrs {
	var s addrset.Addrs
	for _, t := range a.Terms {
		if len(t.In) == 0 {
			s = s.Union(t.Static)
		}
	}
	return s
}

// IsEmpty tells whether a holds no address, whatever dynamic sets hold.
func (a Addrs) IsEmpty() bool { return len(a.Terms) == 0 }

// static is the Addrs that depend on no dynamic set.
func static(s addrset.Addrs) Addrs {
	if s.IsEmpty() {
		return Addrs{}
	}
	return Addrs{Terms: []Term{{Static: s}}}
}

// union is the addresses in a or b; it is nobody's set. Where it takes too much effort it is some of them.
func (a Addrs) union(b Addrs, e *effort) Addrs {
	return Addrs{Terms: normal(slices.Concat(a.Terms, b.Terms), e)}
}

// minus is the addresses in a and not in b; false where that takes too many terms or too much effort.
func (a Addrs) minus(b Addrs, e *effort) (Addrs, bool) {
	terms := a.Terms
	for _, u := range b.Terms {
		var rest []Term
		for _, t := range terms {
			if !e.spend(t.weight() + u.weight()) {
				return Addrs{}, false
			}
			rest = append(rest, t.minus(u)...)
		}
		terms = normal(rest, e)
		if len(terms) > maxTerms || e.over() {
			return Addrs{}, false
		}
	}
	return Addrs{Terms: terms}, true
}

// minus is the addresses in t and not in u: those outside of u's static part, and those inside that fail one of u's
// conditions.
func (t Term) minus(u Term) []Term {
	out := []Term{{Static: t.Static.Minus(u.Static), In: t.In, NotIn: t.NotIn}}
	if u.IsStatic() {
		return out
	}
	shared := t.Static.Intersect(u.Static)
	for _, name := range u.In {
		out = append(out, Term{Static: shared, In: t.In, NotIn: addName(t.NotIn, name)})
	}
	for _, name := range u.NotIn {
		out = append(out, Term{Static: shared, In: addName(t.In, name), NotIn: t.NotIn})
	}
	return out
}

// addName is a sorted list of names and one more.
func addName(names []string, name string) []string {
	i, found := slices.BinarySearch(names, name)
	if found {
		return names
	}
	return slices.Insert(slices.Clone(names), i, name)
}

// normal is the shortest simple form of a union of terms: none empty, none within another, those with the same
// conditions united, sorted by conditions. Where it takes too much effort it is some of them; where there are very many
// terms, some may lie within others.
func normal(terms []Term, e *effort) []Term {
	terms = slices.DeleteFunc(slices.Clone(terms), func(t Term) bool {
		return t.Static.IsEmpty() || slices.ContainsFunc(t.In, func(name string) bool { return slices.Contains(t.NotIn, name) })
	})
	slices.SortStableFunc(terms, compareConditions)
	out := terms[:0]
	for _, t := range terms {
		if n := len(out); n > 0 && compareConditions(out[n-1], t) == 0 {
			if !e.spend(out[n-1].weight() + t.weight()) {
				return out
			}
			out[n-1].Static = out[n-1].Static.Union(t.Static)
			continue
		}
		out = append(out, t)
	}
	if len(out) == 1 || len(out) > 4*maxTerms {
		return out
	}
	return slices.DeleteFunc(slices.Clone(out), func(t Term) bool {
		return slices.ContainsFunc(out, func(u Term) bool { return compareConditions(t, u) != 0 && u.covers(t, e) })
	})
}

// compareConditions orders terms by their dynamic sets, those with fewer first.
func compareConditions(t, u Term) int {
	return cmp.Or(cmp.Compare(len(t.In)+len(t.NotIn), len(u.In)+len(u.NotIn)), slices.Compare(t.In, u.In), slices.Compare(t.NotIn, u.NotIn))
}

// covers tells whether t holds all that u does, whatever dynamic sets hold; false may also mean that it is not plain.
func (t Term) covers(u Term, e *effort) bool {
	return subset(t.In, u.In) && subset(t.NotIn, u.NotIn) && e.spend(t.weight()+u.weight()) && t.Static.V4.Covers(u.Static.V4) && t.Static.V6.Covers(u.Static.V6)
}

// subset tells whether every name of a is in b.
func subset(a, b []string) bool {
	for _, name := range a {
		if !slices.Contains(b, name) {
			return false
		}
	}
	return true
}
