package space

import "ringwall/rules/policy"

// Interfaces is the interface names by their numbers along IIf and OIf. The first, empty, is that of a packet without
// such an interface; the others stand for every name that the same patterns match.
func (s *Space) Interfaces() []string { return s.names.list }

// MACs is the Ethernet addresses that the policies name: the first has the number 2 along MAC. The number 0 is no
// address, 1 any other.
func (s *Space) MACs() []policy.MAC { return s.macs }

// Marked is the marks that m takes, as a set along Mark. It must be one of the space's policies.
func (s *Space) Marked(m policy.Mark) Set { return s.marks.set(m) }

// Times is the moments at which rules expire, in Unix seconds, sorted: the first ends the span 0 along Time.
func (s *Space) Times() []int64 { return s.times }

// From is the spans of time that have not ended at a moment in Unix seconds, as a set along Time.
func (s *Space) From(time int64) Set {
	past, _ := s.At(time).Min()
	return upTo(len(s.times) + 1).Minus(upTo(int(past)))
}
