package kernel

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// span is the addresses from lo to hi, both included, in a dynamic set.
type span struct {
	lo, hi netip.Addr
	life   lifetime
	held   bool // the kernel has it as it is
}

// spanOf is the span of a prefix, where the set can hold it.
func spanOf(s *ruleset.Set, p netip.Prefix) (span, error) {
	p = p.Masked()
	if !p.IsValid() {
		return span{}, fmt.Errorf("set %s: %s is no prefix", s.Name, p)
	}
	if p.Addr().Is4() == s.V6 {
		return span{}, fmt.Errorf("set %s: %s is of the other family", s.Name, p)
	}
	if !s.Interval && !p.IsSingleIP() {
		return span{}, fmt.Errorf("set %s holds single addresses: %s is a prefix", s.Name, p)
	}
	return span{lo: p.Addr(), hi: addrset.LastOf(p)}, nil
}

// prefixes is the fewest prefixes that make up the span.
func (a span) prefixes() []netip.Prefix {
	if a.lo.Is4() {
		return addrset.Prefixes(addrset.Range[addrset.U32]{Lo: addrset.V4(a.lo), Hi: addrset.V4(a.hi)})
	}
	return addrset.Prefixes(addrset.Range[addrset.U128]{Lo: addrset.V6(a.lo), Hi: addrset.V6(a.hi)})
}

// endsBefore tells whether a ends earlier than b. A timeout of 0 never ends.
func (a lifetime) endsBefore(b lifetime) bool {
	if a.timeout == 0 {
		return false
	}
	return b.timeout == 0 || a.left < b.left
}

// spanList is what a set holds: sorted, disjoint.
type spanList struct {
	spans   []span
	removed []span // those that the kernel has and that are no longer among spans
}

// overlapping is the part of the list that shares addresses with sp, by index.
func (l *spanList) overlapping(sp span) (from, to int) {
	from = sort.Search(len(l.spans), func(i int) bool { return !l.spans[i].hi.Less(sp.lo) })
	to = from
	for to < len(l.spans) && !sp.hi.Less(l.spans[to].lo) {
		to++
	}
	return from, to
}

// add adds a span: every address keeps whichever end is later.
func (l *spanList) add(sp span) {
	// What is there and lasts as long stays, and takes its part out of sp; the rest makes room.
	pieces := []span{sp}
	from, to := l.overlapping(sp)
	for _, h := range l.spans[from:to] {
		if h.life.endsBefore(sp.life) {
			continue
		}
		last := pieces[len(pieces)-1]
		pieces = append(pieces[:len(pieces)-1], last.minus(h)...)
		if len(pieces) == 0 || !h.hi.Less(sp.hi) {
			break
		}
	}
	for _, p := range pieces {
		l.cut(p, []span{p})
	}
}

// cut takes the addresses of sp out, and puts others in their place. It tells whether any was there.
func (l *spanList) cut(sp span, instead []span) bool {
	from, to := l.overlapping(sp)
	var left, right []span
	for _, h := range l.spans[from:to] {
		if h.held {
			l.removed = append(l.removed, h)
		}
		for _, p := range h.minus(sp) {
			if p.lo.Less(sp.lo) {
				left = append(left, p)
			} else {
				right = append(right, p)
			}
		}
	}
	l.spans = slices.Replace(l.spans, from, to, slices.Concat(left, instead, right)...)
	return to > from
}

// minus is what remains of a without the addresses of b: up to two pieces, that the kernel does not have.
func (a span) minus(b span) []span {
	if b.hi.Less(a.lo) || a.hi.Less(b.lo) {
		return []span{a}
	}
	var out []span
	if a.lo.Less(b.lo) {
		out = append(out, span{lo: a.lo, hi: b.lo.Prev(), life: a.life})
	}
	if b.hi.Less(a.hi) {
		out = append(out, span{lo: b.hi.Next(), hi: a.hi, life: a.life})
	}
	return out
}

// changes is what must be removed and what added. A piece that has expired already is not added.
func (l *spanList) changes() (removed, added []span) {
	for _, sp := range l.spans {
		if !sp.held && (sp.life.timeout == 0 || sp.life.left > 0) {
			added = append(added, sp)
		}
	}
	return l.removed, added
}
