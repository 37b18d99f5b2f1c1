package ruleset

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Machine runs a rule set in Go as the kernel would. Limits, of rates and of connections, are taken as not exceeded. It may be
// shared between goroutines.
type Machine struct {
	*program
	hooks    [Postrouting + 1][]int32 // base chains by priority
	contents []addrset.Addrs          // what sets hold, by their numbers
	indexes  []*index                 // of long chains; nil where every rule is tried
	exceeded bool
}

// NewMachine makes a Machine of a rule set. Contents is what dynamic sets hold, by the sets' names in the kernel; of each the
// family of the set counts. The error says what is wrong in the rule set; see Check.
func NewMachine(r *Ruleset, contents map[string]addrset.Addrs) (*Machine, error) {
	var unsound error
	var checking sync.WaitGroup // both take long
	checking.Go(func() { unsound = r.Check() })
	m := &Machine{program: newProgram(r)}
	if checking.Wait(); unsound != nil {
		return nil, unsound
	}
	for i, c := range r.Chains {
		if c.Hook != nil {
			m.hooks[c.Hook.Point] = append(m.hooks[c.Hook.Point], int32(i))
		}
	}
	for _, hook := range m.hooks {
		slices.SortStableFunc(hook, func(a, b int32) int { return cmp.Compare(r.Chains[a].Hook.Priority, r.Chains[b].Hook.Priority) })
	}
	return m.With(contents), nil
}

// Exceeded is the machine with every limit, of rates and of connections, taken as exceeded.
func (m *Machine) Exceeded() *Machine {
	n := *m
	n.exceeded = true
	return &n
}

// With is the machine with other contents of its dynamic sets. Sets that packets fill hold whoever is asked for: the packet has
// just been added.
func (m *Machine) With(contents map[string]addrset.Addrs) *Machine {
	n := *m
	n.contents = make([]addrset.Addrs, len(m.sets))
	for i, s := range m.sets {
		switch {
		case s.Packets:
			n.contents[i] = addrset.AllAddrs()
		case s.Dynamic:
			n.contents[i] = contents[s.Name]
		default:
			n.contents[i] = addrset.Addrs{V4: s.Elems4, V6: s.Elems6}
		}
	}
	return &n
}

// Indexed is the machine with indexes of its long chains. It does what m does.
func (m *Machine) Indexed() *Machine {
	n := *m
	n.indexes = make([]*index, len(m.chains))
	var long []int
	for i, c := range m.chains {
		if len(c.Rules) >= longChain {
			long = append(long, i)
		}
	}
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(long)) {
		all.Go(func() {
			for k := int(next.Add(1)) - 1; k < len(long); k = int(next.Add(1)) - 1 {
				n.indexes[long[k]] = m.newIndex(long[k])
			}
		})
	}
	all.Wait()
	return &n
}

// Outcome is what became of a packet.
type Outcome struct {
	Verdict policy.Verdict
	// Answer is what a packet that was rejected is told.
	Answer RejectWith
	// Chains is the chains that the packet came through, by their places in the rule set, in order: each base chain, and after it
	// those that it went to.
	Chains []int32
	// Counters is the counters that counted it, in order.
	Counters []string
	// Logged is the prefixes it was logged with, in order.
	Logged []string
	// Label is the connection's label afterwards.
	Label Bits

	program *program
}

// Path is the names of the chains that the packet came through, in order.
func (o *Outcome) Path() []string {
	names := make([]string, len(o.Chains))
	for i, c := range o.Chains {
		names[i] = o.program.chains[c].Name
	}
	return names
}

// Clone is the outcome with room of its own.
func (o *Outcome) Clone() Outcome {
	c := *o
	c.Chains, c.Counters, c.Logged = slices.Clone(o.Chains), slices.Clone(o.Counters), slices.Clone(o.Logged)
	return c
}

// String is the outcome on one line: the verdict and the path.
func (o Outcome) String() string { return fmt.Sprintf("%s by %v", o.Verdict, o.Path()) }

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
