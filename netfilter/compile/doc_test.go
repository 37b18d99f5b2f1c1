package compile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// doc is a policy's text as a tree, which can be made at random, cut down and printed.
type doc struct {
	text  string // of a scalar
	items []*doc // of a list
	keys  []string
	kind  docKind
}

type docKind uint8

const (
	docText docKind = iota
	docList
	docMap // items are the values of keys
)

func scalar(format string, args ...any) *doc { return &doc{text: fmt.Sprintf(format, args...)} }

func listOf(items ...*doc) *doc { return &doc{kind: docList, items: items} }

func mapping() *doc { return &doc{kind: docMap} }

func (d *doc) set(key string, v *doc) { d.keys, d.items = append(d.keys, key), append(d.items, v) }

func (d *doc) get(key string) *doc {
	if i := slices.Index(d.keys, key); i >= 0 {
		return d.items[i]
	}
	return nil
}

func (d *doc) clone() *doc {
	c := *d
	c.keys, c.items = slices.Clone(d.keys), nil
	for _, i := range d.items {
		c.items = append(c.items, i.clone())
	}
	return &c
}

// size is how many nodes it has.
func (d *doc) size() int {
	n := 1
	for _, i := range d.items {
		n += i.size()
	}
	return n
}

// String is the text: a key a line, a rule a line.
func (d *doc) String() string {
	var b strings.Builder
	for i, key := range d.keys {
		v := d.items[i]
		if v.kind == docList && (key == "in" || key == "out" || key == "forward") {
			fmt.Fprintf(&b, "%s:\n", key)
			for _, item := range v.items {
				fmt.Fprintf(&b, "  - %s\n", item.flow())
			}
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", key, v.flow())
	}
	return b.String()
}

func (d *doc) flow() string {
	var parts []string
	switch d.kind {
	case docText:
		if strings.ContainsAny(d.text, ":*\"#,[]{}&!") {
			return `"` + d.text + `"`
		}
		return d.text
	case docList:
		for _, i := range d.items {
			parts = append(parts, i.flow())
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	for i, key := range d.keys {
		parts = append(parts, key+": "+d.items[i].flow())
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// writer writes policies at random, of the shapes that people write: prefixes within prefixes, ranges across their ends, sets of
// sets, exceptions, services and lists of them, interface groups, and rules that overlap because their values come from one place.
type writer struct {
	generator
	v4, v6    []string // addresses, prefixes and ranges to choose from
	ifaces    []string
	groups    []string
	sets      []string
	dynamic   []string
	lots      bool // policies are long
	unlimited bool // rules have no limits
}

// newWriter draws the values of one policy.
func newWriter(rng *rand.Rand) *writer {
	w := &writer{generator: generator{rng}, ifaces: []string{"eth0", "eth1", "br-lan", "wan"}}
	for range 2 + w.IntN(4) {
		// A network, some of its networks, and some hosts of these.
		base, bits := uint32(10)<<24|uint32(w.IntN(4))<<16, 16
		six := fmt.Sprintf("2001:db8:%x", w.IntN(4))
		w.v4 = append(w.v4, fmt.Sprintf("%s/%d", dotted(base), bits))
		w.v6 = append(w.v6, six+"::/48")
		for range 1 + w.IntN(4) {
			bits := 17 + w.IntN(15)
			net := base | w.Uint32()&0xffff&(^uint32(0)<<(32-bits))
			w.v4 = append(w.v4, fmt.Sprintf("%s/%d", dotted(net), bits), dotted(net|uint32(w.IntN(4))))
			lo := net | uint32(w.IntN(4))
			w.v4 = append(w.v4, fmt.Sprintf("%s-%s", dotted(lo), dotted(lo+uint32(1+w.IntN(300)))))
			sub := w.IntN(4)
			w.v6 = append(w.v6, fmt.Sprintf("%s:%x::/64", six, sub), fmt.Sprintf("%s:%x::%x", six, sub, w.IntN(4)),
				fmt.Sprintf("%s:%x::%x-%s:%x::%x", six, sub, w.IntN(9), six, sub, 16+w.IntN(99)))
		}
	}
	return w
}

func dotted(n uint32) string { return fmt.Sprintf("%d.%d.%d.%d", n>>24, n>>16&255, n>>8&255, n&255) }

// policy writes a whole policy.
func (w *writer) policy() *doc {
	d := mapping()
	d.set("version", scalar("1"))
	verdict := func() *doc { return scalar("%s", one(w.generator, "allow", "deny", "reject")) }
	transit := !w.chance(3)
	defaults := mapping()
	for _, key := range []string{"in", "out"} {
		if w.chance(2) {
			defaults.set(key, verdict())
		}
	}
	if transit {
		defaults.set("forward", verdict())
	}
	if len(defaults.keys) > 0 {
		d.set("defaults", defaults)
	}
	base := mapping()
	for _, key := range []string{"loopback", "established", "neighbour", "multicast", "icmp-errors", "dhcp-client", "invalid"} {
		if w.chance(6) {
			base.set(key, scalar("false"))
		}
	}
	if w.chance(5) {
		base.set("reverse-path", scalar("true"))
	}
	if len(base.keys) > 0 {
		d.set("base", base)
	}
	if w.chance(2) {
		groups := mapping()
		for i := range 1 + w.IntN(2) {
			name := fmt.Sprintf("group%d", i)
			groups.set(name, w.someOf(func() *doc { return w.iface(false) }, 2, 0))
			w.groups = append(w.groups, name)
		}
		d.set("interfaces", groups)
	}
	sets := mapping()
	for i := range w.IntN(5) {
		name := fmt.Sprintf("set%d", i)
		if w.chance(4) {
			s := mapping()
			s.set("dynamic", scalar("true"))
			if w.chance(2) {
				s.set("timeout", scalar("1h"))
			}
			sets.set(name, s)
			w.dynamic = append(w.dynamic, name)
		} else {
			sets.set(name, w.addresses(1+w.IntN(6)))
		}
		w.sets = append(w.sets, name) // later sets may hold it
	}
	if len(sets.keys) > 0 {
		d.set("sets", sets)
	}
	if w.chance(3) {
		services := mapping()
		services.set("app", w.someOf(w.port, 3, 0))
		d.set("services", services)
	}
	if w.chance(2) {
		failsafe := mapping()
		failsafe.set(one(w.generator, "ssh", "tcp/8443", "tcp+udp/22-24", "icmp/echo-request"), w.addresses(1+w.IntN(2)))
		d.set("failsafe", failsafe)
	}
	if w.chance(2) {
		d.set("block", w.addresses(1+w.IntN(3)))
	}
	most := 7
	if w.lots {
		most = 60
	}
	for _, dir := range []string{"in", "out", "forward"} {
		if dir == "forward" && !transit {
			continue
		}
		rules := listOf()
		for range w.IntN(most) {
			rules.items = append(rules.items, w.rule(dir, d.get("services") != nil))
		}
		if len(rules.items) > 0 {
			d.set(dir, rules)
		}
	}
	return d
}

// someOf is one to most values, one without a list, each but the first with an exception now and then.
func (w *writer) someOf(draw func() *doc, most, exceptions int) *doc {
	n := 1 + w.IntN(most)
	var list []*doc
	for i := range n {
		v := draw()
		if exceptions > 0 && v.kind == docText && v.text != "any" && (i > 0 && w.chance(exceptions) || w.chance(4*exceptions)) {
			v = scalar("not %s", v.text)
		}
		list = append(list, v)
	}
	if n == 1 && w.chance(2) {
		return list[0]
	}
	return listOf(list...)
}

// addresses is a list of addresses, prefixes, ranges and sets.
func (w *writer) addresses(most int) *doc {
	return w.someOf(func() *doc {
		switch n := w.IntN(12); {
		case n < 3 && len(w.sets) > 0:
			return scalar("%s", one(w.generator, w.sets...))
		case n == 3:
			return scalar("%s", one(w.generator, "private", "link-local", "multicast", "loopback", "0.0.0.0/0", "::/0"))
		case n < 8:
			return scalar("%s", one(w.generator, w.v4...))
		}
		return scalar("%s", one(w.generator, w.v6...))
	}, most, 5)
}

// port is a WHAT of a protocol with ports.
func (w *writer) port() *doc {
	proto := one(w.generator, "tcp", "tcp", "udp", "tcp+udp", "sctp")
	switch lo := 20 + w.IntN(8); w.IntN(5) {
	case 0:
		return scalar("%s", one(w.generator, "ssh", "http", "https", "dns", "ntp", "tcp", "udp", "smtp"))
	case 1:
		return scalar("%s/%d-%d", proto, lo, lo+1+w.IntN(20))
	case 2:
		return scalar("%s/%d", proto, one(w.generator, 1, 53, 80, 443, 8080, 65535))
	default:
		return scalar("%s/%d", proto, lo)
	}
}

// what is a WHAT.
func (w *writer) what(services bool) *doc {
	if w.chance(6) {
		return scalar("any")
	}
	return w.someOf(func() *doc {
		switch n := w.IntN(10); {
		case n == 0:
			return scalar("%s", one(w.generator, "icmp", "icmp/echo-request", "icmp/3/6", "icmp/3", "icmp/8", "icmpv6/128", "icmpv6/135", "icmp/5/1", "icmp/redirect"))
		case n == 1:
			return scalar("%s", one(w.generator, "gre", "esp", "proto/112", "proto/255", "igmp"))
		case n == 2 && services:
			return scalar("app")
		}
		return w.port()
	}, 3, 0)
}

func (w *writer) iface(groups bool) *doc {
	if groups && len(w.groups) > 0 && w.chance(2) {
		return scalar("%s", one(w.generator, w.groups...))
	}
	return scalar("%s", one(w.generator, append(w.ifaces, "eth*", "e*", "br-*", "br-l*", "tun7")...))
}

// rule writes one rule of a list.
func (w *writer) rule(dir string, services bool) *doc {
	r := mapping()
	verdict := one(w.generator, "allow", "allow", "allow", "deny", "reject")
	what := w.what(services)
	sport := w.chance(8)
	if sport {
		what = w.someOf(w.port, 2, 0)
	}
	r.set(verdict, what)
	if !w.chance(3) {
		r.set("from", w.addresses(3))
	}
	if w.chance(3) {
		r.set("to", w.addresses(3))
	}
	if sport {
		r.set("sport", w.someOf(func() *doc {
			return scalar("%s", one(w.generator, "53", "1024-65535", "40000", "1-1023", "67"))
		}, 2, 3))
	}
	interfaces := map[string][]string{"in": {"iface"}, "out": {"iface"}, "forward": {"iif", "oif"}}[dir]
	for _, key := range interfaces {
		if w.chance(4) {
			r.set(key, w.someOf(func() *doc { return w.iface(true) }, 2, 3))
		}
	}
	if dir != "out" && w.chance(10) {
		r.set("mac", w.someOf(func() *doc { return scalar("02:00:00:00:00:0%d", 1+w.IntN(3)) }, 2, 3))
	}
	if w.chance(8) {
		r.set("mark", w.someOf(func() *doc { return scalar("%s", one(w.generator, "1", "2", "0x10/0xf0", "0x80000000/0xc0000000")) }, 2, 3))
	}
	if dir == "out" {
		for _, key := range []string{"user", "group"} {
			if w.chance(6) {
				r.set(key, w.someOf(func() *doc { return scalar("%d", one(w.generator, 0, 1, 1000)) }, 2, 3))
			}
		}
	}
	if verdict != "deny" && w.chance(8) && !w.unlimited {
		r.set("limit", scalar("%s", one(w.generator, "1000/second", "60000/minute per source", "500/second burst 5000")))
	}
	if verdict == "allow" && w.chance(12) && !w.unlimited {
		r.set("connections", scalar("%s", one(w.generator, "60000", "5000 per source")))
	}
	if w.chance(8) {
		r.set("log", scalar("true"))
	}
	if w.chance(10) {
		r.set("expires", scalar("%s", one(w.generator, "2020-01-01", "2100-01-01")))
	}
	if w.chance(20) {
		r.set("enabled", scalar("false"))
	}
	return r
}
