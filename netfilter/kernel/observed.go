package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// Observed is the table as the kernel has it.
type Observed struct {
	Generation uint32 // of the moment it was read
	Exists     bool

	Owner   uint32 // netlink port of the socket that owns the table; 0 for none
	Owned   bool   // the owner is this Conn
	Persist bool   // the table outlives its owner
	Orphan  bool   // Persist without an owner: whoever comes next may own it

	// Ruleset is the content, with the counters' values; nil where the table does not exist.
	Ruleset *ruleset.Ruleset
	// Unread names the sets whose elements are not in Ruleset: true where they were too many to read, false where they are not as
	// a Ruleset would have them.
	Unread map[string]bool
	// Foreign describes what is in the table and cannot be ours. A rule of it stands in Ruleset as a rule without
	// expressions, so that it differs from any that is wanted.
	Foreign []string

	handle  uint64 // of the table
	handles map[string][]uint64
	alien   bool // there is something that only replacing the table takes away
}

// table is what the kernel says of the table itself.
type table struct {
	exists bool
	flags  uint32
	owner  uint32
	handle uint64
}

// table asks for the table. One that does not exist is no error.
func (s *socket) table(ctx context.Context) (table, error) {
	var t table
	err := s.request(ctx, unix.NFT_MSG_GETTABLE, false, func(b *builder) { b.str(unix.NFTA_TABLE_NAME, b.table) }, nil,
		func(m message) error {
			t.exists = true
			for a := range attrs(m.body) {
				switch a.typ {
				case unix.NFTA_TABLE_FLAGS:
					t.flags = uint32(a.num())
				case tableHandle:
					t.handle = a.num()
				case tableOwnerID:
					t.owner = uint32(a.num())
				}
			}
			return nil
		})
	if errors.Is(err, unix.ENOENT) {
		return table{}, nil
	}
	return t, wrapRead("table", err)
}

const tableHandle = 4 // NFTA_TABLE_HANDLE

// generation asks for the generation.
func (s *socket) generation(ctx context.Context) (gen uint32, err error) {
	err = s.request(ctx, unix.NFT_MSG_GETGEN, false, nil, nil, func(m message) error {
		gen = uint32(number(find(m.body, unix.NFTA_GEN_ID)))
		return nil
	})
	return gen, wrapRead("generation", err)
}

// settled asks for the generation once no commit is under way any more. The kernel raises it before it has carried a commit out: for some
// time, milliseconds where thousands of elements go, it answers with the new generation and what was before, such as a set's count.
// A transaction that does nothing waits for that, and has no generation of its own.
func (s *socket) settled(ctx context.Context) (gen uint32, err error) {
	b := newBatch(s.about, s.nextSeq(), 0)
	b.finish(true)
	s.seq = b.seq
	if err := s.send(b.buf); err != nil {
		return 0, err
	}
	return s.generation(ctx)
}

func wrapRead(what string, err error) error {
	if err == nil {
		return nil
	}
	var errno unix.Errno
	if errors.As(err, &errno) && hint(errno) != "" {
		return fmt.Errorf("read the %s: %w (%s)", what, err, hint(errno))
	}
	return fmt.Errorf("read the %s: %w", what, err)
}

// observe reads the table, once: it does not see to it that all is of one generation.
func (c *Conn) observe(ctx context.Context) (*Observed, error) {
	gen, err := c.read.settled(ctx)
	if err != nil {
		return nil, err
	}
	t, err := c.read.table(ctx)
	if err != nil {
		return nil, err
	}
	o := &Observed{
		Generation: gen,
		Exists:     t.exists,
		Owner:      t.owner,
		Owned:      t.owner != 0 && t.owner == c.write.port,
		Persist:    t.flags&tablePersist != 0,
		Orphan:     t.exists && t.flags&(tablePersist|tableOwner) == tablePersist,
		handle:     t.handle,
	}
	if !t.exists {
		return o, nil
	}
	o.Ruleset = new(ruleset.Ruleset)
	o.Unread = make(map[string]bool)
	o.handles = make(map[string][]uint64)
	r := reader{Conn: c, Observed: o}
	if t.flags&unix.NFT_TABLE_F_DORMANT != 0 {
		r.foreign("the table is dormant: its rules see no packet")
	}
	if r.decoder, err = newDecoder(); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{r.chains, r.sets, r.objects, r.rules} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// reader fills an Observed.
type reader struct {
	*Conn
	*Observed
	decoder *decoder
}

// foreign notes something that cannot be ours and that goes with the table only.
func (r *reader) foreign(format string, args ...any) {
	r.alien = true
	r.Foreign = append(r.Foreign, fmt.Sprintf(format, args...))
}

func (r *reader) chains(ctx context.Context) error {
	return wrapRead("chains", r.read.request(ctx, unix.NFT_MSG_GETCHAIN, true,
		func(b *builder) { b.str(unix.NFTA_CHAIN_TABLE, b.table) },
		func() { r.Ruleset.Chains = nil },
		func(m message) error {
			var c ruleset.Chain
			var hook, policy []byte
			var table, typ string
			for a := range attrs(m.body) {
				switch a.typ {
				case unix.NFTA_CHAIN_TABLE:
					table = a.str()
				case unix.NFTA_CHAIN_NAME:
					c.Name = a.str()
				case unix.NFTA_CHAIN_HOOK:
					hook = a.data
				case unix.NFTA_CHAIN_POLICY:
					policy = a.data
				case unix.NFTA_CHAIN_TYPE:
					typ = a.str()
				}
			}
			if table != r.opt.Table {
				return nil
			}
			if hook != nil {
				c.Hook = &ruleset.Hook{
					Point:    ruleset.HookPoint(number(find(hook, unix.NFTA_HOOK_HOOKNUM))),
					Priority: int32(number(find(hook, unix.NFTA_HOOK_PRIORITY))),
					Drop:     number(policy) == 0,
				}
				if typ != "filter" || c.Hook.Point > ruleset.Postrouting {
					r.foreign("chain %s of type %s", c.Name, typ)
				}
			}
			r.Ruleset.Chains = append(r.Ruleset.Chains, &c)
			return nil
		}))
}

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

func (r *reader) objects(ctx context.Context) error {
	return wrapRead("counters", r.read.request(ctx, unix.NFT_MSG_GETOBJ, true,
		func(b *builder) { b.str(unix.NFTA_OBJ_TABLE, b.table) },
		func() { r.Ruleset.Counters, r.Ruleset.Limits = nil, nil },
		func(m message) error {
			o := parseObject(m.body)
			if o.table != r.opt.Table {
				return nil
			}
			switch o.typ {
			case unix.NFT_OBJECT_COUNTER:
				r.Ruleset.Counters = append(r.Ruleset.Counters, o.counter())
			case unix.NFT_OBJECT_LIMIT:
				args := make(map[uint16][]byte)
				for a := range attrs(o.data) {
					args[a.typ] = a.data
				}
				rate, err := decodeRate(rawExpr{"limit", args})
				if err != nil {
					r.foreign("limit %s: %v", o.name, err)
				}
				r.Ruleset.Limits = append(r.Ruleset.Limits, ruleset.LimitObject{Name: o.name, Rate: rate})
			default:
				r.foreign("object %s of type %d", o.name, o.typ)
			}
			return nil
		}))
}

// object is a stateful object, as the kernel sends it.
type object struct {
	table, name string
	typ         uint32
	data        []byte
}

func parseObject(b []byte) object {
	var o object
	for a := range attrs(b) {
		switch a.typ {
		case unix.NFTA_OBJ_TABLE:
			o.table = a.str()
		case unix.NFTA_OBJ_NAME:
			o.name = a.str()
		case unix.NFTA_OBJ_TYPE:
			o.typ = uint32(a.num())
		case unix.NFTA_OBJ_DATA:
			o.data = a.data
		}
	}
	return o
}

func (o object) counter() ruleset.Counter {
	return ruleset.Counter{
		Name:    o.name,
		Packets: number(find(o.data, unix.NFTA_COUNTER_PACKETS)),
		Bytes:   number(find(o.data, unix.NFTA_COUNTER_BYTES)),
	}
}

func (r *reader) rules(ctx context.Context) error {
	byName := make(map[string]*ruleset.Chain)
	for _, c := range r.Ruleset.Chains {
		byName[c.Name] = c
		r.handles[c.Name] = nil
	}
	foreign := len(r.Foreign)
	return wrapRead("rules", r.read.rules(ctx, "",
		func() {
			for name, c := range byName {
				c.Rules, r.handles[name] = nil, nil
			}
			r.Foreign = r.Foreign[:foreign]
		},
		func(chain string, handle uint64, m message) {
			c := byName[chain]
			if c == nil {
				return // made since the chains were read: the generation tells
			}
			rule := &ruleset.Rule{Comment: udataText(find(m.body, unix.NFTA_RULE_USERDATA), udataRuleComment)}
			var err error
			if rule.Exprs, err = r.decoder.rule(find(m.body, unix.NFTA_RULE_EXPRESSIONS)); err != nil {
				r.Foreign = append(r.Foreign, fmt.Sprintf("rule %d %s: %v", handle, ruleName(chain, rule), err))
				rule.Exprs = nil
			}
			c.Rules = append(c.Rules, rule)
			r.handles[chain] = append(r.handles[chain], handle)
		}))
}

// rules reads the rules of the table, or of one chain of it.
func (s *socket) rules(ctx context.Context, chain string, again func(), each func(chain string, handle uint64, m message)) error {
	return s.request(ctx, unix.NFT_MSG_GETRULE, true,
		func(b *builder) {
			b.str(unix.NFTA_RULE_TABLE, b.table)
			if chain != "" {
				b.str(unix.NFTA_RULE_CHAIN, chain)
			}
		},
		again,
		func(m message) error {
			var table, in string
			var handle uint64
			for a := range attrs(m.body) {
				switch a.typ {
				case unix.NFTA_RULE_TABLE:
					table = a.str()
				case unix.NFTA_RULE_CHAIN:
					in = a.str()
				case unix.NFTA_RULE_HANDLE:
					handle = a.num()
				}
			}
			if table == s.about && (chain == "" || chain == in) {
				each(in, handle, m)
			}
			return nil
		})
}
