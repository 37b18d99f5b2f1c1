package policy

import (
	"slices"
	"strings"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// ruleList reads the rules of one list from a file and those that it includes, in the order of judging.
func (l *loader) ruleList(f *file, dir Dir) {
	key, n := pairOf(f.tree, dir.String())
	if n == nil || n.Kind == syntax.Null {
		l.included(f, dir)
		return
	}
	if n.Kind != syntax.List {
		d := l.errorf(n.At, "not-a-list", "`%s` is a list of rules, got %s", dir, describe(n))
		if n.Kind == syntax.Map {
			d.WithHint("begin each rule with `- `")
		}
		l.included(f, dir)
		return
	}
	if len(n.Items) == 0 {
		l.errorf(key.At, "empty-list", "`%s` has no rules", dir).WithHint("leave the key out")
	}
	var placed *syntax.Node
	for _, item := range n.Items {
		if item.Kind != syntax.Scalar || item.Text != "include" {
			l.rule(dir, item)
			continue
		}
		if placed != nil {
			l.errorf(item.At, "bad-include", "`include` stands twice in this list").Also(placed.At, "first here")
			continue
		}
		placed = item
		if f.tree.Get("include") == nil {
			l.warnf(item.At, "no-include", "this file includes nothing that could stand here")
		}
		l.included(f, dir)
	}
	if placed == nil {
		l.included(f, dir)
	}
}

// included reads the rules of the files that a file includes.
func (l *loader) included(f *file, dir Dir) {
	for _, g := range f.includes {
		l.ruleList(g, dir)
	}
}

// pairOf returns a key of a mapping with its value, nil where it lacks it.
func pairOf(n *syntax.Node, key string) (k, v *syntax.Node) {
	for _, pair := range n.Pairs {
		if pair.Key.Text == key {
			return pair.Key, pair.Value
		}
	}
	return nil, nil
}

// rule reads one rule and puts it into its list.
func (l *loader) rule(dir Dir, n *syntax.Node) {
	if n.Kind != syntax.Map {
		l.noRule(n)
		return
	}
	if l.rules++; l.rules > maxRules {
		if l.rules == maxRules+1 {
			l.errorf(n.At, "too-large", "a policy has at most %d rules", maxRules)
		}
		return
	}
	r := &l.draft
	clear(r.places)
	*r = draft{Rule: Rule{List: dir, At: n.At}, conditions: l.all, places: r.places, enabled: true}
	first := len(l.diags)
	l.fields(n, dir.String(), func(key, value *syntax.Node) {
		r.places[key.Text] = key.At
		l.ruleKey(r, key, value)
	})
	l.finishRule(r, n, first)
	l.silence(first, r.Ignore)
}

// draft is a rule while its keys are read.
type draft struct {
	Rule
	conditions
	what    what
	verdict *syntax.Node         // the first verdict's key
	places  map[string]diag.Span // of the keys; of `id` its value
	enabled bool
}

// noRule reports an item of a rule list that is no mapping.
func (l *loader) noRule(n *syntax.Node) {
	if n.Kind == syntax.Null {
		l.errorf(n.At, "no-value", "a rule is missing")
		return
	}
	d := l.errorf(n.At, "bad-rule", "a rule is a mapping, got %s", describe(n))
	verdict, rest, _ := strings.Cut(n.Text, " ")
	if key, value, ok := strings.Cut(n.Text, ":"); ok && value != "" && slices.Contains([]string{"allow", "deny", "reject"}, key) {
		verdict, rest = key, value
	}
	switch {
	case n.Kind != syntax.Scalar:
	case slices.Contains([]string{"allow", "deny", "reject"}, verdict):
		if rest == "" {
			rest = "any"
		}
		d.WithHint("write `%s: %s`", verdict, printable(strings.TrimSpace(rest)))
	default:
		if _, own := l.services[n.Text]; own || isBuiltinWhat(n.Text) {
			d.WithHint("write what becomes of it: `allow: %s`", n.Text)
			return
		}
		l.suggest(d, n.Text, func() []string { return []string{"include"} })
	}
}

// ruleKey reads one key of a rule.
func (l *loader) ruleKey(r *draft, key, value *syntax.Node) {
	if l.matchKey(&r.conditions, r.List, key, value) {
		return
	}
	switch key.Text {
	case "allow", "deny", "reject":
		if r.verdict != nil {
			l.errorf(key.At, "two-verdicts", "a rule has one verdict, and this is its second").
				Also(r.verdict.At, "the first is here").
				WithHint("write two rules")
			return
		}
		r.verdict, r.At = key, key.At
		r.Action.Verdict = map[string]Verdict{"allow": Allow, "deny": Deny, "reject": Reject}[key.Text]
		r.what, _ = l.what(value)
		r.match.What = r.what.What
	case "limit":
		r.Action.Limit = l.limit(value)
	case "connections":
		r.Action.Connections = l.connections(value)
	case "log":
		l.log(value, &r.Action)
	case "id":
		if v, ok := l.single(value); ok && l.name(&syntax.Node{Kind: syntax.Scalar, Text: v.text, At: v.at}, nil, "id") {
			r.ID, r.Named, r.places[key.Text] = v.text, true, v.at
		}
	case "note":
		if v, ok := l.words(value, maxNote); ok {
			r.Note = v.text
		}
	case "expires":
		if v, ok := l.single(value); ok {
			if r.Expires, ok = date(v.text); !ok {
				l.errorf(v.at, "bad-date", "%s is no date", quote(v.text)).WithHint("write the first day without the rule as `2027-01-31`")
			}
		}
	case "enabled":
		if b, ok := l.boolean(value); ok {
			r.enabled = b
		}
	case "ignore":
		r.Ignore = l.ignore(value)
	}
}

// ignore reads codes of lints.
func (l *loader) ignore(n *syntax.Node) []string {
	var codes []string
	known := LintCodes()
	for _, v := range l.values(n) {
		if v.not || !slices.Contains(known, v.text) {
			l.suggest(l.errorf(v.at, "unknown-lint", "unknown lint %s", quote(v.String())), v.text, LintCodes)
			continue
		}
		codes = append(codes, v.text)
	}
	return codes
}

// silence takes the warnings that a rule ignores out of what was found since first.
func (l *loader) silence(first int, codes []string) {
	if len(codes) == 0 {
		return
	}
	kept := slices.DeleteFunc(l.diags[first:], func(d diag.Diagnostic) bool {
		return d.Severity == diag.Warning && slices.Contains(codes, d.Code)
	})
	l.warnings -= len(l.diags) - first - len(kept)
	l.diags = l.diags[:first+len(kept)]
}

// finishRule checks what needs all keys of a rule and puts it into its list. First is where its findings begin.
func (l *loader) finishRule(r *draft, n *syntax.Node, first int) {
	if r.verdict == nil {
		if l.unknownSince(first) {
			return // a key that was meant to be the verdict
		}
		d := l.errorf(n.At, "no-verdict", "the rule has no verdict").WithHint("write `allow: WHAT`, `deny: WHAT` or `reject: WHAT`")
		if len(n.Pairs) > 0 {
			d.At = n.Pairs[0].Key.At
		}
		return
	}
	if !r.sportAt.IsZero() && len(r.what.items) > 0 {
		l.checkSport(r.what, r.sportAt)
	}
	l.checkAction(&r.Action, r.places)
	r.phrases.sort()
	r.Match = r.match
	r.AnyFrom = r.anyFrom
	r.Text = r.Action.Verdict.String() + " " + listText(r.what.items) + r.phrases.text() + r.Action.text()
	if r.Expires != 0 {
		r.Text += " expires " + dateText(r.Expires)
	}
	if !r.Named {
		r.ID = derivedID(r)
	}
	rule := r.Rule
	if r.enabled {
		l.p.Lists[r.List] = append(l.p.Lists[r.List], &rule)
	} else {
		l.p.Disabled = append(l.p.Disabled, &rule)
	}
	l.naming = append(l.naming, naming{&rule, r.places["id"]})
}
