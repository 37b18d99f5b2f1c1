package ruleset

import (
	"encoding/binary"
	"net/netip"

	"ringwall/rules/policy"
)

// value is a field's value, big-endian.
type value struct {
	data [16]byte
	size int
}

func (v *value) bytes() []byte { return v.data[:v.size] }

// masked is the value without the bits that the mask lacks; a nil mask has all.
func (v *value) masked(mask []byte) []byte {
	for i, m := range mask {
		v.data[i] &= m
	}
	return v.bytes()
}

func number(n uint64, size int) (v value) {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	v.size = copy(v.data[:], b[8-size:])
	return v
}

func text(s string) (v value) {
	v.size = copy(v.data[:], s)
	return v
}

// addressOf is an address of the family that has so many bytes.
func addressOf(a netip.Addr, size int) (v value, ok bool) {
	switch {
	case a.Is4() && size == 4:
		b := a.As4()
		v.size = copy(v.data[:], b[:])
	case a.Is6() && size == 16:
		v.data, v.size = a.As16(), size
	default:
		return v, false
	}
	return v, true
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
			return number(IPv6, 1), true
		}
		return number(IPv4, 1), true
	case L4Proto:
		return number(uint64(pkt.Proto), 1), true
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
			return number(0, 4), true
		}
		return number(numberOf(pkt.IIf), 4), true
	case OIf:
		if w.Hook == Prerouting || w.Hook == Input {
			return number(0, 4), true
		}
		return number(numberOf(pkt.OIf), 4), true
	case MetaMark:
		return number(uint64(pkt.Mark), 4), true
	case SkUID:
		return number(uint64(pkt.UID), 4), pkt.Socket
	case SkGID:
		return number(uint64(pkt.GID), 4), pkt.Socket
	case Time:
		return number(uint64(pkt.Time)*1e9, 8), true
	case Saddr4:
		return addressOf(pkt.Src, 4)
	case Daddr4:
		return addressOf(pkt.Dst, 4)
	case Saddr6:
		return addressOf(pkt.Src, 16)
	case Daddr6:
		return addressOf(pkt.Dst, 16)
	case HopLimit:
		return number(uint64(pkt.HopLimit), 1), pkt.Is6()
	case Sport:
		return number(uint64(pkt.Sport), 2), policy.HasPorts(pkt.Proto)
	case Dport:
		return number(uint64(pkt.Dport), 2), policy.HasPorts(pkt.Proto)
	case ICMPType:
		return number(uint64(pkt.Type), 1), pkt.Proto == policy.ProtoICMP
	case ICMPCode:
		return number(uint64(pkt.Code), 1), pkt.Proto == policy.ProtoICMP
	case ICMP6Type:
		return number(uint64(pkt.Type), 1), pkt.Proto == policy.ProtoICMPv6
	case ICMP6Code:
		return number(uint64(pkt.Code), 1), pkt.Proto == policy.ProtoICMPv6
	case EtherSaddr:
		v.size = copy(v.data[:], pkt.MAC[:])
		return v, pkt.HasMAC
	case IIfType:
		if pkt.HasMAC {
			return number(IfEther, 2), true
		}
		return number(0xfffe, 2), w.Hook != Output // ARPHRD_NONE
	case CtState:
		return number(w.ctState(), 4), true
	case CtStatus:
		if w.DNAT {
			return number(StatusDNAT, 4), w.tracked()
		}
		return number(0, 4), w.tracked()
	case CtDirection:
		if w.Reply {
			return number(Reply, 1), w.tracked()
		}
		return number(Original, 1), w.tracked()
	case FibDaddrType:
		return number(uint64(w.DaddrType), 4), true
	case FibSaddrOIf:
		if pkt.Spoofed {
			return number(0, 4), true
		}
		return number(1, 4), true
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
