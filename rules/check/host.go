package check

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
)

// Host is what LintHost has to know of the host that a policy is for.
type Host struct {
	Interfaces []string       // the names of those present
	Bridges    []string       // those of them that containers or virtual machines are behind
	Networks   []netip.Prefix // its addresses, with the lengths of their networks
	Gateways   []netip.Addr
	Resolvers  []netip.Addr // that it asks for names
}

// LintHost finds what a valid policy probably should not have on a host. All findings are warnings, with the codes of
// package policy.
func LintHost(p *policy.Policy, h *Host) diag.List {
	l := &hostLinter{linter{Policy: p}, h}
	l.blocked()
	l.misspelt()
	l.guests()
	l.diags.Sort()
	return l.diags
}

// hostLinter is one LintHost under way.
type hostLinter struct {
	linter
	host *Host
}

// blocked reports a block list that cuts the host off from its own networks, or from what it can't do without.
func (l *hostLinter) blocked() {
	block := l.Block.Static()
	common := addrset.Addrs{} // said of the policy wherever it is
	for _, s := range policy.BuiltinSets() {
		if s.Name == "loopback" || s.Name == "link-local" {
			common = common.Union(s.Addrs.Static())
		}
	}
	block = block.Minus(common)
	report := func(what string, held []string) {
		if held = slices.Compact(slices.Sorted(slices.Values(held))); len(held) > 0 {
			const most = 3
			if len(held) > most {
				held = append(held[:most], fmt.Sprintf("%d more", len(held)-most))
			}
			l.diags.Warnf(l.BlockAt, policy.LintBlocksOwn, "`block` holds %s, %s", strings.Join(held, " and "), what).
				WithHint("subtract what this host needs: `block: […, not NAME]`")
		}
	}
	var networks []string
	for _, n := range l.host.Networks {
		if block.Overlaps(addrset.OfPrefix(n)) {
			networks = append(networks, n.Masked().String())
		}
	}
	report("of which this host is a part", networks)
	held := func(ips []netip.Addr) (out []string) {
		for _, ip := range ips {
			if block.Contains(ip.WithZone("")) {
				out = append(out, ip.WithZone("").String())
			}
		}
		return out
	}
	report("this host's gateway", held(l.host.Gateways))
	report("which this host asks for names", held(l.host.Resolvers))
}

// misspelt reports interfaces that the host does not have, but nearly.
func (l *hostLinter) misspelt() {
	for _, name := range slices.Sorted(maps.Keys(l.Interfaces)) {
		g := l.Interfaces[name]
		for _, p := range g.Patterns {
			if near := l.nearly(p); near != "" {
				l.diags.Warnf(g.At, policy.LintNearMiss, "group %q names the interface %q, and this host has %q", name, p, near)
			}
		}
	}
	for _, dir := range policy.Dirs {
		for _, r := range l.Lists[dir] {
			var seen []policy.Pattern
			for _, c := range []policy.Choice[policy.Pattern]{r.Match.IIf, r.Match.OIf} {
				for _, p := range slices.Concat(c.Yes, c.No) {
					if near := l.nearly(p); near != "" && !l.grouped(p) && !slices.Contains(seen, p) {
						seen = append(seen, p)
						l.warn(r, policy.LintNearMiss, "rule %q names the interface %q, and this host has %q", r.ID, p, near)
					}
				}
			}
		}
	}
}

// grouped tells whether a group holds a pattern, so that what is wrong with it was said there.
func (l *hostLinter) grouped(p policy.Pattern) bool {
	for _, g := range l.Interfaces {
		if slices.Contains(g.Patterns, p) {
			return true
		}
	}
	return false
}

// nearly is the interface that a name is one slip away from, empty where the host has the very interface, or nothing
// like it. Names that differ in a number are of other interfaces, and very short ones can't be told apart.
func (l *hostLinter) nearly(p policy.Pattern) string {
	const least = 3
	name := string(p)
	if strings.HasSuffix(name, "*") || len(name) < least || slices.Contains(l.host.Interfaces, name) {
		return ""
	}
	letters := func(s string) string { return strings.Trim(s, "0123456789") }
	for _, has := range l.host.Interfaces {
		if letters(has) != letters(name) && slip(has, name) {
			return has
		}
	}
	return ""
}

// slip tells whether one letter too many, too few, wrong or in the place of its neighbour makes one word of the other.
func slip(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	switch {
	case len(a) > len(b)+1:
		return false
	case len(a) > len(b):
		return a[i+1:] == b[i:]
	case i == len(a):
		return false
	}
	return a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// guests reports bridges whose containers or virtual machines can't even ask the host for names or addresses, where no
// rule says that this is meant.
func (l *hostLinter) guests() {
	if l.Defaults[policy.In] == policy.Allow {
		return
	}
	var deaf []string
	for _, bridge := range slices.Sorted(slices.Values(l.host.Bridges)) {
		if !slices.ContainsFunc(l.Lists[policy.In], func(r *policy.Rule) bool { return l.considers(r, bridge) }) {
			deaf = append(deaf, bridge)
		}
	}
	if len(deaf) == 0 {
		return
	}
	at := diag.Span{Pos: diag.Pos{File: l.Entry, Line: 1, Col: 1}, Len: 1}
	l.diags.Warnf(at, policy.LintGuests, "what guests on %s ask of this host, such as DNS and DHCP, no rule admits", strings.Join(deaf, ", ")).
		WithHint("write for example `{allow: [dns, udp/67], iface: %s}`, or a rule that names the interface and refuses", deaf[0])
}

// considers tells whether a rule names a bridge, or admits DNS or DHCP from it.
func (l *hostLinter) considers(r *policy.Rule, bridge string) bool {
	takes := func(p policy.Pattern) bool { return p.Matches(bridge) }
	if slices.ContainsFunc(r.Match.IIf.Yes, takes) {
		return true
	}
	w := reach(&r.Match)
	asked := func(port uint16) bool {
		k := policy.Key(policy.ProtoUDP, port)
		return w.V4.Contains(k) || w.V6.Contains(k)
	}
	return r.Action.Verdict == policy.Allow && r.Match.IIf.Matches(takes) && (asked(53) || asked(67))
}
