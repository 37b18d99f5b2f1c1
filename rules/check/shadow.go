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
			found = append(found, shadow{i, a.coverers(i), a.own[i][0]})
			a.gone[i] = true
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
// some of which none can be left out, as far as that can be told.
func (a *analysis) coverers(i int) []int {
	own := a.own[i]
	if one, ok := a.single(i); ok {
		return []int{one}
	}
	used := map[*space.Box]bool{}
	var all []int
	search := space.Search{Left: a.budget.each, Used: used}
	for j := range own {
		numbers, err := a.near(&search, &own[j], 0, i)
		if err == nil {
			_, _, err = search.Outside(&own[j], a.boxes(numbers))
		}
		if err != nil { // it was decided in two parts, which are easier than the whole
			for _, n := range numbers {
				used[a.index.Box(n)] = true
			}
		}
		for _, n := range numbers {
			if k := a.owner(n); used[a.index.Box(n)] && !slices.Contains(all, k) {
				all = append(all, k)
			}
		}
	}
	slices.Sort(all)
	return a.fewest(own, all)
}

// single is the first entry that holds all packets of a rule alone.
func (a *analysis) single(i int) (int, bool) {
	own := a.own[i]
	s := a.budget.search()
	numbers, err := a.near(s, &own[0], 0, i)
	a.budget.done(s)
	if err != nil {
		return 0, false
	}
	for _, n := range numbers {
		k := a.owner(n)
		holds := func(b space.Box) bool {
			return slices.ContainsFunc(a.entries[k].Boxes, func(o space.Box) bool { return o.Covers(&b) })
		}
		if a.index.Box(n).Covers(&own[0]) && !slices.ContainsFunc(own, func(b space.Box) bool { return !holds(b) }) {
			return k, true
		}
	}
	return 0, false
}

// fewest leaves out of entries that hold some boxes together one after the other, later ones first, while the rest
// still does.
func (a *analysis) fewest(own []space.Box, entries []int) []int {
	s := a.budget.search()
	defer a.budget.done(s)
	for n := len(entries) - 1; n >= 0 && len(entries) > 1; n-- {
		rest := slices.Delete(slices.Clone(entries), n, n+1)
		var boxes []*space.Box
		for _, k := range rest {
			for j := range a.entries[k].Boxes {
				boxes = append(boxes, &a.entries[k].Boxes[j])
			}
		}
		open := false
		for j := range own {
			if _, found, err := s.Outside(&own[j], boxes); found || err != nil {
				open = true
				break
			}
		}
		if !open {
			entries = rest
		}
	}
	return entries
}
