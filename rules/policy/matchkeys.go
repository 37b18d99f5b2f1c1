package policy

import (
	"slices"
	"strconv"
	"strings"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// conditions is the match of a rule or test while its keys are read.
type conditions struct {
	match   Match
	phrases phrases
	sportAt diag.Span // of the key; zero where it is not written
	anyFrom bool      // from is written
}

// newConditions matches everything.
func newConditions() conditions {
	c := conditions{match: Match{What: AnyWhat(), From: AnyAddrs(), To: AnyAddrs()}}
	c.match.Sport = c.match.Sport.Complement()
	return c
}

// matchKey reads one key that narrows a match; false where the key is none of those.
func (l *loader) matchKey(c *conditions, dir Dir, key, node *syntax.Node) bool {
	m := &c.match
	switch key.Text {
	case "from":
		var vs []value
		m.From, vs = l.match(node)
		c.anyFrom = true
		c.phrases.add(key.Text, vs)
		return true
	case "to":
		var vs []value
		m.To, vs = l.match(node)
		c.phrases.add(key.Text, vs)
		return true
	case "sport", "iface", "iif", "oif", "mac", "mark", "user", "group":
	default:
		return false
	}
	vs := l.values(node)
	if len(vs) == 0 {
		return true
	}
	if i := slices.IndexFunc(vs, func(v value) bool { return v.text == "any" }); i >= 0 && key.Text != "sport" {
		l.errorf(vs[i].at, "bad-any", "`any` is not for `%s`, which matches every packet where it is not written", key.Text).
			WithHint("leave the key out")
		return true
	}
	c.phrases.add(key.Text, vs)
	nothing, before := false, l.errors
	switch key.Text {
	case "sport":
		m.Sport, c.sportAt = l.sport(vs), key.At
		nothing = m.Sport.IsEmpty()
	case "iface", "iif", "oif":
		p := l.choosePatterns(vs)
		nothing = isNothing(p, Pattern.covers)
		if key.Text == "oif" || key.Text == "iface" && dir == Out {
			m.OIf = p
		} else {
			m.IIf = p
		}
	case "mac":
		m.MAC = choose(vs, l.mac)
		nothing = isNothing(m.MAC, func(x, y MAC) bool { return x == y })
	case "mark":
		m.Mark = choose(vs, l.mark)
		nothing = isNothing(m.Mark, Mark.covers)
	case "user":
		m.User = choose(vs, func(v value) (Owner, bool) { return l.owner(v, "user", l.opt.User, l.p.Users) })
		nothing = isNothing(m.User, sameOwner)
	case "group":
		m.Group = choose(vs, func(v value) (Owner, bool) { return l.owner(v, "group", l.opt.Group, l.p.Groups) })
		nothing = isNothing(m.Group, sameOwner)
	}
	if nothing && l.errors == before {
		l.warnf(node.At, LintNeverMatches, "these values come to nothing: %s", written(vs))
	}
	return true
}

// isNothing tells whether every value that a choice takes is taken away again. The first argument of covers is what
// is taken away.
func isNothing[T any](c Choice[T], covers func(x, y T) bool) bool {
	const most = 1 << 20 // pairs: nobody writes as many, and to compare them takes long
	return len(c.Yes) > 0 && len(c.No) <= most/len(c.Yes) && !slices.ContainsFunc(c.Yes, func(y T) bool {
		return !slices.ContainsFunc(c.No, func(x T) bool { return covers(x, y) })
	})
}

// covers tells whether every interface that q takes is taken by p.
func (p Pattern) covers(q Pattern) bool {
	prefix, wild := strings.CutSuffix(string(p), "*")
	return p == q || wild && strings.HasPrefix(strings.TrimSuffix(string(q), "*"), prefix)
}

// covers tells whether every mark that n takes is taken by m.
func (m Mark) covers(n Mark) bool { return m.Mask&^n.Mask == 0 && n.Value&m.Mask == m.Value }

func sameOwner(x, y Owner) bool { return x.ID == y.ID }

// choose reads each value of a match key by itself.
func choose[T any](vs []value, read func(value) (T, bool)) Choice[T] {
	var c Choice[T]
	for _, v := range vs {
		t, ok := read(v)
		switch {
		case !ok:
		case v.not:
			c.No = append(c.No, t)
		default:
			c.Yes = append(c.Yes, t)
		}
	}
	return c
}

// mac reads an Ethernet address.
func (l *loader) mac(v value) (MAC, bool) {
	if a, ok := parseMAC(v.text); ok {
		return a, true
	}
	if a, ok := parseMAC(strings.ReplaceAll(v.text, "-", ":")); ok {
		l.errorf(v.at, "bad-mac", "%s is not how policies write an Ethernet address", quote(v.text)).WithHint("write `%s`", a)
		return MAC{}, false
	}
	l.errorf(v.at, "bad-mac", "%s is no Ethernet address", quote(v.text)).WithHint("write it as `aa:bb:cc:dd:ee:ff`")
	return MAC{}, false
}

// mark reads N or N/MASK, each decimal or hexadecimal.
func (l *loader) mark(v value) (Mark, bool) {
	n, mask, masked := strings.Cut(v.text, "/")
	m := Mark{Mask: ^uint32(0)}
	var ok bool
	if m.Value, ok = l.bits(n, v.at); !ok {
		return m, false
	}
	if masked {
		if m.Mask, ok = l.bits(mask, v.at); !ok {
			return m, false
		}
	}
	switch {
	case m.Mask == 0:
		l.errorf(v.at, "bad-mark", "the mask is zero, so that every packet has this mark")
		return m, false
	case m.Value&^m.Mask != 0:
		l.errorf(v.at, "bad-mark", "the mark has bits outside of its mask, so that no packet has it").
			WithHint("write `%s`", Mark{m.Value, m.Mask | m.Value})
		return m, false
	}
	return m, true
}

const markHint = "write a mark as `16`, `0x10` or `0x10/0xf0`"

// bits reads a number of 32 bits.
func (l *loader) bits(text string, at diag.Span) (uint32, bool) {
	if hex, ok := strings.CutPrefix(text, "0x"); ok {
		n, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			l.errorf(at, "bad-mark", "%s is no number of 32 bits", quote(text)).WithHint(markHint)
		}
		return uint32(n), err == nil
	}
	n, wrong := number(text, 1<<32-1)
	if wrong != "" {
		l.errorf(at, "bad-mark", "%s", wrong).WithHint(markHint)
	}
	return uint32(n), wrong == ""
}

// owner reads a user or group: a name that the host knows, or a number.
func (l *loader) owner(v value, kind string, lookup func(string) (uint32, bool), known map[string]uint32) (Owner, bool) {
	if isDigits(v.text) {
		n, wrong := number(v.text, 1<<32-2) // the last is no id but chown's "leave it"
		if wrong != "" {
			l.errorf(v.at, "bad-"+kind, "%s", wrong)
		}
		return Owner{v.text, uint32(n)}, wrong == ""
	}
	if !isOwnerName(v.text) {
		l.errorf(v.at, "bad-"+kind, "%s is no name of a %s", quote(v.text), kind)
		return Owner{}, false
	}
	id, ok := known[v.text]
	switch {
	case ok:
	case lookup != nil:
		if id, ok = lookup(v.text); !ok {
			l.errorf(v.at, "unknown-"+kind, "this host has no %s %s", kind, quote(v.text))
			return Owner{}, false
		}
	case v.text != "root":
		id = 1<<31 + uint32(len(known))
	}
	known[v.text] = id
	return Owner{v.text, id}, true
}

// isOwnerName tells whether a text can name a user or group: what useradd and systemd allow, and no more.
func isOwnerName(text string) bool {
	for i, r := range strings.TrimSuffix(text, "$") {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '_'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '-' || r == '.' || r == '@')) {
			return false
		}
	}
	return text != "" && text != "$" && len(text) <= 256
}
