package decide

import (
	"encoding/binary"
	"net/netip"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/sieve"
)

// axis is a dimension of packets that a rule may be told from others by.
type axis uint8

const (
	src axis = iota
	dst
	what
	sport
	iif
	oif
	mac
	mark
	user
	group
	axes
)

// statics is addresses whatever dynamic sets hold, by where their terms lie in memory: many rules share a set.
type statics map[termList]addrset.Addrs

type termList struct {
	first *policy.Term
	n     int
}

func (known statics) of(a policy.Addrs) (most addrset.Addrs) {
	switch len(a.Terms) {
	case 0:
		return most
	case 1:
		return a.Terms[0].Static
	}
	list := termList{&a.Terms[0], len(a.Terms)}
	most, ok := known[list]
	if !ok {
		for _, t := range a.Terms {
			most = most.Union(t.Static)
		}
		known[list] = most
	}
	return most
}

// ranges is the keys on an axis that a match takes, and maybe more; false where it takes any, or most.
func (known statics) ranges(m *policy.Match, x axis) (out []sieve.Range, ok bool) {
	add := func(lo, hi uint64) { out = append(out, sieve.Range{Lo: sieve.Key{Lo: lo}, Hi: sieve.Key{Lo: hi}}) }
	switch x {
	case src:
		return addresses(known.of(m.From))
	case dst:
		return addresses(known.of(m.To))
	case what:
		for family, set := range []addrset.Set[addrset.U32]{m.What.V4, m.What.V6} {
			for _, r := range set.Ranges() {
				out = append(out, sieve.Range{Lo: sieve.Key{Hi: uint64(family), Lo: uint64(r.Lo)}, Hi: sieve.Key{Hi: uint64(family), Lo: uint64(r.Hi)}})
			}
		}
		return out, !m.What.IsAny()
	case sport:
		for _, r := range m.Sport.Ranges() {
			add(uint64(r.Lo), uint64(r.Hi))
		}
		return out, !m.Sport.IsAll()
	case iif:
		return names(m.IIf.Yes)
	case oif:
		return names(m.OIf.Yes)
	case mac:
		for _, a := range m.MAC.Yes {
			add(keyOfMAC(a), keyOfMAC(a))
		}
	case mark:
		for _, k := range m.Mark.Yes {
			add(uint64(k.Value), uint64(k.Value|^k.Mask))
		}
	case user:
		for _, o := range m.User.Yes {
			add(uint64(o.ID), uint64(o.ID))
		}
	case group:
		for _, o := range m.Group.Yes {
			add(uint64(o.ID), uint64(o.ID))
		}
	}
	return out, out != nil
}

func addresses(a addrset.Addrs) (out []sieve.Range, ok bool) {
	for _, r := range a.V4.Ranges() {
		out = append(out, sieve.Range{Lo: keyOf(r.Lo.Addr()), Hi: keyOf(r.Hi.Addr())})
	}
	for _, r := range a.V6.Ranges() {
		out = append(out, sieve.Range(r))
	}
	return out, !a.IsAll()
}

func names(patterns []policy.Pattern) (out []sieve.Range, ok bool) {
	for _, p := range patterns {
		name, wild := strings.CutSuffix(string(p), "*")
		r := sieve.Range{Lo: keyOfName(name, 0), Hi: keyOfName(name, 0)}
		if wild {
			r.Hi = keyOfName(name, 0xff)
		}
		out = append(out, r)
	}
	return out, out != nil
}

// keyOn is a packet's place on an axis, false where it has none.
func keyOn(x axis, pkt *policy.Packet) (sieve.Key, bool) {
	switch x {
	case src:
		return keyOf(pkt.Src), true
	case dst:
		return keyOf(pkt.Dst), true
	case what:
		k := sieve.Key{Lo: uint64(pkt.Key())}
		if pkt.Is6() {
			k.Hi = 1
		}
		return k, true
	case sport:
		return sieve.Key{Lo: uint64(pkt.Sport)}, true
	case iif:
		return keyOfName(pkt.IIf, 0), true
	case oif:
		return keyOfName(pkt.OIf, 0), true
	case mac:
		return sieve.Key{Lo: keyOfMAC(pkt.MAC)}, pkt.HasMAC
	case mark:
		return sieve.Key{Lo: uint64(pkt.Mark)}, true
	case user:
		return sieve.Key{Lo: uint64(pkt.UID)}, pkt.Socket
	}
	return sieve.Key{Lo: uint64(pkt.GID)}, pkt.Socket
}

// keyOf is an address as a key; of an IPv4 address, its mapped form.
func keyOf(a netip.Addr) sieve.Key {
	b := a.As16()
	return sieve.Key{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// keyOfName is the first 16 bytes of a name, what is missing filled up.
func keyOfName(name string, rest byte) sieve.Key {
	var b [16]byte
	for i := copy(b[:], name); i < len(b); i++ {
		b[i] = rest
	}
	return sieve.Key{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

func keyOfMAC(a policy.MAC) uint64 {
	return binary.BigEndian.Uint64([]byte{0, 0, a[0], a[1], a[2], a[3], a[4], a[5]})
}
