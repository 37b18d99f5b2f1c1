package policy

import (
	"net/netip"

	"ringwall/rules/addrset"
)

// Packet is what a policy can see of one packet: in practice the first of a connection.
type Packet struct {
	Dir      Dir
	State    State
	Src, Dst netip.Addr // of one family, IPv4 never mapped
	Proto    uint8
	Sport    uint16 // of a protocol with ports
	Dport    uint16
	Type     uint8 // of ICMP and ICMPv6
	Code     uint8
	HopLimit uint8  // TTL in IPv4
	IIf      string // where it came in: `in` and `forward`
	OIf      string // where it goes out: `out` and `forward`
	MAC      MAC    // the sender's; valid where HasMAC
	HasMAC   bool
	Mark     uint32
	Socket   bool // a socket of this host sent it, so that UID and GID are known
	UID, GID uint32
	Spoofed  bool  // the way back to its source does not lead through IIf
	Time     int64 // Unix seconds
}

// State is what connection tracking says of a packet.
type State uint8

// The states. Untracked packets are judged like new ones.
const (
	New State = iota
	Established
	Related
	Invalid
	Untracked
)

func (s State) String() string {
	return [...]string{"new", "established", "related", "invalid", "untracked"}[s]
}

// Is6 tells whether the packet is IPv6.
func (p *Packet) Is6() bool { return p.Src.Is6() || p.Dst.Is6() }

// Key is the packet's key in a What.
func (p *Packet) Key() addrset.U32 {
	switch {
	case HasPorts(p.Proto):
		return Key(p.Proto, p.Dport)
	case p.Proto == ProtoICMP && !p.Is6(), p.Proto == ProtoICMPv6 && p.Is6():
		return Key(p.Proto, uint16(p.Type)<<8|uint16(p.Code))
	}
	return Key(p.Proto, 0)
}
