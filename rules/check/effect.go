package check

import (
	"slices"

	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// idle is a rule without which no packet is judged otherwise.
type idle struct {
	rule    int
	heirs   []int     // entries that decide its packets where no rule that never matches is left
	example space.Box // of packets that it decides
}

// idlers finds rules that change nothing, and marks them as idle: whichever of them and of those that are gone are
// removed from the policy, one, some or all, no packet is judged otherwise. Rules that log or limit are never among
// them, nor those that a clash is about.
//
// A packet that an idle rule decides comes next to rules like it, until one that stays. Rules that are gone come into
// this as well as others: what decides before them may be removed.
func (a *analysis) idlers() (found []idle, undecided []int) {
	for i := a.first; i < a.last; i++ {
		r := a.rule(i)
		if a.gone[i] || a.blamed[i] || !plain(r) || slices.Contains(r.Ignore, policy.LintNoEffect) {
			continue
		}
		heirs, same, err := a.heirs(i)
		if err != nil {
			undecided = append(undecided, i)
			continue
		}
		if !same {
			continue
		}
		if w, alive, err := a.alive(i); alive && err == nil { // else undecided, as the search for shadows said
			a.idle[i] = true
			found = append(found, idle{i, heirs, w})
		}
	}
	return found, undecided
}

// plain tells whether a rule does nothing but its verdict.
func plain(r *policy.Rule) bool {
	return !r.Action.Log && r.Action.Limit == nil && r.Action.Connections == nil
}

// alike tells whether an entry does the same to packets as another, plain one.
func (a *analysis) alike(i, k int) bool {
	return a.verdict(i) == a.verdict(k) && (a.rule(k) == nil || plain(a.rule(k)))
}

// heirs is the entries that decide a rule's packets without it; false where one of them does otherwise.
func (a *analysis) heirs(i int) (heirs []int, same bool, err error) {
	add := func(k int) {
		if !slices.Contains(heirs, k) {
			heirs = append(heirs, k)
		}
	}
	for j := range a.own[i] {
		b := &a.own[i][j]
		s := a.budget.search()
		s.Used = map[*space.Box]bool{}
		unlike, used, open, err := a.without(s, i, b)
		a.budget.done(s)
		if unlike || err != nil {
			return nil, false, err
		}
		for _, k := range used {
			add(k)
		}
		if open {
			add(a.last)
		}
	}
	slices.Sort(heirs)
	return heirs, true, nil
}

// revives tells whether a rule that is gone may decide something once another and those that are idle are removed: not
// where what decides before it stays.
func (a *analysis) revives(k, without int) bool {
	return a.cover[k] == nil || slices.ContainsFunc(a.cover[k], func(c int) bool { return c == without || a.idle[c] })
}

// without asks what would decide the packets of a rule's box without the rule, and without any others that are idle or
// gone: whether anything unlike it; which later rules like it; and whether the default.
func (a *analysis) without(s *space.Search, i int, b *space.Box) (unlike bool, used []int, open bool, err error) {
	numbers, err := a.near(s, b, 0, i)
	if err != nil {
		return false, nil, false, err
	}
	numbers = slices.DeleteFunc(numbers, func(n int32) bool { return a.idle[a.owner(n)] })
	taken := a.boxes(numbers) // what the rule does not get, or what would do the same
	before := len(taken)
	later, err := a.index.Near(s, b, a.start[i+1], a.start[a.last], nil)
	if err != nil {
		return false, nil, false, err
	}
	later = slices.DeleteFunc(later, func(n int32) bool { k := a.owner(n); return a.gone[k] && (a.alike(i, k) || !a.revives(k, i)) })
	for _, n := range later {
		if a.alike(i, a.owner(n)) {
			taken = append(taken, a.index.Box(n))
		}
	}
	_, open, err = s.Outside(b, taken)
	if err != nil || open && !a.alike(i, a.last) {
		return open, nil, open, err
	}
	for _, n := range later {
		if k := a.owner(n); !open && a.alike(i, k) && s.Used[a.index.Box(n)] {
			used = append(used, k)
		}
	}
	taken = taken[:before]
	for _, n := range later {
		o := a.index.Box(n)
		if a.alike(i, a.owner(n)) {
			taken = append(taken, o)
			continue
		}
		both, _ := b.Intersect(o)
		if _, unlike, err = s.Outside(&both, taken); unlike || err != nil {
			return unlike, nil, false, err
		}
	}
	return false, used, open, nil
}
