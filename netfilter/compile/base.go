package compile

import (
	"fmt"
	"net/netip"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// here matches packets that the routing table takes for this host's, as `in` does.
func here() conj {
	return conj{among(ruleset.FibDaddrType, ruleset.TypeLocal, ruleset.TypeBroadcast, ruleset.TypeAnycast, ruleset.TypeMulticast)}
}

// toHost is what here matches, in two lines: most of it is sent to an address of this host's, and a comparison is quicker than a set.
func toHost() []conj {
	return []conj{{equal(ruleset.FibDaddrType, ruleset.TypeLocal)}, {among(ruleset.FibDaddrType, ruleset.TypeBroadcast, ruleset.TypeAnycast, ruleset.TypeMulticast)}}
}

// loopback matches the interface that a host talks to itself over. Its number costs a packet a fifth of what its name does.
func loopback(f ruleset.Field) conj { return conj{equal(f, ruleset.IfLoopback)} }

// established matches packets of connections that were admitted.
func established() conj {
	return conj{anyBit(ruleset.CtState, ruleset.StateEstablished|ruleset.StateRelated)}
}

// backwards matches packets whose source is not reached by the interface they came from.
func backwards() conj { return conj{equal(ruleset.FibSaddrOIf, 0)} }

// icmp matches types of a family's ICMP.
func icmp(f family, types addrset.Set[addrset.U8]) conj {
	if f == ipv6 {
		return and(f.guard(), conj{equal(ruleset.L4Proto, policy.ProtoICMPv6), numbers(ruleset.ICMP6Type, types, false)})
	}
	return and(f.guard(), conj{equal(ruleset.L4Proto, policy.ProtoICMP), numbers(ruleset.ICMPType, types, false)})
}

// linkLocal matches sources in fe80::/10.
func linkLocal() ruleset.Expr {
	return ranges(ruleset.Saddr6, addrset.OfPrefix(netip.MustParsePrefix("fe80::/10")).V6, false)
}

// neighbour is neighbour discovery without redirects; a hop limit of 255 shows that no router has passed it on.
func neighbour() []conj {
	return []conj{and(icmp(ipv6, addrset.Between[addrset.U8](133, 136)), conj{equal(ruleset.HopLimit, 255)})}
}

// multicast is IGMP, and MLD from link-local addresses or none.
func multicast() []conj {
	mld := icmp(ipv6, addrset.Between[addrset.U8](130, 132).Union(addrset.One[addrset.U8](143)))
	return []conj{
		and(ipv4.guard(), conj{equal(ruleset.L4Proto, policy.ProtoIGMP)}),
		and(mld, conj{linkLocal()}),
		and(mld, conj{ruleset.Cmp{Field: ruleset.Saddr6, Value: make([]byte, 16)}}),
	}
}

// icmpErrors is the errors that connections depend on.
func icmpErrors() []conj {
	return []conj{
		icmp(ipv4, addrset.One[addrset.U8](3).Union(addrset.Between[addrset.U8](11, 12))),
		icmp(ipv6, addrset.Between[addrset.U8](1, 4)),
	}
}

// dhcpClient is what a DHCP client hears in `in`, and says in `out`.
func dhcpClient(dir policy.Dir) []conj {
	ports := func(f family, server, client uint64) conj {
		if dir == policy.Out {
			server, client = client, server
		}
		return and(f.guard(), conj{equal(ruleset.L4Proto, policy.ProtoUDP), equal(ruleset.Sport, server), equal(ruleset.Dport, client)})
	}
	v6 := ports(ipv6, 547, 546)
	if dir == policy.In {
		v6 = append(v6, linkLocal())
	}
	return []conj{ports(ipv4, 67, 68), v6}
}

// before makes the rules between what is established and the policy's own, in the order of the language. What is never TCP stands in a
// chain of its own, so that TCP, of which most first packets are, passes it by.
func (c *compiler) before(ch *ruleset.Chain, dir policy.Dir) {
	base := c.p.Base
	other := &ruleset.Chain{Name: otherChain(ch.Name)}
	if dir != policy.Forward {
		c.decide(other, dir, policy.ByNeighbour, base.Neighbour, neighbour(), accept)
		c.decide(other, dir, policy.ByMulticast, base.Multicast, multicast(), accept)
	}
	c.decide(other, dir, policy.ByICMPErrors, base.ICMPErrors, icmpErrors(), accept)
	if dir != policy.Forward {
		c.decide(other, dir, policy.ByDHCPClient, base.DHCPClient, dhcpClient(dir), accept)
	}
	if len(other.Rules) > 0 {
		c.rs.Chains = append(c.rs.Chains, other)
		notTCP := ruleset.Cmp{Field: ruleset.L4Proto, Op: ruleset.Ne, Value: ruleset.L4Proto.Value(policy.ProtoTCP)}
		add(ch, only(notTCP), ruleset.Verdict{Kind: ruleset.Jump, Chain: other.Name})
	}
	if dir != policy.Out {
		c.decide(ch, dir, policy.ByInvalid, base.Invalid, []conj{{anyBit(ruleset.CtState, ruleset.StateInvalid)}}, drop)
	}
}

// decide makes rules that count and decide, where something is switched on.
func (c *compiler) decide(ch *ruleset.Chain, dir policy.Dir, by string, on bool, lines []conj, do ...ruleset.Expr) {
	if !on {
		return
	}
	counter := BaseCounter(dir, by)
	c.counter(counter)
	for _, line := range lines {
		ch.Rules = append(ch.Rules, rule(line, and(conj{ruleset.Count{Counter: counter}}, do)...))
	}
}

// failsafe is the lines of everything failsafe admits, as it arrives, or as the replies to it leave.
func (c *compiler) failsafe(reply bool) []conj {
	var out []conj
	for i := range c.p.Failsafe {
		fs := &c.p.Failsafe[i]
		what := traffic{what: fs.What, sport: addrset.All[addrset.U16](), reply: reply}
		if fs.From.IsAny() {
			out = append(out, what.lines(both)...)
			continue
		}
		for _, f := range families {
			peer := f.saddr()
			if reply {
				peer = f.daddr()
			}
			addrs := c.addresses(fs.From, f, peer, fmt.Sprintf("base.failsafe/%d-from", i+1))
			out = append(out, product(what.lines(f), addrs)...)
		}
	}
	return out
}

// blocked is the lines of what `block` names, at the source or the destination.
func (c *compiler) blocked(field func(family) ruleset.Field) []conj {
	var out []conj
	for _, f := range families {
		addrs := c.addresses(c.p.Block, f, field(f), "base.block/of")
		out = append(out, product([]conj{f.guard()}, addrs)...)
	}
	return out
}
