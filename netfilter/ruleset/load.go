package ruleset

import (
	"encoding/binary"
	"net/netip"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// number is a number as the value of a field.
func number(f Field, n uint64) value { return value{Hi: n << (64 - 8*table[f].size)} }

// text is an interface name as a value: as much of it as fits.
func text(s string) value {
	var b [16]byte
	copy(b[:], s)
	return valueOf(b[:])
}

// addressIn is the address that a field means or, of a packet of the other family, what lies there, so many bytes from an offset on.
func addressIn(pkt *policy.Packet, a netip.Addr, six bool, offset, size int) value {
	switch {
	case a.Is4() && !six:
		return valueOfV4(addrset.V4(a))
	case a.Is6() && six:
		return addrset.V6(a)
	}
	h := header(pkt)
	return valueOf(h[offset:][:size])
}

// header is the packet's first 40 bytes, as far as they are known: of IPv4 half is transport.
func header(pkt *policy.Packet) (h [40]byte) {
	src, dst := pkt.Src.AsSlice(), pkt.Dst.AsSlice()
	if pkt.Is6() {
		h[0], h[6], h[7] = 0x60, pkt.Proto, pkt.HopLimit
		copy(h[8:], src)
		copy(h[24:], dst)
		return h
	}
	h[0], h[8], h[9] = 0x45, pkt.HopLimit, pkt.Proto
	copy(h[12:], src)
	copy(h[16:], dst)
	binary.BigEndian.PutUint32(h[20:], transport(pkt))
	return h
}

// transport is the first 4 bytes of the transport header, whatever the protocol: they are loaded without a look at it.
func transport(pkt *policy.Packet) uint32 {
	if pkt.Proto == policy.ProtoICMP || pkt.Proto == policy.ProtoICMPv6 {
		return uint32(pkt.Type)<<24 | uint32(pkt.Code)<<16
	}
	return uint32(pkt.Sport)<<16 | uint32(pkt.Dport)
}

// Priorities of conntrack: before, a packet has no connection.
const conntrackPriority = -200

// tracked tells whether the packet has a connection.
func (w *walk) tracked() bool {
	return w.priority >= conntrackPriority && w.Pkt.State != policy.Untracked && w.Pkt.State != policy.Invalid
}

// load loads a field of the packet, false where it has none: then the kernel leaves the rule. What lies in headers is loaded as the kernel
// loads it, by its place in them, whatever the packet has there. Every field has a case here.
func (w *walk) load(f Field) (v value, ok bool) {
	pkt := w.Pkt
	switch f {
	case NFProto:
		if pkt.Is6() {
			return number(f, IPv6), true
		}
		return number(f, IPv4), true
	case L4Proto:
		return number(f, uint64(pkt.Proto)), true
	case IIfName:
		if w.Hook == Output {
			return text(""), true
		}
		return text(pkt.IIf), true
	case OIfName:
		if w.Hook == Prerouting || w.Hook == Input {
			return text(""), true
		}
		return text(pkt.OIf), true
	case IIf:
		if w.Hook == Output {
			return number(f, 0), true
		}
		return number(f, numberOf(pkt.IIf)), true
	case OIf:
		if w.Hook == Prerouting || w.Hook == Input {
			return number(f, 0), true
		}
		return number(f, numberOf(pkt.OIf)), true
	case MetaMark:
		return number(f, uint64(pkt.Mark)), true
	case SkUID:
		return number(f, uint64(pkt.UID)), pkt.Socket
	case SkGID:
		return number(f, uint64(pkt.GID)), pkt.Socket
	case Time:
		return number(f, uint64(pkt.Time)*1e9), true
	case Saddr4:
		return addressIn(pkt, pkt.Src, false, 12, 4), true
	case Daddr4:
		return addressIn(pkt, pkt.Dst, false, 16, 4), true
	case Saddr6:
		return addressIn(pkt, pkt.Src, true, 8, 16), true
	case Daddr6:
		return addressIn(pkt, pkt.Dst, true, 24, 16), true
	case HopLimit:
		if !pkt.Is6() {
			return number(f, 0), true // fragment offset
		}
		return number(f, uint64(pkt.HopLimit)), true
	case Sport:
		return number(f, uint64(transport(pkt)>>16)), true
	case Dport:
		return number(f, uint64(transport(pkt)&0xffff)), true
	case ICMPType, ICMP6Type:
		return number(f, uint64(transport(pkt)>>24)), true
	case ICMPCode, ICMP6Code:
		return number(f, uint64(transport(pkt)>>16&0xff)), true
	case EtherSaddr:
		return valueOf(pkt.MAC[:]), pkt.HasMAC
	case IIfType:
		if pkt.HasMAC {
			return number(f, IfEther), true
		}
		return number(f, 0xfffe), w.Hook != Output // ARPHRD_NONE
	case CtState:
		return number(f, w.ctState()), true
	case CtStatus:
		if w.DNAT {
			return number(f, StatusDNAT), w.tracked()
		}
		return number(f, 0), w.tracked()
	case CtDirection:
		if w.Reply {
			return number(f, Reply), w.tracked()
		}
		return number(f, Original), w.tracked()
	case FibDaddrType:
		return number(f, uint64(w.DaddrType)), true
	case FibSaddrOIf:
		if pkt.Spoofed {
			return number(f, 0), true
		}
		return number(f, 1), true
	}
	return v, false
}

// numberOf is the number of an interface, as far as rules tell: the loopback's is its own, the others have one.
func numberOf(name string) uint64 {
	switch name {
	case "":
		return 0
	case policy.Loopback:
		return IfLoopback
	}
	return IfLoopback + 1
}

// ctState is the bit that stands for the packet's state. What conntrack has not seen yet is invalid to it.
func (w *walk) ctState() uint64 {
	if w.priority < conntrackPriority && w.Pkt.State != policy.Untracked {
		return StateInvalid
	}
	switch w.Pkt.State {
	case policy.New:
		return StateNew
	case policy.Established:
		return StateEstablished
	case policy.Related:
		return StateRelated
	case policy.Untracked:
		return StateUntracked
	}
	return StateInvalid
}
