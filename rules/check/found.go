package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// analyse reports what the rules of each list do to each other.
func (l *linter) analyse() {
	l.dead = map[*policy.Rule]bool{}
	budget := newBudget()
	s, err := space.NewFree(l.Policy)
	for _, dir := range policy.Dirs {
		rules := l.Lists[dir]
		if len(rules) == 0 {
			continue
		}
		var a *analysis
		if err == nil {
			a, err = newAnalysis(l.Policy, s, dir, l.now, budget)
		}
		if err != nil {
			l.diags.Remarkf(rules[0].At, policy.LintNotDecided, "not decided what the rules of `%s` do to each other: %v", dir, err)
			continue
		}
		l.report(a)
	}
}

// report runs the analysis of one list.
func (l *linter) report(a *analysis) {
	shadows, undecided := a.shadows()
	for i := a.first; i < a.last; i++ {
		if a.gone[i] {
			l.dead[a.rule(i)] = true
		}
	}
	for _, c := range shadows {
		if !l.covered(a, c) {
			undecided = append(undecided, c.rule)
		}
	}
	clashes, more := a.clashes()
	undecided = append(undecided, more...)
	for len(clashes) > 0 {
		n := 1
		for n < len(clashes) && clashes[n].later == clashes[0].later {
			n++
		}
		if !l.clash(a, clashes[:n]) {
			undecided = append(undecided, clashes[0].later)
		}
		clashes = clashes[n:]
	}
	idlers, more := a.idlers()
	undecided = append(undecided, more...)
	for _, i := range idlers {
		if !l.idle(a, i) {
			undecided = append(undecided, i.rule)
		}
	}
	l.notDecided(a, undecided)
}

// notDecided says for which rules an answer would have taken too long.
func (l *linter) notDecided(a *analysis, rules []int) {
	slices.Sort(rules)
	rules = slices.DeleteFunc(slices.Compact(rules), func(i int) bool { return slices.Contains(a.rule(i).Ignore, policy.LintNotDecided) })
	if len(rules) == 0 {
		return
	}
	first := a.rule(rules[0])
	text := fmt.Sprintf("rule %q", first.ID)
	if n := len(rules); n > 1 {
		text += fmt.Sprintf(" and %d more of `%s`", n-1, a.dir)
	}
	l.diags.Remarkf(first.At, policy.LintNotDecided, "not decided for %s whether other rules leave nothing to it, contradict it or do the same: too many overlap", text)
}

// covered reports a rule that never decides, and the refusal that an `allow` made void. It is false where the
// policy itself says otherwise.
func (l *linter) covered(a *analysis, c shadow) bool {
	r := a.rule(c.rule)
	pkt, given := a.example(&c.example)
	if d, _ := a.decide(&pkt, given); d.Rule == r {
		return false
	}
	verb := "decides all that it would"
	if len(c.by) > 1 {
		verb = "together decide all that it would"
	}
	w := l.warn(r, policy.LintNeverMatches, "rule %q never matches: %s %s%s", r.ID, l.names(a, c.by), verb, while(given))
	w.Packet = a.words(pkt)
	l.also(w, a, c.by)
	same := !slices.ContainsFunc(c.by, func(i int) bool { return a.verdict(i) != r.Action.Verdict })
	switch {
	case c.by[len(c.by)-1] < a.first:
		w.WithHint("what stands before the rules decides first: remove the rule, or narrow that")
	case same && len(c.by) == 1:
		w.WithHint("remove it, or the earlier rule if that is too wide")
	case same:
		w.WithHint("remove it, or narrow the earlier rules")
	case len(c.by) == 1:
		w.WithHint("put it before the earlier rule, or remove it")
	default:
		w.WithHint("put it before the earlier rules, or remove it")
	}
	allows := slices.DeleteFunc(slices.Clone(c.by), func(i int) bool { return i < a.first || a.verdict(i) != policy.Allow })
	if r.Action.Verdict != policy.Allow && len(allows) > 0 {
		what := "all that"
		if len(allows) < len(c.by) {
			what = "part of what"
		}
		l.defeated(a, allows, c.rule, what, &pkt, "")
	}
	return true
}

// defeated reports rules that admit what a later one would refuse.
func (l *linter) defeated(a *analysis, allows []int, later int, what string, pkt *policy.Packet, while string) {
	r := a.rule(later)
	allows = slices.DeleteFunc(allows, func(i int) bool { return slices.Contains(a.rule(i).Ignore, policy.LintDefeatsDeny) })
	if len(allows) == 0 || slices.Contains(r.Ignore, policy.LintDefeatsDeny) {
		return
	}
	text, verb := "rule "+l.names(a, allows), "admits"
	if len(allows) > 1 {
		text, verb = "rules "+l.names(a, allows), "admit"
	}
	w := l.diags.Warnf(a.rule(allows[0]).At, policy.LintDefeatsDeny, "%s %s %s %q would refuse%s", text, verb, what, r.ID, while).
		WithHint("put %q before, if the refusal is to count", r.ID)
	w.Packet = a.words(*pkt)
	l.also(w, a, append(allows[1:len(allows):len(allows)], later))
}

// clash reports the rules that clash with one later rule. It is false where the policy itself says otherwise.
func (l *linter) clash(a *analysis, clashes []clash) bool {
	sure := true
	later := clashes[0].later
	r := a.rule(later)
	for _, defeats := range []bool{true, false} {
		var rules []int
		var pkt policy.Packet
		var holds string
		for _, c := range clashes {
			if c.defeats != defeats {
				continue
			}
			p, given := a.example(&c.example)
			if _, by := a.decide(&p, given); by != c.earlier {
				sure = false
				continue
			}
			if len(rules) == 0 {
				pkt, holds = p, while(given)
			}
			rules = append(rules, c.earlier)
		}
		if !defeats {
			rules = slices.DeleteFunc(rules, func(i int) bool { return slices.Contains(a.rule(i).Ignore, policy.LintContradiction) })
		}
		switch {
		case len(rules) == 0:
		case defeats:
			l.defeated(a, rules, later, "part of what", &pkt, holds)
		default:
			w := l.warn(r, policy.LintContradiction, "rule %q contradicts %s before it about the same packets%s", r.ID, l.names(a, rules), holds).
				WithHint("put the one that is to count first, or take out with `not` what the other decides")
			w.Packet = a.words(pkt)
			l.also(w, a, rules)
		}
	}
	return sure
}

// idle reports a rule without which nothing changes. It is false where the policy itself says otherwise.
func (l *linter) idle(a *analysis, i idle) bool {
	r := a.rule(i.rule)
	pkt, given := a.example(&i.example)
	if _, by := a.decide(&pkt, given); by != i.rule {
		return false
	}
	verb := "does"
	if len(i.heirs) > 1 {
		verb = "do"
	}
	w := l.warn(r, policy.LintNoEffect, "rule %q changes nothing: without it, %s %s the same%s", r.ID, l.names(a, i.heirs), verb, while(given)).
		WithHint("remove it")
	w.Packet = a.words(pkt)
	l.also(w, a, i.heirs)
	return true
}

// maxNames bounds the rules that a message names; the places of all follow it.
const maxNames = 6

// names is some entries as text: "a", "b" and failsafe.
func (l *linter) names(a *analysis, entries []int) string {
	var names []string
	for n, i := range entries {
		if n == maxNames && len(entries) > maxNames+1 {
			names = append(names, fmt.Sprintf("%d more", len(entries)-n))
			break
		}
		name := fmt.Sprintf("%q", a.entries[i].Decision.By)
		if i == a.last {
			name = "the default"
		}
		names = append(names, name)
	}
	if len(names) == 1 {
		return names[0]
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

// also points at entries that are written somewhere.
func (l *linter) also(d *diag.Diagnostic, a *analysis, entries []int) {
	for _, i := range entries {
		e := a.entries[i].Decision
		text := e.By
		if e.Rule != nil {
			text = e.Rule.Text
		}
		for _, f := range l.Failsafe {
			if e.By == policy.ByFailsafe && f.At == e.At {
				text += " " + f.Text
			}
		}
		if !e.At.IsZero() {
			d.Also(e.At, "%s", text)
		}
	}
}

// while says what dynamic sets hold in an example, empty where they hold nothing.
func while(given map[string]addrset.Addrs) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(given)) {
		texts := append(addrset.Texts(given[name].V4, 2), addrset.Texts(given[name].V6, 2)...)
		parts = append(parts, fmt.Sprintf("%q holds %s", name, strings.Join(texts, " and ")))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (seen while " + strings.Join(parts, " and ") + ")"
}
