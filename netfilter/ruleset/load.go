package ruleset

import (
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

// addressOf is an address as a value, false where it is not of the field's family.
func addressOf(a netip.Addr, six bool) (value, bool) {
	switch {
	case a.Is4() && !six:
		return valueOfV4(addrset.V4(a)), true
	case a.Is6() && six:
		return addrset.V6(a), true
	}
	return value{}, false
}

// Priorities of conntrack: before, a packet has no connection.
const conntrackPriority = -200

// tracked tells whether the packet has a connection.
func (w *walk) tracked() bool {
	return w.priority >= conntrackPriority && w.Pkt.State != policy.Untracked && w.Pkt.State != policy.Invalid
}

// load loads a field of the packet, false where it has none: then the kernel leaves the rule. Every field has a case here.
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
		return addressOf(pkt.Src, false)
	case Daddr4:
		return addressOf(pkt.Dst, false)
	case Saddr6:
		return addressOf(pkt.Src, true)
	case Daddr6:
		return addressOf(pkt.Dst, true)
	case HopLimit:
		return number(f, uint64(pkt.HopLimit)), pkt.Is6()
	case Sport:
		return number(f, uint64(pkt.Sport)), policy.HasPorts(pkt.Proto)
	case Dport:
		return number(f, uint64(pkt.Dport)), policy.HasPorts(pkt.Proto)
	case ICMPType:
		return number(f, uint64(pkt.Type)), pkt.Proto == policy.ProtoICMP
	case ICMPCode:
		return number(f, uint64(pkt.Code)), pkt.Proto == policy.ProtoICMP
	case ICMP6Type:
		return number(f, uint64(pkt.Type)), pkt.Proto == policy.ProtoICMPv6
	case ICMP6Code:
		return number(f, uint64(pkt.Code)), pkt.Proto == policy.ProtoICMPv6
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
