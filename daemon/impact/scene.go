// Package impact says what a policy means for the connections and sockets that a host has at the moment: who would be locked out,
// which connections would be refused as new ones, which services become reachable or unreachable.
package impact

import (
	"net/netip"

	"ringwall/netfilter/host"
	"ringwall/rules/addrset"
)

// Scene is a host as a policy meets it. What is nil or empty is not known.
type Scene struct {
	Addresses []netip.Prefix // the host's own, with the lengths of their networks
	Devices   []string       // names of interfaces, without loopback
	// Way is the interface by which packets go to an address, and so the one by which its packets are expected; empty where there
	// is no route.
	Way func(netip.Addr) string
	// Device is the name of the interface with an index, empty where there is none.
	Device func(index int) string
	// Owner is the user of the socket that a flow began at, false where it has none any more.
	Owner func(*host.Flow) (uid uint32, ok bool)
	// Given is what the policy's dynamic sets hold.
	Given map[string]addrset.Addrs
	Now   int64 // Unix seconds
}

// places is a host's addresses, as many flows ask about them.
type places struct {
	own       map[netip.Addr]bool
	broadcast map[netip.Addr]bool
}

func newPlaces(prefixes []netip.Prefix) places {
	p := places{map[netip.Addr]bool{}, map[netip.Addr]bool{netip.AddrFrom4([4]byte{255, 255, 255, 255}): true}}
	for _, prefix := range prefixes {
		p.own[prefix.Addr()] = true
		if prefix.Addr().Is4() && prefix.Bits() < 31 {
			p.broadcast[addrset.LastOf(prefix.Masked())] = true
		}
	}
	return p
}

// local tells whether an address is the host's own.
func (p places) local(a netip.Addr) bool { return a.IsLoopback() || p.own[a] }

// toHost tells whether packets to an address are for this host, as `in` understands it.
func (p places) toHost(a netip.Addr) bool { return p.local(a) || p.broadcast[a] || a.IsMulticast() }
