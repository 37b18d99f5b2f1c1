// Package workload makes policies of any size, and packets to try them with, for tests of the compiler and for measuring.
//
// Be aware: the same shape, size and seed give the same policy for ever, since figures in the documentation name them. Whoever
// changes what is drawn measures anew.
package workload

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
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

// firstRule is the line of the first rule.
const firstRule = 3

// YAML is the policy as a file, one rule a line.
func (w *Workload) YAML() string {
	var b strings.Builder
	b.WriteString("version: 1\nin:\n")
	for i, r := range w.Rules {
		fmt.Fprintf(&b, "  - {%s: %s", r.verdict(), r.what())
		for _, key := range r.keys() {
			fmt.Fprintf(&b, ", %s: %q", key[0], key[1])
		}
		fmt.Fprintf(&b, ", id: %s}\n", RuleID(i))
	}
	return b.String()
}

// String is the rule on one line, as pages print it.
func (r *Rule) String() string {
	s := r.verdict().String() + " " + r.what()
	for _, key := range r.keys() {
		s += " " + key[0] + " " + key[1]
	}
	return s
}

// keys is what a rule has beside its verdict, with the values.
func (r *Rule) keys() (out [][2]string) {
	if r.From.Bits() > 0 || r.To.Bits() == 0 {
		out = append(out, [2]string{"from", text(r.From)}) // if only to be of one family
	}
	if r.To.Bits() > 0 || r.From.Bits() == 0 {
		out = append(out, [2]string{"to", text(r.To)})
	}
	if !r.Sport.IsAny() {
		out = append(out, [2]string{"sport", r.Sport.String()})
	}
	return out
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

// Policy is the policy as Load makes it of YAML, though not read from there: a file of 100,000 rules may be more than Load reads.
func (w *Workload) Policy() *policy.Policy {
	p := &policy.Policy{Entry: entry, Defaults: [3]policy.Verdict{policy.Deny, policy.Allow, policy.Deny}, Base: policy.DefaultBase()}
	for i := range w.Rules {
		r := &w.Rules[i]
		pos := diag.Pos{File: entry, Line: firstRule + i, Col: 6}
		p.Lists[policy.In] = append(p.Lists[policy.In], &policy.Rule{ID: RuleID(i), Named: true, Text: r.String(), Match: r.match(),
			At: diag.Span{Pos: pos}, Action: policy.Action{Verdict: r.verdict()}})
	}
	return p
}

func (r *Rule) match() policy.Match {
	m := policy.Match{What: policy.AnyWhat(), From: addrs(r.From, r.To), To: addrs(r.To, r.From), Sport: addrset.All[addrset.U16]()}
	if !r.Sport.IsAny() {
		m.Sport = addrset.Between(addrset.U16(r.Sport.Lo), addrset.U16(r.Sport.Hi))
	}
	if r.Proto == 0 {
		return m
	}
	ports := r.Dport
	if ports.IsAny() {
		ports.Hi = math.MaxUint16
	}
	keys := addrset.Between(policy.Key(r.Proto, ports.Lo), policy.Key(r.Proto, ports.Hi))
	switch r.Proto {
	case policy.ProtoICMP: // `icmp` is of both families
		m.What = policy.What{V4: keys, V6: addrset.Between(policy.Key(policy.ProtoICMPv6, 0), policy.Key(policy.ProtoICMPv6, math.MaxUint16))}
	case policy.ProtoICMPv6:
		m.What = policy.What{V6: keys}
	default:
		m.What = policy.What{V4: keys, V6: keys}
	}
	return m
}

// addrs is the addresses on one side of a rule, by the prefixes there and on the other side. One that is all addresses of a
// family is not written where the other side tells the family.
func addrs(p, other netip.Prefix) policy.Addrs {
	if p.Bits() == 0 && other.Bits() > 0 {
		return policy.AnyAddrs()
	}
	return policy.Addrs{Terms: []policy.Term{{Static: addrset.OfPrefix(p)}}}
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
