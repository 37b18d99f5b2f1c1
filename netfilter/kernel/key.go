package kernel

import (
	"bytes"
	"encoding/binary"

	"ringwall/netfilter/ruleset"
)

// ruleKey is equal for two rules exactly where the kernel would hold the same for both, but for their comments. It is "" for a rule without
// expressions, which is how a foreign one is observed, and for one that cannot be encoded: those equal no other.
func ruleKey(r *ruleset.Rule) string { return string(appendRuleKey(make([]byte, 0, 128), r)) }

// appendRuleKey appends the key of a rule, nothing where that is "".
func appendRuleKey(b []byte, r *ruleset.Rule) []byte {
	if len(r.Exprs) == 0 {
		return b
	}
	k := keyWriter{b: b}
	for _, e := range r.Exprs {
		k.expr(e)
	}
	if k.unknown {
		return b
	}
	return k.b
}

// keyWriter spells a rule out without ambiguity: every part of a length that is not fixed comes with it.
type keyWriter struct {
	b       []byte
	unknown bool
}

func (k *keyWriter) tag(c byte) { k.b = append(k.b, c) }

func (k *keyWriter) bytes(v []byte) {
	k.b = binary.BigEndian.AppendUint32(k.b, uint32(len(v)))
	k.b = append(k.b, v...)
}

func (k *keyWriter) str(s string) {
	k.b = binary.BigEndian.AppendUint32(k.b, uint32(len(s)))
	k.b = append(k.b, s...)
}

func (k *keyWriter) num(v uint64) { k.b = binary.BigEndian.AppendUint64(k.b, v) }

func (k *keyWriter) flag(v bool) {
	if v {
		k.tag(1)
	} else {
		k.tag(0)
	}
}

// mask keeps no mask apart from one without bits.
func (k *keyWriter) mask(m []byte) {
	k.flag(m != nil)
	k.bytes(m)
}

func (k *keyWriter) rate(r ruleset.Rate) {
	k.num(r.Packets)
	k.num(r.Unit)
	k.num(uint64(r.Burst))
	k.flag(r.Over)
}

func (k *keyWriter) cmp(c ruleset.Cmp) {
	if c.Op == ruleset.Ge && c.Mask == nil && !c.Field.IsName() {
		// So is a range encoded that ends with the highest value.
		k.in(ruleset.In{Field: c.Field, Elems: []ruleset.Interval{{Lo: c.Value, Hi: bytes.Repeat([]byte{0xff}, len(c.Value))}}})
		return
	}
	k.tag('c')
	k.tag(byte(alike(c.Field)))
	k.mask(c.Mask)
	k.tag(byte(c.Op))
	k.bytes(c.Value)
	k.flag(c.Wildcard)
}

// expr spells an expression. Every type of ruleset has a case here.
func (k *keyWriter) expr(e ruleset.Expr) {
	switch e := e.(type) {
	case ruleset.Cmp:
		k.cmp(e)
	case ruleset.In:
		k.in(e)
	case ruleset.Lookup:
		k.tag('l')
		k.tag(byte(alike(e.Field)))
		k.mask(e.Mask)
		k.str(e.Set)
		k.flag(e.Not)
	case ruleset.VMap:
		k.tag('v')
		k.tag(byte(alike(e.Field)))
		k.num(uint64(len(e.Elems)))
		for _, el := range e.Elems {
			k.bytes(el.Lo)
			k.bytes(el.Hi)
			k.tag(byte(el.Verdict.Kind))
			k.str(el.Verdict.Chain)
		}
	case ruleset.VMapRef:
		k.tag('k')
		k.str(e.Map)
		k.num(uint64(len(e.Keys)))
		for _, key := range e.Keys {
			k.tag(byte(alike(key.Field)))
			k.mask(key.Mask)
		}
	case ruleset.Count:
		k.tag('#')
		k.str(e.Counter)
	case ruleset.LimitRef:
		k.tag('r')
		k.str(e.Limit)
	case ruleset.Limit:
		k.tag('t')
		k.rate(e.Rate)
	case ruleset.ConnLimit:
		k.tag('n')
		k.num(uint64(e.Max))
	case ruleset.Meter:
		k.tag('m')
		k.tag(byte(alike(e.Field)))
		k.mask(e.Mask)
		k.str(e.Set)
		if e.Rate != nil {
			k.tag('t')
			k.rate(*e.Rate)
		}
		if e.Conns != nil {
			k.tag('n')
			k.num(uint64(e.Conns.Max))
		}
	case ruleset.Log:
		k.tag('g')
		k.num(uint64(e.Group))
		k.str(e.Prefix)
	case ruleset.SetLabel:
		k.tag('s')
		k.tag(e.Bit)
	case ruleset.Label:
		k.tag('b')
		k.tag(e.Bit)
		k.flag(e.Not)
	case ruleset.Reject:
		k.tag('x')
		k.tag(byte(e.With))
	case ruleset.Verdict:
		k.tag('!')
		k.tag(byte(e.Kind))
		k.str(e.Chain)
	default:
		k.unknown = true
	}
}

// in spells a set without a name as it is encoded: one value as a comparison, ranges joined.
func (k *keyWriter) in(in ruleset.In) {
	elems, ranged := joined(in.Elems)
	if len(elems) == 1 && !ranged {
		op := ruleset.Eq
		if in.Not {
			op = ruleset.Ne
		}
		k.cmp(ruleset.Cmp{Field: in.Field, Op: op, Value: elems[0].Lo})
		return
	}
	k.tag('i')
	k.tag(byte(alike(in.Field)))
	k.flag(in.Not)
	k.num(uint64(len(elems)))
	for _, i := range elems {
		k.bytes(i.Lo)
		k.bytes(i.Hi)
	}
}

// references calls each for everything that a rule refers to by name.
func references(r *ruleset.Rule, each func(kind objectKind, name string)) {
	verdict := func(v ruleset.Verdict) {
		if v.Chain != "" {
			each(kindChain, v.Chain)
		}
	}
	for _, e := range r.Exprs {
		switch e := e.(type) {
		case ruleset.Lookup:
			each(kindSet, e.Set)
		case ruleset.Meter:
			each(kindSet, e.Set)
		case ruleset.Count:
			each(kindCounter, e.Counter)
		case ruleset.LimitRef:
			each(kindLimit, e.Limit)
		case ruleset.Verdict:
			verdict(e)
		case ruleset.VMap:
			for _, el := range e.Elems {
				verdict(el.Verdict)
			}
		case ruleset.VMapRef:
			each(kindMap, e.Map)
		}
	}
}

// objectKind is a kind of thing that has a name in the table.
type objectKind uint8

const (
	kindChain objectKind = iota
	kindSet
	kindMap
	kindCounter
	kindLimit
)

// objectID names a thing of the table.
type objectID struct {
	kind objectKind
	name string
}

// stateful tells whether a rule holds something that is lost with it.
func stateful(r *ruleset.Rule) bool {
	for _, e := range r.Exprs {
		switch e.(type) {
		case ruleset.Limit, ruleset.ConnLimit:
			return true
		}
	}
	return false
}
