package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// setHeader is a set without its elements, as the kernel sends it.
type setHeader struct {
	table, name      string
	flags, typ, data uint32 // data: the type of what a map's keys lead to
	desc, udata      []byte
	timeout          uint64 // milliseconds
	count            uint64 // of elements, where the kernel tells
	counted, special bool   // special: more than a set of keys
}

// Attributes of a set that the library does not name.
const (
	setExpr        = 17 // NFTA_SET_EXPR
	setExpressions = 18 // NFTA_SET_EXPRESSIONS
	setCount       = 20 // NFTA_SET_COUNT, 6.16
)

func parseSet(b []byte) setHeader {
	var h setHeader
	for a := range attrs(b) {
		switch a.typ {
		case unix.NFTA_SET_TABLE:
			h.table = a.str()
		case unix.NFTA_SET_NAME:
			h.name = a.str()
		case unix.NFTA_SET_FLAGS:
			h.flags = uint32(a.num())
		case unix.NFTA_SET_KEY_TYPE:
			h.typ = uint32(a.num())
		case unix.NFTA_SET_DATA_TYPE:
			h.data = uint32(a.num())
		case unix.NFTA_SET_DESC:
			h.desc = append([]byte(nil), a.data...)
		case unix.NFTA_SET_USERDATA:
			h.udata = append([]byte(nil), a.data...)
		case unix.NFTA_SET_TIMEOUT:
			h.timeout = a.num()
		case setCount:
			h.count, h.counted = a.num(), true
		case unix.NFTA_SET_OBJ_TYPE, setExpr, setExpressions:
			h.special = true
		}
	}
	return h
}

// model is the set of the rule set, and whether it is one.
func (h setHeader) model() (*ruleset.Set, bool) {
	s := &ruleset.Set{
		Name:     h.name,
		V6:       h.typ == typeIPv6,
		Interval: h.flags&unix.NFT_SET_INTERVAL != 0,
		Timed:    h.flags&unix.NFT_SET_TIMEOUT != 0,
		Packets:  h.flags&unix.NFT_SET_EVAL != 0,
		Timeout:  h.timeout / 1000,
		Size:     uint32(number(find(h.desc, unix.NFTA_SET_DESC_SIZE))),
		Comment:  udataText(h.udata, udataSetComment),
	}
	s.Dynamic = s.Timed || s.Packets
	const known = unix.NFT_SET_INTERVAL | unix.NFT_SET_TIMEOUT | unix.NFT_SET_EVAL
	return s, !h.special && h.flags&^known == 0 && (h.typ == typeIPv4 || h.typ == typeIPv6)
}

// udataText is a text among user data, "" where there is none.
func udataText(b []byte, typ byte) string {
	for len(b) >= 2 && len(b) >= 2+int(b[1]) {
		if b[0] == typ {
			return strings.TrimRight(string(b[2:2+int(b[1])]), "\x00")
		}
		b = b[2+int(b[1]):]
	}
	return ""
}

func (r *reader) sets(ctx context.Context) error {
	var headers []setHeader
	err := r.read.request(ctx, unix.NFT_MSG_GETSET, true,
		func(b *builder) { b.str(unix.NFTA_SET_TABLE, b.table) },
		func() { headers = nil },
		func(m message) error {
			if h := parseSet(m.body); h.table == r.opt.Table {
				headers = append(headers, h)
			}
			return nil
		})
	if err != nil {
		return wrapRead("sets", err)
	}
	for _, h := range headers {
		if err := r.set(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) set(ctx context.Context, h setHeader) error {
	if h.flags&unix.NFT_SET_ANONYMOUS != 0 {
		elems, _, err := r.elements(ctx, h.name, 0)
		if err != nil {
			return err
		}
		interval := h.flags&unix.NFT_SET_INTERVAL != 0
		r.decoder.sets[h.name] = &anonymous{interval: interval, elems: pair(elems, interval)}
		return nil
	}
	if h.flags&unix.NFT_SET_MAP != 0 {
		return r.verdictMap(ctx, h)
	}
	s, ours := h.model()
	if !ours {
		r.foreign("set %s", h.name)
		return nil
	}
	r.Ruleset.Sets = append(r.Ruleset.Sets, s)
	if s.Dynamic {
		return nil
	}
	if h.counted && h.count > uint64(r.opt.MaxElems) {
		r.Unread[s.Name] = true
		return nil
	}
	elems, all, err := r.elements(ctx, h.name, r.opt.MaxElems)
	if err != nil {
		return err
	}
	elems = pair(elems, s.Interval)
	var asWanted bool
	if s.V6 {
		s.Elems6, asWanted = ranges(elems, s.Interval, func(b []byte) addrset.U128 {
			return addrset.U128{Hi: binary.BigEndian.Uint64(b), Lo: binary.BigEndian.Uint64(b[8:])}
		}, 16)
	} else {
		s.Elems4, asWanted = ranges(elems, s.Interval, func(b []byte) addrset.U32 { return addrset.U32(binary.BigEndian.Uint32(b)) }, 4)
	}
	if !all || !asWanted {
		s.Elems4, s.Elems6 = addrset.Set[addrset.U32]{}, addrset.Set[addrset.U128]{}
		r.Unread[s.Name] = !all
	}
	return nil
}

// ranges turns elements into a set of addresses. asWanted is false where the kernel has them in other pieces than an encoded
// set would be.
func ranges[K addrset.Key[K]](elems []setElement, interval bool, decode func([]byte) K, size int) (_ addrset.Set[K], asWanted bool) {
	rs := make([]addrset.Range[K], 0, len(elems))
	for _, e := range elems {
		if len(e.lo) != size || interval && len(e.hi) != size {
			return addrset.Set[K]{}, false
		}
		r := addrset.Range[K]{Lo: decode(e.lo), Hi: decode(e.lo)}
		if interval {
			r.Hi = decode(e.hi)
		}
		rs = append(rs, r)
	}
	set := addrset.Of(rs...)
	return set, !interval || set.Len() == len(elems)
}

// errEnough ends the reading of a set that turns out too large.
var errEnough = errors.New("enough elements")

// elements reads a set's elements, at most limit where that is not 0. all is false where there were more.
func (c *Conn) elements(ctx context.Context, set string, limit int) (elems []setElement, all bool, err error) {
	// Of an interval set each element comes with its end.
	err = c.read.request(ctx, unix.NFT_MSG_GETSETELEM, true,
		func(b *builder) {
			b.str(unix.NFTA_SET_ELEM_LIST_TABLE, b.table)
			b.str(unix.NFTA_SET_ELEM_LIST_SET, set)
		},
		func() { elems = nil },
		func(m message) error {
			for e := range attrs(find(m.body, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
				elems = append(elems, parseElement(e.data))
			}
			if limit != 0 && len(elems) > 2*limit {
				return errEnough
			}
			return nil
		})
	if errors.Is(err, errEnough) {
		// The rest of the dump would have to be read: another socket is cheaper.
		return nil, false, c.reopen()
	}
	return elems, true, wrapRead("elements of set "+set, err)
}
