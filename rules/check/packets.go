package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// Packets is packets of one direction in the words of policies. What is not said is as in a policy's tests: first
// packets of a connection, not over loopback, and of those what reaches the rules. Packets that something before the
// rules decides about are told with all that they depend on.
type Packets struct {
	List string `json:"list"` // in, out or forward
	Text string `json:"text"` // "in tcp/22 from 10.0.0.0/8", long lists abbreviated
	// Family is IPv4 or IPv6 where nothing else tells that only one is meant.
	Family string   `json:"family,omitempty"`
	What   []string `json:"what"`
	From   []string `json:"from,omitempty"` // absent: from anywhere; of what is longer than a thousand, the beginning
	To     []string `json:"to,omitempty"`
	Other  []string `json:"other,omitempty"` // "iface lan*", "until 2030-01-01"
}

// packets puts what was found into words.
func (n *naming) packets(f *found) Packets {
	p := Packets{List: f.dir.String()}
	told := n.what(f, &p)
	from, fromText, fromTold := n.addresses(f, space.Src)
	to, toText, toTold := n.addresses(f, space.Dst)
	p.From, p.To = shorten(from), shorten(to)
	if !f.both && !told && !fromTold && !toTold {
		p.Family = map[bool]string{false: "IPv4", true: "IPv6"}[f.box.Six]
	}
	p.Other = n.other(f)
	var words []string
	add := func(s string) {
		if s != "" {
			words = append(words, s)
		}
	}
	add(p.List)
	add(p.Family)
	add(whatText(p.What))
	if fromText != "" {
		add("from " + fromText)
	}
	if toText != "" {
		add("to " + toText)
	}
	p.Text = strings.Join(words, " ")
	for _, o := range p.Other {
		p.Text += ", " + o
	}
	return p
}

// shorten bounds a list for programs. The last item says how many are left out.
func shorten(items []string) []string {
	const most = 1000
	if len(items) <= most {
		return items
	}
	return append(slices.Clip(items[:most]), fmt.Sprintf("and %d more", len(items)-most))
}

// shownItems is how many items of a list a text has.
const shownItems = 5

// whatText is a WHAT as text.
func whatText(items []string) string {
	if len(items) > 1 && items[0] == "any" {
		return "any but " + abbreviate(items[1:], shownItems)
	}
	return abbreviate(items, shownItems)
}

// what fills in the protocols: items, or "any" and then those that are left out, each with "not ". It tells whether
// they say which family is meant.
func (n *naming) what(f *found, p *Packets) bool {
	w := f.what()
	p.What, _ = w.Texts()
	none := policy.What{}
	if !w.V4.IsEmpty() {
		none.V4 = w.V4.Complement()
	}
	if !w.V6.IsEmpty() {
		none.V6 = w.V6.Complement()
	}
	// Complements of both families are told together even if they differ, as in "any but icmp/3, icmpv6/1".
	if without, ok := none.Texts(); ok && len(p.What) > 3 && len(without) < len(p.What) {
		p.What = append([]string{"any"}, without...)
	}
	if f.both {
		return false
	}
	return !slices.ContainsFunc(p.What, func(item string) bool { return !strings.HasPrefix(item, "icmp") && item != "igmp" })
}

// what is the protocols of what was found, with the keys that no packet has where policies have them.
func (f *found) what() policy.What {
	whole := func(s space.Set) space.Set {
		last := policy.Key(255, 1<<16-1)
		if s.Contains(last) {
			s = s.Union(addrset.Between(last, last.Last()))
		}
		return s
	}
	switch {
	case f.both:
		return policy.What{V4: whole(f.box.Set(space.Key)), V6: whole(f.other.Set(space.Key))}
	case f.box.Six:
		return policy.What{V6: whole(f.box.Set(space.Key))}
	}
	return policy.What{V4: whole(f.box.Set(space.Key))}
}

// addrs is the addresses of what was found.
func (f *found) addrs(d space.Dim) addrset.Addrs {
	a := f.box.Addrs(d)
	if f.both {
		a = a.Union(f.other.Addrs(d))
	}
	return a
}

// other is all that is neither protocol nor address.
func (n *naming) other(f *found) []string {
	var out []string
	add := func(name, text string) {
		if text != "" {
			out = append(out, strings.TrimSpace(name+" "+text))
		}
	}
	b, whole := &f.box, n.space.Whole(f.dir, f.box.Six)
	add("sport", numbers(b.Set(space.Sport), whole.Set(space.Sport)))
	iif, oif := "iface", "iface"
	if f.dir == policy.Forward {
		iif, oif = "iif", "oif"
	}
	add(iif, n.interfaces(f, space.IIf))
	add(oif, n.interfaces(f, space.OIf))
	add("mac", n.macs(b.Set(space.MAC), whole.Set(space.MAC)))
	add("mark", n.marks(b.Set(space.Mark), whole.Set(space.Mark)))
	out = append(out, n.owners(b, &whole)...)
	add("hops", numbers(b.Set(space.HopLimit), whole.Set(space.HopLimit)))
	if !f.rules {
		add("", f.states(whole.Set(space.State)))
	}
	if s := b.Set(space.Spoofed); !s.Contains(0) {
		out = append(out, "spoofed")
	}
	add("", n.span(b.Set(space.Time)))
	return out
}

// numbers is a set of numbers along a dimension as text, empty where it is the whole.
func numbers(s, whole space.Set) string {
	texts := func(s space.Set) (out []string) {
		for _, r := range s.Ranges() {
			if r.Lo == r.Hi {
				out = append(out, fmt.Sprint(r.Lo))
			} else {
				out = append(out, fmt.Sprintf("%d-%d", r.Lo, r.Hi))
			}
		}
		return out
	}
	rest := whole.Minus(s)
	switch {
	case rest.IsEmpty():
		return ""
	case rest.Len() < s.Len():
		return "not " + abbreviate(texts(rest), shownItems)
	}
	return abbreviate(texts(s), shownItems)
}

// states is what connection tracking must say; nothing for first packets.
func (f *found) states(whole space.Set) string {
	s := f.box.Set(space.State)
	if s.Equal(whole) {
		if f.sum > 0 {
			return ""
		}
		return "in any state"
	}
	var out []string
	for _, st := range []policy.State{policy.New, policy.Established, policy.Related, policy.Invalid} {
		if s.Contains(addrset.U32(st)) {
			out = append(out, st.String())
		}
	}
	if len(out) == 1 && out[0] == policy.New.String() {
		return ""
	}
	return strings.Join(out, " or ")
}

// span is a time as text; nothing for always, as far as that still lies ahead.
func (n *naming) span(s space.Set) string {
	rs := s.Ranges()
	ahead, _ := n.ahead.Min()
	day := func(i addrset.U32) string { return timeText(n.space.Times()[i]) }
	var out []string
	for _, r := range rs {
		begins, ends := r.Lo > ahead, int(r.Hi) < len(n.space.Times())
		switch {
		case begins && ends:
			out = append(out, fmt.Sprintf("from %s until %s", day(r.Lo-1), day(r.Hi)))
		case begins:
			out = append(out, fmt.Sprintf("from %s on", day(r.Lo-1)))
		case ends:
			out = append(out, "until "+day(r.Hi))
		}
	}
	return strings.Join(out, " and ")
}

// timeText is a moment as policies write it.
func timeText(t int64) string {
	when := time.Unix(t, 0).UTC()
	if t%86400 == 0 {
		return when.Format(time.DateOnly)
	}
	return when.Format("2006-01-02 15:04")
}
