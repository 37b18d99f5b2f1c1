package ruleset

import (
	"slices"
	"sync"
)

// known is what is known of a packet: what its family and its transport protocol may be, and whether an Ethernet interface brought it.
type known struct {
	families, protocols octets
	ether               bool
}

// anything is what is known of a packet of which nothing is.
var anything = known{families: everyOctet, protocols: everyOctet}

// of is what is known of a field, nil of one that nothing is kept of.
func (k *known) of(f Field) *octets {
	switch f {
	case NFProto:
		return &k.families
	case L4Proto:
		return &k.protocols
	}
	return nil
}

// kept tells whether of returns anything.
func kept(f Field) bool { return f == NFProto || f == L4Proto }

// teaches is a kept field's values for which an expression goes on; false where it says nothing of one, or nothing simple.
func teaches(e Expr) (f Field, values octets, ok bool) {
	switch e := e.(type) {
	case Cmp:
		if kept(e.Field) && e.Op == Eq && e.Mask == nil && len(e.Value) == 1 {
			values.add(e.Value[0], e.Value[0])
			return e.Field, values, true
		}
	case In:
		if !kept(e.Field) || e.Not {
			break
		}
		for _, i := range e.Elems {
			if len(i.Lo) != 1 || len(i.Hi) != 1 {
				return 0, values, false
			}
			values.add(i.Lo[0], i.Hi[0])
		}
		return e.Field, values, true
	}
	return 0, values, false
}

// ask takes up what is known of the packets for which an expression goes on.
func (k *known) ask(e Expr) {
	if c, is := e.(Cmp); is && c.Field == IIfType {
		k.ether = k.ether || c.Op == Eq && c.Mask == nil && num(c.Value) == IfEther
		return
	}
	if f, values, ok := teaches(e); ok {
		k.of(f).and(&values)
	}
}

// implies tells whether a field is one of some values in every packet. A packet may have no transport protocol, and then none is known.
func (k *known) implies(f Field, values *octets) bool {
	return *k.of(f) != everyOctet && k.of(f).within(values)
}

// meets tells whether a need is met.
func (k *known) meets(n *need) bool {
	if n.field == IIfType {
		return k.ether
	}
	return k.of(n.field).within(&n.octets)
}

// or takes up what other packets may be.
func (k *known) or(o *known) {
	k.families.or(&o.families)
	k.protocols.or(&o.protocols)
	k.ether = k.ether && o.ether
}

func (k *known) and(o *known) {
	k.families.and(&o.families)
	k.protocols.and(&o.protocols)
	k.ether = k.ether || o.ether
}

// octets is a set of values of one byte.
type octets [4]uint64

var everyOctet = octets{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}

func (o *octets) add(lo, hi byte) {
	for v := int(lo); v <= int(hi); v++ {
		o[v/64] |= 1 << (v % 64)
	}
}

func (o *octets) has(v byte) bool { return o[v/64]>>(v%64)&1 == 1 }

func (o *octets) and(p *octets) {
	for i := range o {
		o[i] &= p[i]
	}
}

func (o *octets) or(p *octets) {
	for i := range o {
		o[i] |= p[i]
	}
}

// within tells whether p has all of o.
func (o *octets) within(p *octets) bool {
	for i := range o {
		if o[i]&^p[i] != 0 {
			return false
		}
	}
	return true
}

// flow is what is known of the packets that come to chains and maps: of a base chain's nothing; of another's what is known in each of
// the rules that lead there, once they have asked for what they ask before, and for the key of a map's element. What a rule before that
// one has asked, or none of them, counts for nothing.
type flow struct {
	chains, maps map[string]*place
	order        []*place // each after all that it leads to
	asked        []known
	circle       bool // a chain leads back to itself: then nothing is known at all
}

// place is a chain or a map.
type place struct {
	chain *Chain
	m     *Map
	ways  []edge
	known known // of the packets that come here
	led   bool  // something leads here
	// keys is, of a map, what is known of a packet that has the key of an element; it is anything where a rule masks what it looks up.
	keys  known
	state int8 // 0, -1 while what it leads to is looked at, 1 afterwards
}

// edge is a way from a place to another one, and what is asked on it: its place in flow.asked.
type edge struct {
	to    *place
	asked int32
}

// newFlow follows the packets of a rule set through it, in time that is linear in its size. Where the rule set is not sound the flow may
// miss what leads somewhere.
func newFlow(r *Ruleset) *flow {
	n := len(r.Chains) + len(r.Maps)
	f := &flow{chains: make(map[string]*place, len(r.Chains)), maps: make(map[string]*place, len(r.Maps)), order: make([]*place, 0, n)}
	places := make([]place, n)
	for i, ch := range r.Chains {
		places[i].chain = ch
		f.chains[ch.Name] = &places[i]
	}
	for i, m := range r.Maps {
		p := &places[len(r.Chains)+i]
		p.m, p.keys = m, keysOf(m)
		f.maps[m.Name] = p
	}
	for i := range r.Chains {
		f.visit(&places[i])
	}
	for _, p := range slices.Backward(f.order) {
		if !p.led || p.chain != nil && p.chain.Hook != nil || f.circle {
			p.known = anything
		}
		for _, e := range p.ways {
			k := p.known
			if p.m == nil || p.keys != anything {
				k.and(&f.asked[e.asked])
			}
			if !e.to.led {
				e.to.led, e.to.known = true, k
			} else {
				e.to.known.or(&k)
			}
		}
	}
	return f
}

// visit puts a place in order.
func (f *flow) visit(p *place) {
	if p.state != 0 {
		f.circle = f.circle || p.state < 0
		return
	}
	p.state = -1
	if p.m != nil {
		f.elements(p)
	} else {
		f.rules(p)
	}
	for _, e := range p.ways {
		f.visit(e.to)
	}
	p.state = 1
	f.order = append(f.order, p)
}

// elements finds the ways from a map.
func (f *flow) elements(p *place) {
	p.ways = make([]edge, 0, len(p.m.Elems))
	some := p.keys != anything
	for i := range p.m.Elems {
		k := anything
		if some {
			k = keyOf(p.m, &p.m.Elems[i])
		}
		f.leads(p, p.m.Elems[i].Verdict, &k)
	}
}

// rules finds the ways from a chain.
func (f *flow) rules(p *place) {
	n := 0
	for _, r := range p.chain.Rules {
		if r.leadsOn() {
			n++
		}
	}
	p.ways = make([]edge, 0, n)
	for _, r := range p.chain.Rules {
		if !r.leadsOn() {
			continue
		}
		k := anything
		for _, e := range r.Exprs {
			switch e := e.(type) {
			case Verdict:
				f.leads(p, e, &k)
			case VMap:
				for _, el := range e.Elems {
					by := k
					by.ask(In{Field: e.Field, Elems: []Interval{el.Interval}})
					f.leads(p, el.Verdict, &by)
				}
			case VMapRef:
				if to := f.maps[e.Map]; to != nil {
					if e.masks() {
						to.keys = anything
					}
					f.way(p, to, &k)
				}
			default:
				k.ask(e)
			}
		}
	}
}

// leadsOn tells whether a rule leads to another chain, as far as its end tells.
func (r *Rule) leadsOn() bool {
	if len(r.Exprs) == 0 {
		return false
	}
	v, is := r.Exprs[len(r.Exprs)-1].(Verdict)
	return !is || v.Chain != ""
}

func (f *flow) leads(p *place, v Verdict, k *known) {
	if v.Chain == "" {
		return
	}
	if to := f.chains[v.Chain]; to != nil {
		f.way(p, to, k)
	}
}

// way adds a way to a place.
func (f *flow) way(p, to *place, k *known) {
	const few = 8 // rules ask for the same again and again
	from := max(0, len(f.asked)-few)
	at := from + slices.Index(f.asked[from:], *k)
	if at < from {
		at = len(f.asked)
		f.asked = append(f.asked, *k)
	}
	p.ways = append(p.ways, edge{to, int32(at)})
}

// masks tells whether the lookup masks a field of which something is known.
func (r *VMapRef) masks() bool {
	return slices.ContainsFunc(r.Keys, func(key Key) bool { return key.Mask != nil && kept(key.Field) })
}

// keysOf is what is known of a packet that has the key of one of a map's elements.
func keysOf(m *Map) known {
	if !slices.ContainsFunc(m.Keys, kept) {
		return anything
	}
	var k known
	for i := range m.Elems {
		key := keyOf(m, &m.Elems[i])
		k.or(&key)
	}
	return k
}

// keyOf is what is known of a packet that has the key of an element.
func keyOf(m *Map, e *MapElem) known {
	k := anything
	if size := m.KeySize(); len(e.Lo) != size || len(e.Hi) != size {
		return k
	}
	at := 0
	for _, f := range m.Keys {
		if have := k.of(f); have != nil {
			var values octets
			values.add(e.Lo[at], e.Hi[at])
			have.and(&values)
		}
		at += f.Size()
	}
	return k
}

// Trim leaves out of the rules of chains what they ask of a field though it is known of every packet that comes there: the family and the
// transport protocol. Where tells which fields may be left out of a rule, and is asked on several goroutines; what the rule has asked before goes
// in any case. No packet notices, and nothing that Check demands is missing afterwards.
func (r *Ruleset) Trim(where func(ch *Chain, r *Rule, f Field) bool) {
	flow := newFlow(r)
	if flow.circle {
		return
	}
	var all sync.WaitGroup
	for part := range slices.Chunk(r.Chains, max(1, (len(r.Chains)+1)/2)) {
		all.Go(func() {
			for _, ch := range part {
				known := flow.chains[ch.Name].known
				for _, rule := range ch.Rules {
					rule.trim(known, func(f Field) bool { return where(ch, rule, f) })
				}
			}
		})
	}
	all.Wait()
}

// trim leaves out what the rule asks though it is known.
func (r *Rule) trim(k known, where func(Field) bool) {
	var asked [L4Proto + 1]bool
	for i := 0; i < len(r.Exprs); i++ {
		e := r.Exprs[i]
		f, values, ok := teaches(e)
		switch {
		case !ok:
			k.ask(e)
		case k.implies(f, &values) && (asked[f] || where(f)):
			r.Exprs = slices.Delete(r.Exprs, i, i+1)
			i--
		default:
			asked[f] = true
			k.of(f).and(&values)
		}
	}
}
