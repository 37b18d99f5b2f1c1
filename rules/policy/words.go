package policy

import (
	"fmt"
	"strings"
	"time"
)

// String is the packet in words that Query reads: "in tcp/22 from 203.0.113.9 to 198.51.100.1 sport 40000 iface eth0".
func (p Packet) String() string {
	var b strings.Builder
	say := func(key string, value any) { fmt.Fprintf(&b, " %s %v", key, value) }
	fmt.Fprintf(&b, "%s %s from %s to %s", p.Dir, keyText(p.Key(), p.Key(), p.Is6()), p.Src, p.Dst)
	if HasPorts(p.Proto) {
		say("sport", p.Sport)
	}
	switch {
	case p.Dir == Forward:
		if p.IIf != "" {
			say("iif", p.IIf)
		}
		if p.OIf != "" {
			say("oif", p.OIf)
		}
	case p.IIf+p.OIf != "":
		say("iface", p.IIf+p.OIf)
	}
	if p.HasMAC {
		say("mac", p.MAC)
	}
	if p.Mark != 0 {
		say("mark", fmt.Sprintf("%#x", p.Mark))
	}
	if p.Socket {
		say("user", p.UID)
		say("group", p.GID)
	}
	if p.State != New {
		say("state", p.State)
	}
	if p.HopLimit != hops(&p) {
		say("hops", p.HopLimit)
	}
	if p.Spoofed {
		say("spoofed", true)
	}
	if p.Time != 0 {
		say("at", time.Unix(p.Time, 0).UTC().Format(time.RFC3339))
	}
	return b.String()
}
