package compile

import (
	"math/rand/v2"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

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
	var k4 addrset.U32
	var k6 addrset.U128
	v.dim = d
	switch {
	case d == dimSrc && six:
		k6, ok = pickSet(rng, within, avoid, (*shape).src6, (*picker).plain6)
		v.addr = k6.Addr()
	case d == dimSrc:
		k4, ok = pickSet(rng, within, avoid, (*shape).src4, (*picker).plain4)
		v.addr = k4.Addr()
	case d == dimDst && six:
		k6, ok = pickSet(rng, within, avoid, (*shape).dst6, (*picker).plain6)
		v.addr = k6.Addr()
	case d == dimDst:
		k4, ok = pickSet(rng, within, avoid, (*shape).dst4, (*picker).plain4)
		v.addr = k4.Addr()
	case d == dimKey && six:
		k4, ok = pickSet(rng, within, avoid, (*shape).key6, (*picker).plainKey6)
		v.n = uint64(k4)
	case d == dimKey:
		k4, ok = pickSet(rng, within, avoid, (*shape).key4, (*picker).plainKey4)
		v.n = uint64(k4)
	case d == dimSport:
		var k addrset.U16
		k, ok = pickSet(rng, within, avoid, (*shape).sport, (*picker).plainPort)
		v.n = uint64(k)
	default:
		return rng.pickWord(d, within, avoid)
	}
	return v, ok
}

// pickSet is pick where values are intervals: an end of one, or where all is taken mostly a plain value.
func pickSet[K addrset.Key[K]](rng *picker, within []*shape, avoid *shape, of func(*shape) addrset.Set[K], plain func(*picker) K) (k K, ok bool) {
	var set addrset.Set[K] // the one of fewest ranges
	all := true
	for _, s := range within {
		if o := of(s); !o.IsAll() && (all || o.Len() < set.Len()) {
			set, all = o, false
		}
	}
	if !all && set.IsEmpty() {
		return k, false
	}
	for range 2 {
		if all {
			k = anyOf(rng, plain)
		} else {
			k = end(rng, set)
		}
		if good(k, within, avoid, of) {
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
	if all {
		set = addrset.All[K]()
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

// good tells whether all shapes take a key, but for the one to avoid.
func good[K addrset.Key[K]](k K, within []*shape, avoid *shape, of func(*shape) addrset.Set[K]) bool {
	for _, s := range within {
		if !of(s).Contains(k) {
			return false
		}
	}
	return avoid == nil || !of(avoid).Contains(k)
}

// end draws the first or last key of a range.
func end[K addrset.Key[K]](rng *picker, set addrset.Set[K]) K {
	r := set.Ranges()[rng.IntN(set.Len())]
	if rng.IntN(2) == 0 {
		return r.Lo
	}
	return r.Hi
}

// anyOf draws any key: mostly a plain one, else the first or the last of all.
func anyOf[K addrset.Key[K]](rng *picker, plain func(*picker) K) (k K) {
	switch rng.IntN(16) {
	case 0:
		return k.First()
	case 1:
		return k.Last()
	}
	return plain(rng)
}

// any gives a packet any value in a dimension.
func (rng *picker) any(pkt *policy.Packet, d dim, six bool) {
	switch {
	case d == dimKey && six:
		setKey(pkt, anyOf(rng, (*picker).plainKey6))
	case d == dimKey:
		setKey(pkt, anyOf(rng, (*picker).plainKey4))
	case d == dimSport:
		if policy.HasPorts(pkt.Proto) {
			pkt.Sport = uint16(anyOf(rng, (*picker).plainPort))
		}
	case d > dimSport:
		rng.plainWord(d).put(pkt)
	default:
		addr := &pkt.Src
		if d == dimDst {
			addr = &pkt.Dst
		}
		if six {
			*addr = anyOf(rng, (*picker).plain6).Addr()
		} else {
			*addr = anyOf(rng, (*picker).plain4).Addr()
		}
	}
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

func (rng *picker) plainKey4() addrset.U32 { return rng.plainKey(policy.Key(policy.ProtoICMP, 8<<8)) }
func (rng *picker) plainKey6() addrset.U32 {
	return rng.plainKey(policy.Key(policy.ProtoICMPv6, 128<<8))
}

func (rng *picker) plainKey(ping addrset.U32) addrset.U32 {
	switch rng.IntN(8) {
	case 0:
		return ping
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
		v.name = [...]string{"eth0", "eth1", "wan", "zz9"}[rng.IntN(4)]
	case dimMAC:
		b := byte(2 * rng.IntN(100))
		v.mac, v.none = policy.MAC{b, b, b, b, b, b}, rng.IntN(8) == 0
	case dimMark:
		v.n = uint64(rng.IntN(3)) * uint64(rng.Uint32())
	case dimUser, dimGroup:
		v.n = uint64(rng.IntN(3)) * uint64(rng.Uint32()&0xffff)
	case dimTime:
		v.n = 1_700_000_000
	}
	return v
}
