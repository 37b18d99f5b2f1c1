package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
)

// addRule adds a rule at the end of a chain, or before the rule with a handle where before is not 0.
func (b *batch) addRule(chain string, r *ruleset.Rule, before uint64) {
	about := subject{"add rule", ruleName(chain, r)}
	enc := ruleEncoder{batch: b, about: about, out: b.exprs[:0]}
	b.scratch.buf = b.scratch.buf[:0]
	for _, e := range r.Exprs {
		enc.expr(e)
	}
	b.exprs = enc.out
	if enc.err == nil && len(r.Comment) > ruleset.MaxComment {
		enc.err = fmt.Errorf("the comment is longer than %d bytes", ruleset.MaxComment)
	}
	if enc.err != nil {
		b.fail(fmt.Errorf("%s: %w", about.object, enc.err))
		return
	}
	flags := uint16(unix.NLM_F_CREATE)
	if before == 0 {
		flags |= unix.NLM_F_APPEND
	}
	b.message(about, unix.NFT_MSG_NEWRULE, flags, func() {
		b.str(unix.NFTA_RULE_TABLE, b.table)
		b.str(unix.NFTA_RULE_CHAIN, chain)
		if before != 0 {
			b.u64(unix.NFTA_RULE_POSITION, before)
		}
		b.nest(unix.NFTA_RULE_EXPRESSIONS, func() {
			for _, e := range enc.out {
				b.nest(unix.NFTA_LIST_ELEM, func() { b.buf = append(b.buf, e...) })
			}
		})
		if r.Comment != "" {
			b.raw(unix.NFTA_RULE_USERDATA, udataString(nil, udataRuleComment, r.Comment))
		}
	})
}

// ruleName says which rule is meant: its chain, and its comment where it has one.
func ruleName(chain string, r *ruleset.Rule) string {
	if r.Comment == "" {
		return "in chain " + chain
	}
	return "in chain " + chain + " (" + r.Comment + ")"
}

// ruleEncoder turns the expressions of one rule into the kernel's; sets without a name go to the batch, ahead of the rule.
type ruleEncoder struct {
	*batch
	about subject
	out   [][]byte
	err   error
}

func (e *ruleEncoder) emit(x expr.Any) {
	from := len(e.scratch.buf)
	if err := e.scratch.marshal(x); err != nil && e.err == nil {
		e.err = err
	}
	e.out = append(e.out, e.scratch.buf[from:])
}

func (e *ruleEncoder) failf(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf(format, args...)
	}
}

// expr encodes one expression. Every type of ruleset has a case here.
func (e *ruleEncoder) expr(x ruleset.Expr) {
	switch x := x.(type) {
	case ruleset.Cmp:
		e.cmp(x)
	case ruleset.In:
		e.in(x)
	case ruleset.Lookup:
		if f, ok := e.load(x.Field); ok {
			e.mask(f, x.Mask)
			e.emit(&expr.Lookup{SourceRegister: register, SetName: x.Set, Invert: x.Not})
		}
	case ruleset.VMap:
		e.vmap(x)
	case ruleset.VMapRef:
		e.vmapRef(x)
	case ruleset.Count:
		e.emit(&expr.Objref{Type: unix.NFT_OBJECT_COUNTER, Name: x.Counter})
	case ruleset.LimitRef:
		e.emit(&expr.Objref{Type: unix.NFT_OBJECT_LIMIT, Name: x.Limit})
	case ruleset.Limit:
		e.emit(limitOf(x.Rate))
	case ruleset.ConnLimit:
		e.emit(connLimitOf(x))
	case ruleset.Meter:
		e.meter(x)
	case ruleset.Log:
		const with = 1<<unix.NFTA_LOG_GROUP | 1<<unix.NFTA_LOG_PREFIX
		l := expr.Log{Key: 1 << unix.NFTA_LOG_GROUP, Group: x.Group}
		if x.Prefix != "" {
			l.Key, l.Data = with, []byte(x.Prefix)
		}
		e.emit(&l)
	case ruleset.SetLabel:
		e.emit(&expr.Immediate{Register: register, Data: labelBit(x.Bit)})
		e.emit(&expr.Ct{Key: expr.CtKeyLABELS, Register: register, SourceRegister: true})
	case ruleset.Label:
		op := expr.CmpOpNeq
		if x.Not {
			op = expr.CmpOpEq
		}
		none := make([]byte, labelBytes)
		e.emit(&expr.Ct{Key: expr.CtKeyLABELS, Register: register})
		e.emit(&expr.Bitwise{SourceRegister: register, DestRegister: register, Len: labelBytes, Mask: labelBit(x.Bit), Xor: none})
		e.emit(&expr.Cmp{Op: op, Register: register, Data: none})
	case ruleset.Reject:
		typ, code, ok := rejectCode(x.With)
		if !ok {
			e.failf("reject with %d is not known", x.With)
		}
		e.emit(&expr.Reject{Type: typ, Code: code})
	case ruleset.Verdict:
		e.emit(&expr.Verdict{Kind: verdictCode(x.Kind), Chain: x.Chain})
	default:
		e.failf("expression %T is not known", x)
	}
}

// load loads a field into the register.
func (e *ruleEncoder) load(f ruleset.Field) (field, bool) {
	k, ok := fieldOf(f)
	if !ok {
		e.failf("%s is not known", f)
		return k, false
	}
	e.emit(k.load)
	return k, true
}

// mask masks the register, where there is a mask.
func (e *ruleEncoder) mask(f field, mask []byte) {
	if mask == nil {
		return
	}
	if len(mask) != f.size {
		e.failf("a mask of %d bytes for a field of %d", len(mask), f.size)
	}
	e.emit(&expr.Bitwise{
		SourceRegister: f.register, DestRegister: f.register, Len: uint32(f.size),
		Mask: f.kernel(mask, false), Xor: make([]byte, f.size),
	})
}

func (e *ruleEncoder) cmp(c ruleset.Cmp) {
	if n := beginning(c); n > 0 {
		f, _ := fieldOf(c.Field)
		e.emit(f.loadFirst(n))
		e.emit(&expr.Cmp{Op: expr.CmpOp(c.Op), Register: register, Data: c.Value[:n]})
		return
	}
	f, ok := e.load(c.Field)
	if !ok {
		return
	}
	e.mask(f, c.Mask)
	// Comparing by size is comparing bytes: it needs the big end first.
	swap := f.host && c.Op != ruleset.Eq && c.Op != ruleset.Ne
	if swap {
		e.emit(f.toBigEndian())
	}
	value := c.Value
	if !c.Wildcard {
		value = f.kernel(value, swap)
	}
	if len(value) == 0 || len(value) > f.size || len(value) != f.size && !c.Field.IsName() {
		e.failf("a value of %d bytes for a field of %d", len(c.Value), f.size)
	}
	e.emit(&expr.Cmp{Op: expr.CmpOp(c.Op), Register: register, Data: value})
}

func (e *ruleEncoder) in(in ruleset.In) {
	f, ok := e.load(in.Field)
	if !ok {
		return
	}
	elems, ranged := e.intervals(f, in.Elems)
	// A set of one range is what nft makes a comparison of, so that it lists in the same way.
	if len(elems) == 1 {
		e.inOne(f, elems[0], ranged, in.Not)
		return
	}
	swap := f.host && ranged
	if swap {
		e.emit(f.toBigEndian())
	}
	id := e.anonymous(f, ranged, false, func(yield func(element) bool) {
		for _, i := range elems {
			if !yield(element{lo: f.kernel(i.Lo, swap), hi: f.kernel(i.Hi, swap)}) {
				return
			}
		}
	}, len(elems))
	e.emit(&expr.Lookup{SourceRegister: register, SetID: id, SetName: anonymousSet, Invert: in.Not})
}

func (e *ruleEncoder) inOne(f field, i ruleset.Interval, ranged, not bool) {
	if !ranged {
		op := expr.CmpOpEq
		if not {
			op = expr.CmpOpNeq
		}
		e.emit(&expr.Cmp{Op: op, Register: register, Data: f.kernel(i.Lo, false)})
		return
	}
	if f.host {
		e.emit(f.toBigEndian())
	}
	lo, hi := f.kernel(i.Lo, true), f.kernel(i.Hi, true)
	switch {
	case not:
		e.emit(&expr.Range{Op: expr.CmpOpNeq, Register: register, FromData: lo, ToData: hi})
	case isLast(hi):
		e.emit(&expr.Cmp{Op: expr.CmpOpGte, Register: register, Data: lo})
	default:
		e.emit(&expr.Range{Op: expr.CmpOpEq, Register: register, FromData: lo, ToData: hi})
	}
}

// intervals checks and joins the ranges of an anonymous set, and tells whether any is more than one value.
func (e *ruleEncoder) intervals(f field, elems []ruleset.Interval) (_ []ruleset.Interval, ranged bool) {
	for _, i := range elems {
		name := f.typ == typeIfName && len(i.Lo) < f.size && bytes.Equal(i.Lo, i.Hi)
		if !name && (len(i.Lo) != f.size || len(i.Hi) != f.size) {
			e.failf("a range of %d and %d bytes for a field of %d", len(i.Lo), len(i.Hi), f.size)
			return nil, false
		}
	}
	if len(elems) == 0 {
		e.failf("an anonymous set without elements")
	}
	return joined(elems)
}

// joined joins ranges that touch, as nft does in an anonymous set that holds any range of more than one value.
func joined(elems []ruleset.Interval) (_ []ruleset.Interval, ranged bool) {
	ranged = slices.ContainsFunc(elems, func(i ruleset.Interval) bool { return !bytes.Equal(i.Lo, i.Hi) })
	if !ranged {
		return elems, false
	}
	out := make([]ruleset.Interval, 0, len(elems))
	for _, i := range elems {
		if n := len(out); n > 0 && bytes.Equal(after(out[n-1].Hi), i.Lo) {
			out[n-1].Hi = i.Hi
			continue
		}
		out = append(out, i)
	}
	return out, true
}

func (e *ruleEncoder) vmap(m ruleset.VMap) {
	f, ok := e.load(m.Field)
	if !ok {
		return
	}
	var keys []ruleset.Interval
	for _, el := range m.Elems {
		keys = append(keys, el.Interval)
	}
	_, ranged := e.intervals(f, keys)
	swap := f.host && ranged
	if swap {
		e.emit(f.toBigEndian())
	}
	id := e.anonymous(f, ranged, true, func(yield func(element) bool) {
		for _, el := range m.Elems {
			if !yield(element{lo: f.kernel(el.Lo, swap), hi: f.kernel(el.Hi, swap), verdict: &el.Verdict}) {
				return
			}
		}
	}, len(m.Elems))
	e.emit(&expr.Lookup{SourceRegister: register, SetID: id, SetName: anonymousMap, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT})
}

// The names by which a batch calls sets that have none; the kernel fills in a number.
const (
	anonymousSet = "__set%d"
	anonymousMap = "__map%d"
)

// anonymous makes a set without a name, and returns its number in the batch.
func (e *ruleEncoder) anonymous(f field, ranged, verdicts bool, elems func(func(element) bool), n int) uint32 {
	if e.err != nil {
		return 0
	}
	b := e.batch
	b.setID++
	id := b.setID
	name, flags := anonymousSet, uint32(unix.NFT_SET_ANONYMOUS|unix.NFT_SET_CONSTANT)
	if verdicts {
		name, flags = anonymousMap, flags|unix.NFT_SET_MAP
	}
	size := uint32(n)
	if ranged {
		flags |= unix.NFT_SET_INTERVAL
		size = 2*size + 1
	}
	b.message(subject{"add set for rule", e.about.object}, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, func() {
		b.str(unix.NFTA_SET_TABLE, b.table)
		b.str(unix.NFTA_SET_NAME, name)
		b.u32(unix.NFTA_SET_FLAGS, flags)
		b.u32(unix.NFTA_SET_KEY_TYPE, f.typ)
		b.u32(unix.NFTA_SET_KEY_LEN, uint32(f.size))
		if verdicts {
			b.u32(unix.NFTA_SET_DATA_TYPE, dataVerdict)
		}
		b.u32(unix.NFTA_SET_ID, id)
		b.nest(unix.NFTA_SET_DESC, func() { b.u32(unix.NFTA_SET_DESC_SIZE, size) })
		b.raw(unix.NFTA_SET_USERDATA, anonymousUdata(f, ranged && !verdicts))
	})
	b.elements(elementList{
		set: name, id: id, interval: ranged, about: subject{"add elements of set for rule", e.about.object},
		msg: unix.NFT_MSG_NEWSETELEM, flags: unix.NLM_F_CREATE,
	}, elems)
	return id
}

// anonymousUdata is what nft needs to print the elements.
func anonymousUdata(f field, merge bool) []byte {
	order := uint32(udataOrderBig)
	if f.host || f.typ == typeIfName {
		order = udataOrderHost
	}
	u := udataU32(nil, udataSetKeyOrder, order)
	if merge {
		u = udataU32(u, udataSetMerge, 1)
	}
	return u
}

func (e *ruleEncoder) meter(m ruleset.Meter) {
	f, ok := e.load(m.Field)
	if !ok {
		return
	}
	e.mask(f, m.Mask)
	d := expr.Dynset{SrcRegKey: register, SetName: m.Set}
	switch {
	case m.Rate != nil && m.Conns == nil:
		// A source that keeps sending keeps its bucket.
		d.Operation = unix.NFT_DYNSET_OP_UPDATE
		d.Exprs = []expr.Any{limitOf(*m.Rate)}
	case m.Conns != nil && m.Rate == nil:
		d.Operation = unix.NFT_DYNSET_OP_ADD
		d.Exprs = []expr.Any{connLimitOf(*m.Conns)}
	default:
		e.failf("a meter of set %s needs either a rate or a number of connections", m.Set)
	}
	e.emit(&d)
}

func limitOf(r ruleset.Rate) *expr.Limit {
	return &expr.Limit{Type: expr.LimitTypePkts, Rate: r.Packets, Unit: expr.LimitTime(r.Unit), Burst: r.Burst, Over: r.Over}
}

// connLimitOver is NFT_CONNLIMIT_F_INV: more than, instead of at most.
const connLimitOver = 1

func connLimitOf(c ruleset.ConnLimit) *expr.Connlimit {
	return &expr.Connlimit{Count: c.Max, Flags: connLimitOver}
}

// labelBytes is the size of a connection's label.
const labelBytes = 16

// labelBit is a label with one bit: the kernel keeps words of the host.
func labelBit(bit uint8) []byte {
	v := make([]byte, labelBytes)
	word := bit / 64 % 2
	binary.NativeEndian.PutUint64(v[8*word:], 1<<(bit%64))
	return v
}

// rejectCode is the kernel's way of saying what a rejected packet is answered with.
func rejectCode(w ruleset.RejectWith) (typ uint32, code uint8, ok bool) {
	const portUnreachable, adminProhibited = 1, 3 // NFT_REJECT_ICMPX_*
	switch w {
	case ruleset.TCPReset:
		return unix.NFT_REJECT_TCP_RST, 0, true
	case ruleset.PortUnreachable:
		return unix.NFT_REJECT_ICMPX_UNREACH, portUnreachable, true
	case ruleset.AdminProhibited:
		return unix.NFT_REJECT_ICMPX_UNREACH, adminProhibited, true
	}
	return 0, 0, false
}

func verdictCode(k ruleset.VerdictKind) expr.VerdictKind {
	switch k {
	case ruleset.Accept:
		return expr.VerdictAccept
	case ruleset.Return:
		return expr.VerdictReturn
	case ruleset.Jump:
		return expr.VerdictJump
	case ruleset.Goto:
		return expr.VerdictGoto
	}
	return expr.VerdictDrop
}
