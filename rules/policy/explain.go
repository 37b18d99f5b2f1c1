package policy

import (
	"fmt"
	"net/netip"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
)

// Step is something that stood before what decided, and why it did not.
type Step struct {
	By     string
	Rule   *Rule // nil for what stands before the rules
	At     diag.Span
	Reason string // "source 203.0.113.9 is not in 10.0.0.0/8"
}

// Explain is Decide with everything that was passed on the way. Decide and Explain share one walk.
func (p *Policy) Explain(pkt *Packet) (Decision, []Step) {
	var steps []Step
	w := newWalk(p, pkt)
	w.steps = &steps
	d := w.judge()
	return d, steps
}

// shown is how many values of a long list a reason names.
const shown = 4

// whyNot puts the part of a rule that the packet is not in into words.
func (w *walk) whyNot(r *Rule, miss part) string {
	m, pkt := &r.Match, w.pkt
	switch miss {
	case partExpired:
		return "expired on " + dateText(r.Expires)
	case partFamily:
		if w.src.six || w.dst.six {
			return "matches IPv4 only"
		}
		return "matches IPv6 only"
	case partWhat:
		return fmt.Sprintf("%s is not %s", w.describe(), w.describeWhat(m.What))
	case partSport:
		return fmt.Sprintf("source port %d is not %s", pkt.Sport, ports(m.Sport))
	case partFrom:
		return w.notIn("source", pkt.Src, &m.From)
	case partTo:
		return w.notIn("destination", pkt.Dst, &m.To)
	case partIIf:
		return notOne("interface", nameText(pkt.IIf), m.IIf, func(p Pattern) string { return string(p) })
	case partOIf:
		return notOne("outgoing interface", nameText(pkt.OIf), m.OIf, func(p Pattern) string { return string(p) })
	case partMAC:
		if !pkt.HasMAC {
			return "the packet has no MAC address"
		}
		return notOne("MAC address", pkt.MAC.String(), m.MAC, MAC.String)
	case partMark:
		return notOne("mark", fmt.Sprintf("%#x", pkt.Mark), m.Mark, Mark.String)
	case partUser:
		if !pkt.Socket {
			return "the packet has no socket, so no user"
		}
		return notOne("user", ownerText(pkt.UID, w.Users), m.User, func(o Owner) string { return o.Name })
	case partGroup:
		if !pkt.Socket {
			return "the packet has no socket, so no group"
		}
		return notOne("group", ownerText(pkt.GID, w.Groups), m.Group, func(o Owner) string { return o.Name })
	}
	return ""
}

// whyNotBlocked names the addresses that block looked at.
func (w *walk) whyNotBlocked() string {
	if w.steps == nil {
		return "not in block"
	}
	switch w.pkt.Dir {
	case In:
		return fmt.Sprintf("source %s is not blocked", w.pkt.Src)
	case Out:
		return fmt.Sprintf("destination %s is not blocked", w.pkt.Dst)
	}
	return fmt.Sprintf("neither %s nor %s is blocked", w.pkt.Src, w.pkt.Dst)
}

// whyNotFailsafe says what of a failsafe line the packet is not in.
func (w *walk) whyNotFailsafe(f *Failsafe) string {
	if w.steps == nil {
		return "not failsafe"
	}
	what := fmt.Sprintf("%s is not %s", w.describe(), f.Text)
	if w.pkt.Dir == Out {
		return "the packet is no reply of a failsafe connection"
	}
	set := f.What.V4
	if w.src.six {
		set = f.What.V6
	}
	if !set.Contains(w.key) {
		return what
	}
	return w.notIn("source", w.pkt.Src, &f.From)
}

// describe is the packet's protocol, with its port or type: "port tcp/22", "icmp/8".
func (w *walk) describe() string {
	text := keyText(w.key, w.key, w.pkt.Is6())
	if HasPorts(w.pkt.Proto) {
		return "port " + text
	}
	return text
}

// describeWhat is what w's family of a WHAT holds, abbreviated: of the packet's protocol where it holds any of that.
func (w *walk) describeWhat(what What) string {
	set := what.V4
	if w.pkt.Is6() {
		set = what.V6
	}
	if same := set.Intersect(wholeProto(w.pkt.Proto)); !same.IsEmpty() {
		set = same
	}
	var out []string
	for _, r := range set.Ranges() {
		if len(out) == shown {
			out = append(out, "…")
			break
		}
		out = append(out, keyText(r.Lo, r.Hi, w.pkt.Is6()))
	}
	return strings.Join(out, ", ")
}

// notIn says that an address is in none of a.
func (w *walk) notIn(role string, ip netip.Addr, a *Addrs) string {
	return fmt.Sprintf("%s %s is not in %s", role, ip, a)
}

// String is the addresses as text, long lists abbreviated: a set's name, or "10.0.0.0/8, 192.0.2.1 and banned".
func (a Addrs) String() string {
	if a.Set != "" {
		return a.Set
	}
	var terms []string
	for i, t := range a.Terms {
		if i == shown {
			terms = append(terms, "…")
			break
		}
		terms = append(terms, t.String())
	}
	if len(terms) == 0 {
		return "nothing"
	}
	return strings.Join(terms, ", ")
}

// String is the term as text: "10.0.0.0/8 and banned, not office".
func (t Term) String() string {
	var out []string
	if !t.Static.IsAll() || len(t.In) == 0 {
		out = append(out, addrsText(t.Static))
	}
	out = append(out, t.In...)
	text := strings.Join(out, " and ")
	for _, n := range t.NotIn {
		text += ", not " + n
	}
	return text
}

// addrsText is the first addresses of a set, as prefixes.
func addrsText(a addrset.Addrs) string {
	if a.IsAll() {
		return "any"
	}
	out := addrset.Texts(a.V4, shown)
	out = append(out, addrset.Texts(a.V6, max(0, shown-len(out)))...)
	if len(out) < a.Len() || len(out) == 0 && !a.IsEmpty() {
		out = append(out, "…")
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, ", ")
}

// notOne says that a value is not what a choice asks for.
func notOne[T any](role, value string, c Choice[T], text func(T) string) string {
	list := func(vs []T) string {
		var out []string
		for i, v := range vs {
			if i == shown {
				out = append(out, "…")
				break
			}
			out = append(out, text(v))
		}
		return strings.Join(out, ", ")
	}
	switch {
	case len(c.Yes) == 0:
		return fmt.Sprintf("%s %s is not wanted: not %s", role, value, list(c.No))
	case len(c.No) == 0:
		return fmt.Sprintf("%s %s is not %s", role, value, list(c.Yes))
	}
	return fmt.Sprintf("%s %s is not %s without %s", role, value, list(c.Yes), list(c.No))
}

// nameText is an interface's name, or words where it has none.
func nameText(s string) string {
	if s == "" {
		return "(not given)"
	}
	return s
}

// ownerText is the name of a user or group, or words where a query did not give it.
func ownerText(id uint32, known map[string]uint32) string {
	if id == nobody {
		return "(not given)"
	}
	return ownerNames(known)(id)
}

// ports is a set of ports as text.
func ports(s addrset.Set[addrset.U16]) string {
	var out []string
	for _, r := range s.Ranges() {
		if len(out) == shown {
			out = append(out, "…")
			break
		}
		out = append(out, span(uint16(r.Lo), uint16(r.Hi)))
	}
	return strings.Join(out, ", ")
}

func span(lo, hi uint16) string {
	if lo == hi {
		return fmt.Sprint(lo)
	}
	return fmt.Sprintf("%d-%d", lo, hi)
}
