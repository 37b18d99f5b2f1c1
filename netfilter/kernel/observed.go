package kernel

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
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
