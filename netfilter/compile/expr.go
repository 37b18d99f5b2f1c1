package compile

import (
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// conj is matches that must all hold, in the order they are tried.
type conj []ruleset.Expr

// and is a conjunction of conjunctions; its operands stay as they are.
func and(cs ...conj) conj {
	n := 0
	for _, c := range cs {
		n += len(c)
	}
	out := make(conj, 0, n)
	for _, c := range cs {
		out = append(out, c...)
	}
	return out
}

// product is every conjunction of one of each list.
func product(lists ...[]conj) []conj {
	out := []conj{nil}
	for _, list := range lists {
		if len(list) == 1 && list[0] == nil {
			continue // asks nothing
		}
		next := make([]conj, 0, len(out)*len(list))
		for _, a := range out {
			for _, b := range list {
				next = append(next, and(a, b))
			}
		}
		out = next
	}
	return out
}

// equal matches one value.
func equal(f ruleset.Field, n uint64) ruleset.Expr {
	return ruleset.Cmp{Field: f, Value: f.Value(n)}
}

// among matches any of some single values, in rising order.
func among(f ruleset.Field, ns ...uint64) ruleset.Expr {
	in := ruleset.In{Field: f}
	for _, n := range ns {
		in.Elems = append(in.Elems, ruleset.Interval{Lo: f.Value(n), Hi: f.Value(n)})
	}
	return in
}

// anyBit matches where one of the bits is set.
func anyBit(f ruleset.Field, bits uint64) ruleset.Expr {
	return ruleset.Cmp{Field: f, Mask: f.Value(bits), Op: ruleset.Ne, Value: f.Value(0)}
}

// isNew matches what conntrack calls new.
func isNew() ruleset.Expr { return anyBit(ruleset.CtState, ruleset.StateNew) }

// numbers matches the numbers of a set that is not empty, or those outside of it.
func numbers[K interface {
	addrset.Key[K]
	~uint8 | ~uint16 | ~uint32
}](f ruleset.Field, s addrset.Set[K], not bool) ruleset.Expr {
	in := ruleset.In{Field: f, Not: not}
	for _, r := range s.Ranges() {
		in.Elems = append(in.Elems, ruleset.Interval{Lo: f.Value(uint64(r.Lo)), Hi: f.Value(uint64(r.Hi))})
	}
	return simplest(in)
}

// simplest makes a comparison of a set with a single value.
func simplest(in ruleset.In) ruleset.Expr {
	if len(in.Elems) != 1 || string(in.Elems[0].Lo) != string(in.Elems[0].Hi) {
		return in
	}
	c := ruleset.Cmp{Field: in.Field, Value: in.Elems[0].Lo}
	if in.Not {
		c.Op = ruleset.Ne
	}
	return c
}

// between matches the numbers from one to another.
func between(f ruleset.Field, lo, hi uint64) ruleset.Expr {
	if lo == hi {
		return equal(f, lo)
	}
	return ruleset.In{Field: f, Elems: []ruleset.Interval{{Lo: f.Value(lo), Hi: f.Value(hi)}}}
}

// ranges matches the addresses of a set that is not empty, or those outside of it.
func ranges[K addrset.Address[K]](f ruleset.Field, s addrset.Set[K], not bool) ruleset.Expr {
	if s.Len() == 1 {
		return oneRange(f, s.Ranges()[0], not)
	}
	in := ruleset.In{Field: f, Not: not}
	for _, r := range s.Ranges() {
		in.Elems = append(in.Elems, ruleset.Interval{Lo: r.Lo.Addr().AsSlice(), Hi: r.Hi.Addr().AsSlice()})
	}
	return in
}

// oneRange is ranges of one. A prefix is a masked comparison, which costs a third of looking at its bytes alone.
func oneRange[K addrset.Address[K]](f ruleset.Field, r addrset.Range[K], not bool) ruleset.Expr {
	lo := r.Lo.Addr().AsSlice()
	bits, last := r.Lo.Prefix(r.Hi)
	if last != r.Hi {
		return ruleset.In{Field: f, Not: not, Elems: []ruleset.Interval{{Lo: lo, Hi: r.Hi.Addr().AsSlice()}}}
	}
	c := ruleset.Cmp{Field: f, Value: lo}
	if bits < 8*f.Size() {
		c.Mask = mask(bits, 8*f.Size())
	}
	if not {
		c.Op = ruleset.Ne
	}
	return c
}
