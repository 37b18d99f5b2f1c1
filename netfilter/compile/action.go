package compile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// trackedSources is how many sources a limit or a bound of connections keeps apart, by rule and family.
const trackedSources = 65536

// logsASecond is how many packets of a rule are logged in a second at most.
const logsASecond = 10

// The statements that end a rule.
var (
	accept = ruleset.Verdict{Kind: ruleset.Accept}
	drop   = ruleset.Verdict{Kind: ruleset.Drop}
	reject = ruleset.Verdict{Kind: ruleset.Goto, Chain: chainReject}
)

// acts makes the chains of all rules.
func (c *compiler) acts() {
	for _, dir := range policy.Dirs {
		if dir == policy.Forward && !c.p.Transit {
			continue
		}
		for _, r := range c.p.Lists[dir] {
			c.act(r)
		}
	}
}

// act makes the chain of a rule: what is done to the packets it matches. It always ends in a verdict. Its first rule counts and
// bears the comment; what keeps state stands in rules of its own, which stay while the limit does.
func (c *compiler) act(r *policy.Rule) {
	name := ChainName(r)
	b := actBuilder{compiler: c, rule: r, name: name, chain: c.chain(name)}
	c.counter(name)
	if r.Action.Verdict == policy.Allow {
		b.when = conj{isNew()}
	}
	if l := r.Action.Limit; l != nil {
		b.limit(l)
	}
	if n := r.Action.Connections; n != nil {
		b.connections(n)
	}
	if r.Action.Log {
		b.add(b.when, ruleset.Limit{Rate: ruleset.Rate{Packets: logsASecond, Unit: 1, Burst: logsASecond}},
			ruleset.Log{Group: c.opt.LogGroup, Prefix: name})
	}
	b.add(nil, c.verdict(r.List, r.Action.Verdict)...)
	// One rule can do both where nothing stands between.
	first := ruleset.Expr(ruleset.Count{Counter: name})
	if rules := b.chain.Rules; len(rules) == 1 {
		rules[0].Exprs = and(conj{first}, rules[0].Exprs)
	} else {
		b.chain.Rules = append([]*ruleset.Rule{rule(conj{first})}, rules...)
	}
	b.chain.Rules[0].Comment = comment(r)
}

// verdict is the statements that carry a verdict out. What `in` admits gets its label, so that it is not judged again.
func (c *compiler) verdict(dir policy.Dir, v policy.Verdict) []ruleset.Expr {
	switch {
	case v == policy.Deny:
		return []ruleset.Expr{drop}
	case v == policy.Reject:
		c.rejects = true
		return []ruleset.Expr{reject}
	case dir == policy.In && !c.opt.NoLabels:
		return []ruleset.Expr{ruleset.SetLabel{Bit: labelBit}, accept}
	}
	return []ruleset.Expr{accept}
}

// comment is the rule's id and place, within nft's bound: the path is cut at its front, the id never.
func comment(r *policy.Rule) string {
	place := strings.Map(func(c rune) rune {
		if c < ' ' || c == '"' || c == 0x7f {
			return '?'
		}
		return c
	}, r.At.Short())
	const dots = "..."
	if room := ruleset.MaxComment - len(r.ID) - 1; len(place) > room {
		place = strings.ToValidUTF8(place[len(place)-room+len(dots):], "")
		place = dots + place
	}
	return r.ID + " " + place
}

// actBuilder is a rule's chain while it is made.
type actBuilder struct {
	*compiler
	rule  *policy.Rule
	name  string
	chain *ruleset.Chain
	when  conj // which packets limits and logs are for
}

func (b *actBuilder) add(match conj, do ...ruleset.Expr) {
	b.chain.Rules = append(b.chain.Rules, rule(match, do...))
}

// over is what is done to packets over a limit: dropped, silently, and counted.
func (b *actBuilder) over(match conj) {
	b.counter(OverCounter(b.rule))
	b.add(match, ruleset.Count{Counter: OverCounter(b.rule)}, drop)
}

// limit drops what exceeds a token bucket. Its name changes with its text: a bucket that the kernel has keeps its old rate.
func (b *actBuilder) limit(l *policy.Limit) {
	rate := ruleset.Rate{Packets: uint64(l.Rate), Unit: l.Unit.Seconds(), Burst: l.Burst, Over: true}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d/%d %d", l.Text, rate.Packets, rate.Unit, rate.Burst))
	hash := hex.EncodeToString(sum[:3])
	if !l.PerSource {
		name := b.name + "/rate-" + hash
		b.rs.Limits = append(b.rs.Limits, ruleset.LimitObject{Name: name, Rate: rate})
		b.over(and(b.when, conj{ruleset.LimitRef{Limit: name}}))
		return
	}
	// When a bucket is full again, a source is as good as new.
	const shortest = 60
	timeout := max(shortest, (uint64(rate.Burst)*rate.Unit+rate.Packets-1)/rate.Packets)
	b.perSource("rate", hash, timeout, func(m ruleset.Meter) ruleset.Meter {
		m.Rate = &rate
		return m
	})
}

// connections drops what would be one connection too many.
func (b *actBuilder) connections(n *policy.Connections) {
	over := ruleset.ConnLimit{Max: n.Max}
	if !n.PerSource {
		b.over(and(b.when, conj{over}))
		return
	}
	b.perSource("conn", fmt.Sprint(n.Max), 0, func(m ruleset.Meter) ruleset.Meter {
		m.Conns = &over
		return m
	})
}

// perSource drops what is over a limit kept for each source: an IPv4 address, or an IPv6 /64. A source that finds no room in
// the set is admitted and counted, so that a flood from forged sources locks nobody out.
func (b *actBuilder) perSource(kind, version string, timeout uint64, meter func(ruleset.Meter) ruleset.Meter) {
	for _, f := range families {
		if !b.matches(f) {
			continue
		}
		var mask []byte
		if f == ipv6 {
			mask = append([]byte{255, 255, 255, 255, 255, 255, 255, 255}, make([]byte, 8)...)
		}
		set := fmt.Sprintf("%s/%s%s-%s", b.name, kind, f.digit(), version)
		b.addSet(&ruleset.Set{Name: set, V6: f == ipv6, Dynamic: true, Packets: true, Size: trackedSources, Timeout: timeout, Timed: timeout != 0})
		match := and(b.when, f.guard())
		b.over(and(match, conj{meter(ruleset.Meter{Field: f.saddr(), Mask: mask, Set: set})}))
		b.counter(FullCounter(b.rule))
		b.add(and(match, conj{ruleset.Lookup{Field: f.saddr(), Mask: mask, Set: set, Not: true}}), ruleset.Count{Counter: FullCounter(b.rule)})
	}
}

// matches tells whether the rule can match packets of a family.
func (b *actBuilder) matches(f family) bool {
	m := &b.rule.Match
	some := func(a policy.Addrs) bool {
		for _, t := range a.Terms {
			if f == ipv6 && !t.Static.V6.IsEmpty() || f == ipv4 && !t.Static.V4.IsEmpty() {
				return true
			}
		}
		return false
	}
	if f == ipv6 && m.What.V6.IsEmpty() || f == ipv4 && m.What.V4.IsEmpty() {
		return false
	}
	return some(m.From) && some(m.To)
}

// rejectChain answers a packet with what its protocol has for that.
func (c *compiler) rejectChain() {
	ch := c.chain(chainReject)
	ch.Rules = []*ruleset.Rule{
		rule(conj{equal(ruleset.L4Proto, policy.ProtoTCP)}, ruleset.Reject{With: ruleset.TCPReset}),
		rule(conj{equal(ruleset.L4Proto, policy.ProtoUDP)}, ruleset.Reject{With: ruleset.PortUnreachable}),
		rule(nil, ruleset.Reject{With: ruleset.AdminProhibited}),
	}
}
