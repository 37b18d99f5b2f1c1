package policy

import (
	"ringwall/rules/addrset"
)

// What stands before the rules. Each method returns why it does not take the packet, empty where it does.
// Reasons that need the packet's values are put together only for Explain.

// elsewhere is the reason of what has no business with the packet's direction, and is no step for Explain.
const elsewhere = "elsewhere"

const (
	off    = "switched off under base"
	notNew = "the packet is new"
)

// block concerns the source of what arrives and the destination of what leaves; of transit both. The kernel asks
// before connection tracking, so that a packet with the looks of a failsafe reply passes whatever its state.
func (w *walk) block() string {
	if len(w.Block.Terms) == 0 {
		return elsewhere
	}
	if w.overLoopback() {
		return "loopback is never blocked"
	}
	src, dst := w.in(&w.Block, &w.src), w.in(&w.Block, &w.dst)
	switch w.pkt.Dir {
	case In:
		dst = false
	case Out:
		src = false
	}
	if !src && !dst {
		return w.whyNotBlocked()
	}
	if w.pkt.Dir != Forward {
		for i := range w.Failsafe {
			if w.looksFailsafe(&w.Failsafe[i]) {
				return "what failsafe admits is never blocked"
			}
		}
	}
	return ""
}

func (w *walk) overLoopback() bool {
	return w.pkt.Dir == In && w.pkt.IIf == Loopback || w.pkt.Dir == Out && w.pkt.OIf == Loopback
}

func (w *walk) loopback() string {
	switch {
	case w.pkt.Dir == Forward:
		return elsewhere
	case !w.Base.Loopback:
		return off
	case !w.overLoopback():
		return "the interface is not lo"
	}
	return ""
}

// failsafe admits what it names as it arrives, and as it leaves the established replies to that.
func (w *walk) failsafe(f *Failsafe) string {
	switch {
	case w.pkt.Dir == Forward:
		return elsewhere
	case !w.looksFailsafe(f):
		return w.whyNotFailsafe(f)
	case w.pkt.Dir == Out && w.pkt.State != Established:
		return "the packet is no reply of a connection"
	}
	return ""
}

// looksFailsafe tells whether the packet is of a failsafe connection as far as can be seen without its state.
func (w *walk) looksFailsafe(f *Failsafe) bool {
	key, peer := w.key, &w.src
	if w.pkt.Dir == Out {
		key, peer = w.pkt.ReplyKey(), &w.dst
	}
	what := f.What.V4
	if peer.six {
		what = f.What.V6
	}
	return what.Contains(key) && w.in(&f.From, peer)
}

func (w *walk) established() string {
	switch {
	case !w.Base.Established:
		return off
	case w.pkt.State == New:
		return notNew
	case w.pkt.State != Established && w.pkt.State != Related:
		return "the packet belongs to no connection"
	}
	return ""
}

// neighbour is RFC 4861 without redirects: a hop limit of 255 shows that no router has passed it on.
func (w *walk) neighbour() string {
	switch {
	case w.pkt.Dir == Forward:
		return elsewhere
	case !w.Base.Neighbour:
		return off
	case !w.icmpv6(133, 136):
		return "not neighbour discovery (ICMPv6 133-136)"
	case w.pkt.HopLimit != 255:
		return "the hop limit is not 255"
	}
	return ""
}

// multicast is MLD (RFC 2710, RFC 3810) and IGMP (RFC 3376).
func (w *walk) multicast() string {
	switch {
	case w.pkt.Dir == Forward:
		return elsewhere
	case !w.Base.Multicast:
		return off
	case w.pkt.Proto == ProtoIGMP && !w.pkt.Is6():
		return ""
	case !w.icmpv6(130, 132) && !w.icmpv6(143, 143):
		return "neither IGMP nor MLD (ICMPv6 130-132, 143)"
	case !w.linkLocal() && w.src.v6 != (addrset.U128{}):
		return "the source is neither link-local nor ::"
	}
	return ""
}

// icmpErrors stands before invalid, because conntrack calls errors invalid whose connection it does not know.
func (w *walk) icmpErrors() string {
	switch {
	case !w.Base.ICMPErrors:
		return off
	case w.icmpv6(1, 4):
		return ""
	case !w.pkt.Is6() && w.pkt.Proto == ProtoICMP:
		switch w.pkt.Type {
		case 3, 11, 12:
			return ""
		}
	}
	return "not an ICMP error"
}

// dhcpClient is RFC 2131 and RFC 8415, seen from the client.
func (w *walk) dhcpClient() string {
	server, client := w.pkt.Sport, w.pkt.Dport
	if w.pkt.Dir == Out {
		server, client = client, server
	}
	switch {
	case w.pkt.Dir == Forward:
		return elsewhere
	case !w.Base.DHCPClient:
		return off
	case w.pkt.Proto != ProtoUDP,
		!w.pkt.Is6() && (server != 67 || client != 68),
		w.pkt.Is6() && (server != 547 || client != 546):
		return "not DHCP for this host"
	case w.pkt.Is6() && w.pkt.Dir == In && !w.linkLocal():
		return "the source is not link-local"
	}
	return ""
}

func (w *walk) invalid() string {
	switch {
	case w.pkt.Dir == Out:
		return elsewhere
	case !w.Base.Invalid:
		return off
	case w.pkt.State != Invalid:
		return "the packet is not invalid"
	}
	return ""
}

func (w *walk) reversePath() string {
	switch {
	case w.pkt.Dir == Out || !w.Base.ReversePath:
		return elsewhere
	case !w.pkt.Spoofed:
		return "the way back to the source is the way it came"
	}
	return ""
}

// icmpv6 tells whether the packet is ICMPv6 with a type from first to last.
func (w *walk) icmpv6(first, last uint8) bool {
	return w.pkt.Is6() && w.pkt.Proto == ProtoICMPv6 && w.pkt.Type >= first && w.pkt.Type <= last
}

// linkLocal tells whether the source is in fe80::/10.
func (w *walk) linkLocal() bool { return w.src.six && w.src.v6.Hi>>54 == 0xfe80>>6 }

// ReplyKey is the key of the packet that p answers: the port it comes from, or of an ICMP reply the request's type.
// Types that are neither request nor reply stand for themselves.
func (p *Packet) ReplyKey() addrset.U32 {
	switch {
	case HasPorts(p.Proto):
		return Key(p.Proto, p.Sport)
	case p.Proto == ProtoICMP && !p.Is6():
		return Key(p.Proto, uint16(ReplyType(p.Type))<<8|uint16(p.Code))
	case p.Proto == ProtoICMPv6 && p.Is6():
		return Key(p.Proto, uint16(ReplyType6(p.Type))<<8|uint16(p.Code))
	}
	return Key(p.Proto, 0)
}

// ReplyType is the ICMP type that answers a type; of an answer, the type that it answers. Echo, timestamp,
// information and address mask come in such pairs, every other type is its own.
func ReplyType(t uint8) uint8 {
	switch t {
	case 0, 8:
		return 8 - t
	case 13, 15, 17:
		return t + 1
	case 14, 16, 18:
		return t - 1
	}
	return t
}

// ReplyType6 is ReplyType of ICMPv6, where only echo is a pair.
func ReplyType6(t uint8) uint8 {
	switch t {
	case 128:
		return 129
	case 129:
		return 128
	}
	return t
}
