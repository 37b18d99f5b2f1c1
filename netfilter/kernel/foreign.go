package kernel

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// Table is a table of anybody's, as far as it matters to whom it lets through.
type Table struct {
	Family  string // inet, ip, ip6, arp, bridge or netdev
	Name    string
	Dormant bool // its chains are there, and see no packet
	Chains  []TableChain
}

// TableChain is a chain of a Table; a base chain where Hook is set.
type TableChain struct {
	Name  string
	Hook  *TableHook
	Rules []TableRule
}

// TableHook is where a base chain stands.
type TableHook struct {
	Point    string // prerouting, input, forward, output, postrouting, ingress or egress
	Type     string // filter, nat or route
	Priority int32
	Drop     bool // the chain's policy
	Devices  []string
}

// TableRule is what a rule can do to a packet that it matches; what it matches is left out.
type TableRule struct {
	Handle uint64
	Does   []Deed
}

// Deed is a thing that a rule can do. Chain is the one that Jump and Goto lead to.
type Deed struct {
	Kind  DeedKind
	Chain string
}

// DeedKind is the kind of a Deed.
type DeedKind uint8

// What rules can do. Drop and Reject end a packet, and so does Queue where the program that it asks says so, or does not answer.
const (
	Drop DeedKind = iota
	Reject
	Queue
	Accept
	Jump
	Goto
	DNAT    // another destination: also redirect and tproxy
	SNAT    // another source: also masquerade
	NoTrack // no connection tracking
	Offload // further packets of the connection take a way around the hooks
	Forward // sent out by another device, past everything
)

func (k DeedKind) String() string {
	return [...]string{"drop", "reject", "queue", "accept", "jump", "goto", "dnat", "snat", "notrack", "flow offload", "fwd"}[k]
}

var families = map[uint8]string{
	unix.NFPROTO_INET: "inet", unix.NFPROTO_IPV4: "ip", unix.NFPROTO_IPV6: "ip6", unix.NFPROTO_ARP: "arp", unix.NFPROTO_BRIDGE: "bridge", unix.NFPROTO_NETDEV: "netdev",
}

// Attributes that the library has no names for.
const (
	hookDevs         = 4   // NFTA_HOOK_DEVS
	deviceName       = 1   // NFTA_DEVICE_NAME
	tableFlagDormant = 0x1 // NFT_TABLE_F_DORMANT
)

// Tables reads every table of the network namespace; of the inet tables whose names are to be skipped, chains without their rules. It
// opens a socket of its own in the namespace of the calling thread, and changes nothing. Without CAP_NET_ADMIN the error is
// unix.EPERM.
func Tables(ctx context.Context, skip ...string) ([]Table, error) {
	s, err := openSocket("", defaultTimeout)
	if err != nil {
		return nil, err
	}
	r := &tableReader{socket: s, skip: skip}
	for attempt := 0; ; attempt++ {
		var before, after uint32
		if before, err = s.settled(ctx); err == nil {
			err = r.read(ctx)
		}
		if err == nil {
			after, err = s.generation(ctx)
		}
		if changed := before != after || errors.Is(err, unix.ENOENT); !changed || attempt == observeAttempts {
			break
		}
	}
	if err = errors.Join(err, s.close()); err != nil {
		return nil, wrapRead("the tables of all", err)
	}
	return r.tables, nil
}

// tableReader is Tables at work.
type tableReader struct {
	*socket
	tables []Table
	index  map[tableID]int
	maps   map[mapID][]Deed // verdict maps that were read
	skip   []string
}

type tableID struct {
	family uint8
	name   string
}

type mapID struct {
	tableID
	set string
}

func (r *tableReader) read(ctx context.Context) error {
	r.tables, r.index, r.maps = nil, map[tableID]int{}, map[mapID][]Deed{}
	err := r.requestOf(ctx, unspec, unix.NFT_MSG_GETTABLE, true, nil, func() { r.tables, r.index = nil, map[tableID]int{} }, func(m message) error {
		name := attr{data: find(m.body, unix.NFTA_TABLE_NAME)}.str()
		flags := number(find(m.body, unix.NFTA_TABLE_FLAGS))
		r.index[tableID{m.family, name}] = len(r.tables)
		r.tables = append(r.tables, Table{Family: families[m.family], Name: name, Dormant: flags&tableFlagDormant != 0})
		return nil
	})
	if err != nil {
		return err
	}
	err = r.requestOf(ctx, unspec, unix.NFT_MSG_GETCHAIN, true, nil, func() {
		for i := range r.tables {
			r.tables[i].Chains = nil
		}
	}, r.chain)
	if err != nil {
		return err
	}
	places := map[tableID]map[string]int{}
	for id, i := range r.index {
		places[id] = map[string]int{}
		for n, c := range r.tables[i].Chains {
			places[id][c.Name] = n
		}
	}
	err = r.requestOf(ctx, unspec, unix.NFT_MSG_GETRULE, true, nil, func() {
		for i := range r.tables {
			for j := range r.tables[i].Chains {
				r.tables[i].Chains[j].Rules = nil
			}
		}
	}, func(m message) error {
		id := tableID{m.family, attr{data: find(m.body, unix.NFTA_RULE_TABLE)}.str()}
		n, there := places[id][attr{data: find(m.body, unix.NFTA_RULE_CHAIN)}.str()]
		if !there || r.skipped(id) {
			return nil // made meanwhile, or nobody asks
		}
		c := &r.tables[r.index[id]].Chains[n]
		c.Rules = append(c.Rules, TableRule{Handle: number(find(m.body, unix.NFTA_RULE_HANDLE)), Does: deeds(find(m.body, unix.NFTA_RULE_EXPRESSIONS))})
		return nil
	})
	if err != nil {
		return err
	}
	return r.readMaps(ctx)
}

func (r *tableReader) skipped(id tableID) bool {
	return id.family == unix.NFPROTO_INET && slices.Contains(r.skip, id.name)
}

// unread is a verdict map whose elements are not known yet; Chain is its name.
const unread DeedKind = 255

// readMaps puts what verdict maps hold in the place of their names.
func (r *tableReader) readMaps(ctx context.Context) error {
	for id, i := range r.index {
		for c := range r.tables[i].Chains {
			for n := range r.tables[i].Chains[c].Rules {
				rule := &r.tables[i].Chains[c].Rules[n]
				var does []Deed
				for _, d := range rule.Does {
					if d.Kind != unread {
						does = append(does, d)
						continue
					}
					held, err := r.verdicts(ctx, mapID{id, d.Chain})
					if err != nil {
						return err
					}
					does = append(does, held...)
				}
				rule.Does = does
			}
		}
	}
	return nil
}

// chain takes up a chain.
func (r *tableReader) chain(m message) error {
	i, ok := r.index[tableID{m.family, attr{data: find(m.body, unix.NFTA_CHAIN_TABLE)}.str()}]
	if !ok {
		return nil // made meanwhile
	}
	c := TableChain{Name: attr{data: find(m.body, unix.NFTA_CHAIN_NAME)}.str()}
	if hook := find(m.body, unix.NFTA_CHAIN_HOOK); hook != nil {
		policy := find(m.body, unix.NFTA_CHAIN_POLICY)
		c.Hook = &TableHook{
			Point:    hookPoint(m.family, uint32(number(find(hook, unix.NFTA_HOOK_HOOKNUM)))),
			Priority: int32(uint32(number(find(hook, unix.NFTA_HOOK_PRIORITY)))),
			Type:     attr{data: find(m.body, unix.NFTA_CHAIN_TYPE)}.str(),
			Drop:     policy != nil && number(policy) == 0,
		}
		if dev := find(hook, unix.NFTA_HOOK_DEV); dev != nil {
			c.Hook.Devices = []string{attr{data: dev}.str()}
		}
		if devs := find(hook, hookDevs); devs != nil {
			c.Hook.Devices = nil
			for a := range attrs(devs) {
				if a.typ == deviceName {
					c.Hook.Devices = append(c.Hook.Devices, a.str())
				}
			}
		}
	}
	t := &r.tables[i]
	t.Chains = append(t.Chains, c)
	return nil
}

// hookPoint names a hook by its number in a family.
func hookPoint(family uint8, n uint32) string {
	names := []string{"prerouting", "input", "forward", "output", "postrouting", "ingress"}
	switch family {
	case unix.NFPROTO_NETDEV:
		names = []string{"ingress", "egress"}
	case unix.NFPROTO_ARP:
		names = []string{"input", "output", "forward"}
	}
	if int(n) < len(names) {
		return names[n]
	}
	return "unknown"
}

// deeds is what a rule's expressions can do; of a map of verdicts, its name.
func deeds(exprs []byte) (out []Deed) {
	for e := range attrs(exprs) {
		name := attr{data: find(e.data, unix.NFTA_EXPR_NAME)}.str()
		data := find(e.data, unix.NFTA_EXPR_DATA)
		switch name {
		case "immediate":
			if v := find(find(data, unix.NFTA_IMMEDIATE_DATA), unix.NFTA_DATA_VERDICT); v != nil {
				out = append(out, verdictDeed(v)...)
			}
		case "lookup":
			if dreg := find(data, unix.NFTA_LOOKUP_DREG); dreg != nil && number(dreg) == unix.NFT_REG_VERDICT {
				out = append(out, Deed{Kind: unread, Chain: attr{data: find(data, unix.NFTA_LOOKUP_SET)}.str()})
			}
		case "target":
			out = append(out, targetDeeds(attr{data: find(data, unix.NFTA_TARGET_NAME)}.str())...)
		case "nat":
			kind := SNAT
			if number(find(data, unix.NFTA_NAT_TYPE)) == unix.NFT_NAT_DNAT {
				kind = DNAT
			}
			out = append(out, Deed{Kind: kind})
		default:
			if kind, ok := plainDeeds[name]; ok {
				out = append(out, Deed{Kind: kind})
			}
		}
	}
	return out
}

var plainDeeds = map[string]DeedKind{
	"reject": Reject, "queue": Queue, "masq": SNAT, "redir": DNAT, "tproxy": DNAT, "notrack": NoTrack, "flow_offload": Offload, "fwd": Forward, "synproxy": Drop,
}

// targetDeeds is what a target of x_tables can do, which iptables-nft uses where nf_tables has nothing of the kind.
func targetDeeds(name string) []Deed {
	kinds := map[string]DeedKind{
		"DROP": Drop, "REJECT": Reject, "NFQUEUE": Queue, "TARPIT": Drop, "SYNPROXY": Drop, "DNAT": DNAT, "REDIRECT": DNAT, "TPROXY": DNAT, "NETMAP": DNAT, "SNAT": SNAT,
		"MASQUERADE": SNAT, "NOTRACK": NoTrack, "CT": NoTrack, "FLOWOFFLOAD": Offload,
	}
	if kind, ok := kinds[name]; ok {
		return []Deed{{Kind: kind}}
	}
	return nil
}

// verdictDeed is a verdict; continue and return do nothing.
func verdictDeed(v []byte) []Deed {
	chain := attr{data: find(v, unix.NFTA_VERDICT_CHAIN)}.str()
	switch code := int32(uint32(number(find(v, unix.NFTA_VERDICT_CODE)))); code {
	case unix.NFT_JUMP:
		return []Deed{{Jump, chain}}
	case unix.NFT_GOTO:
		return []Deed{{Goto, chain}}
	case 0: // NF_DROP
		return []Deed{{Kind: Drop}}
	case 1: // NF_ACCEPT
		return []Deed{{Kind: Accept}}
	default:
		if code&0xff == 3 { // NF_QUEUE, with a number above it
			return []Deed{{Kind: Queue}}
		}
	}
	return nil
}

// verdicts is what a map of verdicts holds, each once, sorted.
func (r *tableReader) verdicts(ctx context.Context, id mapID) ([]Deed, error) {
	if held, ok := r.maps[id]; ok {
		return held, nil
	}
	var out []Deed
	err := r.requestOf(ctx, id.family, unix.NFT_MSG_GETSETELEM, true, func(b *builder) {
		b.str(unix.NFTA_SET_ELEM_LIST_TABLE, id.name)
		b.str(unix.NFTA_SET_ELEM_LIST_SET, id.set)
	}, func() { out = nil }, func(m message) error {
		for e := range attrs(find(m.body, unix.NFTA_SET_ELEM_LIST_ELEMENTS)) {
			for _, d := range verdictDeed(find(find(e.data, unix.NFTA_SET_ELEM_DATA), unix.NFTA_DATA_VERDICT)) {
				if !slices.Contains(out, d) {
					out = append(out, d)
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b Deed) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Chain, b.Chain)) })
	r.maps[id] = out
	return out, nil
}
