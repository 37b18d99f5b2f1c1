package policy

import "ringwall/rules/diag"

// Decision is what a policy does to a packet, and why.
type Decision struct {
	Verdict Verdict
	By      string    // the rule's ID, or one of the By names
	Rule    *Rule     // nil where no rule decided
	At      diag.Span // where that is written; zero for a base rule or an unwritten default
}

// Step is something that stood before what decided, and why it did not.
type Step struct {
	By     string
	Rule   *Rule // nil for what stands before the rules
	At     diag.Span
	Reason string // "source 203.0.113.9 is not in 10.0.0.0/8"
}

// Decide is the meaning of a policy: the first that matches decides.
func (p *Policy) Decide(pkt *Packet) Decision { panic("being written") }

// Explain is Decide with everything that was passed on the way. Decide and Explain share one walk.
func (p *Policy) Explain(pkt *Packet) (Decision, []Step) { panic("being written") }
