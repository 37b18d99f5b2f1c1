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
	var from, to addrset.Addrs
	for _, t := range m.From.Terms {
		from = from.Union(t.Static)
	}
	for _, t := range m.To.Terms {
		to = to.Union(t.Static)
	}
	if from.V4.IsEmpty() || to.V4.IsEmpty() || m.Sport.IsEmpty() {
		w.V4 = addrset.Set[addrset.U32]{}
	}
	if from.V6.IsEmpty() || to.V6.IsEmpty() || m.Sport.IsEmpty() {
		w.V6 = addrset.Set[addrset.U32]{}
	}
	return w
}

// covers tells whether a surely matches all that b does. False may also mean that it takes more than a look.
func covers(a, b *policy.Match) bool {
	w := reach(b)
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
