package policy

import (
	"slices"
	"strings"

	"ringwall/rules/addrset"
)

// Match is what a rule matches: a packet must be in every part. Parts that a rule does not write match everything.
type Match struct {
	What     What
	From, To Addrs
	Sport    addrset.Set[addrset.U16] // all ports where not written; otherwise What holds port protocols only
	IIf, OIf Choice[Pattern]
	MAC      Choice[MAC]
	Mark     Choice[Mark]
	User     Choice[Owner]
	Group    Choice[Owner]
}

// What is the protocols, ports and ICMP types of each family, as sets of keys (see Key). A family that can't
// match has an empty set; `any` is all keys of both.
type What struct{ V4, V6 addrset.Set[addrset.U32] }

// AnyWhat is every packet.
func AnyWhat() What { return What{addrset.All[addrset.U32](), addrset.All[addrset.U32]()} }

// IsAny tells whether w is every packet.
func (w What) IsAny() bool { return w.V4.IsAll() && w.V6.IsAll() }

// Union is what w or x matches.
func (w What) Union(x What) What { return What{w.V4.Union(x.V4), w.V6.Union(x.V6)} }

// IsEmpty tells whether nothing matches.
func (w What) IsEmpty() bool { return w.V4.IsEmpty() && w.V6.IsEmpty() }

// Protocols by number.
const (
	ProtoICMP    = 1
	ProtoIGMP    = 2
	ProtoTCP     = 6
	ProtoUDP     = 17
	ProtoDCCP    = 33
	ProtoICMPv6  = 58
	ProtoSCTP    = 132
	ProtoUDPLite = 136
)

// HasPorts tells whether a protocol has ports.
func HasPorts(proto uint8) bool {
	switch proto {
	case ProtoTCP, ProtoUDP, ProtoDCCP, ProtoSCTP, ProtoUDPLite:
		return true
	}
	return false
}

// Key packs what a packet is into one number: the protocol in bits 16 to 23; below it the destination port of a
// protocol with ports, type<<8|code of ICMP (in IPv4) and ICMPv6 (in IPv6), else 0. A protocol without such detail is
// matched whole: its range is all 65,536 keys. The keys above protocol 255 never occur; sets that hold protocol 255
// to its end hold them too, so that `any` is All.
func Key(proto uint8, low uint16) addrset.U32 { return addrset.U32(proto)<<16 | addrset.U32(low) }

// Addrs is a set of addresses that may depend on what dynamic sets hold: an address is in it if any Term holds it.
// The zero Addrs is empty.
type Addrs struct {
	Terms []Term
	// Set is the name of the policy's set that these addresses are, where they are exactly one set's; else empty.
	Set string
}

// Term is the addresses of Static that are in each dynamic set of In and in none of NotIn.
type Term struct {
	Static    addrset.Addrs
	In, NotIn []string // sorted
}

// AnyAddrs is every address.
func AnyAddrs() Addrs { return Addrs{Terms: []Term{{Static: addrset.AllAddrs()}}} }

// IsAny tells whether a is every address, whatever dynamic sets hold.
func (a Addrs) IsAny() bool {
	return len(a.Terms) == 1 && a.Terms[0].IsStatic() && a.Terms[0].Static.IsAll()
}

// IsStatic tells whether t depends on no dynamic set.
func (t Term) IsStatic() bool { return len(t.In) == 0 && len(t.NotIn) == 0 }

// Choice is the values of one match key: any of Yes, or any value where Yes is empty, but none of No.
// The zero Choice matches everything, packets without such a value too; any other only packets that have one.
type Choice[T any] struct{ Yes, No []T }

// IsAny tells whether the key is not written.
func (c Choice[T]) IsAny() bool { return len(c.Yes) == 0 && len(c.No) == 0 }

// Matches tells whether one of Yes and none of No holds.
func (c Choice[T]) Matches(holds func(T) bool) bool {
	return (len(c.Yes) == 0 || slices.ContainsFunc(c.Yes, holds)) && !slices.ContainsFunc(c.No, holds)
}

// Pattern is an interface name; with a trailing * every name that begins so.
type Pattern string

// Matches tells whether the pattern takes a name.
func (p Pattern) Matches(name string) bool {
	if prefix, ok := strings.CutSuffix(string(p), "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return string(p) == name
}

// MAC is an Ethernet address.
type MAC [6]byte

// Mark matches packets whose mark, masked, is Value. Value has no bit outside Mask.
type Mark struct{ Value, Mask uint32 }

// Owner is a user or group. Names get their number on the host; see Options.
type Owner struct {
	Name string // as written: a name or a number
	ID   uint32
}
