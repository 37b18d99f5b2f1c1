package space

import (
	"net/netip"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Packet is a packet of a box, an ordinary one where the box leaves a choice.
func (s *Space) Packet(dir policy.Dir, b *Box) policy.Packet {
	p := policy.Packet{
		Dir:      dir,
		State:    policy.State(pick(b.sets[State], 0)),
		HopLimit: uint8(pick(b.sets[HopLimit], 64)),
		IIf:      s.name(b.sets[IIf]),
		OIf:      s.name(b.sets[OIf]),
		Mark:     s.mark(b.sets[Mark]),
		Spoofed:  pick(b.sets[Spoofed], 0) == 1,
		Src:      pickAddr(b.addrs[Src], b.Six, "203.0.113.1", "198.51.100.1", "192.0.2.1", "10.0.0.1", "2001:db8::1", "fe80::1"),
		Dst:      pickAddr(b.addrs[Dst], b.Six, "198.51.100.1", "203.0.113.1", "192.0.2.1", "10.0.0.1", "2001:db8::2", "fe80::2"),
	}
	icmp, ping := uint8(policy.ProtoICMP), uint16(8<<8)
	if b.Six {
		icmp, ping = policy.ProtoICMPv6, 128<<8
	}
	key := pick(b.sets[Key], policy.Key(policy.ProtoTCP, 443), policy.Key(policy.ProtoTCP, 12345), policy.Key(policy.ProtoUDP, 443),
		policy.Key(policy.ProtoUDP, 12345), policy.Key(icmp, ping))
	p.Proto = uint8(key >> 16)
	switch {
	case policy.HasPorts(p.Proto):
		p.Dport, p.Sport = uint16(key), uint16(pick(b.sets[Sport], 40000))
	case p.Proto == icmp:
		p.Type, p.Code = uint8(key>>8), uint8(key)
	}
	if mac := pick(b.sets[MAC], 0); mac > 0 {
		p.HasMAC = true
		p.MAC = s.mac(int(mac))
	}
	if pick(b.sets[Socket], 1) == 1 {
		p.Socket = true
		p.UID, p.GID = uint32(pick(b.sets[UID], 1000)), uint32(pick(b.sets[GID], 1000))
	}
	if i := pick(b.sets[Time], 0); i > 0 {
		p.Time = s.times[i-1]
	}
	return p
}

// pick is the first of the wishes that is in a set, else its smallest number.
func pick(s Set, wishes ...addrset.U32) addrset.U32 {
	for _, w := range wishes {
		if s.Contains(w) {
			return w
		}
	}
	k, _ := s.Min()
	return k
}

func pickAddr(a addrset.Addrs, six bool, wishes ...string) netip.Addr {
	for _, w := range wishes {
		if ip := netip.MustParseAddr(w); a.Contains(ip) {
			return ip
		}
	}
	if six {
		k, _ := a.V6.Min()
		return k.Addr()
	}
	k, _ := a.V4.Min()
	return k.Addr()
}

func (s *Space) name(set Set) string {
	return s.names.list[pick(set, s.names.plain)]
}

func (s *Space) mark(set Set) uint32 {
	k, _ := set.Min()
	for i, c := range s.marks.classes {
		for _, part := range c.parts {
			if part.Value == 0 && set.Contains(addrset.U32(i)) {
				return 0
			}
		}
	}
	return s.marks.classes[k].parts[0].Value
}

// mac is the address of a number along MAC above 0. The one that nobody names is locally administered.
func (s *Space) mac(i int) policy.MAC {
	if i > 1 {
		return s.macs[i-2]
	}
	a := policy.MAC{2, 0, 0, 0, 0, 1}
	for _, m := range s.macs { // sorted
		if m == a {
			a[5]++
			if a[5] == 0 {
				a[4]++
			}
		}
	}
	return a
}
