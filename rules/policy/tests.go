package policy

import (
	"maps"
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/syntax"
)

// tests reads the claims of a file.
func (l *loader) tests(n *syntax.Node) {
	switch {
	case n == nil || n.Kind == syntax.Null:
		return
	case n.Kind != syntax.List:
		l.errorf(n.At, "not-a-list", "`tests` is a list, got %s", describe(n)).WithHint("begin each test with `- `")
		return
	case len(n.Items) == 0:
		l.errorf(n.At, "empty-list", "`tests` is empty").WithHint("leave the key out")
	}
	for _, item := range n.Items {
		if item.Kind != syntax.Map {
			l.errorf(item.At, "bad-test", "a test is a mapping, got %s", describe(item)).
				WithHint("write for example `{in: tcp/22, from: 203.0.113.9, expect: allow}`")
			continue
		}
		l.test(item)
	}
}

// testDraft is a test while its keys are read.
type testDraft struct {
	Test
	conditions
	what  what
	dir   *syntax.Node // the direction's key
	after []string     // what stands behind the match in its text
}

// test reads one claim.
func (l *loader) test(n *syntax.Node) {
	t := &testDraft{Test: Test{At: n.At}, conditions: l.all}
	if len(n.Pairs) > 0 {
		t.At = n.Pairs[0].Key.At
	}
	first, before := len(l.diags), l.errors
	expected := false
	for _, pair := range n.Pairs { // the direction first: it says what other keys mean
		if d := slices.IndexFunc(Dirs[:], func(d Dir) bool { return d.String() == pair.Key.Text }); d >= 0 && t.dir == nil {
			t.dir, t.List = pair.Key, Dirs[d]
		}
	}
	if t.dir == nil {
		l.errorf(t.At, "bad-test", "the test has no direction").WithHint("write `in: WHAT`, `out: WHAT` or `forward: WHAT`")
		return
	}
	l.fields(n, "test", func(key, value *syntax.Node) {
		if hint := otherList(key.Text, t.List.String()); hint != "" {
			l.errorf(key.At, "unknown-key", "`%s` has no place here", key.Text).WithHint("%s", hint)
			return
		}
		if !l.matchKey(&t.conditions, t.List, key, value) {
			expected = l.testKey(t, key, value) || expected
		}
	})
	if !expected && !l.unknownSince(first) {
		l.errorf(t.At, "bad-test", "the test expects nothing").WithHint("write `expect: allow`, `deny` or `reject`")
	}
	if !t.sportAt.IsZero() && len(t.what.items) > 0 {
		l.checkSport(t.what, t.sportAt)
	}
	if l.errors > before {
		return
	}
	t.phrases.sort()
	t.match.What = t.what.What
	t.What, t.Any, t.Match = t.what.What, t.what.any, t.match
	t.Text = t.List.String() + " " + listText(t.what.items) + t.phrases.text() + " " + strings.Join(t.after, " ")
	test := t.Test
	l.p.Tests = append(l.p.Tests, &test)
}

// testKey reads a key that is no match; it tells whether it was `expect`.
func (l *loader) testKey(t *testDraft, key, value *syntax.Node) bool {
	switch key.Text {
	case "in", "out", "forward":
		if key != t.dir {
			l.errorf(key.At, "bad-test", "the test has two directions").Also(t.dir.At, "the first is here")
			return false
		}
		t.what, _ = l.what(value)
		return false
	case "given":
		l.given(t, value)
		return false
	}
	v, ok := l.single(value)
	if !ok {
		return key.Text == "expect"
	}
	t.after = append(t.after, key.Text+" "+v.text)
	switch key.Text {
	case "expect":
		t.Expect, _ = l.verdict(v)
		return true
	case "by":
		t.By = v.text
		l.checkBy(v)
	case "at":
		if t.Time, ok = moment(v.text); !ok {
			l.errorf(v.at, "bad-date", "%s is no date", quote(v.text)).WithHint("write `2027-01-31` or `2027-01-31 18:30`, in UTC")
		}
	}
	return false
}

// checkBy demands that what a test expects to decide exists.
func (l *loader) checkBy(v value) {
	names := append(baseKeys(), ByDefault, ByBlock, ByFailsafe)
	if slices.Contains(names, v.text) {
		return
	}
	if r, ok := l.ids[v.text]; ok {
		if slices.Contains(l.p.Disabled, r) {
			l.errorf(v.at, "unknown-id", "rule %s is not enabled", quote(v.text)).Also(r.At, "the rule")
		}
		return
	}
	l.suggest(l.errorf(v.at, "unknown-id", "no rule has the id %s", quote(v.text)), v.text, func() []string {
		return slices.AppendSeq(names, maps.Keys(l.ids))
	})
}

// given reads what dynamic sets hold in a test.
func (l *loader) given(t *testDraft, n *syntax.Node) {
	if n.Kind != syntax.Map {
		l.errorf(n.At, "not-a-mapping", "`given` is a mapping of dynamic sets to addresses, got %s", describe(n))
		return
	}
	t.Given = map[string]addrset.Addrs{}
	for _, pair := range n.Pairs {
		d, ok := l.sets[pair.Key.Text]
		switch {
		case !ok:
			l.unknownSet(value{text: pair.Key.Text, at: pair.Key.At})
			continue
		case pair.Value.Kind == syntax.Null:
			l.noValue(pair.Key)
			continue
		case d.set == nil:
			continue
		case d.set.Dynamic == nil:
			l.errorf(pair.Key.At, "bad-given", "set %s is not dynamic: it holds what it holds", quote(pair.Key.Text)).
				Also(d.key.At, "it is defined here")
			continue
		}
		vs := l.values(pair.Value)
		if len(vs) == 0 {
			continue
		}
		a, ok := l.addresses(vs, nil)
		if !ok {
			continue
		}
		if slices.ContainsFunc(a.Terms, func(t Term) bool { return !t.IsStatic() }) {
			l.errorf(pair.Value.At, "bad-given", "what a dynamic set is given can't depend on dynamic sets")
			continue
		}
		t.Given[pair.Key.Text] = a.Static()
		t.after = append(t.after, "given "+pair.Key.Text+" "+written(vs))
	}
}
