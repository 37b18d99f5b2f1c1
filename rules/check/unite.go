package check

import (
	"cmp"
	"slices"

	"ringwall/rules/space"
)

// manyLines is how many lines of a direction are read one by one; where there are more, causes are mixed.
const manyLines = 12

// mostBoxes is how many boxes of one label are told one by one: of the rules, and of what stands before them, where
// each change touches everything that comes after.
func mostBoxes(rules bool) int {
	if rules {
		return 4
	}
	return 1
}

// label is what makes packets go together.
type label struct {
	rules    bool
	from, to treatment
	cause    int // the entry that is new or changed; from -2 down that of the old policy that was; else -1
}

// few is what was found as few boxes, in the order of what decides.
func (d *differ) few(s *sides, all []found) []found {
	same := map[int]bool{}
	for _, p := range s.pairs {
		if s.old.entries[p[0]].Equal(&s.new.entries[p[1]]) {
			same[p[1]] = true
		}
	}
	list := d.united(all, func(f *found) int {
		if same[f.new] {
			return -2 - f.old
		}
		return f.new
	})
	if len(list) > manyLines {
		if shorter := d.united(all, func(*found) int { return -1 }); len(shorter) < len(list) {
			list = shorter
		}
	}
	slices.SortStableFunc(list, func(a, b found) int { return cmp.Or(cmp.Compare(a.new, b.new), cmp.Compare(a.old, b.old)) })
	before, after := s.old.order(), s.new.order()
	for i := range list {
		slices.SortFunc(list[i].was, before)
		slices.SortFunc(list[i].now, after)
	}
	return list
}

// order compares deciders by the order in which they are asked.
func (s *side) order() func(a, b Decider) int {
	places := make(map[Decider]int, len(s.entries))
	for i, e := range s.entries {
		places[decider(e.Decision)] = i
	}
	return func(a, b Decider) int { return cmp.Compare(places[a], places[b]) }
}

// united is what was found in as few boxes as can be, and where that is too many, summed up.
func (d *differ) united(all []found, cause func(*found) int) []found {
	groups := map[label]int{}
	var members [][]found
	for _, f := range all {
		l := label{f.rules, f.from, f.to, cause(&f)}
		i, ok := groups[l]
		if !ok {
			i = len(members)
			groups[l] = i
			members = append(members, nil)
		}
		members[i] = append(members[i], f)
	}
	var out []found
	for _, group := range members {
		list := merge(group)
		if !d.boxes && len(list) > mostBoxes(group[0].rules) {
			list = d.sum(list)
		}
		out = append(out, list...)
	}
	return out
}

// merge unites what makes one box, of one family or of both.
func merge(group []found) []found {
	boxes := make([]space.Box, len(group))
	for i := range group {
		boxes[i] = group[i].box
	}
	var out []found
	united, from := space.Merge(boxes)
	for i, b := range united {
		slices.Sort(from[i])
		f := group[from[i][0]]
		f.box, f.was, f.now, f.sum = b, nil, nil, 0
		for _, n := range from[i] {
			f.take(&group[n])
		}
		out = append(out, f)
	}
	return join(out)
}

// take adds to what decides, and to the boxes that are summed up.
func (f *found) take(g *found) {
	f.sum += g.sum
	f.was, f.now = addDeciders(f.was, g.was), addDeciders(f.now, g.now)
}

// join makes one of what is found of each family where one list of words says both, unless nobody will read them.
func join(list []found) []found {
	const readable = 1000
	if len(list) > readable {
		return list
	}
	var out []found
next:
	for _, f := range list {
		if f.box.Six {
			for i := range out {
				o := &out[i]
				if o.both || o.box.Six || !alike(&o.box, &f.box) {
					continue
				}
				o.both, o.other = true, &f.box
				if _, ok := o.what().Texts(); ok {
					o.take(&f)
					continue next
				}
				o.both, o.other = false, nil
			}
		}
		out = append(out, f)
	}
	return out
}

// alike tells whether two boxes differ in protocols and addresses at most.
func alike(a, b *space.Box) bool {
	for d := space.Sport; d <= space.DstIn; d++ {
		if !a.Set(d).Equal(b.Set(d)) {
			return false
		}
	}
	return true
}

// reportOpen names what is left undecided, in at most few boxes.
func (d *differ) reportOpen(open []found) {
	if len(open) == 0 {
		return
	}
	list := merge(open)
	if len(list) > manyLines {
		list = d.sum(list)
	}
	for _, f := range list {
		d.out.Undecided = append(d.out.Undecided, d.naming.packets(&f))
	}
}
