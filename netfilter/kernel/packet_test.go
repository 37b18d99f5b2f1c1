package kernel

import (
	"testing"
	"time"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
)

// TestPacketsMatch sends packets over the loopback, by rules whose values have to be turned for the kernel.
func TestPacketsMatch(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{})
	cmp := func(f ruleset.Field, op ruleset.Op, v uint64) ruleset.Expr {
		return ruleset.Cmp{Field: f, Op: op, Value: f.Value(v)}
	}
	in := func(f ruleset.Field, lo, hi uint64, more ...uint64) ruleset.Expr {
		e := ruleset.In{Field: f, Elems: []ruleset.Interval{{Lo: f.Value(lo), Hi: f.Value(hi)}}}
		for _, v := range more {
			e.Elems = append(e.Elems, one(f.Value(v)))
		}
		return e
	}
	masked := func(f ruleset.Field, op ruleset.Op, mask uint64) ruleset.Expr {
		return ruleset.Cmp{Field: f, Mask: f.Value(mask), Op: op, Value: f.Value(0)}
	}
	v4 := cmp(ruleset.NFProto, ruleset.Eq, ruleset.IPv4)
	const pings = 3
	want := make(map[string]uint64)
	r := &ruleset.Ruleset{
		Sets: []*ruleset.Set{
			{Name: "local4", Interval: true, Elems4: set4("127.0.0.0/8")},
			{Name: "nets4", Elems4: set4("127.0.0.0/32")},
			{Name: "meter4", Dynamic: true, Packets: true, Timed: true, Timeout: 60, Size: 10},
			{Name: "conns4", Dynamic: true, Packets: true, Size: 10},
		},
		Limits: []ruleset.LimitObject{{Name: "slow", Rate: ruleset.Rate{Packets: 1, Unit: 86400, Burst: 2, Over: true}}},
	}
	pre := &ruleset.Chain{Name: "pre", Hook: &ruleset.Hook{Point: ruleset.Prerouting}}
	input := &ruleset.Chain{Name: "input", Hook: &ruleset.Hook{Point: ruleset.Input}}
	output := &ruleset.Chain{Name: "output", Hook: &ruleset.Hook{Point: ruleset.Output}}
	rule := func(c *ruleset.Chain, name string, packets uint64, e ...ruleset.Expr) {
		r.Counters = append(r.Counters, ruleset.Counter{Name: name})
		want[name] = packets
		c.Rules = append(c.Rules, &ruleset.Rule{Exprs: append(e, ruleset.Count{Counter: name})})
	}
	// Requests and replies both pass both chains.
	const all = 2 * pings
	output.Rules = append(output.Rules, &ruleset.Rule{Exprs: []ruleset.Expr{masked(ruleset.CtState, ruleset.Ne, ruleset.StateNew), ruleset.SetLabel{Bit: 100}}})
	rule(input, "label", all, ruleset.Label{Bit: 100})
	rule(input, "no-label", 0, ruleset.Label{Bit: 100, Not: true})
	rule(input, "other-label", all, ruleset.Label{Bit: 36, Not: true})
	rule(input, "established", all-1, in(ruleset.CtState, ruleset.StateInvalid, ruleset.StateInvalid, ruleset.StateEstablished))
	rule(input, "not-dnat", all, masked(ruleset.CtStatus, ruleset.Eq, ruleset.StatusDNAT))
	rule(input, "reply", pings, cmp(ruleset.CtDirection, ruleset.Eq, ruleset.Reply))
	rule(input, "local", all, in(ruleset.FibDaddrType, ruleset.TypeLocal, ruleset.TypeLocal, ruleset.TypeBroadcast))
	rule(pre, "way-back", all, cmp(ruleset.FibSaddrOIf, ruleset.Eq, 1))
	rule(input, "lo", all, ruleset.Cmp{Field: ruleset.IIfName, Value: []byte("lo")})
	rule(input, "l*", all, ruleset.Cmp{Field: ruleset.IIfName, Value: []byte("l"), Wildcard: true})
	rule(input, "not-lo", 0, ruleset.Cmp{Field: ruleset.IIfName, Op: ruleset.Ne, Value: []byte("lo")})
	rule(input, "names", all, ruleset.In{Field: ruleset.IIfName, Elems: []ruleset.Interval{one([]byte("eth0")), one([]byte("lo"))}})
	rule(input, "mark-range", all, in(ruleset.MetaMark, 0, 5))
	rule(input, "mark-ranges", all, in(ruleset.MetaMark, 0, 5, 256))
	rule(input, "mark-above", 0, cmp(ruleset.MetaMark, ruleset.Gt, 1))
	rule(input, "later", all, cmp(ruleset.Time, ruleset.Gt, 1500000000e9))
	rule(input, "earlier", 0, cmp(ruleset.Time, ruleset.Lt, 1500000000e9))
	rule(input, "set", all, v4, ruleset.Lookup{Field: ruleset.Saddr4, Set: "local4"})
	rule(input, "masked-set", all, v4, ruleset.Lookup{Field: ruleset.Saddr4, Mask: ip("255.255.255.0"), Set: "nets4"})
	rule(input, "prefix", all, v4, ruleset.Cmp{Field: ruleset.Daddr4, Mask: ip("255.0.0.0"), Value: ip("127.0.0.0")})
	rule(input, "requests", pings, v4, cmp(ruleset.L4Proto, ruleset.Eq, 1), in(ruleset.ICMPType, 8, 8, 13))
	rule(output, "user", pings, cmp(ruleset.SkUID, ruleset.Lt, 1), v4)
	rule(output, "burst", all-2, ruleset.LimitRef{Limit: "slow"})
	over := ruleset.Rate{Packets: 1, Unit: 86400, Burst: 1, Over: true}
	rule(output, "metered", all-1, v4, ruleset.Meter{Field: ruleset.Saddr4, Set: "meter4", Rate: &over})
	rule(output, "few-connections", 0, v4, ruleset.Meter{Field: ruleset.Saddr4, Set: "conns4", Conns: &ruleset.ConnLimit{Max: 1}})
	rule(output, "few-in-all", 0, ruleset.ConnLimit{Max: 1})
	output.Rules = append(output.Rules, &ruleset.Rule{Exprs: []ruleset.Expr{ruleset.Log{Group: 3, Prefix: "test"}}})
	r.Chains = []*ruleset.Chain{pre, input, output}
	apply(t, c, r)
	if n := ns.Ping(t, "127.0.0.1", pings, 5*time.Second); n != pings {
		t.Fatalf("%d answers", n)
	}
	got := counters(t, c)
	for name, packets := range want {
		if got[name].Packets != packets {
			t.Errorf("%s counted %d packets, want %d", name, got[name].Packets, packets)
		}
	}
}
