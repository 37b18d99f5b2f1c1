// Package ruleset is the machine model: the one table that Ringwall owns, at the level of nftables statements.
//
// A Ruleset prints itself as nft text, evaluates packets, and compares; netfilter/kernel carries it over netlink.
// Be aware: values of fields are always big-endian here, whatever the kernel wants; kernel swaps on the way.
package ruleset

import "ringwall/rules/addrset"

// TableName is the name of the table, of family inet.
const TableName = "ringwall"

// Ruleset is the content of the table. Order matters for Chains only in print; for rules in a chain always.
type Ruleset struct {
	Sets     []*Set
	Maps     []*Map
	Counters []Counter
	Limits   []LimitObject
	Chains   []*Chain
}

// Counter is a named counter object. Packets and Bytes are filled by observation only.
type Counter struct {
	Name           string
	Packets, Bytes uint64
}

// LimitObject is a named token bucket. Its name changes whenever its rate does: the kernel silently keeps the old rate.
type LimitObject struct {
	Name string
	Rate Rate
}

// Rate is a token bucket of packets.
type Rate struct {
	Packets uint64 // a Unit
	Unit    uint64 // in seconds: 1, 60, 3600, 86400
	Burst   uint32
	Over    bool // match what exceeds it
}

// Chain is a chain; a base chain where Hook is set.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules []*Rule
}

// Hook is where a base chain stands. The type is always filter.
type Hook struct {
	Point    HookPoint
	Priority int32
	Drop     bool // the chain's policy: drop, else accept
}

// HookPoint is a netfilter hook.
type HookPoint uint8

// The hooks, with the kernel's numbers of the inet family.
const (
	Prerouting HookPoint = iota
	Input
	ForwardHook
	Output
	Postrouting
)

func (h HookPoint) String() string {
	return nameOf(h, "prerouting", "input", "forward", "output", "postrouting")
}

// Rule is one rule of a chain.
type Rule struct {
	Exprs   []Expr
	Comment string // at most 128 bytes; empty for none
}

// Set is a named set of addresses of one family.
type Set struct {
	Name string
	V6   bool
	// Interval sets hold ranges; others single addresses, or prefixes of one length.
	Interval bool
	// Length, where it is not 0, is that of the prefixes in a static set that is not one of ranges: each is there by its first
	// address, and what is looked up is masked to that length. The kernel does not know of it.
	Length int
	// Dynamic sets are filled while they stand, by packets (meters) or by bans: a change never touches what they
	// hold, only whether they are there. Elements are then empty.
	Dynamic bool
	// Packets tells that rules add to the set from the packet path (the kernel's "dynamic" flag).
	Packets bool
	Timeout uint64 // seconds, default of an element's life; 0 for none. Timed is set too then.
	Timed   bool   // elements may have a timeout of their own
	Size    uint32 // at most so many elements; 0: no limit
	Comment string

	Elems4 addrset.Set[addrset.U32]  // of a static IPv4 set: all addresses of its ranges or prefixes
	Elems6 addrset.Set[addrset.U128] // of a static IPv6 set
}

// Keys calls each for every key of ranges in a set that is not one of ranges: every address, or the first one of every prefix of
// a length that is not 0.
func Keys[K addrset.Address[K]](ranges []addrset.Range[K], length int, each func(K)) {
	var k K
	if length == 0 {
		length = k.Bits()
	}
	for _, r := range ranges {
		for k := r.Lo; ; k = k.Top(length).Next() {
			each(k)
			if k.Top(length) == r.Hi {
				break
			}
		}
	}
}
