package policy

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// String is the packet in words that Query reads: "in tcp/22 from 203.0.113.9 to 198.51.100.1 sport 40000 iface eth0".
func (p Packet) String() string { return p.words(ownerNumber, ownerNumber) }

// Words is String with the names that the policy has for users and groups.
func (p *Policy) Words(pkt *Packet) string {
	return pkt.words(ownerNames(p.Users), ownerNames(p.Groups))
}

// ownerNumber is the number of a user or group as text.
func ownerNumber(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

// ownerNames is the first name in the order of letters that stands for a number, else the number.
func ownerNames(known map[string]uint32) func(uint32) string {
	return func(id uint32) string {
		best := ""
		for name, n := range known {
			if n == id && (best == "" || name < best) {
				best = name
			}
		}
		return cmp.Or(best, ownerNumber(id))
	}
}

// words is String, with what user and group make of a number.
func (p Packet) words(user, group func(uint32) string) string {
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
	if p.Socket && (p.UID != nobody || p.GID == nobody) {
		say("user", user(p.UID))
	}
	if p.Socket && p.GID != nobody {
		say("group", group(p.GID))
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
