package space

import (
	"fmt"
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// maxHeld bounds the dynamic sets of a free space: each doubles the values along SrcIn and DstIn.
const maxHeld = 10

// NewFree is New with what dynamic sets hold left open: whether one holds the source or destination of a packet is part
// of the packet, along SrcIn and DstIn. What is true of a box then is true whatever the sets hold. The error is
// ErrTooComplex.
func NewFree(policies ...*policy.Policy) (*Space, error) {
	s := &Space{free: true}
	for _, p := range policies {
		s.hold(p.Block)
		for _, f := range p.Failsafe {
			s.hold(f.From)
		}
		for _, list := range p.Lists {
			for _, r := range list {
				s.hold(r.Match.From)
				s.hold(r.Match.To)
			}
		}
	}
	if len(s.held) > maxHeld {
		return nil, fmt.Errorf("%d dynamic sets: %w", len(s.held), ErrTooComplex)
	}
	return s.over(policies)
}

// hold notes the dynamic sets that addresses depend on.
func (s *Space) hold(a policy.Addrs) {
	for _, t := range a.Terms {
		for _, name := range slices.Concat(t.In, t.NotIn) {
			if i, found := slices.BinarySearch(s.held, name); !found {
				s.held = slices.Insert(s.held, i, name)
			}
		}
	}
}

// Held is the dynamic sets that a free space leaves open, sorted. A packet's number along SrcIn has the bit 1<<i where
// the set i holds its source.
func (s *Space) Held() []string { return s.held }

// alternative is addresses while dynamic sets hold them or do not.
type alternative struct {
	addrs addrset.Addrs
	held  Set
	any   bool // whatever dynamic sets hold
}

// cases is the addresses of a: those that it has while dynamic sets hold what is given, or in a free space each term
// by itself.
func (s *Space) cases(a policy.Addrs, given map[string]addrset.Addrs) []alternative {
	if !s.free {
		return []alternative{{addrs: Resolve(a, given), any: true}}
	}
	out := make([]alternative, 0, len(a.Terms))
	for _, t := range a.Terms {
		out = append(out, alternative{t.Static, s.holding(t), t.IsStatic()})
	}
	return out
}

// limit keeps the packets of a box whose source or destination is one of the addresses, false where none are left.
func (c *alternative) limit(b *Box, d Dim) bool {
	in := SrcIn
	if d == Dst {
		in = DstIn
	}
	return b.LimitAddrs(d, c.addrs) && (c.any || b.Limit(in, c.held))
}

// holding is the numbers along SrcIn or DstIn of what a term asks of dynamic sets.
func (s *Space) holding(t policy.Term) Set {
	if t.IsStatic() {
		return Set{}
	}
	bits := func(names []string) (n int) {
		for _, name := range names {
			i, _ := slices.BinarySearch(s.held, name)
			n |= 1 << i
		}
		return n
	}
	in, notIn := bits(t.In), bits(t.NotIn)
	var rs []addrset.Range[addrset.U32]
	for n := range 1 << len(s.held) {
		if n&in == in && n&notIn == 0 {
			rs = append(rs, addrset.Range[addrset.U32]{Lo: addrset.U32(n), Hi: addrset.U32(n)})
		}
	}
	return addrset.Of(rs...)
}
