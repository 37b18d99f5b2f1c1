package compile

import (
	"math/bits"
	"slices"

	"ringwall/netfilter/ruleset"
)

// What a rule of the compiled form asks besides the spans of a region (marks, owners, interfaces, Ethernet addresses, types of ICMP, the
// time, what is not to be) has corners, too. Where a rule has copies, each copy could have its own wrong.

// corner is a value of a field at a corner of what an expression asks, or just beside it.
type corner struct {
	field ruleset.Field
	value []byte
	in    bool // asked for, as far as this corner tells
}

// How many bits of a mask and elements of a set have their corners tried at a place; of more, so many are drawn.
const (
	mostBits  = 8
	mostElems = 8
)

// looseCorners is about how many corners an expression has; none where spans hold what it asks, or no packet is drawn for the field.
func looseCorners(e ruleset.Expr) int {
	switch e := e.(type) {
	case ruleset.Cmp:
		switch _, _, spans := axisOf(e.Field); {
		case spans && e.Op == ruleset.Eq || !spans && !isLoose(e.Field):
			return 0
		case e.Mask != nil:
			return 4 + mostBits
		}
		return 4
	case ruleset.In:
		if _, _, spans := axisOf(e.Field); spans && !e.Not && len(e.Elems) == 1 || !spans && !isLoose(e.Field) {
			return 0
		}
		return 4 * min(len(e.Elems), mostElems)
	}
	return 0
}

// isLoose tells whether a field without spans is one that set sets.
func isLoose(f ruleset.Field) bool {
	switch f {
	case ruleset.MetaMark, ruleset.SkUID, ruleset.SkGID, ruleset.IIfName, ruleset.OIfName, ruleset.EtherSaddr, ruleset.Time,
		ruleset.ICMPType, ruleset.ICMPCode, ruleset.ICMP6Type, ruleset.ICMP6Code:
		return true
	}
	return false
}

// loose is the corners of what an expression asks besides spans.
func (w *witness) loose(e ruleset.Expr) (out []corner) {
	if looseCorners(e) == 0 {
		return nil
	}
	switch e := e.(type) {
	case ruleset.Cmp:
		in := e.Op == ruleset.Eq
		if e.Field.IsName() {
			return nameEnds(e.Field, e.Value, e.Wildcard, in)
		}
		last := slices.Clone(e.Value)
		var asked []int // bits
		for i, m := range e.Mask {
			last[i] |= ^m
			for ; m != 0; m &= m - 1 {
				asked = append(asked, 8*i+bits.TrailingZeros8(m))
			}
		}
		out = valueEnds(e.Field, e.Value, last, in)
		for _, n := range fewDrawn(w, asked, mostBits) {
			v := slices.Clone(e.Value)
			v[n/8] ^= 1 << (n % 8)
			out = append(out, corner{e.Field, v, !in})
		}
	case ruleset.In:
		for _, i := range fewDrawn(w, e.Elems, mostElems) {
			if e.Field.IsName() {
				out = append(out, nameEnds(e.Field, i.Lo, false, !e.Not)...)
			} else {
				out = append(out, valueEnds(e.Field, i.Lo, i.Hi, !e.Not)...)
			}
		}
	}
	return out
}

// fewDrawn is a list where it is not longer than most, else so many of it, drawn.
func fewDrawn[T any](w *witness, list []T, most int) []T {
	if len(list) <= most {
		return list
	}
	list = slices.Clone(list)
	for i := range most {
		j := i + w.rng.IntN(len(list)-i)
		list[i], list[j] = list[j], list[i]
	}
	return list[:most]
}

// valueEnds is the first and last of some values, and the ones before and after; in tells whether these values are asked for.
func valueEnds(f ruleset.Field, lo, hi []byte, in bool) []corner {
	out := []corner{{f, lo, in}}
	if string(lo) != string(hi) {
		out = append(out, corner{f, hi, in})
	}
	return append(out, corner{f, masked(number(lo).Prev(), len(lo), nil), !in}, corner{f, masked(number(hi).Next(), len(hi), nil), !in})
}

// nameEnds is an interface's name, or one with a prefix, and others that are like it; in tells whether that name is asked for.
func nameEnds(f ruleset.Field, name []byte, wild, in bool) (out []corner) {
	is, not := namesLike(string(name), wild)
	for _, n := range is {
		out = append(out, corner{f, []byte(n), in})
	}
	for _, n := range not {
		out = append(out, corner{f, []byte(n), !in})
	}
	return out
}
