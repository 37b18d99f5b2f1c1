package policy

import (
	"cmp"
	"slices"
	"strings"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// Mapping is the keys that one kind of mapping takes in a policy.
type Mapping struct {
	Name   string // "policy", "defaults", "base", "set", "in", "out", "forward", "test"
	Fields []Field
}

// Field is one key of a Mapping.
type Field struct {
	Name  string
	Built bool // otherwise the key belongs to the language and is refused as not built yet
}

// Mappings is every mapping whose keys the language fixes: "in", "out" and "forward" are the rules of that list,
// "set" is a set that is no plain list, and "test" is an entry of `tests`, whatever its direction.
func Mappings() []Mapping {
	const match = "allow deny reject from to sport mark"
	const action = "limit connections log id note expires enabled ignore ~schedule ~helper ~mss"
	return []Mapping{
		mapping("policy", "version include defaults base established failsafe interfaces sets services block in out forward tests ~nat"),
		mapping("defaults", "in out forward"),
		mapping("base", strings.Join(baseKeys(), " ")),
		mapping("set", "file dynamic timeout max add ~feed ~dns ~every"),
		mapping("in", match+" iface mac "+action+" ~dnat"),
		mapping("out", match+" iface user group "+action+" ~unit"),
		mapping("forward", match+" iif oif mac "+action),
		mapping("test", "in out forward from to sport iface iif oif mac mark user group expect by given at ~unit"),
	}
}

// mapping makes a Mapping of a list of keys, those that are not built marked with a tilde.
func mapping(name, keys string) Mapping {
	m := Mapping{Name: name}
	for _, key := range strings.Fields(keys) {
		key, unbuilt := strings.CutPrefix(key, "~")
		m.Fields = append(m.Fields, Field{Name: key, Built: !unbuilt})
	}
	return m
}

// baseKeys is the keys of `base`, in the order of judging.
func baseKeys() []string {
	return []string{ByLoopback, ByEstablished, ByNeighbour, ByMulticast, ByICMPErrors, ByDHCPClient, ByInvalid, ByReversePath}
}

// mappingOf finds a mapping by its name.
func mappingOf(name string) Mapping {
	all := Mappings()
	return all[slices.IndexFunc(all, func(m Mapping) bool { return m.Name == name })]
}

// names is the keys of m.
func (m Mapping) names() []string {
	names := make([]string, len(m.Fields))
	for i, f := range m.Fields {
		names[i] = f.Name
	}
	return names
}

// fields hands the pairs of a mapping to f, key by key, but reports keys that the mapping does not have, that are not
// built yet, or that have no value.
func (l *loader) fields(n *syntax.Node, kind string, f func(key, value *syntax.Node)) {
	if n.Kind != syntax.Map {
		d := l.errorf(n.At, "not-a-mapping", "`%s` is a mapping, got %s", kind, describe(n))
		switch kind {
		case "defaults":
			d.WithHint("write for example `defaults: {in: deny}`")
		case "base":
			d.WithHint("write for example `base: {reverse-path: true}`")
		}
		return
	}
	m, ok := l.mappings[kind]
	if !ok {
		m = mappingOf(kind)
		l.mappings[kind] = m
	}
	for _, pair := range n.Pairs {
		i := slices.IndexFunc(m.Fields, func(f Field) bool { return f.Name == pair.Key.Text })
		switch {
		case i < 0:
			l.unknownKey(pair, m)
		case !m.Fields[i].Built:
			l.errorf(pair.Key.At, "not-built", "`%s` is not built yet", pair.Key.Text)
		case pair.Value.Kind == syntax.Null:
			l.noValue(pair.Key)
		default:
			f(pair.Key, pair.Value)
		}
	}
}

// noValue reports a key without a value.
func (l *loader) noValue(key *syntax.Node) {
	l.errorf(key.At, "no-value", "`%s` has no value", printable(key.Text)).
		WithHint("write one, or leave the key out")
}

// unknownKey reports a key that a mapping does not have, and what its writer may have meant.
func (l *loader) unknownKey(pair syntax.Pair, m Mapping) {
	key := pair.Key
	d := l.errorf(key.At, "unknown-key", "unknown key `%s`", printable(key.Text))
	if after, ok := strings.CutPrefix(key.Text, "not "); ok && slices.Contains(m.names(), after) {
		d.WithHint("`not` stands before a value: `%s: not X`", after)
		return
	}
	if before, _, ok := strings.Cut(key.Text, ":"); ok && slices.Contains(m.names(), before) {
		d.WithHint("write a blank after the colon: `%s: ...`", before)
		return
	}
	if hint := otherList(key.Text, m.Name); hint != "" {
		d.Message = "`" + key.Text + "` has no place here"
		d.WithHint("%s", hint)
		return
	}
	if hint := cmp.Or(unbuiltKey(key.Text, m.Name), foreignKey(key.Text, m.Name)); hint != "" {
		d.WithHint("%s", hint)
		return
	}
	if l.suggest(d, key.Text, m.names); d.Hint == "" && pair.Value.Kind == syntax.Null {
		d.WithHint("several values are a list: `KEY: [A, B]`")
	}
}

// unknownSince tells whether an unknown key or one without a value was found since first.
func (l *loader) unknownSince(first int) bool {
	return slices.ContainsFunc(l.diags[first:], func(d diag.Diagnostic) bool { return d.Code == "unknown-key" || d.Code == "no-value" })
}

// otherList is the hint for a key of one list's rules in another's.
func otherList(key, list string) string {
	switch list {
	case "in", "out":
		switch {
		case key == "iif" || key == "oif":
			return "`iif` and `oif` are for `forward`; write `iface`"
		case list == "in" && (key == "user" || key == "group" || key == "unit"):
			return "`" + key + "` matches only what sockets of this host send: it is for `out`"
		case list == "out" && key == "mac":
			return "what this host sends has no sender's Ethernet address yet: `mac` is for `in` and `forward`"
		case list == "out" && key == "dnat":
			return "`dnat` is for `in`"
		}
	case "forward":
		switch key {
		case "iface":
			return "write `iif` for the interface that it came by, or `oif` for the one that it leaves by"
		case "user", "group", "unit":
			return "no socket of this host sends what passes through: `" + key + "` is for `out`"
		case "dnat":
			return "`dnat` is for `in`"
		}
	}
	return ""
}

// unbuiltKey is the hint for a key that may stand for what the language has under another name or in another place and is
// not built yet, or for what it does without.
func unbuiltKey(key, list string) string {
	if list != "policy" && !slices.Contains([]string{"in", "out", "forward"}, list) {
		return ""
	}
	switch strings.ToLower(key) {
	case "feed", "feeds":
		return "address feeds are not built yet; a set can read a file: `sets: {NAME: {file: PATH}}`"
	case "dns":
		return "sets of names in the DNS are not built yet; a set can read a file: `sets: {NAME: {file: PATH}}`"
	case "schedule", "schedules", "time", "times", "hours", "days", "weekdays":
		return "schedules are not built yet; `expires` is the day on which a rule ends"
	case "nat", "snat", "dnat", "masquerade", "redirect", "port-forward":
		return "NAT is not built yet; another table can do it beside Ringwall"
	case "zone", "zones":
		return "there are no zones: groups of interfaces stand in `interfaces`, sets of addresses in `sets`"
	}
	return ""
}

// foreignKey is the hint for a key that other firewalls have.
func foreignKey(key, list string) string {
	switch list {
	case "in", "out", "forward", "test":
		switch strings.ToLower(key) {
		case "port", "ports", "dport", "proto", "protocol", "service", "services":
			if list == "test" {
				return "protocol and port stand with the direction: `in: tcp/22`"
			}
			return "protocol and port stand with the verdict: `allow: tcp/22`"
		case "source", "src", "saddr", "source-address":
			return "write `from`"
		case "destination", "dest", "dst", "daddr":
			return "write `to`"
		case "source-port", "sports", "src-port":
			return "write `sport`"
		case "drop", "block":
			return "write `deny`"
		case "accept", "permit", "pass":
			return "write `allow`"
		case "action", "verdict":
			return "write the verdict as the key: `allow: tcp/22`"
		case "in", "iifname":
			return "write `" + map[bool]string{true: "iif", false: "iface"}[list == "forward"] + "`"
		case "out", "oifname":
			return "write `" + map[bool]string{true: "oif", false: "iface"}[list == "forward"] + "`"
		case "interface", "in-interface", "dev", "device":
			return "write `iface` in `in` and `out`, `iif` or `oif` in `forward`"
		case "comment", "description":
			return "write `note`"
		case "name", "id", "rule":
			if list == "test" {
				return "write `by` for the id of the rule that decides"
			}
			return "write `id`"
		case "uid":
			return "write `user`"
		case "gid":
			return "write `group`"
		case "disabled":
			return "write `enabled: false`"
		case "rate", "ratelimit", "rate-limit":
			return "write `limit: 10/minute`"
		case "state", "ctstate", "stateful":
			return "rules judge what opens a connection; what belongs to one is admitted by `base`"
		case "result", "verdicts":
			return "write `expect`"
		}
	case "base":
		switch strings.ToLower(key) {
		case "ping", "icmp":
			return "ping is not in the base: write a rule, `allow: icmp/echo-request`"
		case "lo":
			return "write `loopback`"
		case "related":
			return "write `established`"
		case "ndp", "nd":
			return "write `neighbour`"
		case "mld", "igmp":
			return "write `multicast`"
		case "dhcp", "dhcpv6":
			return "write `dhcp-client`"
		case "rpfilter", "rp-filter", "rp_filter":
			return "write `reverse-path`"
		}
	case "policy":
		switch strings.ToLower(key) {
		case "input", "ingress", "inbound":
			return "write `in`"
		case "output", "egress", "outbound":
			return "write `out`"
		case "rules":
			return "rules stand in `in`, `out` and `forward`"
		case "default", "policy":
			return "write `defaults`"
		case "blocklist", "blacklist", "deny":
			return "write `block`"
		case "groups", "aliases", "lists":
			return "sets of addresses stand in `sets`, interfaces in `interfaces`"
		}
	}
	return ""
}
