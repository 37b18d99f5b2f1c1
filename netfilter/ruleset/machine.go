package ruleset

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sort"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Machine runs a rule set in Go as the kernel would. Limits, of rates and of connections, are taken as not exceeded. It may be
// shared between goroutines.
type Machine struct {
	hooks    [Postrouting + 1][]*program // base chains by priority
	programs map[string]*program
	sets     map[string]*Set
	maps     map[string]*lookup
	limits   map[string]Rate
	contents map[string]addrset.Addrs
	indexes  []*index // of long chains; nil where every rule is tried
	exceeded bool
}

// NewMachine makes a Machine of a rule set. Contents is what dynamic sets hold, by the sets' names in the kernel; of each the
// family of the set counts. The error says what is wrong in the rule set; see Check.
func NewMachine(r *Ruleset, contents map[string]addrset.Addrs) (*Machine, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	m := &Machine{
		programs: make(map[string]*program), sets: make(map[string]*Set), maps: make(map[string]*lookup), limits: make(map[string]Rate),
		contents: contents,
	}
	m.compile(r)
	for _, c := range r.Chains {
		if c.Hook != nil {
			m.hooks[c.Hook.Point] = append(m.hooks[c.Hook.Point], m.programs[c.Name])
		}
	}
	for _, hook := range m.hooks {
		slices.SortStableFunc(hook, func(a, b *program) int { return cmp.Compare(a.chain.Hook.Priority, b.chain.Hook.Priority) })
	}
	for _, s := range r.Sets {
		m.sets[s.Name] = s
	}
	for _, l := range r.Limits {
		m.limits[l.Name] = l.Rate
	}
	return m, nil
}

// Exceeded is the machine with every limit, of rates and of connections, taken as exceeded.
func (m *Machine) Exceeded() *Machine {
	n := *m
	n.exceeded = true
	return &n
}

// With is the machine with other contents of its dynamic sets.
func (m *Machine) With(contents map[string]addrset.Addrs) *Machine {
	n := *m
	n.contents = contents
	return &n
}

// Outcome is what became of a packet.
type Outcome struct {
	Verdict policy.Verdict
	// Answer is what a packet that was rejected is told.
	Answer RejectWith
	// Path is the chains that the packet came through, in order: each base chain, and after it those that it went to.
	Path []string
	// Counters is the counters that counted it, in order.
	Counters []string
	// Logged is the prefixes it was logged with, in order.
	Logged []string
	// Label is the connection's label afterwards.
	Label Bits
}

// Clone is the outcome with room of its own.
func (o *Outcome) Clone() Outcome {
	c := *o
	c.Path, c.Counters, c.Logged = slices.Clone(o.Path), slices.Clone(o.Counters), slices.Clone(o.Logged)
	return c
}

// Bits is a connection's label.
type Bits [2]uint64

// Has tells whether a bit is set.
func (b Bits) Has(bit uint8) bool { return b[bit/64%2]>>(bit%64)&1 == 1 }

// Set sets a bit.
func (b *Bits) Set(bit uint8) { b[bit/64%2] |= 1 << (bit % 64) }

// Stage is a packet at a hook.
type Stage struct {
	Hook HookPoint
	Pkt  *policy.Packet
	// DaddrType is what the routing table calls the destination (TypeLocal and so on).
	DaddrType uint32
	DNAT      bool // the connection's destination was rewritten
	Reply     bool // the packet goes the other way than the first of its connection
}

// Eval sends a packet the way its direction takes it: `in` through prerouting and input, `out` through output, `forward`
// through prerouting and forward. It is the first packet of its connection that the rule set sees, and nobody rewrites it.
func (m *Machine) Eval(pkt *policy.Packet) Outcome {
	var w Walker
	return *w.Eval(m, pkt)
}

// Walk sends a packet through hooks, one after the other, until one of them drops or rejects it. Label is the connection's
// before.
func (m *Machine) Walk(label Bits, stages ...Stage) Outcome {
	var w Walker
	return *w.Walk(m, label, stages...)
}

// Walker sends one packet after the other, and keeps the room that this takes. It is not to be shared between goroutines.
type Walker struct{ walk walk }

// Walk is Machine.Walk. What it returns is to be used before the next packet.
func (k *Walker) Walk(m *Machine, label Bits, stages ...Stage) *Outcome {
	w := &k.walk
	w.Machine = m
	w.out = Outcome{Label: label, Path: w.out.Path[:0], Counters: w.out.Counters[:0], Logged: w.out.Logged[:0]}
	for _, s := range stages {
		for _, base := range m.hooks[s.Hook] {
			w.Stage, w.priority = s, base.chain.Hook.Priority
			w.at++
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
	at       uint64 // the number of the base chain that it is in
	loaded   [FibSaddrOIf + 1]loaded
}

// ending is how a rule ends.
type ending uint8

const (
	goesOn ending = iota // to the next rule
	accepts
	drops
	rejects
	returns
	jumps
	leaves // by goto
)

// frame is how far a packet is in a chain.
type frame struct {
	*program
	next int
	// tries is the rules to try, where the chain has an index; next is a place in it then.
	tries   []int32
	indexed bool
}

// enter is the beginning of a chain.
func (w *walk) enter(p *program) frame {
	f := frame{program: p}
	if w.indexes != nil && w.indexes[p.index] != nil {
		from := len(w.found)
		w.found = w.indexes[p.index].find(w.found, w)
		f.tries, f.indexed = w.found[from:], true
	}
	return f
}

// rule is the next rule, nil at the chain's end.
func (f *frame) rule() []step {
	i := f.next
	f.next++
	switch {
	case f.indexed && i < len(f.tries):
		return f.rules[f.tries[i]]
	case !f.indexed && i < len(f.rules):
		return f.rules[i]
	}
	return nil
}

// base runs a base chain. Accept ends this chain alone, drop and reject end everything.
func (w *walk) base(p *program) policy.Verdict {
	w.out.Path = append(w.out.Path, p.chain.Name)
	w.found, w.stack = w.found[:0], w.stack[:0]
	at := w.enter(p)
	for {
		r := at.rule()
		if r == nil {
			n := len(w.stack)
			if n == 0 {
				break
			}
			at, w.stack = w.stack[n-1], w.stack[:n-1]
			continue
		}
		way := w.rule(r)
		switch way.how {
		case accepts:
			return policy.Allow
		case drops:
			return policy.Deny
		case rejects:
			return policy.Reject
		case returns:
			at = frame{program: at.program, next: len(at.rules)}
		case jumps:
			w.stack = append(w.stack, at)
			fallthrough
		case leaves:
			at = w.enter(way.to)
			w.out.Path = append(w.out.Path, way.to.chain.Name)
		}
	}
	if p.chain.Hook.Drop {
		return policy.Deny
	}
	return policy.Allow
}

// expr runs an expression: ok tells whether the rule goes on after it. Every type of this package has a case here, or is a step of
// its own.
func (w *walk) expr(e Expr) (how ending, to string, ok bool) {
	switch e := e.(type) {
	case Lookup:
		v, ok := w.load(e.Field)
		return goesOn, "", ok && w.holds(w.sets[e.Set], v.masked(e.Mask)) != e.Not
	case VMap:
		v, ok := w.load(e.Field)
		if !ok {
			return goesOn, "", false
		}
		for _, el := range e.Elems {
			if el.holds(v.bytes()) {
				return ended(el.Verdict)
			}
		}
		return goesOn, "", false
	case Count:
		w.out.Counters = append(w.out.Counters, e.Counter)
		return goesOn, "", true
	case LimitRef:
		return goesOn, "", w.limits[e.Limit].Over == w.exceeded
	case Limit:
		return goesOn, "", e.Rate.Over == w.exceeded
	case ConnLimit:
		return goesOn, "", w.exceeded
	case Meter:
		_, ok := w.load(e.Field)
		return goesOn, "", ok && (e.Conns != nil || e.Rate.Over) == w.exceeded
	case Log:
		w.out.Logged = append(w.out.Logged, e.Prefix)
		return goesOn, "", true
	case SetLabel:
		if w.tracked() {
			w.out.Label.Set(e.Bit)
		}
		return goesOn, "", true
	case Label:
		return goesOn, "", w.tracked() && w.out.Label.Has(e.Bit) != e.Not
	case Reject:
		w.out.Answer = e.With
		return rejects, "", false
	}
	return drops, "", false
}

func ended(v Verdict) (how ending, to string, ok bool) {
	switch v.Kind {
	case Accept:
		return accepts, "", false
	case Return:
		return returns, "", false
	case Jump:
		return jumps, v.Chain, false
	case Goto:
		return leaves, v.Chain, false
	}
	return drops, "", false
}

// holds tells whether a named set holds an address. Sets that packets fill hold whoever is asked for: the packet has just
// been added.
func (w *walk) holds(s *Set, key []byte) bool {
	if s.Packets {
		return true
	}
	addr, _ := netip.AddrFromSlice(key)
	if s.Dynamic {
		c := w.contents[s.Name]
		return c.Contains(addr)
	}
	return addrset.Addrs{V4: s.Elems4, V6: s.Elems6}.Contains(addr)
}

// holds tells whether a value lies in the interval.
func (i Interval) holds(v []byte) bool {
	return bytes.Compare(i.Lo, v) <= 0 && bytes.Compare(v, i.Hi) <= 0
}

// find tells whether a sorted list of intervals holds a value. It allocates nothing.
func find(elems []Interval, v []byte) bool {
	i := sort.Search(len(elems), func(i int) bool { return bytes.Compare(elems[i].Hi, v) >= 0 })
	return i < len(elems) && elems[i].holds(v)
}

// String is the outcome on one line: the verdict and the path.
func (o Outcome) String() string { return fmt.Sprintf("%s by %v", o.Verdict, o.Path) }
