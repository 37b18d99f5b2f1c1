// Package workload makes policies of any size, and packets to try them with, for tests of the compiler and for measuring.
//
// Be aware: the same shape, size and seed give the same policy for ever, since figures in the documentation name them. Whoever
// changes what is drawn measures anew.
package workload

import (
	"fmt"
	"net/netip"
	"strings"

	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// Shape names a kind of policy.
type Shape string

// The shapes. ACL, FW and IPC are mixed ordered policies, `allow` and `deny` interleaved, in the manner of the seeds of
// ClassBench (Taylor and Turner, 2007) with the same names: prefixes nested within the networks of a few sites.
const (
	Host Shape = "host" // `allow tcp/P from A`: one service for one address or prefix, any for some; IPv4
	ACL  Shape = "acl"  // an access list: exact destinations and ports; IPv4
	FW   Shape = "fw"   // a firewall: `any` on either side, ranges of ports, source ports; IPv4
	IPC  Shape = "ipc"  // between the two; IPv4
	Six  Shape = "six"  // mixed like IPC, with the prefix lengths of IPv6
)

// Shapes is every shape, Mixed those whose order matters.
var (
	Shapes = [...]Shape{Host, ACL, FW, IPC, Six}
	Mixed  = [...]Shape{ACL, FW, IPC, Six}
)

// Workload is a policy of one list, `in`, that denies what no rule matches.
type Workload struct {
	Shape Shape
	Rules []Rule
}

// Rule is a line of the policy, plain enough that any firewall can be told the same.
type Rule struct {
	Allow        bool
	Proto        uint8 // policy.ProtoTCP, ProtoUDP, ProtoICMP (in IPv6 ProtoICMPv6), or 0 for any
	From, To     netip.Prefix
	Sport, Dport Ports // of TCP and UDP; Any otherwise
}

// Ports is the ports from Lo to Hi, both included. The zero Ports is every port.
type Ports struct{ Lo, Hi uint16 }

// IsAny tells whether every port is meant.
func (p Ports) IsAny() bool { return p == Ports{} }

// String is the port, or LO-HI.
func (p Ports) String() string {
	if p.Lo == p.Hi {
		return fmt.Sprint(p.Lo)
	}
	return fmt.Sprintf("%d-%d", p.Lo, p.Hi)
}

// Generate draws a policy of so many rules; no two match the same.
func Generate(shape Shape, rules int, seed uint64) *Workload {
	return &Workload{shape, newDraw(shape, rules, seed).rules(rules)}
}

// entry is the name of the file that YAML is for.
const entry = "workload.yaml"

// RuleID is the id of the rule at an index of Rules.
func RuleID(i int) string { return fmt.Sprintf("r%d", i+1) }

// YAML is the policy as a file.
func (w *Workload) YAML() string {
	var b strings.Builder
	b.WriteString("version: 1\nin:\n")
	for i, r := range w.Rules {
		fmt.Fprintf(&b, "  - {%s: %s", r.verdict(), r.what())
		if r.From.Bits() > 0 {
			fmt.Fprintf(&b, ", from: %q", text(r.From))
		}
		if r.To.Bits() > 0 {
			fmt.Fprintf(&b, ", to: %q", text(r.To))
		}
		if r.From.Bits() == 0 && r.To.Bits() == 0 && r.Proto != policy.ProtoICMP && r.Proto != policy.ProtoICMPv6 {
			fmt.Fprintf(&b, ", from: %q", r.From) // it is of one family
		}
		if !r.Sport.IsAny() {
			fmt.Fprintf(&b, ", sport: %s", r.Sport)
		}
		fmt.Fprintf(&b, ", id: %s}\n", RuleID(i))
	}
	return b.String()
}

func (r *Rule) verdict() policy.Verdict {
	if r.Allow {
		return policy.Allow
	}
	return policy.Deny
}

func (r *Rule) what() string {
	name := map[uint8]string{0: "any", policy.ProtoTCP: "tcp", policy.ProtoUDP: "udp", policy.ProtoICMP: "icmp", policy.ProtoICMPv6: "icmpv6"}[r.Proto]
	if r.Dport.IsAny() {
		return name
	}
	return name + "/" + r.Dport.String()
}

// text is a prefix, a single address without its length.
func text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Policy is what Load makes of YAML. It panics where that is refused, which is a mistake of this package's.
func (w *Workload) Policy() *policy.Policy {
	p, found := policy.Load(source.Memory{entry: w.YAML()}, entry, policy.Options{})
	if found.HasErrors() {
		var first diag.Diagnostic
		for _, d := range found {
			if d.Severity == diag.Error {
				first = d
				break
			}
		}
		panic(fmt.Sprintf("workload %s: %s: %s", w.Shape, first.At.Short(), first.Message))
	}
	return p
}

// Decide is the index of the first rule that matches a packet, or -1.
func (w *Workload) Decide(p *policy.Packet) int {
	for i := range w.Rules {
		if w.Rules[i].matches(p) {
			return i
		}
	}
	return -1
}

func (r *Rule) matches(p *policy.Packet) bool {
	return r.From.Contains(p.Src) && r.To.Contains(p.Dst) && (r.Proto == 0 || r.Proto == p.Proto) &&
		(r.Dport.IsAny() || r.Dport.Lo <= p.Dport && p.Dport <= r.Dport.Hi) &&
		(r.Sport.IsAny() || r.Sport.Lo <= p.Sport && p.Sport <= r.Sport.Hi)
}
