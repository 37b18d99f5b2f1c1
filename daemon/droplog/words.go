package droplog

import (
	"cmp"
	"net/netip"
	"strconv"

	"ringwall/rules/policy"
)

// Words is the packet in a few words: "tcp from 192.0.2.1:40000 to 198.51.100.1:22 over eth0".
func (p *Packet) Words() string {
	end := func(a netip.Addr, port uint16) string {
		if p.HasPorts {
			return netip.AddrPortFrom(a, port).String()
		}
		return a.String()
	}
	text := cmp.Or(policy.ProtocolName(p.Proto), strconv.Itoa(int(p.Proto)))
	if p.HasICMP {
		text += "/" + strconv.Itoa(int(p.Type)) + "/" + strconv.Itoa(int(p.Code))
	}
	text += " from " + end(p.Src, p.Sport) + " to " + end(p.Dst, p.Dport)
	if p.In != "" {
		text += " over " + p.In
	}
	if p.Out != "" {
		text += " out by " + p.Out
	}
	return text
}
