package compile

import (
	"bytes"
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
			name, wild := strings.CutSuffix(string(p), "*")
			names := []string{name, name + "7", name[:max(0, len(name)-1)] + "~"}
			if len(name) > 0 {
				names = append(names, name[:len(name)-1])
			}
			if !wild && len(name) > 1 {
				names = append(names, "x"+name[1:])
			}
			for _, n := range names {
				give(value{dim: d, name: n[:min(len(n), 15)]})
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
	const perEnd, others = 5, 14 // others is of what has no ends: states, directions and so on
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

// picker draws values. Where everything will do it takes an address of the pool now and then, so that what is said of one
// dimension is met in another.
type picker struct {
	*rand.Rand
	pool4 []addrset.U32
	pool6 []addrset.U128
	tries []value // room for pickWord
}

// pick draws a value of all the shapes in a dimension and not of the one to avoid, if that is not nil; false where it finds none.
func (rng *picker) pick(d dim, six bool, within []*shape, avoid *shape) (v value, ok bool) {
	v.dim = d
	switch d {
	case dimSrc, dimDst:
		of := func(s *shape) addrset.Addrs {
			if d == dimSrc {
				return s.from
			}
			return s.to
		}
		if six {
			var k addrset.U128
			k, ok = pickSet(rng, within, avoid, func(s *shape) addrset.Set[addrset.U128] { return of(s).V6 }, rng.plain6)
			v.addr = k.Addr()
		} else {
			var k addrset.U32
			k, ok = pickSet(rng, within, avoid, func(s *shape) addrset.Set[addrset.U32] { return of(s).V4 }, rng.plain4)
			v.addr = k.Addr()
		}
	case dimKey:
		var k addrset.U32
		k, ok = pickSet(rng, within, avoid, func(s *shape) addrset.Set[addrset.U32] { return s.what(six) }, func() addrset.U32 { return rng.plainKey(six) })
		v.n = uint64(k)
	case dimSport:
		var k addrset.U16
		k, ok = pickSet(rng, within, avoid, func(s *shape) addrset.Set[addrset.U16] { return s.match.Sport }, rng.plainPort)
		v.n = uint64(k)
	default:
		return rng.pickWord(d, within, avoid)
	}
	return v, ok
}

// pickSet is pick where values are intervals: an end of one, or where all is taken mostly a plain value.
func pickSet[K addrset.Key[K]](rng *picker, within []*shape, avoid *shape, of func(*shape) addrset.Set[K], plain func() K) (k K, ok bool) {
	set := addrset.All[K]()
	for _, s := range within {
		if o := of(s); set.IsAll() || o.Len() < set.Len() {
			set = o
		}
	}
	good := func(k K) bool {
		for _, s := range within {
			if !of(s).Contains(k) {
				return false
			}
		}
		return avoid == nil || !of(avoid).Contains(k)
	}
	if set.IsAll() && rng.IntN(8) > 0 {
		if k = plain(); good(k) {
			return k, true
		}
	}
	if set.IsEmpty() {
		return k, false
	}
	for range 2 {
		if k = end(rng, set); good(k) {
			return k, true
		}
	}
	size := 0
	for _, s := range within {
		size += of(s).Len()
	}
	if avoid != nil {
		size += of(avoid).Len()
	}
	const exact = 4096 // ranges, beyond which looking for every gap takes too long
	if size > exact {
		return k, false
	}
	for _, s := range within {
		set = set.Intersect(of(s))
	}
	if avoid != nil {
		set = set.Minus(of(avoid))
	}
	if set.IsEmpty() {
		return k, false
	}
	return end(rng, set), true
}

// end draws the first or last key of a range.
func end[K addrset.Key[K]](rng *picker, set addrset.Set[K]) K {
	r := set.Ranges()[rng.IntN(set.Len())]
	if rng.IntN(2) == 0 {
		return r.Lo
	}
	return r.Hi
}

// Values that are no corner of anything in particular, or of something that is not asked about.

func (rng *picker) plain4() addrset.U32 {
	if len(rng.pool4) > 0 && rng.IntN(3) == 0 {
		return rng.pool4[rng.IntN(len(rng.pool4))]
	}
	return addrset.U32(rng.Uint32())
}

func (rng *picker) plain6() addrset.U128 {
	if len(rng.pool6) > 0 && rng.IntN(3) == 0 {
		return rng.pool6[rng.IntN(len(rng.pool6))]
	}
	return addrset.U128{Hi: 0x2001_0db8<<32 | uint64(rng.Uint32()), Lo: rng.Uint64()}
}

func (rng *picker) plainPort() addrset.U16 { return addrset.U16(rng.Uint32()) }

func (rng *picker) plainKey(six bool) addrset.U32 {
	switch rng.IntN(8) {
	case 0:
		if six {
			return policy.Key(policy.ProtoICMPv6, 128<<8)
		}
		return policy.Key(policy.ProtoICMP, 8<<8)
	case 1:
		return policy.Key(47, 0)
	case 2, 3:
		return policy.Key(policy.ProtoUDP, uint16(rng.Uint32()))
	}
	return policy.Key(policy.ProtoTCP, uint16(rng.Uint32()))
}

// pickWord is pick where values are words and numbers that a rule names one by one: it tries what the shapes name, also the one
// to avoid, and others.
func (rng *picker) pickWord(d dim, within []*shape, avoid *shape) (value, bool) {
	plain := avoid == nil
	for _, s := range within {
		plain = plain && s.open(d)
	}
	if plain {
		return rng.plainWord(d), true
	}
	tries := rng.tries[:0]
	take := func(s *shape) { s.corners(d, false, rng.Rand, 0, func(v value) { tries = append(tries, v) }) }
	for _, s := range within {
		take(s)
	}
	if avoid != nil {
		take(avoid)
	}
	tries = append(tries, rng.plainWord(d), rng.plainWord(d))
	rng.tries = tries
	from := rng.IntN(len(tries))
	for i := range tries {
		v := tries[(from+i)%len(tries)]
		pkt := policy.Packet{Socket: true}
		v.put(&pkt)
		good := avoid == nil || !avoid.has(&pkt, d)
		for _, s := range within {
			good = good && s.has(&pkt, d)
		}
		if good {
			return v, true
		}
	}
	return value{}, false
}

// plainWord is a value that most rules say nothing of.
func (rng *picker) plainWord(d dim) value {
	v := value{dim: d}
	switch d {
	case dimIIf, dimOIf:
		v.name = []string{"eth0", "eth1", "wan", "zz9"}[rng.IntN(4)]
	case dimMAC:
		v.mac, v.none = policy.MAC(bytes.Repeat([]byte{byte(2 * rng.IntN(100))}, 6)), rng.IntN(8) == 0
	case dimMark:
		v.n = uint64(rng.IntN(3)) * uint64(rng.Uint32())
	case dimUser, dimGroup:
		v.n = uint64(rng.IntN(3)) * uint64(rng.Uint32()&0xffff)
	case dimTime:
		v.n = 1_700_000_000
	}
	return v
}
