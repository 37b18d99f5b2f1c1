package compile

import (
	"fmt"
	"net/netip"
	"slices"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/decide"
	"ringwall/rules/policy"
)

// judge asks policy and compiled form about packets. It belongs to one worker.
type judge struct {
	*proof
	asker  *decide.Asker
	turn   int
	count  int     // packets asked about
	path   []int32 // the chains that the last one came through, by their places in the rule set
	walker ruleset.Walker
	// thorough: every packet is sent every way. Else some are, for what rules do does not depend on it.
	thorough bool
}

func (pr *proof) newJudge() *judge { return &judge{proof: pr, asker: pr.index.Asker()} }

// hold asks both about a packet, and at times asks more: without the shortcuts that make it quick, with limits exceeded, and on
// the ways that packets take when other tables rewrite their destination.
func (j *judge) hold(pkt *policy.Packet) (policy.Decision, error) {
	d := j.asker.Decide(pkt)
	j.count++
	j.turn++
	kind := uint32(ruleset.TypeLocal)
	if j.turn%4 == 0 {
		kind = []uint32{ruleset.TypeBroadcast, ruleset.TypeAnycast, ruleset.TypeMulticast}[j.turn/4%3]
	}
	got := j.eval(j.machine, pkt, kind)
	j.path = append(j.path[:0], got.Chains...)
	if err := j.compare(pkt, d, got, false, ""); err != nil {
		return d, err
	}
	if j.turn%j.slowly == 0 {
		if slow := j.p.Decide(pkt); slow.By != d.By || slow.Verdict != d.Verdict {
			return d, fmt.Errorf("the packet %q is decided by %s, and without an index by %s", pkt, d.By, slow.By)
		}
		if err := j.compare(pkt, d, j.eval(j.linear, pkt, kind), false, ""); err != nil {
			return d, err
		}
	}
	if r := d.Rule; r != nil && (r.Action.Limit != nil || r.Action.Connections != nil || r.Action.Log) && (j.thorough || j.turn%2 == 0) {
		if err := j.compare(pkt, d, j.eval(j.over, pkt, kind), true, "over every limit"); err != nil {
			return d, err
		}
	}
	if pkt.Dir == policy.In && (j.thorough || j.turn%j.rewrites == 0) {
		return d, j.rewritten(pkt, d)
	}
	return d, nil
}

// eval sends a packet the way of its direction. Kind is what the routing table calls the destination of what arrives.
func (j *judge) eval(m *ruleset.Machine, pkt *policy.Packet, kind uint32) *ruleset.Outcome {
	if pkt.Dir != policy.In {
		return j.walker.Eval(m, pkt)
	}
	return j.walker.Walk(m, ruleset.Bits{}, ruleset.Stage{Hook: ruleset.Prerouting, Pkt: pkt, DaddrType: kind}, ruleset.Stage{Hook: ruleset.Input, Pkt: pkt, DaddrType: kind})
}

// elsewhere4 and elsewhere6 are where another table sends packets.
var (
	elsewhere4 = netip.MustParseAddr("172.17.0.2")
	elsewhere6 = netip.MustParseAddr("2001:db8:ac11::2")
)

// rewritten asks about an arriving packet whose destination another table rewrites after Ringwall has judged it, and about one
// that another table has rewritten to be this host's.
func (j *judge) rewritten(pkt *policy.Packet, d policy.Decision) error {
	other := *pkt
	other.Dst = elsewhere4
	if pkt.Is6() {
		other.Dst = elsewhere6
	}
	other.OIf = "docker0"
	if policy.HasPorts(pkt.Proto) {
		other.Dport ^= 0x1234
	}
	switch {
	case d.Verdict != policy.Allow || pkt.State != policy.New || !j.labels || j.blocks(other.Dst):
	case d.Rule != nil || d.By == policy.ByDefault || d.By == policy.ByFailsafe:
		// What `in` has admitted is not judged again, neither on its way to a container nor at another port of this host.
		for _, next := range []ruleset.Stage{
			{Hook: ruleset.ForwardHook, Pkt: &other, DaddrType: ruleset.TypeUnicast, DNAT: true},
			{Hook: ruleset.Input, Pkt: &other, DaddrType: ruleset.TypeLocal, DNAT: true},
		} {
			got := j.walker.Walk(j.machine, ruleset.Bits{}, ruleset.Stage{Hook: ruleset.Prerouting, Pkt: pkt, DaddrType: ruleset.TypeLocal}, next)
			if err := j.compare(pkt, d, got, false, fmt.Sprintf("sent on to %s by another table at %s", other.Dst, next.Hook)); err != nil {
				return err
			}
		}
	}
	if pkt.Spoofed || j.blocks(pkt.Src) {
		return nil // decided as transit
	}
	// What was not this host's is judged by `in` when it becomes so.
	other.OIf = ""
	late := ruleset.Stage{Hook: ruleset.Input, Pkt: pkt, DaddrType: ruleset.TypeLocal, DNAT: true}
	if pkt.State == policy.Untracked || pkt.State == policy.Invalid {
		late.DNAT, late.DaddrType = false, ruleset.TypeUnicast // there is no DNAT without a connection
	}
	got := j.walker.Walk(j.machine, ruleset.Bits{}, ruleset.Stage{Hook: ruleset.Prerouting, Pkt: &other, DaddrType: ruleset.TypeUnicast}, late)
	return j.compare(pkt, d, got, false, "which another table brought here")
}

// blocks tells whether `block` holds an address.
func (j *judge) blocks(ip netip.Addr) bool {
	return slices.ContainsFunc(j.block, func(a addrset.Addrs) bool { return a.Contains(ip) })
}

// compare is nil where the compiled form did what the policy says.
func (j *judge) compare(pkt *policy.Packet, d policy.Decision, got *ruleset.Outcome, exceeded bool, route string) error {
	what := j.differs(pkt, d, got, exceeded)
	if what == "" {
		return nil
	}
	dis := &Disagreement{Packet: *pkt, Route: route, Want: d, Got: got.Clone(), What: what}
	if j.filled {
		dis.Given = j.p.Given
	}
	return dis
}

// differs says what the compiled form did otherwise than the policy, empty for nothing.
func (j *judge) differs(pkt *policy.Packet, d policy.Decision, got *ruleset.Outcome, exceeded bool) string {
	verdict, r := d.Verdict, d.Rule
	over, logs := false, false
	if r != nil {
		// Of what a rule admits, limits and logs concern new packets alone.
		acts := r.Action.Verdict != policy.Allow || pkt.State == policy.New
		over = exceeded && acts && (r.Action.Limit != nil || r.Action.Connections != nil)
		logs = !exceeded && acts && r.Action.Log
	}
	if over {
		verdict = policy.Deny
	}
	if got.Verdict != verdict {
		return "the verdict is another"
	}
	counters := got.Counters
	if over {
		if n := len(counters); n == 0 || counters[n-1] != OverCounter(r) {
			return "the excess is not counted by " + OverCounter(r)
		}
		counters = counters[:len(counters)-1]
	}
	if len(counters) > 1 {
		return "several have decided"
	}
	counter := ""
	if len(counters) == 1 {
		counter = counters[0]
	}
	if !j.decidedBy(pkt, d, counter) {
		return "another rule has decided"
	}
	if verdict == policy.Reject && got.Answer != answerTo(pkt) {
		return "the answer is another"
	}
	switch {
	case logs && (len(got.Logged) != 1 || got.Logged[0] != ChainName(r)):
		return "it is not logged by its rule"
	case !logs && len(got.Logged) > 0:
		return "it is logged"
	}
	return ""
}

// answerTo is what a rejected packet is told.
func answerTo(pkt *policy.Packet) ruleset.RejectWith {
	switch pkt.Proto {
	case policy.ProtoTCP:
		return ruleset.TCPReset
	case policy.ProtoUDP:
		return ruleset.PortUnreachable
	}
	return ruleset.AdminProhibited
}

// decidedBy tells whether a counter, or none, is that of what decided.
func (j *judge) decidedBy(pkt *policy.Packet, d policy.Decision, counter string) bool {
	uncounted := counter == ""
	switch {
	case d.Rule != nil:
		return counter == ChainName(d.Rule)
	case d.By == policy.ByLoopback, d.By == policy.ByEstablished, d.By == policy.ByUnjudged:
		return uncounted
	case d.By == policy.ByFailsafe && uncounted:
		// Established packets are asked first, as no verdict changes by it.
		return j.p.Base.Established && (pkt.State == policy.Established || pkt.State == policy.Related)
	case d.By == policy.ByBlock && pkt.Dir == policy.Forward && j.blocks(pkt.Src):
		// What comes from a blocked source is counted as it comes, wherever it goes.
		return counter == BaseCounter(policy.In, policy.ByBlock)
	case d.By == policy.ByBlock && pkt.Dir == policy.Forward && counter == BaseCounter(pkt.Dir, policy.ByReversePath):
		// The way back is known in prerouting, the final destination not before the forward hook.
		return true
	}
	return counter == BaseCounter(pkt.Dir, d.By)
}
