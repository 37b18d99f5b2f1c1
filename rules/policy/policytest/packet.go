package policytest

import (
	"math"
	"net/netip"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Packet draws a packet as the kernel could show it, of values in and beside those that policies are drawn with.
func Packet(t *rapid.T, dir policy.Dir) policy.Packet {
	p := policy.Packet{
		Dir:      dir,
		Proto:    rapid.SampledFrom(protos).Draw(t, "proto"),
		HopLimit: rapid.SampledFrom([]uint8{1, 64, 254, 255}).Draw(t, "hops"),
		Mark:     rapid.SampledFrom([]uint32{0, 1, 0x10, 0x11, 5, 6, math.MaxUint32, 1 << 31}).Draw(t, "mark"),
		Time:     rapid.SampledFrom([]int64{0, 999, 1000, 1999, 2000, 5000}).Draw(t, "time"),
	}
	if chance(t, 3, "not new") {
		p.State = rapid.SampledFrom([]policy.State{policy.Established, policy.Related, policy.Invalid}).Draw(t, "state")
	}
	six := chance(t, 2, "six")
	p.Src, p.Dst = Addr(t, six), Addr(t, six)
	switch {
	case policy.HasPorts(p.Proto):
		p.Sport, p.Dport = port(t)^nudge(t), port(t)^nudge(t)
	case p.Proto == policy.ProtoICMP && !six, p.Proto == policy.ProtoICMPv6 && six:
		p.Type, p.Code = rapid.SampledFrom(types).Draw(t, "type"), rapid.SampledFrom([]uint8{0, 1, 255}).Draw(t, "code")
	}
	name := rapid.SampledFrom([]string{"lo", "eth0", "eth1", "eth2", "br-1", "wlan0", "eth0.5", "lan"})
	if dir != policy.Out {
		p.IIf = name.Draw(t, "iif")
		p.Spoofed = chance(t, 6, "spoofed")
		if p.HasMAC = chance(t, 2, "has mac"); p.HasMAC {
			p.MAC = rapid.SampledFrom(append([]policy.MAC{{9}}, macs...)).Draw(t, "mac")
		}
	}
	if dir != policy.In {
		p.OIf = name.Draw(t, "oif")
	}
	if dir == policy.Out {
		if p.Socket = !chance(t, 3, "no socket"); p.Socket {
			p.UID = rapid.SampledFrom([]uint32{0, 5, 6, math.MaxUint32}).Draw(t, "uid")
			p.GID = rapid.SampledFrom([]uint32{0, 5, 6, math.MaxUint32}).Draw(t, "gid")
		}
	}
	return p
}

// nudge is 1 at times.
func nudge(t *rapid.T) uint16 {
	if chance(t, 5, "nudge") {
		return 1
	}
	return 0
}

// Addr draws an address at an edge of a prefix, or just beyond it.
func Addr(t *rapid.T, six bool) netip.Addr {
	for {
		p := netip.MustParsePrefix(rapid.SampledFrom(prefixes).Draw(t, "around"))
		if p.Addr().Is6() != six {
			continue
		}
		ip := p.Addr()
		if chance(t, 2, "last") {
			ip = addrset.LastOf(p)
		}
		switch {
		case chance(t, 6, "before") && ip.Prev().IsValid():
			ip = ip.Prev()
		case chance(t, 6, "after") && ip.Next().IsValid():
			ip = ip.Next()
		}
		return ip
	}
}
