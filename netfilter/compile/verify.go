package compile

import (
	"fmt"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// verifyVisits bounds the work of a Verify: packets times rules that they pass.
const verifyVisits = 1 << 20

// Verify holds the compiled form against the policy: both must decide the same of packets drawn at the corners of what the
// policy says, for the same rule. It is a check of the compiler, on the policy at hand: packets near each rule where there
// are up to some 500, else near a sample of them. The draws are the same each time. The error shows the packet.
func Verify(p *policy.Policy, rs *ruleset.Ruleset) error {
	s := newSampler(p, 1)
	// Bans come and go without an apply, so the sets are held against the policy both as they are and with something in them.
	for _, p := range []*policy.Policy{p, p.With(s.fill())} {
		m, err := ruleset.NewMachine(rs, Contents(p))
		if err != nil {
			return err
		}
		packets := min(8000, verifyVisits/(len(s.rules)+1)/2)
		for i := range packets {
			pkt := s.draw(i, packets)
			if err := agree(p, m, &pkt); err != nil {
				return err
			}
		}
	}
	return nil
}

// Contents is what dynamic sets hold in the policy's Given, by their names in the kernel.
func Contents(p *policy.Policy) map[string]addrset.Addrs {
	out := make(map[string]addrset.Addrs)
	for name, a := range p.Given {
		out[DynamicSet(name, false)] = a
		out[DynamicSet(name, true)] = a
	}
	return out
}

// agree tells where policy and machine differ about a packet.
func agree(p *policy.Policy, m *ruleset.Machine, pkt *policy.Packet) error {
	d, got := p.Decide(pkt), m.Eval(pkt)
	by := ""
	if n := len(got.Counters); n > 0 {
		by = got.Counters[n-1]
	}
	if got.Verdict == d.Verdict && sameDecider(p, pkt, d, by) {
		return nil
	}
	return fmt.Errorf("the compiled rules do not do what the policy says: %s by %s became %s by %s, of the packet %+v",
		d.Verdict, d.By, got, by, *pkt)
}

// sameDecider tells whether the counter that counted last is that of what decided.
func sameDecider(p *policy.Policy, pkt *policy.Packet, d policy.Decision, counter string) bool {
	uncounted := counter == ""
	switch {
	case d.Rule != nil:
		return counter == ChainName(d.Rule)
	case d.By == policy.ByLoopback, d.By == policy.ByEstablished, d.By == policy.ByUnjudged:
		return uncounted
	case d.By == policy.ByFailsafe && uncounted:
		// Established packets are asked first, as no verdict changes by it.
		return p.Base.Established && (pkt.State == policy.Established || pkt.State == policy.Related)
	case d.By == policy.ByBlock && pkt.Dir == policy.Forward && counter == BaseCounter(pkt.Dir, policy.ByReversePath):
		// The way back is known in prerouting, the final destination not before the forward hook.
		return true
	}
	return counter == BaseCounter(pkt.Dir, d.By)
}
