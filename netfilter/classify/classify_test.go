package classify

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// walked is what packets have passed.
type walked struct{ probes, jumps, tests int }

// passed is that in tests: a lookup and a jump take as long as a dozen of them.
func (w walked) passed() int { return 12*(w.probes+w.jumps) + w.tests }

// find is what a structure does to a packet: the line, -1 for none; back tells that a guard has sent it back.
func (n *Node) find(p *point, width int, w *walked) (line int) {
	for i := range n.Steps {
		s := &n.Steps[i]
		if s.Call != nil {
			w.jumps++
			if line := s.Call.find(p, width, w); line >= 0 {
				return line
			}
			continue
		}
		t := s.Table
		if t == nil {
			w.tests++
			if !s.Test.Box.holds(p) {
				continue
			}
			if s.Test.Guard {
				return -1
			}
			if s.Test.Then != nil {
				w.jumps++
				return s.Test.Then.find(p, width, w)
			}
			return s.Test.Line
		}
		w.probes++
		v := t.Probe.valueOf(p, width)
		lo, hi := 0, len(t.Cases)
		for lo < hi {
			if mid := (lo + hi) / 2; t.Cases[mid].Value.compare(v) < 0 {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		if lo == len(t.Cases) || t.Cases[lo].Value != v {
			continue
		}
		if t.Cases[lo].Node == nil {
			return t.Cases[lo].Line
		}
		w.jumps++
		if line := t.Cases[lo].Node.find(p, width, w); line >= 0 {
			return line
		}
	}
	return -1
}

func (p Probe) valueOf(pt *point, width int) (v Value) {
	for a, n := range p.Bits {
		if n > 0 {
			v.Addr[a] = first(pt.addr[a], int(n), width)
		}
	}
	if p.Proto {
		v.Proto = pt.proto
	}
	v.Dport = pt.port[Dport] & portMask(p.Dport)
	return v
}

type size struct {
	nodes, probes, cases, tests, guards, calls int
	seen                                       map[*Node]int
	tables                                     map[*Table]bool
}

// measure counts what a structure is made of, and returns how deep it is.
func (n *Node) measure(s *size) (depth int) {
	if d, ok := s.seen[n]; ok {
		return d
	}
	if s.seen == nil {
		s.seen, s.tables = make(map[*Node]int), make(map[*Table]bool)
	}
	visit := func(n *Node) {
		if n != nil {
			depth = max(depth, n.measure(s))
		}
	}
	s.nodes++
	for i := range n.Steps {
		st := &n.Steps[i]
		switch {
		case st.Call != nil:
			s.calls++
			visit(st.Call)
		case st.Table == nil:
			s.tests++
			if st.Test.Guard {
				s.guards++
			}
			visit(st.Test.Then)
		default:
			s.probes++
			if !s.tables[st.Table] {
				s.tables[st.Table] = true
				s.cases += len(st.Table.Cases)
			}
			for _, c := range st.Table.Cases {
				visit(c.Node)
			}
		}
	}
	s.seen[n] = depth + 1
	return depth + 1
}

func (s size) String() string {
	return fmt.Sprintf("nodes %d probes %d cases %d tests %d guards %d calls %d ~%.1fMB", s.nodes, s.probes, s.cases, s.tests, s.guards, s.calls,
		(float64(s.nodes)*350+float64(s.tests+s.calls)*450+float64(s.cases)*90)/1e6)
}

func firstOf(lines []Line, p *point) int {
	for i := range lines {
		if lines[i].holds(p) {
			return i
		}
	}
	return -1
}

func TestBuildIsFirstMatch(t *testing.T) {
	for _, width := range []int{32, 128} {
		for _, shape := range shapes {
			for _, n := range []int{10, 100, 1000} {
				for seed := range uint64(5) {
					lines := generate(shape, n, width, seed)
					root := Build(lines, Options{Width: width, Guards: 2 * int(seed), MoreGuards: 64, Late: int(seed), Levels: 4 + 2*int(seed), Sparing: seed%2 == 0, Plenty: 600 * n * int(seed%3)})
					g := &gen{Rand: rand.New(rand.NewPCG(seed, 1)), width: width}
					for i := range 4 * n {
						p := g.in(&lines[i%n].Box)
						if i%3 == 0 {
							q := g.in(&lines[g.IntN(n)].Box)
							p.addr[g.IntN(2)], p.port[g.IntN(2)] = q.addr[g.IntN(2)], q.port[g.IntN(2)]
						}
						var w walked
						if want, got := firstOf(lines, &p), root.find(&p, width, &w); want != got {
							t.Fatalf("%s, %d lines of %d bits, seed %d: the first of %+v is %d, found %d", shape, n, width, seed, p, want, got)
						}
					}
				}
			}
		}
	}
}
