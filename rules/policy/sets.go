package policy

import (
	"maps"
	"slices"
	"strings"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// setDef is a set as the policy writes it.
type setDef struct {
	key, value *syntax.Node
	file       *file
	adds       []setDef // `add:` of other files, in the order of reading
	state      progress
	used       bool // something names it
	set        *Set // nil where it is wrong
}

// progress is how far the resolution of a name has come.
type progress uint8

const (
	untouched progress = iota
	underway
	finished
)

// poolSets takes up the sets of a file.
func (l *loader) poolSets(f *file, n *syntax.Node) {
	if n.Kind != syntax.Map {
		l.errorf(n.At, "not-a-mapping", "`sets` is a mapping of names, got %s", describe(n))
		return
	}
	for _, pair := range n.Pairs {
		d := setDef{key: pair.Key, value: pair.Value, file: f}
		if pair.Value.Kind == syntax.Null {
			l.noValue(pair.Key)
		}
		if add := pair.Value.Get("add"); add != nil {
			l.poolAdd(d, add)
			continue
		}
		if !l.name(pair.Key, isBuiltinSet, "set") {
			continue
		}
		if first, ok := l.sets[pair.Key.Text]; ok {
			l.twice(pair.Key, "set", first.key.At)
			continue
		}
		l.sets[pair.Key.Text] = &d
		l.setOrder = append(l.setOrder, &d)
	}
}

// poolAdd takes up an extension of a set.
func (l *loader) poolAdd(d setDef, add *syntax.Node) {
	for _, pair := range d.value.Pairs {
		if pair.Key.Text != "add" {
			l.errorf(pair.Key.At, "bad-set", "`%s` has no place beside `add`, which extends a set that another file defines", printable(pair.Key.Text))
			return
		}
	}
	if add.Kind == syntax.Null {
		l.noValue(d.value.Pairs[0].Key)
		return
	}
	d.value = add
	l.adds = append(l.adds, d)
}

// extendSets gives the extensions to the sets that they extend.
func (l *loader) extendSets() {
	for _, a := range l.adds {
		d, ok := l.sets[a.key.Text]
		if !ok {
			e := l.errorf(a.key.At, "unknown-set", "unknown set %s, which `add` would extend", quote(a.key.Text))
			l.suggest(e, a.key.Text, func() []string { return slices.Collect(maps.Keys(l.sets)) })
			continue
		}
		if d.value.Get("dynamic") != nil {
			l.errorf(a.key.At, "bad-set", "a dynamic set can't be extended").
				Also(d.key.At, "%s is defined here", quote(a.key.Text)).
				WithHint("make a set that holds %s and these addresses", a.key.Text)
			continue
		}
		d.adds = append(d.adds, a)
	}
}

// resolveSet finishes a set, with those that it names.
func (l *loader) resolveSet(d *setDef) {
	name := d.key.Text
	switch d.state {
	case finished:
		return
	case underway:
		l.cycle("set", d.key, name)
		return
	}
	d.state = underway
	l.nesting = append(l.nesting, name)
	if len(l.nesting) > maxNesting {
		l.errorf(d.key.At, "too-large", "sets nest at most %d deep", maxNesting)
	} else if d.set = l.readSet(d); d.set != nil {
		l.p.Sets[name] = d.set
	}
	l.nesting = l.nesting[:len(l.nesting)-1]
	d.state = finished
}

// cycle reports a name that is defined by itself.
func (l *loader) cycle(kind string, at *syntax.Node, name string) {
	way := l.nesting[slices.Index(l.nesting, name):]
	if len(way) == 1 {
		l.errorf(at.At, kind+"-cycle", "%s %q contains itself", kind, name)
		return
	}
	if len(way) > 8 {
		way = append(slices.Clone(way[:8]), "...")
	}
	l.errorf(at.At, kind+"-cycle", "%s %q contains itself: %s", kind, name, strings.Join(append(slices.Clone(way), name), " > "))
}

// readSet reads what defines a set, nil where that is wrong.
func (l *loader) readSet(d *setDef) *Set {
	s := &Set{Name: d.key.Text, At: d.key.At}
	before := l.errors
	ok := true
	switch d.value.Kind {
	case syntax.Null: // reported
		ok = false
	case syntax.Map:
		l.setForm(d, s)
	default:
		s.Addrs, ok = l.addresses(l.values(d.value), nil)
	}
	for _, a := range d.adds {
		if vs := l.values(a.value); ok && len(vs) > 0 {
			s.Addrs, ok = l.addresses(vs, &s.Addrs)
		}
	}
	if !ok || l.errors > before {
		return nil
	}
	if s.Addrs.IsEmpty() {
		l.warnf(d.key.At, LintEmptyAddresses, "set %s holds no address", quote(s.Name))
	}
	s.Addrs.Set = s.Name
	return s
}

// setForm reads a set that is a mapping: a file or a dynamic set.
func (l *loader) setForm(d *setDef, s *Set) {
	n := d.value
	kinds := 0
	var first *syntax.Node
	for _, pair := range n.Pairs {
		switch pair.Key.Text {
		case "feed", "dns":
			l.errorf(pair.Key.At, "not-built", "`%s` sets are not built yet", pair.Key.Text).
				WithHint("write the addresses, or fetch them into a `file` set")
			return
		case "file", "dynamic":
			if kinds++; kinds == 2 {
				l.errorf(pair.Key.At, "bad-set", "a set is either a `file` or `dynamic`").Also(first.At, "already %s", first.Text)
				return
			}
			first = pair.Key
		}
	}
	if kinds == 0 {
		d := l.errorf(n.At, "bad-set", "a set is a list, or a mapping with `file` or `dynamic`")
		if len(n.Pairs) > 0 {
			key := n.Pairs[0].Key
			d.At = key.At
			if key.Text == "timeout" || key.Text == "max" {
				d.WithHint("write `dynamic: true` as well")
			} else {
				l.suggest(d, key.Text, mappingOf("set").names)
			}
		}
		return
	}
	l.fields(n, "set", func(key, value *syntax.Node) {
		if first.Text == "file" && key.Text != "file" {
			l.errorf(key.At, "bad-set", "`%s` is for dynamic sets", key.Text)
			return
		}
		switch key.Text {
		case "file":
			if v, ok := l.single(value); ok && l.path(v) {
				dir, rest := l.beside(d.file.name, v.text)
				s.Addrs = static(l.addressFile(dir+rest, v.at))
			}
		case "dynamic":
			if b, ok := l.boolean(value); ok && !b {
				l.errorf(value.At, "bad-set", "`dynamic` is true or not written")
			}
		case "timeout":
			l.dynamic(s).Timeout = l.seconds(value)
		case "max":
			if v, ok := l.single(value); ok {
				l.dynamic(s).Max = uint32(l.count(v.text, v.at, maxDynamic))
			}
		}
	})
	if first.Text == "dynamic" {
		l.dynamic(s)
		s.Addrs = AnyAddrs()
		s.Addrs.Terms[0].In = []string{s.Name}
	}
}

// dynamic is the settings of a dynamic set, made where they are first asked for.
func (l *loader) dynamic(s *Set) *Dynamic {
	if s.Dynamic == nil {
		s.Dynamic = &Dynamic{Max: 65536}
	}
	return s.Dynamic
}

// seconds reads a duration.
func (l *loader) seconds(n *syntax.Node) int64 {
	v, ok := l.single(n)
	if !ok {
		return 0
	}
	seconds, wrong := duration(v.text)
	if wrong != "" {
		l.errorf(v.at, "bad-duration", "%s", wrong).WithHint("write for example `90s`, `30m`, `12h` or `7d`")
	}
	return seconds
}

// count reads a number from 1 to limit.
func (l *loader) count(text string, at diag.Span, limit uint64) uint64 {
	n, wrong := number(text, limit)
	if wrong == "" && n == 0 {
		wrong = "the number is zero"
	}
	if wrong != "" {
		l.errorf(at, "bad-number", "%s", wrong)
	}
	return n
}
