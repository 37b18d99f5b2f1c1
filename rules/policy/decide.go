package policy

import (
	"net/netip"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
)

// Decision is what a policy does to a packet, and why.
type Decision struct {
	Verdict Verdict
	By      string    // the rule's ID, or one of the By names
	Rule    *Rule     // nil where no rule decided
	At      diag.Span // where that is written; zero for a base rule or an unwritten default
}

// Decide is the meaning of a policy: the first that matches decides. Limits, of rates and of connections, are taken
// as not exceeded. A source or destination that is the zero Addr is in no set of addresses.
func (p *Policy) Decide(pkt *Packet) Decision {
	w := newWalk(p, pkt)
	return w.judge()
}

// Loopback is the name of the interface over which a host talks to itself.
const Loopback = "lo"

// walk is one packet on its way through a policy. What does not match says why, as text only where steps are kept:
// an empty reason means that it matches.
type walk struct {
	*Policy
	pkt      *Packet
	key      addrset.U32
	src, dst address
	steps    *[]Step // nil where nobody wants to know
}

// address is an IP address as the number that sets of its family hold.
type address struct {
	valid, six bool
	v4         addrset.U32
	v6         addrset.U128
}

func newWalk(p *Policy, pkt *Packet) walk {
	return walk{Policy: p, pkt: pkt, key: pkt.Key(), src: newAddress(pkt.Src), dst: newAddress(pkt.Dst)}
}

func newAddress(ip netip.Addr) address {
	ip = ip.Unmap()
	switch {
	case ip.Is4():
		return address{valid: true, v4: addrset.V4(ip)}
	case ip.Is6():
		return address{valid: true, six: true, v6: addrset.V6(ip)}
	}
	return address{}
}

// judge walks until something matches. The order is the language's.
func (w *walk) judge() Decision {
	dir := w.pkt.Dir
	if w.takes(ByBlock, w.BlockAt, w.block()) {
		return Decision{Verdict: Deny, By: ByBlock, At: w.BlockAt}
	}
	if dir == Forward && !w.Transit {
		return Decision{Verdict: Allow, By: ByUnjudged}
	}
	if w.takes(ByLoopback, diag.Span{}, w.loopback()) {
		return Decision{Verdict: Allow, By: ByLoopback}
	}
	for i := range w.Failsafe {
		f := &w.Failsafe[i]
		if w.takes(ByFailsafe, f.At, w.failsafe(f)) {
			return Decision{Verdict: Allow, By: ByFailsafe, At: f.At}
		}
	}
	switch {
	case w.takes(ByEstablished, diag.Span{}, w.established()):
		return Decision{Verdict: Allow, By: ByEstablished}
	case w.takes(ByNeighbour, diag.Span{}, w.neighbour()):
		return Decision{Verdict: Allow, By: ByNeighbour}
	case w.takes(ByMulticast, diag.Span{}, w.multicast()):
		return Decision{Verdict: Allow, By: ByMulticast}
	case w.takes(ByICMPErrors, diag.Span{}, w.icmpErrors()):
		return Decision{Verdict: Allow, By: ByICMPErrors}
	case w.takes(ByDHCPClient, diag.Span{}, w.dhcpClient()):
		return Decision{Verdict: Allow, By: ByDHCPClient}
	case w.takes(ByInvalid, diag.Span{}, w.invalid()):
		return Decision{Verdict: Deny, By: ByInvalid}
	case w.takes(ByReversePath, diag.Span{}, w.reversePath()):
		return Decision{Verdict: Deny, By: ByReversePath}
	}
	for _, r := range w.Lists[dir] {
		part := w.unmatched(r)
		if part == partNone {
			return Decision{Verdict: r.Action.Verdict, By: r.ID, Rule: r, At: r.At}
		}
		if w.steps != nil {
			w.pass(Step{By: r.ID, Rule: r, At: r.At, Reason: w.whyNot(r, part)})
		}
	}
	return Decision{Verdict: w.Defaults[dir], By: ByDefault, At: w.DefaultsAt[dir]}
}

// takes tells whether what stands before the rules takes the packet. It keeps the step where it does not.
func (w *walk) takes(by string, at diag.Span, reason string) bool {
	if reason != "" && reason != elsewhere && w.steps != nil {
		w.pass(Step{By: by, At: at, Reason: reason})
	}
	return reason == ""
}

func (w *walk) pass(s Step) { *w.steps = append(*w.steps, s) }

// part is the part of a rule that a packet is not in.
type part uint8

const (
	partNone part = iota
	partExpired
	partFamily
	partWhat
	partSport
	partFrom
	partTo
	partIIf
	partOIf
	partMAC
	partMark
	partUser
	partGroup
)

// unmatched is the first part of a rule that the packet is not in, partNone where the rule matches.
func (w *walk) unmatched(r *Rule) part {
	m, pkt := &r.Match, w.pkt
	what := m.What.V4
	if w.src.six || w.dst.six {
		what = m.What.V6
	}
	switch {
	case r.Expires != 0 && pkt.Time >= r.Expires:
		return partExpired
	case what.IsEmpty():
		return partFamily
	case !what.Contains(w.key):
		return partWhat
	case !m.Sport.IsAll() && !m.Sport.Contains(addrset.U16(pkt.Sport)):
		return partSport
	case !w.in(&m.From, &w.src):
		return partFrom
	case !w.in(&m.To, &w.dst):
		return partTo
	case !m.IIf.IsAny() && !m.IIf.Matches(func(p Pattern) bool { return p.Matches(pkt.IIf) }):
		return partIIf
	case !m.OIf.IsAny() && !m.OIf.Matches(func(p Pattern) bool { return p.Matches(pkt.OIf) }):
		return partOIf
	case !m.MAC.IsAny() && !(pkt.HasMAC && m.MAC.Matches(func(a MAC) bool { return a == pkt.MAC })):
		return partMAC
	case !m.Mark.IsAny() && !m.Mark.Matches(func(k Mark) bool { return pkt.Mark&k.Mask == k.Value }):
		return partMark
	case !m.User.IsAny() && !(pkt.Socket && m.User.Matches(func(o Owner) bool { return o.ID == pkt.UID })):
		return partUser
	case !m.Group.IsAny() && !(pkt.Socket && m.Group.Matches(func(o Owner) bool { return o.ID == pkt.GID })):
		return partGroup
	}
	return partNone
}

// in tells whether an address is in a, dynamic sets holding what is Given.
func (w *walk) in(a *Addrs, ip *address) bool {
terms:
	for i := range a.Terms {
		t := &a.Terms[i]
		if !ip.in(&t.Static) {
			continue
		}
		for _, name := range t.In {
			if set := w.Given[name]; !ip.in(&set) {
				continue terms
			}
		}
		for _, name := range t.NotIn {
			if set := w.Given[name]; ip.in(&set) {
				continue terms
			}
		}
		return true
	}
	return false
}

func (ip *address) in(s *addrset.Addrs) bool {
	switch {
	case !ip.valid:
		return false
	case ip.six:
		return s.V6.Contains(ip.v6)
	}
	return s.V4.Contains(ip.v4)
}
