package droplog

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"strings"

	"ringwall/rules/policy"
)

// Origin is the rule that logged a packet.
type Origin struct {
	At      string // file:line
	Verdict string // "allow", "deny" or "reject"; empty where unknown
	Text    string // of `log: "text"`; may be empty
}

// Writer writes one line a packet to a log. find knows the rule by the name in the log's prefix; packets of a rule that it does not
// know, any more or at all, are written without their place.
func Writer(log *slog.Logger, find func(rule string) (Origin, bool)) func(Packet) {
	return func(p Packet) {
		o, _ := find(p.Rule)
		log.LogAttrs(context.Background(), slog.LevelInfo, "packet", attrs(p, o)...)
	}
}

// attrs is a packet in the order of a line: who decided, what came of it, the tuple, the rest.
func attrs(p Packet, o Origin) []slog.Attr {
	out := make([]slog.Attr, 0, 20)
	text := func(key, value string) {
		if value != "" {
			out = append(out, slog.String(key, value))
		}
	}
	number := func(key string, value int) { out = append(out, slog.Int(key, value)) }

	text("rule", p.Rule)
	text("at", o.At)
	text("verdict", o.Verdict)
	text("text", cmp.Or(o.Text, p.Text))
	text("proto", cmp.Or(policy.ProtocolName(p.Proto), strconv.Itoa(int(p.Proto))))
	text("src", p.Src.String())
	if p.HasPorts {
		number("sport", int(p.Sport))
	}
	text("dst", p.Dst.String())
	if p.HasPorts {
		number("dport", int(p.Dport))
	}
	if p.HasICMP {
		number("type", int(p.Type))
		number("code", int(p.Code))
	}
	if p.Proto == policy.ProtoTCP {
		text("flags", flagNames(p.Flags))
	}
	if p.Fragment {
		out = append(out, slog.Bool("fragment", true))
	}
	text("iif", p.In)
	text("oif", p.Out)
	text("mac", p.MAC.String())
	if p.HasUID {
		out = append(out, slog.Uint64("uid", uint64(p.UID)))
	}
	if p.Mark != 0 {
		text("mark", "0x"+strconv.FormatUint(uint64(p.Mark), 16))
	}
	number("len", p.Length)
	return out
}

// flagNames lists TCP flags from the lowest bit on: "syn,ack".
func flagNames(flags uint8) string {
	var names []string
	for i, name := range [...]string{"fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"} {
		if flags&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}
