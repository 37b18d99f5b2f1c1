package compile

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// region is packets of the compiled form, by what they have been asked: some fields lie in spans.
type region struct {
	dir   policy.Dir
	proto uint8 // NFProto, 0 for both
	spans [axes]extent
	rest  []ruleset.Expr // what is asked besides
	at    *corner        // what a packet drawn has, whatever is asked; nil for nothing
}

// extent is the values of a field from Lo to Hi, as numbers.
type extent = addrset.Range[addrset.U128]

// The fields that have spans.
const (
	axisSrc = iota
	axisDst
	axisProto
	axisDport
	axisSport
	axes
)

// axisOf is the axis of a field, and the family that has it; false where a field has none.
func axisOf(f ruleset.Field) (axis int, proto uint8, ok bool) {
	switch f {
	case ruleset.Saddr4:
		return axisSrc, ruleset.IPv4, true
	case ruleset.Saddr6:
		return axisSrc, ruleset.IPv6, true
	case ruleset.Daddr4:
		return axisDst, ruleset.IPv4, true
	case ruleset.Daddr6:
		return axisDst, ruleset.IPv6, true
	case ruleset.L4Proto:
		return axisProto, 0, true
	case ruleset.Dport:
		return axisDport, 0, true
	case ruleset.Sport:
		return axisSport, 0, true
	}
	return 0, 0, false
}

// anywhere is all packets of a direction.
func anywhere(dir policy.Dir) region {
	all := func(n uint64) extent { return extent{Hi: addrset.U128{Lo: n}} }
	addr := extent{Hi: addrset.U128{}.Last()}
	return region{dir: dir, spans: [axes]extent{addr, addr, all(255), all(1<<16 - 1), all(1<<16 - 1)}}
}

// number is a value as a number.
func number(v []byte) addrset.U128 {
	var b [16]byte
	copy(b[len(b)-len(v):], v)
	return addrset.U128{Hi: binary.BigEndian.Uint64(b[:8]), Lo: binary.BigEndian.Uint64(b[8:])}
}

// under is the values that are one value under a mask, whose gaps count as open.
func under(v, mask []byte) extent {
	s := extent{Lo: number(v), Hi: number(v)}
	if mask != nil {
		open := make([]byte, len(mask))
		for i, m := range mask {
			open[i] = ^m
		}
		n := number(open)
		s.Hi = addrset.U128{Hi: s.Hi.Hi | n.Hi, Lo: s.Hi.Lo | n.Lo}
	}
	return s
}

// asked is the packets of r for which an expression goes on; false where there are none.
func (r region) asked(e ruleset.Expr) (region, bool) {
	switch e := e.(type) {
	case ruleset.Cmp:
		if e.Field == ruleset.NFProto && e.Op == ruleset.Eq {
			return r, r.of(e.Value[0])
		}
		if axis, proto, ok := axisOf(e.Field); ok && e.Op == ruleset.Eq {
			return r, r.of(proto) && r.narrow(axis, under(e.Value, e.Mask))
		}
	case ruleset.In:
		axis, proto, ok := axisOf(e.Field)
		if !ok || e.Not {
			break
		}
		if !r.of(proto) {
			return r, false
		}
		var hull extent
		met := 0
		for _, i := range e.Elems {
			s := extent{Lo: number(i.Lo), Hi: number(i.Hi)}
			if _, meets := meet(r.spans[axis], s); !meets {
				continue
			}
			if met++; met == 1 {
				hull = s
			}
			hull.Hi = s.Hi
		}
		if met == 0 || !r.narrow(axis, hull) {
			return r, false
		}
		if met == 1 {
			return r, true
		}
	}
	r.rest = append(slices.Clip(r.rest), e)
	return r, true
}

// all is the packets of r for which all expressions go on, as far as r can tell.
func (r region) all(exprs []ruleset.Expr) (region, bool) {
	ok := true
	for _, e := range exprs {
		if r, ok = r.asked(e); !ok {
			return r, false
		}
	}
	return r, true
}

// keyed is the packets of r that have the key of an element.
func (r region) keyed(ref *ruleset.VMapRef, e *ruleset.MapElem) (region, bool) {
	lo, ok := e.Lo, true
	for i := range ref.Keys {
		k := &ref.Keys[i]
		n := k.Field.Size()
		axis, proto, has := axisOf(k.Field)
		if has {
			ok = r.of(proto) && r.narrow(axis, under(lo[:n], k.Mask))
		} else {
			r, ok = r.asked(ruleset.Cmp{Field: k.Field, Mask: k.Mask, Value: lo[:n]})
		}
		if !ok {
			return r, false
		}
		lo = lo[n:]
	}
	return r, true
}

// of leaves packets of a family, or of both where proto is 0; false where there are none.
func (r *region) of(proto uint8) bool {
	if r.proto == 0 {
		r.proto = proto
	}
	return proto == 0 || r.proto == proto
}

// narrow leaves packets with a field in a span; false where there are none.
func (r *region) narrow(axis int, s extent) (ok bool) {
	r.spans[axis], ok = meet(r.spans[axis], s)
	return ok
}

func meet(a, b extent) (extent, bool) {
	if less(a.Lo, b.Lo) {
		a.Lo = b.Lo
	}
	if less(b.Hi, a.Hi) {
		a.Hi = b.Hi
	}
	return a, !less(a.Hi, a.Lo)
}

// overlap tells whether two extents have values in common.
func overlap(a, b *extent) bool { return !less(a.Hi, b.Lo) && !less(b.Hi, a.Lo) }

func less(a, b addrset.U128) bool { return a.Hi < b.Hi || a.Hi == b.Hi && a.Lo < b.Lo }

// meets tells whether r and o have packets in common, as far as they can tell. Any number of regions do of which every two do.
func (r *region) meets(o *region) bool {
	if r.proto != o.proto && r.proto != 0 && o.proto != 0 {
		return false
	}
	for i := range r.spans {
		if !overlap(&r.spans[i], &o.spans[i]) {
			return false
		}
	}
	return true
}

// and leaves packets that are in o, too, which r meets.
func (r *region) and(o *region) {
	r.of(o.proto)
	for i, s := range o.spans {
		r.narrow(i, s)
	}
	if len(o.rest) > 0 {
		r.rest = append(slices.Clip(r.rest), o.rest...)
	}
	if o.at != nil {
		r.at = o.at
	}
}

// has tells whether a packet is in r, as far as spans go.
func (r *region) has(pkt *policy.Packet) bool {
	if r.proto != 0 && pkt.Is6() != (r.proto == ruleset.IPv6) {
		return false
	}
	for i, s := range r.spans {
		var n addrset.U128
		switch i {
		case axisSrc:
			n = numberOf(pkt.Src)
		case axisDst:
			n = numberOf(pkt.Dst)
		case axisProto:
			n.Lo = uint64(pkt.Proto)
		case axisDport:
			n.Lo = uint64(pkt.Dport)
		case axisSport:
			n.Lo = uint64(pkt.Sport)
		}
		if less(n, s.Lo) || less(s.Hi, n) {
			return false
		}
	}
	return true
}

func numberOf(a netip.Addr) addrset.U128 {
	if a.Is4() {
		return addrset.U128{Lo: uint64(addrset.V4(a))}
	}
	return addrset.V6(a)
}
