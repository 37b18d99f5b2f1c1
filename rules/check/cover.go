package check

import (
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// reach is the WHAT of a match without the families that its addresses leave nothing of.
func reach(m *policy.Match) policy.What {
	w := m.What
	four := func(t policy.Term) bool { return !t.Static.V4.IsEmpty() }
	six := func(t policy.Term) bool { return !t.Static.V6.IsEmpty() }
	if !slices.ContainsFunc(m.From.Terms, four) || !slices.ContainsFunc(m.To.Terms, four) || m.Sport.IsEmpty() {
		w.V4 = addrset.Set[addrset.U32]{}
	}
	if !slices.ContainsFunc(m.From.Terms, six) || !slices.ContainsFunc(m.To.Terms, six) || m.Sport.IsEmpty() {
		w.V6 = addrset.Set[addrset.U32]{}
	}
	return w
}

// earlier is the rules of a list before one of them, so kept that those which may cover it are quickly found: whatever
// covers a rule holds the lowest key of its WHAT.
type earlier struct {
	lowest  []lowest // of all rules of the list, sorted, each once
	holding map[lowest][]*policy.Rule
	wide    []*policy.Rule // rules that hold too many of them to be kept under each
}

// lowest is the lowest key of a WHAT, in the family where it has one.
type lowest struct {
	six bool
	key addrset.U32
}

func (l lowest) compare(m lowest) int {
	switch {
	case l.six == m.six:
		return l.key.Compare(m.key)
	case m.six:
		return -1
	}
	return 1
}

func lowestOf(w policy.What) lowest {
	if k, ok := w.V4.Min(); ok {
		return lowest{false, k}
	}
	k, _ := w.V6.Min()
	return lowest{true, k}
}

// newEarlier begins before the first rule of a list.
func newEarlier(rules []*policy.Rule) *earlier {
	e := &earlier{holding: map[lowest][]*policy.Rule{}}
	for _, r := range rules {
		e.lowest = append(e.lowest, lowestOf(reach(&r.Match)))
	}
	slices.SortFunc(e.lowest, lowest.compare)
	e.lowest = slices.Compact(e.lowest)
	return e
}

// candidates is the rules so far that may cover one whose reach is w.
func (e *earlier) candidates(w policy.What) []*policy.Rule {
	return slices.Concat(e.holding[lowestOf(w)], e.wide)
}

// add goes past a rule.
func (e *earlier) add(r *policy.Rule) {
	const many = 32
	var held []lowest
	for six, s := range []addrset.Set[addrset.U32]{r.Match.What.V4, r.Match.What.V6} {
		for _, k := range s.Ranges() {
			from, _ := slices.BinarySearchFunc(e.lowest, lowest{six == 1, k.Lo}, lowest.compare)
			to, found := slices.BinarySearchFunc(e.lowest, lowest{six == 1, k.Hi}, lowest.compare)
			if found {
				to++
			}
			held = append(held, e.lowest[from:to]...)
			if len(held) > many {
				e.wide = append(e.wide, r)
				return
			}
		}
	}
	for _, k := range held {
		e.holding[k] = append(e.holding[k], r)
	}
}

// covers tells whether a surely matches all that b does, whose reach is w. False may also mean that it takes more than
// a look.
func covers(a, b *policy.Match, w policy.What) bool {
	return a.What.V4.Covers(w.V4) && a.What.V6.Covers(w.V6) &&
		holds(a.From, b.From, w) && holds(a.To, b.To, w) &&
		a.Sport.Covers(b.Sport) &&
		choiceCovers(a.IIf, b.IIf, patternCovers) &&
		choiceCovers(a.OIf, b.OIf, patternCovers) &&
		choiceCovers(a.MAC, b.MAC, func(x, y policy.MAC) bool { return x == y }) &&
		choiceCovers(a.Mark, b.Mark, markCovers) &&
		choiceCovers(a.User, b.User, sameOwner) &&
		choiceCovers(a.Group, b.Group, sameOwner)
}

// holds tells whether each term of b lies within one term of a, in the families that w has.
func holds(a, b policy.Addrs, w policy.What) bool {
	if a.IsAny() || a.Set != "" && a.Set == b.Set {
		return true
	}
	return !slices.ContainsFunc(b.Terms, func(t policy.Term) bool {
		return !slices.ContainsFunc(a.Terms, func(u policy.Term) bool {
			return within(u.In, t.In) && within(u.NotIn, t.NotIn) &&
				(w.V4.IsEmpty() || u.Static.V4.Covers(t.Static.V4)) && (w.V6.IsEmpty() || u.Static.V6.Covers(t.Static.V6))
		})
	})
}

// within tells whether every name of a is in b.
func within(a, b []string) bool {
	return !slices.ContainsFunc(a, func(name string) bool { return !slices.Contains(b, name) })
}

// choiceCovers tells whether a surely takes all that b does, where one value may cover another.
func choiceCovers[T any](a, b policy.Choice[T], covers func(x, y T) bool) bool {
	switch {
	case a.IsAny():
		return true
	case b.IsAny():
		return false
	case len(a.Yes) > 0 && len(b.Yes) == 0:
		return false
	}
	for _, y := range b.Yes {
		if len(a.Yes) > 0 && !slices.ContainsFunc(a.Yes, func(x T) bool { return covers(x, y) }) {
			return false
		}
	}
	for _, x := range a.No {
		if !slices.ContainsFunc(b.No, func(y T) bool { return covers(y, x) }) {
			return false
		}
	}
	return true
}

// patternCovers tells whether every name that y takes is taken by x.
func patternCovers(x, y policy.Pattern) bool {
	prefix, wild := strings.CutSuffix(string(x), "*")
	return x == y || wild && strings.HasPrefix(strings.TrimSuffix(string(y), "*"), prefix)
}

// markCovers tells whether every mark that y takes is taken by x.
func markCovers(x, y policy.Mark) bool {
	return x.Mask&^y.Mask == 0 && y.Value&x.Mask == x.Value
}

func sameOwner(x, y policy.Owner) bool { return x.ID == y.ID }

// overlaps tells whether a packet may match both, when dynamic sets hold what is given. True may also mean that it
// takes more than a look.
func overlaps(a, b *policy.Match, given map[string]addrset.Addrs) bool {
	x, y := reach(a), reach(b)
	return (x.V4.Overlaps(y.V4) || x.V6.Overlaps(y.V6)) &&
		meet(a.From, b.From, given) && meet(a.To, b.To, given) && a.Sport.Overlaps(b.Sport)
}

// meet tells whether an address may be in both.
func meet(a, b policy.Addrs, given map[string]addrset.Addrs) bool {
	for _, t := range a.Terms {
		if !possible(t, given) {
			continue
		}
		for _, u := range b.Terms {
			if possible(u, given) && (t.Static.V4.Overlaps(u.Static.V4) || t.Static.V6.Overlaps(u.Static.V6)) {
				return true
			}
		}
	}
	return false
}

// possible tells whether the dynamic sets that a term needs hold anything.
func possible(t policy.Term, given map[string]addrset.Addrs) bool {
	return !slices.ContainsFunc(t.In, func(name string) bool { return given[name].IsEmpty() })
}
