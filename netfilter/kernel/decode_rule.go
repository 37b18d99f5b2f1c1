package kernel

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
)

// decoder turns the kernel's rules back into those of ruleset. It knows exactly what the encoder writes; anything else is an
// error that says what it met.
type decoder struct {
	loads  map[string]ruleset.Field // by the signature of the loading expression
	starts map[string]start         // likewise
	sets   map[string]*anonymous    // by name
	maps   map[string]*ruleset.Map  // those with a name of their own
}

// start is so many bytes at the beginning of a field.
type start struct {
	field ruleset.Field
	n     int
}

// anonymous is what a set without a name of its own holds.
type anonymous struct {
	interval bool
	elems    []setElement // in order
}

func newDecoder() (*decoder, error) {
	d := &decoder{loads: make(map[string]ruleset.Field), starts: make(map[string]start), sets: make(map[string]*anonymous), maps: make(map[string]*ruleset.Map)}
	for _, f := range ruleset.Fields() {
		k, ok := fieldOf(f)
		if !ok {
			return nil, fmt.Errorf("%s has no way to be loaded", f)
		}
		sig, err := signature(k.load)
		if err != nil {
			return nil, err
		}
		if _, taken := d.loads[sig]; !taken {
			d.loads[sig] = f
		}
	}
	for _, f := range addresses {
		k, _ := fieldOf(f)
		for n := 1; n < k.size; n++ {
			sig, err := signature(k.loadFirst(n))
			if err != nil {
				return nil, err
			}
			d.starts[sig] = start{f, n}
		}
	}
	return d, nil
}

// signature is what the kernel's expression would have.
func signature(x expr.Any) (string, error) {
	data, err := expr.Marshal(unix.NFPROTO_INET, x)
	return parseExpr(data).signature(), err
}

// rawExpr is an expression as the kernel sends it.
type rawExpr struct {
	name string
	args map[uint16][]byte
}

func parseExpr(b []byte) rawExpr {
	var x rawExpr
	for a := range attrs(b) {
		switch a.typ {
		case unix.NFTA_EXPR_NAME:
			x.name = a.str()
		case unix.NFTA_EXPR_DATA:
			x.args = make(map[uint16][]byte)
			for arg := range attrs(a.data) {
				x.args[arg.typ] = arg.data
			}
		}
	}
	return x
}

// signature is equal for equal expressions, whatever the order of their attributes.
func (x rawExpr) signature() string {
	var b strings.Builder
	b.WriteString(x.name)
	types := make([]uint16, 0, len(x.args))
	for t := range x.args {
		types = append(types, t)
	}
	slices.Sort(types)
	for _, t := range types {
		fmt.Fprintf(&b, " %d=%x", t, x.args[t])
	}
	return b.String()
}

// num is a number argument, 0 where it is missing.
func (x rawExpr) num(typ uint16) uint64 { return number(x.args[typ]) }

func (x rawExpr) str(typ uint16) string { return attr{data: x.args[typ]}.str() }

// value is the data of an argument that holds a value.
func (x rawExpr) value(typ uint16) []byte { return find(x.args[typ], unix.NFTA_DATA_VALUE) }

// only reports an argument that is not among the types.
func (x rawExpr) only(types ...uint16) error {
	for t := range x.args {
		if !slices.Contains(types, t) {
			return fmt.Errorf("%s has an argument %d", x.name, t)
		}
	}
	return nil
}

// ruleDecoder decodes one rule: what is in the register, and what became of it.
type ruleDecoder struct {
	*decoder
	in  []rawExpr
	out []ruleset.Expr

	loaded  bool
	field   ruleset.Field
	kernel  field
	mask    []byte
	first   int  // where it is not 0, only so many bytes are loaded
	swapped bool // turned big-endian
	proto   byte // of the transport, as far as the rule has asked
}

// rule decodes a rule's expressions.
func (d *decoder) rule(list []byte) ([]ruleset.Expr, error) {
	r := ruleDecoder{decoder: d}
	for a := range attrs(bytes.Clone(list)) {
		r.in = append(r.in, parseExpr(a.data))
	}
	for len(r.in) > 0 {
		n, err := r.step()
		if err != nil {
			return nil, err
		}
		r.in = r.in[n:]
	}
	if r.loaded {
		return nil, fmt.Errorf("something is loaded and not used")
	}
	return r.out, nil
}

// step decodes what the next expressions say, and returns how many those are.
func (r *ruleDecoder) step() (int, error) {
	if !r.loaded {
		if n, err := r.vmapRef(); n > 0 || err != nil {
			return n, err
		}
	}
	x := r.in[0]
	if r.loaded {
		return r.use(x)
	}
	sig := x.signature()
	first, part := r.starts[sig]
	if f, ok := r.loads[sig]; ok || part {
		if part {
			f = first.field
		}
		r.field, r.first, r.loaded, r.mask, r.swapped = f, first.n, true, nil, false
		r.kernel, _ = fieldOf(f)
		return 1, nil
	}
	switch x.name {
	case "ct":
		return 3, r.label()
	case "immediate":
		if x.num(unix.NFTA_IMMEDIATE_DREG) == unix.NFT_REG_VERDICT {
			v, err := decodeVerdict(find(x.args[unix.NFTA_IMMEDIATE_DATA], unix.NFTA_DATA_VERDICT))
			r.out = append(r.out, v)
			return 1, err
		}
		return 2, r.setLabel()
	}
	e, err := single(x)
	r.out = append(r.out, e)
	return 1, err
}

// single decodes an expression that needs nothing loaded.
func single(x rawExpr) (ruleset.Expr, error) {
	switch x.name {
	case "objref":
		name := x.str(unix.NFTA_OBJREF_IMM_NAME)
		switch x.num(unix.NFTA_OBJREF_IMM_TYPE) {
		case unix.NFT_OBJECT_COUNTER:
			return ruleset.Count{Counter: name}, nil
		case unix.NFT_OBJECT_LIMIT:
			return ruleset.LimitRef{Limit: name}, nil
		}
	case "limit":
		rate, err := decodeRate(x)
		return ruleset.Limit{Rate: rate}, err
	case "connlimit":
		c, err := decodeConnLimit(x)
		return c, err
	case "log":
		return ruleset.Log{Group: uint16(x.num(unix.NFTA_LOG_GROUP)), Prefix: x.str(unix.NFTA_LOG_PREFIX)},
			x.only(unix.NFTA_LOG_GROUP, unix.NFTA_LOG_PREFIX)
	case "reject":
		for _, w := range []ruleset.RejectWith{ruleset.TCPReset, ruleset.PortUnreachable, ruleset.AdminProhibited} {
			typ, code, _ := rejectCode(w)
			if x.num(unix.NFTA_REJECT_TYPE) == uint64(typ) && x.num(unix.NFTA_REJECT_ICMP_CODE) == uint64(code) {
				return ruleset.Reject{With: w}, nil
			}
		}
	}
	return nil, fmt.Errorf("unknown expression %s", x.signature())
}

func decodeRate(x rawExpr) (ruleset.Rate, error) {
	if x.num(unix.NFTA_LIMIT_TYPE) != unix.NFT_LIMIT_PKTS {
		return ruleset.Rate{}, fmt.Errorf("a limit of bytes")
	}
	return ruleset.Rate{
		Packets: x.num(unix.NFTA_LIMIT_RATE),
		Unit:    x.num(unix.NFTA_LIMIT_UNIT),
		Burst:   uint32(x.num(unix.NFTA_LIMIT_BURST)),
		Over:    x.num(unix.NFTA_LIMIT_FLAGS)&unix.NFT_LIMIT_F_INV != 0,
	}, nil
}

func decodeConnLimit(x rawExpr) (ruleset.ConnLimit, error) {
	const count, flags = 1, 2 // NFTA_CONNLIMIT_*
	if x.num(flags) != connLimitOver {
		return ruleset.ConnLimit{}, fmt.Errorf("a limit of connections that is not an upper one")
	}
	return ruleset.ConnLimit{Max: uint32(x.num(count))}, nil
}

func decodeVerdict(b []byte) (ruleset.Verdict, error) {
	if b == nil {
		return ruleset.Verdict{}, fmt.Errorf("no verdict where one was expected")
	}
	code := expr.VerdictKind(int32(number(find(b, unix.NFTA_VERDICT_CODE))))
	v := ruleset.Verdict{Chain: attr{data: find(b, unix.NFTA_VERDICT_CHAIN)}.str()}
	for _, k := range []ruleset.VerdictKind{ruleset.Accept, ruleset.Drop, ruleset.Return, ruleset.Jump, ruleset.Goto} {
		if verdictCode(k) == code {
			v.Kind = k
			return v, nil
		}
	}
	return v, fmt.Errorf("unknown verdict %d", code)
}

// use decodes an expression that uses what is loaded.
func (r *ruleDecoder) use(x rawExpr) (int, error) {
	switch x.name {
	case "bitwise":
		mask, xor := x.value(unix.NFTA_BITWISE_MASK), x.value(unix.NFTA_BITWISE_XOR)
		if r.mask != nil || r.first > 0 || r.swapped || len(mask) != r.kernel.size || !isZero(xor) {
			return 0, fmt.Errorf("unknown bitwise expression %s", x.signature())
		}
		r.mask = r.kernel.model(mask, false)
		return 1, nil
	case "byteorder":
		if !r.kernel.host || r.swapped || x.num(unix.NFTA_BYTEORDER_OP) != unix.NFT_BYTEORDER_HTON {
			return 0, fmt.Errorf("unknown byteorder expression %s", x.signature())
		}
		r.swapped = true
		return 1, nil
	}
	defer func() { r.loaded = false }()
	if r.first > 0 && x.name != "cmp" {
		return 0, fmt.Errorf("unknown use of the beginning of a field: %s", x.signature())
	}
	switch x.name {
	case "cmp":
		return r.cmp(x)
	case "range":
		if r.mask != nil || r.kernel.host && !r.swapped {
			return 0, fmt.Errorf("unknown range %s", x.signature())
		}
		not := x.num(unix.NFTA_RANGE_OP) == unix.NFT_RANGE_NEQ
		i := ruleset.Interval{Lo: x.value(unix.NFTA_RANGE_FROM_DATA), Hi: x.value(unix.NFTA_RANGE_TO_DATA)}
		r.out = append(r.out, ruleset.In{Field: r.meant(), Not: not, Elems: []ruleset.Interval{i}})
		return 1, nil
	case "lookup":
		return 1, r.lookup(x)
	case "dynset":
		return 1, r.meter(x)
	}
	return 0, fmt.Errorf("unknown use of a field: %s", x.signature())
}

// meant is the field, where two are loaded in the same way by the protocol that the rule has asked for.
func (r *ruleDecoder) meant() ruleset.Field {
	if r.proto == unix.IPPROTO_ICMPV6 {
		switch r.field {
		case ruleset.ICMPType:
			return ruleset.ICMP6Type
		case ruleset.ICMPCode:
			return ruleset.ICMP6Code
		}
	}
	return r.field
}

// model turns a value back from the kernel's form.
func (f field) model(v []byte, swapped bool) []byte {
	if f.host && !swapped {
		return hostOrder(v)
	}
	return v
}

func (r *ruleDecoder) cmp(x rawExpr) (int, error) {
	op, value := ruleset.Op(x.num(unix.NFTA_CMP_OP)), x.value(unix.NFTA_CMP_DATA)
	if r.first > 0 {
		if len(value) != r.first || op > ruleset.Ne {
			return 0, fmt.Errorf("unknown comparison of the beginning of a field: %s", x.signature())
		}
		value = append(slices.Clone(value), make([]byte, r.kernel.size-r.first)...)
		r.mask = append(bytes.Repeat([]byte{0xff}, r.first), make([]byte, r.kernel.size-r.first)...)
	}
	if r.kernel.host && r.swapped != (op != ruleset.Eq && op != ruleset.Ne) {
		return 0, fmt.Errorf("a comparison in the wrong byte order")
	}
	if op == ruleset.Ge && r.mask == nil && len(r.in) > 1 && r.in[1].name == "cmp" && ruleset.Op(r.in[1].num(unix.NFTA_CMP_OP)) == ruleset.Le {
		i := ruleset.Interval{Lo: value, Hi: r.in[1].value(unix.NFTA_CMP_DATA)}
		r.out = append(r.out, ruleset.In{Field: r.meant(), Elems: []ruleset.Interval{i}})
		return 2, nil
	}
	c := ruleset.Cmp{Field: r.meant(), Mask: r.mask, Op: op, Value: r.kernel.model(value, r.swapped)}
	if r.field.IsName() {
		c.Wildcard = len(value) < r.kernel.size
		c.Value = bytes.TrimRight(value, "\x00")
	} else if len(value) != r.kernel.size {
		return 0, fmt.Errorf("a comparison of %d bytes of a field of %d", len(value), r.kernel.size)
	}
	if c.Field == ruleset.L4Proto && op == ruleset.Eq && c.Mask == nil {
		r.proto = c.Value[0]
	}
	r.out = append(r.out, c)
	return 1, nil
}

func (r *ruleDecoder) lookup(x rawExpr) error {
	if err := x.only(unix.NFTA_LOOKUP_SET, unix.NFTA_LOOKUP_SREG, unix.NFTA_LOOKUP_DREG, unix.NFTA_LOOKUP_FLAGS); err != nil {
		return err
	}
	name := x.str(unix.NFTA_LOOKUP_SET)
	not := x.num(unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0
	set, ok := r.sets[name]
	if !ok {
		r.out = append(r.out, ruleset.Lookup{Field: r.meant(), Mask: r.mask, Set: name, Not: not})
		return nil
	}
	if r.mask != nil || r.kernel.host && r.swapped != set.interval || r.field.IsName() && set.interval {
		return fmt.Errorf("a lookup in a set without a name of something changed")
	}
	var in ruleset.In
	var vmap ruleset.VMap
	for _, e := range set.elems {
		lo := r.kernel.model(e.lo, r.swapped)
		if r.field.IsName() {
			lo = bytes.TrimRight(lo, "\x00")
		}
		i := ruleset.Interval{Lo: lo, Hi: lo}
		if set.interval {
			i.Hi = r.kernel.model(e.hi, r.swapped)
		}
		if e.verdict == nil {
			in.Elems = append(in.Elems, i)
			continue
		}
		v, err := decodeVerdict(e.verdict)
		if err != nil {
			return err
		}
		vmap.Elems = append(vmap.Elems, ruleset.VMapElem{Interval: i, Verdict: v})
	}
	// The kernel's order of a number of the host is another.
	slices.SortFunc(in.Elems, func(a, b ruleset.Interval) int { return bytes.Compare(a.Lo, b.Lo) })
	slices.SortFunc(vmap.Elems, func(a, b ruleset.VMapElem) int { return bytes.Compare(a.Lo, b.Lo) })
	_, toVerdict := x.args[unix.NFTA_LOOKUP_DREG]
	switch {
	case toVerdict && in.Elems == nil && !not:
		vmap.Field = r.meant()
		r.out = append(r.out, vmap)
	case !toVerdict && vmap.Elems == nil:
		in.Field, in.Not = r.meant(), not
		r.out = append(r.out, in)
	default:
		return fmt.Errorf("a lookup in a set or map that does not fit")
	}
	return nil
}

func (r *ruleDecoder) meter(x rawExpr) error {
	err := x.only(unix.NFTA_DYNSET_SET_NAME, unix.NFTA_DYNSET_SREG_KEY, unix.NFTA_DYNSET_OP, unix.NFTA_DYNSET_EXPR,
		unix.NFTA_DYNSET_FLAGS, unix.NFTA_DYNSET_TIMEOUT, unix.NFTA_DYNSET_PAD)
	if err != nil {
		return err
	}
	m := ruleset.Meter{Field: r.meant(), Mask: r.mask, Set: x.str(unix.NFTA_DYNSET_SET_NAME)}
	inner := parseExpr(x.args[unix.NFTA_DYNSET_EXPR])
	op := x.num(unix.NFTA_DYNSET_OP)
	switch {
	case x.num(unix.NFTA_DYNSET_FLAGS)&unix.NFT_DYNSET_F_INV != 0:
		return fmt.Errorf("an inverted meter")
	case x.num(unix.NFTA_DYNSET_TIMEOUT) != 0:
		return fmt.Errorf("a meter with a timeout of its own")
	case inner.name == "limit" && op == unix.NFT_DYNSET_OP_UPDATE:
		rate, err := decodeRate(inner)
		if err != nil {
			return err
		}
		m.Rate = &rate
	case inner.name == "connlimit" && op == unix.NFT_DYNSET_OP_ADD:
		c, err := decodeConnLimit(inner)
		if err != nil {
			return err
		}
		m.Conns = &c
	default:
		return fmt.Errorf("unknown meter %s", x.signature())
	}
	r.out = append(r.out, m)
	return nil
}

// setLabel decodes an immediate value that is written to the connection's label.
func (r *ruleDecoder) setLabel() error {
	bit, ok := bitOf(r.in[0].value(unix.NFTA_IMMEDIATE_DATA))
	if !ok || len(r.in) < 2 || r.in[1].name != "ct" || r.in[1].num(unix.NFTA_CT_KEY) != unix.NFT_CT_LABELS || r.in[1].args[unix.NFTA_CT_SREG] == nil {
		return fmt.Errorf("unknown immediate value %s", r.in[0].signature())
	}
	r.out = append(r.out, ruleset.SetLabel{Bit: bit})
	return nil
}

// label decodes the three expressions that test a bit of the connection's label.
func (r *ruleDecoder) label() error {
	x := r.in[0]
	unknown := fmt.Errorf("unknown use of connection tracking: %s", x.signature())
	if len(r.in) < 3 || x.num(unix.NFTA_CT_KEY) != unix.NFT_CT_LABELS || x.args[unix.NFTA_CT_DREG] == nil || r.in[1].name != "bitwise" || r.in[2].name != "cmp" {
		return unknown
	}
	bit, ok := bitOf(r.in[1].value(unix.NFTA_BITWISE_MASK))
	op := ruleset.Op(r.in[2].num(unix.NFTA_CMP_OP))
	value := r.in[2].value(unix.NFTA_CMP_DATA)
	if !ok || op != ruleset.Eq && op != ruleset.Ne || !isZero(value) {
		return unknown
	}
	r.out = append(r.out, ruleset.Label{Bit: bit, Not: op == ruleset.Eq})
	return nil
}

// bitOf is the bit of a label that has one.
func bitOf(v []byte) (uint8, bool) {
	if len(v) != labelBytes {
		return 0, false
	}
	for bit := range uint8(labelBytes * 8) {
		if bytes.Equal(labelBit(bit), v) {
			return bit, true
		}
	}
	return 0, false
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
