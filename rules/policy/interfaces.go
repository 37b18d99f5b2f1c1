package policy

import (
	"maps"
	"slices"
	"strings"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// maxInterface is the longest interface name that Linux has (IFNAMSIZ with its final zero).
const maxInterface = 15

// groupDef is an interface group as the policy writes it.
type groupDef struct {
	key    *syntax.Node
	values []value
	state  progress
	group  *Interface
}

// poolGroups takes up the interface groups of a file.
func (l *loader) poolGroups(n *syntax.Node) {
	if n.Kind != syntax.Map {
		l.errorf(n.At, "not-a-mapping", "`interfaces` is a mapping of names, got %s", describe(n))
		return
	}
	for _, pair := range n.Pairs {
		if pair.Value.Kind == syntax.Null {
			l.noValue(pair.Key)
			continue
		}
		if !l.name(pair.Key, nil, "interface group") {
			continue
		}
		if first, ok := l.groups[pair.Key.Text]; ok {
			l.twice(pair.Key, "interface group", first.key.At)
			continue
		}
		d := &groupDef{key: pair.Key, values: l.values(pair.Value)}
		d.group = &Interface{Name: pair.Key.Text, At: pair.Key.At}
		l.groups[pair.Key.Text] = d
		l.groupOrder = append(l.groupOrder, d)
	}
}

// resolveGroup finishes a group, with those that it names. A group that names itself means the interface of that name.
func (l *loader) resolveGroup(d *groupDef) {
	g := d.group
	switch d.state {
	case finished:
		return
	case underway:
		l.cycle("group", d.key, g.Name)
		return
	}
	d.state = underway
	l.nesting = append(l.nesting, g.Name)
	if len(l.nesting) > maxNesting {
		l.errorf(d.key.At, "too-large", "interface groups nest at most %d deep", maxNesting)
		d.values = nil
	}
	held := map[Pattern]bool{}
	add := func(patterns ...Pattern) {
		for _, p := range patterns {
			if !held[p] {
				held[p] = true
				g.Patterns = append(g.Patterns, p)
			}
		}
	}
	for _, v := range d.values {
		if v.not {
			l.errorf(v.at, "bad-not", "`not` has no place in an interface group").
				WithHint("subtract where the group is used: `iface: [%s, not %s]`", g.Name, printable(v.text))
			continue
		}
		if inner, ok := l.groups[v.text]; ok && inner != d {
			l.resolveGroup(inner)
			inner.group.Used = true
			add(inner.group.Patterns...)
			continue
		}
		if p, ok := l.pattern(v); ok {
			add(p)
		}
	}
	l.p.Interfaces[g.Name] = g
	l.nesting = l.nesting[:len(l.nesting)-1]
	d.state = finished
}

// choosePatterns reads the interfaces and groups of a match key. A name that is both is the group.
func (l *loader) choosePatterns(vs []value) Choice[Pattern] {
	var c Choice[Pattern]
	for _, v := range vs {
		half := &c.Yes
		if v.not {
			half = &c.No
		}
		if g, ok := l.p.Interfaces[v.text]; ok {
			g.Used = true
			if !l.spend(2*len(g.Patterns), v.at) {
				return c
			}
			*half = append(*half, g.Patterns...)
			continue
		}
		if p, ok := l.pattern(v); ok {
			*half = append(*half, p)
			l.nearGroup(v)
		}
	}
	return c
}

// pattern reads the name of an interface, with a wildcard at most at its end.
func (l *loader) pattern(v value) (Pattern, bool) {
	name, wild := strings.CutSuffix(v.text, "*")
	hint := ""
	complaint := ""
	switch before, after, alias := strings.Cut(name, ":"); {
	case name == "" && wild:
		complaint, hint = "`*` alone is every interface", "leave the key out"
	case alias && before != "" && isDigits(after):
		complaint, hint = quote(v.text)+" is an alias, and packets know only the interface", "write `"+before+"`, and the address as `to` or `from`"
	case strings.Contains(name, "@"):
		before, _, _ := strings.Cut(name, "@")
		complaint, hint = quote(v.text)+" is how `ip link` shows an interface with its parent", "write `"+printable(before)+"`"
	case strings.Contains(name, "*"):
		complaint, hint = quote(v.text)+" has a wildcard that is not its end", "only a trailing `*` is a wildcard"
	case len(name) > maxInterface, wild && len(name) >= maxInterface:
		complaint = quote(v.text) + " is too long: interface names have at most 15 characters"
	case name == "." || name == ".." || strings.IndexFunc(name, badInName) >= 0:
		complaint = quote(v.text) + " is no interface name"
		if strings.ContainsAny(name, ", ") {
			hint = asList(separate(v.text))
		}
	default:
		return Pattern(v.text), true
	}
	l.errorf(v.at, "bad-interface", "%s", complaint).Hint = hint
	return "", false
}

// badInName tells whether a letter can't be in an interface name, or would have to be escaped in nft's syntax.
func badInName(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`/:"\`, r)
}

// nearGroup warns of an interface that looks like a misspelt group. Names that differ in a digit are siblings, and
// three letters are too few to tell.
func (l *loader) nearGroup(v value) {
	const least = 4
	if len(v.text) < least {
		return
	}
	if !l.seek(len(l.p.Interfaces)) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(l.p.Interfaces)) {
		g := l.p.Interfaces[name]
		if len(name) >= least && distance(v.text, name) == 1 && strings.Trim(v.text, "0123456789") != strings.Trim(name, "0123456789") && !takes(g, v.text) {
			l.found(diag.List{nearMiss(v, g)})
			return
		}
	}
}

// takes tells whether a group already holds an interface.
func takes(g *Interface, name string) bool {
	for _, p := range g.Patterns {
		if p.Matches(name) || string(p) == name {
			return true
		}
	}
	return false
}

func nearMiss(v value, g *Interface) diag.Diagnostic {
	return diag.Diagnostic{
		Severity: diag.Warning,
		Code:     LintNearMiss,
		Message:  "interface " + quote(v.text) + " is nearly the group " + quote(g.Name),
		Hint:     "write `" + g.Name + "`, or add the interface to a group if it is another",
		At:       v.at,
		Related:  []diag.Note{{At: g.At, Message: "the group is defined here"}},
	}
}
