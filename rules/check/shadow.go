package check

import (
	"slices"

	"ringwall/rules/space"
)

// shadow is why a rule never matches.
type shadow struct {
	rule    int   // the entry that never decides
	by      []int // entries before it that together decide all that it would; none can be left out
	example space.Box
}

// shadows finds every rule that never decides, and marks it as gone. Those of which that could not be found out are
// returned too.
func (a *analysis) shadows() (found []shadow, undecided []int) {
	for i := a.first; i < a.last; i++ {
		if len(a.own[i]) == 0 {
			a.gone[i] = true
			if c, ok := a.base(i); ok {
				found = append(found, c)
			}
			continue
		}
		_, alive, err := a.alive(i)
		switch {
		case err != nil:
			undecided = append(undecided, i)
		case !alive:
			by, sure := a.coverers(i)
			a.remember(by)
			found = append(found, shadow{i, by, a.own[i][0]})
			a.gone[i] = true
			if sure {
				a.cover[i] = by
			}
		}
	}
	return found, undecided
}

// base is the shadow over a rule that the base takes everything of, such as one for loopback. It is false where the rule
// is merely out of date.
func (a *analysis) base(i int) (shadow, bool) {
	c := shadow{rule: i}
	for _, b := range a.entries[i].Boxes {
		if a.now != 0 && !b.Limit(space.Time, a.space.Since(a.now)) {
			continue
		}
		c.example = b
		for j := range a.first {
			e := &a.entries[j]
			if slices.ContainsFunc(e.Boxes, func(o space.Box) bool { return o.Covers(&b) }) {
				if !slices.Contains(c.by, j) {
					c.by = append(c.by, j)
				}
				break
			}
		}
	}
	slices.Sort(c.by)
	return c, len(c.by) > 0
}

// coverers is entries that together hold all packets of a rule that is known to be covered: one where one does, else
// some of which none can be left out. Where that takes too long to tell, sure is false, and they are what was found of all
// before it that overlap it.
func (a *analysis) coverers(i int) (by []int, sure bool) {
	own := a.own[i]
	s := a.budget.search()
	defer a.budget.done(s)
	all := a.recent(i)
	if one, ok := a.single(own, all); ok {
		return []int{one}, true
	}
	used, ok := a.needed(s, own, all)
	if !ok {
		all = nil
		for j := range own {
			numbers, _ := a.near(s, &own[j], 0, i) // all that can be told is better than nothing
			for _, n := range numbers {
				all = append(all, a.owner(n))
			}
		}
		slices.Sort(all)
		all = slices.Compact(all)
		if one, ok := a.single(own, all); ok {
			return []int{one}, true
		}
		if used, ok = a.needed(s, own, all); !ok {
			return all, false
		}
	}
	return a.fewest(s, own, used), true
}

// single is the first of some entries that plainly holds all of some boxes.
func (a *analysis) single(own []space.Box, entries []int) (int, bool) {
	for _, k := range entries {
		a.budget.left -= space.Cost(&own[0], &a.entries[k].Boxes[0])
		if !slices.ContainsFunc(own, func(b space.Box) bool {
			return !slices.ContainsFunc(a.entries[k].Boxes, func(o space.Box) bool { return o.Covers(&b) })
		}) {
			return k, true
		}
	}
	return 0, false
}

// fewest leaves out of entries that hold some boxes together one after the other, later ones first, while the rest
// still does.
func (a *analysis) fewest(s *space.Search, own []space.Box, entries []int) []int {
	for n := len(entries) - 1; n >= 0 && len(entries) > 1; n-- {
		k := entries[n]
		if needed, ok := a.needed(s, own, slices.Delete(slices.Clone(entries), n, n+1)); ok {
			entries = needed // without k, and perhaps without more
			n, _ = slices.BinarySearch(entries, k)
		}
	}
	return entries
}

// needed is those of some entries that a proof takes that they hold some boxes together; false where there is none.
func (a *analysis) needed(s *space.Search, own []space.Box, entries []int) ([]int, bool) {
	s.Used = map[*space.Box]bool{}
	var boxes []*space.Box
	for _, k := range entries {
		for j := range a.entries[k].Boxes {
			boxes = append(boxes, &a.entries[k].Boxes[j])
		}
	}
	for j := range own {
		if _, found, err := s.Outside(&own[j], boxes); found || err != nil {
			return nil, false
		}
	}
	return slices.DeleteFunc(slices.Clone(entries), func(k int) bool {
		for j := range a.entries[k].Boxes {
			if s.Used[&a.entries[k].Boxes[j]] {
				return false
			}
		}
		return true
	}), true
}
