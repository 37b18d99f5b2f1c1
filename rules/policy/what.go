package policy

import (
	"cmp"
	"fmt"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// what is a WHAT as it was read.
type what struct {
	What
	any     bool     // one of its items is `any`
	items   []string // as written
	builtin []string // the same in words of the language alone: services of the policy spelled out
}

// whats is items while they are put together.
type whats struct {
	v4, v6 []addrset.Range[addrset.U32]
	any    bool
	words  []string
	seen   map[string]bool
}

// add takes an item up.
func (w *whats) add(item what) {
	w.v4, w.v6 = append(w.v4, item.V4.Ranges()...), append(w.v6, item.V6.Ranges()...)
	w.any = w.any || item.any
	for _, b := range item.builtin {
		if !w.seen[b] {
			if w.seen == nil {
				w.seen = map[string]bool{}
			}
			w.seen[b] = true
			w.words = append(w.words, b)
		}
	}
}

// sum is all of them.
func (w *whats) sum() what {
	return what{What: What{addrset.Of(w.v4...), addrset.Of(w.v6...)}, any: w.any, builtin: w.words}
}

// what reads the WHAT of a verdict, a test, a service or a failsafe entry.
func (l *loader) what(n *syntax.Node) (w what, ok bool) {
	proto := "" // of the item before, for `[tcp/80, 443]`
	ok = true
	vs := l.values(n)
	var sum whats
	items := make([]string, 0, len(vs))
	for _, v := range vs {
		if v.not {
			l.errorf(v.at, "bad-not", "`not` has no place in what a rule judges").
				WithHint("write a rule before this one that decides about %s", printable(v.text))
			ok = false
			continue
		}
		item, good := l.whatItem(v, proto)
		if !good {
			ok = false
			continue
		}
		items = append(items, v.text)
		proto, _, _ = strings.Cut(v.text, "/")
		if len(vs) == 1 {
			w = item
			break
		}
		if !l.spend(item.weight(), v.at) {
			return what{}, false
		}
		sum.add(item)
	}
	if len(vs) > 1 {
		w = sum.sum()
	}
	w.items = items
	return w, ok && len(vs) > 0
}

// whatItem reads one item.
func (l *loader) whatItem(v value, before string) (what, bool) {
	text := v.text
	if text == "any" {
		return what{What: AnyWhat(), any: true, builtin: []string{"any"}}, true
	}
	if d, ok := l.services[text]; ok {
		d.used = true
		l.resolveService(d)
		if d.service == nil {
			return what{}, false
		}
		return d.what, true
	}
	if s, ok := builtinService(text); ok {
		return what{What: s.what(), builtin: []string{text}}, true
	}
	is, c := protoItem(text)
	if c == nil {
		return what{What: is, builtin: []string{text}}, true
	}
	if c.code != "unknown-service" {
		if c.code == "bad-what" && isPorts(text) && before != "" && HasPorts(protoNumber(before)) {
			c.hint = "write `" + before + "/" + text + "`"
		}
		c.report(l.errorf, v.at)
		return what{}, false
	}
	d := l.errorf(v.at, c.code, "%s", c.message)
	d.Hint = c.hint
	if _, set := l.sets[text]; set || isBuiltinSet(text) {
		d.WithHint("it is a set of addresses: `from: %s`", text)
	}
	if d.Hint == "" {
		l.suggest(d, text, l.whatWords)
	}
	return what{}, false
}

// whatWords is every word that WHAT may be.
func (l *loader) whatWords() []string {
	words := []string{"any"}
	for _, s := range serviceTable {
		words = append(words, s.name)
	}
	for _, p := range protocolTable {
		words = append(words, p.name)
	}
	for _, d := range l.serviceOrder {
		words = append(words, d.key.Text)
	}
	return words
}

// protoItem reads an item that is no service: protocols, with ports or types.
func protoItem(text string) (What, *complaint) {
	left, right, detailed := strings.Cut(text, "/")
	switch {
	case isLiteral(text):
		return What{}, complain("bad-what", "addresses stand in `from` and `to`", "%s is an address", quote(text))
	case !detailed && isDigits(text):
		return What{}, complain("bad-what", "write `tcp/"+text+"` or `udp/"+text+"`", "%s has no protocol", text)
	case !detailed && isPorts(text) && isDigits(strings.Replace(text, "-", "", 1)):
		if _, _, c := portRange(text, "tcp"); c != nil {
			return What{}, c
		}
		return What{}, complain("bad-what", "write `tcp/"+text+"` or `udp/"+text+"`", "the range %s has no protocol", text)
	case strings.Contains(text, ",") || strings.Contains(text, " "):
		return What{}, complain("bad-what", listHint(text), "%s is not one value", quote(text))
	case isDigits(left) && detailed && protoNumber(right) != 0:
		return What{}, complain("bad-what", "write `"+right+"/"+left+"`", "%s is the wrong way round", quote(text))
	case detailed && left == "proto":
		return protoByNumber(right)
	case detailed && left == "icmp":
		return icmpItem(right)
	case detailed && left == "icmpv6":
		return icmpv6Item(right)
	}
	var w What
	for name := range strings.SplitSeq(left, "+") {
		p := protocolNamed(name)
		switch {
		case p == nil:
			return What{}, unknownProtocol(text, name, detailed)
		case !detailed:
			w = w.Union(p.what())
			continue
		case !HasPorts(p.number):
			return What{}, complain("bad-what", "write `"+name+"`", "%s has no ports", name)
		}
		lo, hi, c := portRange(right, name)
		if c != nil {
			return What{}, c
		}
		s := addrset.Between(Key(p.number, lo), Key(p.number, hi))
		w = w.Union(What{s, s})
	}
	return w, nil
}

// isLiteral tells whether a text is an address or prefix and could not be a number or port.
func isLiteral(text string) bool {
	if strings.Count(text, ".") != 3 && !strings.Contains(text, ":") {
		return false
	}
	_, c := literalItem(text)
	return c == nil
}

// listHint shows how several values in one are written as a list, the protocol of the first before all.
func listHint(text string) string {
	items := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '+' })
	proto, _, detailed := strings.Cut(items[0], "/")
	if len(items) == 2 && isPorts(items[1]) && !strings.Contains(text, ",") && HasPorts(protoNumber(proto)) &&
		(!detailed || strings.HasSuffix(items[0], "/")) {
		return "write `" + proto + "/" + items[1] + "`"
	}
	for i, item := range items {
		if detailed && i > 0 && isPorts(item) {
			items[i] = proto + "/" + item
		}
	}
	return asList(items)
}

// isPorts tells whether a text is made like a port or a range of ports.
func isPorts(text string) bool { return text != "" && strings.Trim(text, "0123456789-") == "" }

// unknownProtocol is the complaint about a word that is neither service nor protocol.
func unknownProtocol(text, name string, detailed bool) *complaint {
	lower := strings.ToLower(text)
	if lower != text {
		_, known := builtinService(lower)
		if _, c := protoItem(lower); known || c == nil {
			return complain("unknown-service", "write `"+lower+"`", "unknown service %s", quote(text))
		}
	}
	hint := ""
	switch name {
	case "all", "*", "ip":
		hint = "write `any`"
	case "ping":
		hint = "write `icmp/echo-request`"
	case "ipv4":
		hint = "write `any`, and one family with `from: 0.0.0.0/0`"
	case "proto":
		hint = "write it with a number: `proto/112`"
	case "icmp6", "ipv6-icmp", "icmp-v6":
		hint = "write `icmpv6" + strings.TrimPrefix(text, name) + "`"
	}
	if !detailed {
		return complain("unknown-service", hint, "unknown service %s", quote(text))
	}
	c := complain("unknown-protocol", hint, "unknown protocol %s", quote(name))
	if s, ok := builtinService(name); ok {
		c.hint = "write `" + name + "` alone, which is " + s.text
	}
	if c.hint != "" {
		return c
	}
	var names []string
	for _, p := range protocolTable {
		names = append(names, p.name)
	}
	if best := nearest(name, names); best != "" {
		c.hint = fmt.Sprintf("did you mean %q?", best)
	}
	return c
}

// portRange reads one port or a range a-b.
func portRange(text, proto string) (lo, hi uint16, c *complaint) {
	from, to, ranged := strings.Cut(text, "-")
	if before, after, ok := strings.Cut(text, ":"); ok && isDigits(before) && isDigits(after) {
		return 0, 0, complain("bad-port", "write `"+proto+"/"+before+"-"+after+"`", "%s is no port", quote(text))
	}
	if text == "*" || text == "any" || text == "" {
		return 0, 0, complain("bad-port", "write `"+proto+"` alone for every port", "%s is no port", quote(text))
	}
	if strings.Contains(text, "+") {
		return 0, 0, complain("bad-port", listHint(proto+"/"+text), "%s is no port", quote(text))
	}
	if ranged && from+to != "" && isDigits(from+to) && (from == "" || to == "") {
		from, to = cmp.Or(from, "1"), cmp.Or(to, "65535")
		return 0, 0, complain("bad-port", "write `"+proto+"/"+from+"-"+to+"`", "the range %s has one end", quote(text))
	}
	if lo, c = port(from, proto); c != nil {
		return 0, 0, c
	}
	if !ranged {
		return lo, lo, nil
	}
	if hi, c = port(to, proto); c != nil {
		return 0, 0, c
	}
	if hi < lo {
		return 0, 0, complain("reversed-range", "write `"+proto+"/"+to+"-"+from+"`", "the range %s is reversed", text)
	}
	return lo, hi, nil
}

// port reads one port.
func port(text, proto string) (uint16, *complaint) {
	n, wrong := number(text, 1<<16-1)
	switch {
	case isDigits(text) && wrong != "" && text[0] != '0', text == "0":
		return 0, complain("bad-port", "", "there is no port %s: ports are 1 to 65535", printable(text))
	case wrong != "" && isName(text):
		c := complain("bad-port", "", "%s is no port", quote(text))
		if s, ok := builtinService(text); ok {
			c.hint = "write `" + text + "`, which is " + s.text
		}
		return 0, c
	case wrong != "":
		return 0, complain("bad-port", "a port is a number from 1 to 65535", "%s", wrong)
	}
	return uint16(n), nil
}

// PortWhat is the packets of all protocols that have ports.
func PortWhat() What {
	var s addrset.Set[addrset.U32]
	for proto := range 256 {
		if HasPorts(uint8(proto)) {
			s = s.Union(wholeProto(uint8(proto)))
		}
	}
	return What{s, s}
}

// wholeProto is all keys of a protocol; of 255 those above too, which never occur.
func wholeProto(proto uint8) addrset.Set[addrset.U32] {
	if proto == 255 {
		return addrset.Between(Key(255, 0), ^addrset.U32(0))
	}
	return addrset.Between(Key(proto, 0), Key(proto, 1<<16-1))
}

// sport reads source ports.
func (l *loader) sport(vs []value) addrset.Set[addrset.U16] {
	all := addrset.Between[addrset.U16](0, 1<<16-1)
	var yes, no []addrset.Range[addrset.U16]
	positive := false
	for _, v := range vs {
		positive = positive || !v.not
		if v.text == "any" && !v.not {
			yes = append(yes, all.Ranges()...)
			continue
		}
		lo, hi, c := portRange(v.text, "")
		if c != nil {
			c.hint = strings.Replace(c.hint, "`/", "`", 1)
			if strings.Contains(v.text, "/") {
				c.hint = "write the number alone: the protocol stands with the verdict"
			} else if strings.ContainsAny(v.text, ",+") {
				c.hint = asList(strings.FieldsFunc(v.text, func(r rune) bool { return r == ',' || r == '+' }))
			}
			c.report(l.errorf, v.at)
			continue
		}
		half := &yes
		if v.not {
			half = &no
		}
		*half = append(*half, addrset.Range[addrset.U16]{Lo: addrset.U16(lo), Hi: addrset.U16(hi)})
	}
	if !positive {
		yes = all.Ranges()
	}
	return addrset.Of(yes...).Minus(addrset.Of(no...))
}

// checkSport demands that a WHAT beside source ports holds protocols with ports alone.
func (l *loader) checkSport(w what, at diag.Span) {
	ports := PortWhat()
	if !ports.V4.Covers(w.V4) || !ports.V6.Covers(w.V6) {
		l.errorf(at, "bad-sport", "`sport` needs protocols with ports, and %s holds others", printable(listText(w.items))).
			WithHint("write for example `tcp+udp`")
	}
}
