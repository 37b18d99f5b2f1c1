// Package policytest draws random policies, packets and tests for property tests.
//
// The pools are small on purpose, so that what is drawn meets: rules overlap, packets stand at corners.
package policytest

import (
	"fmt"
	"math"
	"net/netip"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Policy draws a policy of up to maxRules rules a list, with whatever may stand before them.
func Policy(t *rapid.T, maxRules int) *policy.Policy {
	verdict := rapid.SampledFrom([]policy.Verdict{policy.Allow, policy.Deny, policy.Reject})
	p := &policy.Policy{
		Defaults: [3]policy.Verdict{verdict.Draw(t, "in"), verdict.Draw(t, "out"), verdict.Draw(t, "forward")},
		Transit:  chance(t, 2, "transit"),
		Base: policy.Base{Loopback: !chance(t, 4, "loopback off"), Established: !chance(t, 4, "established off"),
			Neighbour: !chance(t, 4, "neighbour off"), Multicast: !chance(t, 4, "multicast off"), ICMPErrors: !chance(t, 4, "errors off"),
			DHCPClient: !chance(t, 4, "dhcp off"), Invalid: !chance(t, 4, "invalid off"), ReversePath: chance(t, 4, "reverse path")},
		Given: Given(t),
	}
	if chance(t, 2, "block") {
		p.Block = Addrs(t)
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "failsafes") {
		p.Failsafe = append(p.Failsafe, policy.Failsafe{Text: fmt.Sprint("failsafe ", i), What: What(t), From: Addrs(t)})
	}
	for _, dir := range policy.Dirs {
		for i := range rapid.IntRange(0, maxRules).Draw(t, "rules") {
			r := &policy.Rule{ID: fmt.Sprintf("%s-%d", dir, i), List: dir, Match: Match(t, dir)}
			r.Action.Verdict = verdict.Draw(t, "verdict")
			if chance(t, 6, "expires") {
				r.Expires = rapid.SampledFrom(expiries).Draw(t, "expiry")
			}
			p.Lists[dir] = append(p.Lists[dir], r)
		}
	}
	return p
}

var (
	expiries = []int64{1000, 2000}
	dynamic  = []string{"banned", "guests"}
	prefixes = []string{"0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "192.0.2.0/25", "255.255.255.255/32",
		"::/0", "2001:db8::/32", "2001:db8:1::/48", "fe80::/10", "fe80::1/128", "::/128", "ff00::/8"}
	patterns = []policy.Pattern{"lo", "eth0", "eth1", "eth*", "br-*", "*", "eth0.5", "l*"}
	macs     = []policy.MAC{{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}}
	cubes    = []policy.Mark{{Value: 1, Mask: 0xff}, {Value: 0x10, Mask: 0xf0}, {Value: 5, Mask: math.MaxUint32}, {Mask: 1}, {}, {Value: 1 << 31, Mask: 1 << 31}}
	owners   = []policy.Owner{{Name: "root"}, {Name: "five", ID: 5}, {Name: "last", ID: math.MaxUint32}}
	ports    = []uint16{0, 1, 22, 53, 67, 68, 80, 443, 546, 547, 1024, math.MaxUint16}
	protos   = []uint8{policy.ProtoTCP, policy.ProtoTCP, policy.ProtoUDP, policy.ProtoUDP, policy.ProtoICMP, policy.ProtoICMPv6, policy.ProtoIGMP, policy.ProtoSCTP, 0, 47, 255}
	types    = []uint8{0, 3, 4, 8, 11, 12, 128, 129, 1, 2, 133, 135, 136, 137, 130, 143, 255}
)

// chance is true once in n.
func chance(t *rapid.T, n int, label string) bool {
	return rapid.IntRange(0, n-1).Draw(t, label) == n-1
}

// Given draws what dynamic sets hold.
func Given(t *rapid.T) map[string]addrset.Addrs {
	given := make(map[string]addrset.Addrs)
	for _, name := range dynamic {
		if chance(t, 2, name) {
			given[name] = static(t)
		}
	}
	return given
}

// static draws addresses that depend on nothing.
func static(t *rapid.T) addrset.Addrs {
	var a addrset.Addrs
	for range rapid.IntRange(1, 3).Draw(t, "prefixes") {
		p := addrset.OfPrefix(netip.MustParsePrefix(rapid.SampledFrom(prefixes).Draw(t, "prefix")))
		if chance(t, 4, "minus") {
			a = a.Minus(p)
		} else {
			a = a.Union(p)
		}
	}
	return a
}

// Addrs draws addresses, dynamic sets among them.
func Addrs(t *rapid.T) policy.Addrs {
	if chance(t, 2, "any address") {
		return policy.AnyAddrs()
	}
	var a policy.Addrs
	for range rapid.IntRange(1, 2).Draw(t, "terms") {
		term := policy.Term{Static: static(t)}
		if chance(t, 5, "in") {
			term.In = []string{rapid.SampledFrom(dynamic).Draw(t, "set")}
		}
		if chance(t, 5, "not in") {
			term.NotIn = []string{rapid.SampledFrom(dynamic).Draw(t, "set")}
		}
		a.Terms = append(a.Terms, term)
	}
	return a
}

// What draws protocols, ports and types.
func What(t *rapid.T) policy.What {
	if chance(t, 4, "any") {
		return policy.AnyWhat()
	}
	var w policy.What
	for range rapid.IntRange(1, 2).Draw(t, "items") {
		w = w.Union(item(t))
	}
	return w
}

func item(t *rapid.T) policy.What {
	proto := rapid.SampledFrom(protos).Draw(t, "proto")
	whole := addrset.Between(policy.Key(proto, 0), policy.Key(proto, math.MaxUint16))
	if proto == 255 {
		whole = addrset.Between(policy.Key(proto, 0), addrset.U32(math.MaxUint32))
	}
	switch {
	case policy.HasPorts(proto) && !chance(t, 4, "whole"):
		a, b := port(t), port(t)
		if chance(t, 2, "one port") {
			b = a
		}
		whole = addrset.Between(policy.Key(proto, min(a, b)), policy.Key(proto, max(a, b)))
	case proto == policy.ProtoICMP || proto == policy.ProtoICMPv6:
		if !chance(t, 4, "whole") {
			typ := uint16(rapid.SampledFrom(types).Draw(t, "type")) << 8
			whole = addrset.Between(policy.Key(proto, typ), policy.Key(proto, typ|0xff))
			if chance(t, 4, "code") {
				whole = addrset.One(policy.Key(proto, typ|1))
			}
		}
		if proto == policy.ProtoICMP {
			return policy.What{V4: whole}
		}
		return policy.What{V6: whole}
	}
	switch rapid.IntRange(0, 5).Draw(t, "families") {
	case 0:
		return policy.What{V4: whole}
	case 1:
		return policy.What{V6: whole}
	}
	return policy.What{V4: whole, V6: whole}
}

func port(t *rapid.T) uint16 { return rapid.SampledFrom(ports).Draw(t, "port") }

// Match draws a match that a list may have.
func Match(t *rapid.T, dir policy.Dir) policy.Match {
	m := policy.Match{What: What(t), From: Addrs(t), To: Addrs(t), Sport: addrset.All[addrset.U16]()}
	if chance(t, 6, "sport") {
		a, b := port(t), port(t)
		m.Sport = addrset.Between(addrset.U16(min(a, b)), addrset.U16(max(a, b)))
		m.What = withPorts(m.What)
	}
	if dir != policy.Out {
		m.IIf = choice(t, "iif", patterns)
		m.MAC = choice(t, "mac", macs)
	} else {
		m.User = choice(t, "user", owners)
		m.Group = choice(t, "group", owners)
	}
	if dir != policy.In {
		m.OIf = choice(t, "oif", patterns)
	}
	m.Mark = choice(t, "mark", cubes)
	return m
}

// withPorts is the part of a WHAT that has ports.
func withPorts(w policy.What) policy.What {
	var has addrset.Set[addrset.U32]
	for _, proto := range protos {
		if policy.HasPorts(proto) {
			has = has.Union(addrset.Between(policy.Key(proto, 0), policy.Key(proto, math.MaxUint16)))
		}
	}
	return policy.What{V4: w.V4.Intersect(has), V6: w.V6.Intersect(has)}
}

func choice[T any](t *rapid.T, label string, pool []T) policy.Choice[T] {
	var c policy.Choice[T]
	if chance(t, 5, label) {
		c.Yes = rapid.SliceOfN(rapid.SampledFrom(pool), 1, 2).Draw(t, label+" yes")
	}
	if chance(t, 5, "not "+label) {
		c.No = rapid.SliceOfN(rapid.SampledFrom(pool), 1, 2).Draw(t, label+" no")
	}
	return c
}

// Test draws a claim. What it says is as likely wrong as right.
func Test(t *rapid.T, p *policy.Policy) *policy.Test {
	dir := rapid.SampledFrom(policy.Dirs[:]).Draw(t, "test")
	m := Match(t, dir)
	test := &policy.Test{List: dir, What: m.What, Any: m.What.IsAny(), Match: m, Given: Given(t),
		Expect: rapid.SampledFrom([]policy.Verdict{policy.Allow, policy.Deny, policy.Reject}).Draw(t, "expect")}
	if chance(t, 2, "at") {
		test.Time = rapid.SampledFrom([]int64{1, 999, 1000, 2000, 3000}).Draw(t, "time")
	}
	if chance(t, 3, "by") {
		by := []string{policy.ByDefault, policy.ByBlock, policy.ByFailsafe, policy.ByLoopback, policy.ByEstablished, policy.ByNeighbour,
			policy.ByMulticast, policy.ByICMPErrors, policy.ByDHCPClient, policy.ByInvalid, policy.ByReversePath}
		for _, r := range p.Lists[dir] {
			by = append(by, r.ID)
		}
		test.By = rapid.SampledFrom(by).Draw(t, "by whom")
	}
	return test
}
