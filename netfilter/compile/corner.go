package compile

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// corners gives the values at and just beside the ends of everything that s says of a dimension; of long lists of ranges a share.
func (s *shape) corners(d dim, six bool, rng *rand.Rand, share float64, give func(value)) {
	m := s.match
	number := func(ns ...uint64) {
		for _, n := range ns {
			give(value{dim: d, n: n})
		}
	}
	none := func() { give(value{dim: d, none: true}) }
	switch d {
	case dimSrc, dimDst:
		parts := s.froms
		if d == dimDst {
			parts = s.tos
		}
		for _, a := range parts {
			s.addressCorners(d, a, six, rng, share, give)
		}
	case dimKey:
		ends(rng, share, s.what(six), func(k addrset.U32) { number(uint64(k)) }, func(k addrset.U32) addrset.U32 {
			// The same port of another protocol, the same type of the other family's ICMP.
			return policy.Key(akin(uint8(k>>16)), uint16(k))
		})
	case dimSport:
		if !m.Sport.IsAll() {
			ends(rng, share, m.Sport, func(k addrset.U16) { number(uint64(k)) }, func(k addrset.U16) addrset.U16 { return k ^ 1<<rng.IntN(16) })
		}
	case dimIIf, dimOIf:
		c := m.IIf
		if d == dimOIf {
			c = m.OIf
		}
		for _, p := range named(c) {
			is, not := namesLike(strings.CutSuffix(string(p), "*"))
			for _, n := range append(is, not...) {
				give(value{dim: d, name: n})
			}
		}
	case dimMAC:
		for _, a := range named(m.MAC) {
			first, last := a, a
			first[0] ^= 0x10
			last[5] ^= 1
			for _, a := range []policy.MAC{a, first, last} {
				give(value{dim: d, mac: a})
			}
			none()
		}
	case dimMark:
		for _, k := range named(m.Mark) {
			number(uint64(k.Value), uint64(k.Value|^k.Mask))
			if s.again || share < 1 {
				number(uint64(k.Value^1<<rng.IntN(32)), uint64(k.Value^1<<rng.IntN(32)))
				continue
			}
			for bit := range 32 {
				number(uint64(k.Value ^ 1<<bit))
			}
		}
	case dimUser, dimGroup:
		c := m.User
		if d == dimGroup {
			c = m.Group
		}
		for _, o := range named(c) {
			number(uint64(o.ID), uint64(o.ID-1), uint64(o.ID+1))
			none()
		}
	case dimTime:
		if s.expires != 0 {
			number(uint64(s.expires-1), uint64(s.expires), uint64(s.expires+1), 0)
		}
	}
}

// namesLike is names of interfaces: those that are one or, where it is wild, have it as a prefix; and others that are like it.
func namesLike(name string, wild bool) (is, not []string) {
	is = []string{name, name + "7"}
	not = []string{name[:max(0, len(name)-1)] + "~"}
	if len(name) > 0 {
		not = append(not, name[:len(name)-1])
	}
	if !wild {
		is, not = is[:1], append([]string{is[1]}, not...)
		if len(name) > 1 {
			not = append(not, "x"+name[1:])
		}
	}
	for _, names := range [][]string{is, not} {
		for i, n := range names {
			names[i] = n[:min(len(n), 15)]
		}
	}
	return is, not
}

// addressCorners is corners of a part of the addresses.
func (s *shape) addressCorners(d dim, a addrset.Addrs, six bool, rng *rand.Rand, share float64, give func(value)) {
	address := func(ip netip.Addr) { give(value{dim: d, addr: ip}) }
	switch {
	case six && !a.V6.IsAll():
		ends(rng, share, a.V6, func(k addrset.U128) { address(k.Addr()) }, func(k addrset.U128) addrset.U128 {
			if bit := rng.IntN(128); bit < 64 {
				k.Lo ^= 1 << bit
			} else {
				k.Hi ^= 1 << (bit - 64)
			}
			return k
		})
	case !six && !a.V4.IsAll():
		ends(rng, share, a.V4, func(k addrset.U32) { address(k.Addr()) }, func(k addrset.U32) addrset.U32 { return k ^ 1<<rng.IntN(32) })
	}
}

// akin is a protocol that is easily confused with another.
func akin(proto uint8) uint8 {
	switch proto {
	case policy.ProtoTCP:
		return policy.ProtoUDP
	case policy.ProtoUDP:
		return policy.ProtoTCP
	case policy.ProtoICMP:
		return policy.ProtoICMPv6
	case policy.ProtoICMPv6:
		return policy.ProtoICMP
	}
	return proto ^ 1
}

// named is what a choice takes and what it does not.
func named[T any](c policy.Choice[T]) []T {
	if c.IsAny() {
		return nil
	}
	return append(append([]T{}, c.Yes...), c.No...)
}

// ends gives the first and last key of every range, their neighbours outside, and one that is elsewhere.
func ends[K addrset.Key[K]](rng *rand.Rand, share float64, s addrset.Set[K], give func(K), elsewhere func(K) K) {
	ranges := s.Ranges()
	n := len(ranges)
	if share < 1 {
		n = int(math.Ceil(float64(n) * share))
	}
	for i := range n {
		r := ranges[i]
		if n < len(ranges) {
			r = ranges[rng.IntN(len(ranges))]
		}
		give(r.Lo)
		if r.Hi != r.Lo {
			give(r.Hi)
		}
		if r.Lo != r.Lo.First() {
			give(r.Lo.Prev())
		}
		if r.Hi != r.Hi.Last() {
			give(r.Hi.Next())
		}
		give(elsewhere(r.Lo))
	}
}

// count is how many witnesses s takes, about, where so many cells of a family are tried at most.
func (s *shape) count(most int) (n int) {
	const perEnd, others = 5, 12 // others is of what has no ends: states, directions and so on
	m := s.match
	words := perEnd * (len(named(m.IIf)) + len(named(m.OIf)) + len(named(m.MAC)) + len(named(m.Mark)) + len(named(m.User)) + len(named(m.Group)))
	for _, six := range []bool{false, true} {
		if !s.hasFamily(six) {
			n++
			continue
		}
		n += others + 32*len(named(m.Mark))
		src, dst := s.from.V4, s.to.V4
		ends, asked := s.what(six).Len(), 1
		add := func(ranges int, all bool) {
			if !all {
				ends += ranges
				asked++
			}
		}
		if six {
			add(s.from.V6.Len(), s.from.V6.IsAll())
			add(s.to.V6.Len(), s.to.V6.IsAll())
		} else {
			add(src.Len(), src.IsAll())
			add(dst.Len(), dst.IsAll())
		}
		add(m.Sport.Len(), m.Sport.IsAll())
		switch cells := s.cellsOf(six, most); {
		case cells == 1:
			n += perEnd*ends + words
		case cells <= most:
			n += cells * (perEnd*asked + words)
		default:
			n += most*(perEnd*asked+words) + perEnd*ends
		}
	}
	return n
}
