package ruleset

import "ringwall/rules/policy"

// Walker sends one packet after the other, and keeps the room that this takes. It is not to be shared between goroutines.
type Walker struct{ walk walk }

// Walk is Machine.Walk. What it returns is to be used before the next packet.
func (k *Walker) Walk(m *Machine, label Bits, stages ...Stage) *Outcome {
	w := &k.walk
	w.Machine = m
	w.out = Outcome{Label: label, Chains: w.out.Chains[:0], Counters: w.out.Counters[:0], Logged: w.out.Logged[:0], program: m.program}
	for _, s := range stages {
		for _, base := range m.hooks[s.Hook] {
			w.at(s, m.chains[base].Hook.Priority)
			if v := w.base(base); v != policy.Allow {
				w.out.Verdict = v
				return &w.out
			}
		}
	}
	return &w.out
}

// Eval is Machine.Eval. What it returns is to be used before the next packet.
func (k *Walker) Eval(m *Machine, pkt *policy.Packet) *Outcome {
	switch pkt.Dir {
	case policy.In:
		return k.Walk(m, Bits{}, Stage{Hook: Prerouting, Pkt: pkt, DaddrType: TypeLocal}, Stage{Hook: Input, Pkt: pkt, DaddrType: TypeLocal})
	case policy.Out:
		return k.Walk(m, Bits{}, Stage{Hook: Output, Pkt: pkt, DaddrType: TypeUnicast})
	}
	return k.Walk(m, Bits{}, Stage{Hook: Prerouting, Pkt: pkt, DaddrType: TypeUnicast}, Stage{Hook: ForwardHook, Pkt: pkt, DaddrType: TypeUnicast})
}

// walk is one packet on its way.
type walk struct {
	*Machine
	Stage
	priority int32
	out      Outcome
	found    []int32 // by the indexes of the chains that it is in
	stack    []frame
	values   [FibSaddrOIf + 1]value
	loaded   uint32 // the fields, as bits, whose values are known
	has      uint32 // and those of them that the packet has
	key      [maxKeys]value
	keys     int // of them that are set
}

const _ = 31 - FibSaddrOIf // every field has a bit

// at puts the packet at a base chain, where its fields may have other values.
func (w *walk) at(s Stage, priority int32) {
	w.Stage, w.priority = s, priority
	w.loaded, w.has = 0, 0
}

// value is a field of the packet, false where it has none.
func (w *walk) value(f Field) (value, bool) {
	if w.loaded>>f&1 == 0 {
		w.fetch(f)
	}
	return w.values[f], w.has>>f&1 == 1
}

func (w *walk) fetch(f Field) {
	v, ok := w.load(f)
	w.values[f] = v
	w.loaded |= 1 << f
	if ok {
		w.has |= 1 << f
	}
}

// frame is how far a packet is in a chain: the next of its rules and the end of them or, where the chain has an index, the next
// and the end of those that were found.
type frame struct {
	next, end int
	indexed   bool
}

// enter is the beginning of a chain.
func (w *walk) enter(chain int32) frame {
	w.out.Chains = append(w.out.Chains, chain)
	if w.indexes != nil && w.indexes[chain] != nil {
		from := len(w.found)
		w.found = w.indexes[chain].find(w.found, w)
		for i := from; i < len(w.found); i++ {
			w.found[i] += w.first[chain]
		}
		return frame{from, len(w.found), true}
	}
	return frame{int(w.first[chain]), int(w.first[chain+1]), false}
}

// base runs a base chain. Accept ends this chain alone, drop and reject end everything.
func (w *walk) base(chain int32) policy.Verdict {
	w.found, w.stack = w.found[:0], w.stack[:0]
	at := w.enter(chain)
	for {
		if at.next >= at.end {
			n := len(w.stack)
			if n == 0 {
				break
			}
			at, w.stack = w.stack[n-1], w.stack[:n-1]
			continue
		}
		r := at.next
		if at.indexed {
			r = int(w.found[r])
		}
		at.next++
		way := w.rule(w.steps[w.begins[r]:w.begins[r+1]])
		switch way.how {
		case accepts:
			return policy.Allow
		case drops:
			return policy.Deny
		case rejects:
			return policy.Reject
		case returns:
			at.next = at.end
		case jumps:
			w.stack = append(w.stack, at)
			fallthrough
		case leaves:
			at = w.enter(way.to)
		}
	}
	if w.chains[chain].Hook.Drop {
		return policy.Deny
	}
	return policy.Allow
}

// rule runs the steps of a rule until one does not go on.
func (w *walk) rule(steps []step) way {
	for i := range steps {
		s := &steps[i]
		switch s.do {
		case equals:
			v, ok := w.value(s.field)
			if same := v.Hi&s.mask.Hi == s.value.Hi && v.Lo&s.mask.Lo == s.value.Lo; !ok || same == s.not {
				return way{}
			}
		case orders:
			if v, ok := w.value(s.field); !ok || !s.op.holds(under(v, s.mask).Compare(s.value)) {
				return way{}
			}
		case finds:
			if v, ok := w.value(s.field); !ok || (find(w.ranges[s.from:s.to], v) >= 0) == s.not {
				return way{}
			}
		case isIn:
			if v, ok := w.value(s.field); !ok || w.inSet(s.from, under(v, s.mask)) == s.not {
				return way{}
			}
		case takes:
			v, ok := w.value(s.field)
			if !ok {
				return way{}
			}
			if s.from == 0 {
				w.keys = 0
			}
			w.key[w.keys] = under(v, s.mask)
			w.keys++
		case looksUp:
			return w.lookups[s.from].find(w.key[:w.keys])
		case ends:
			return s.way
		case runs:
			if !w.expr(w.exprs[s.from]) {
				return way{}
			}
		}
	}
	return way{}
}

// inSet tells whether a set holds an address.
func (w *walk) inSet(set int32, v value) bool {
	if w.sets[set].V6 {
		return w.contents[set].V6.Contains(v)
	}
	return w.contents[set].V4.Contains(v4(v))
}

// expr runs an expression that is not laid out as steps, and tells whether the rule goes on. Every type of this package has a case
// here, or steps.
func (w *walk) expr(e Expr) bool {
	switch e := e.(type) {
	case Count:
		w.out.Counters = append(w.out.Counters, e.Counter)
		return true
	case Limit:
		return e.Rate.Over == w.exceeded
	case ConnLimit:
		return w.exceeded
	case Meter:
		_, ok := w.value(e.Field)
		return ok && (e.Conns != nil || e.Rate.Over) == w.exceeded
	case Log:
		w.out.Logged = append(w.out.Logged, e.Prefix)
		return true
	case SetLabel:
		if w.tracked() {
			w.out.Label.Set(e.Bit)
		}
		return true
	case Label:
		return w.tracked() && w.out.Label.Has(e.Bit) != e.Not
	case Reject:
		w.out.Answer = e.With
		return true
	}
	return false
}
