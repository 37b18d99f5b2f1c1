package check

import (
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// clash is two rules with different verdicts of which the order hardly is what was meant.
type clash struct {
	earlier, later int       // entries
	defeats        bool      // an `allow` before a refusal that names whom it concerns
	example        space.Box // of packets that the earlier decides and the later would decide otherwise
}

// clashes finds the pairs of rules that speak about the same with different verdicts, and where the earlier decides
// some of it. Those of which it could not be found out are returned too, by the later rule.
func (a *analysis) clashes() (found []clash, undecided []int) {
	for i := a.first; i < a.last; i++ {
		if a.gone[i] {
			continue
		}
		some, err := a.clashesOf(i)
		if err != nil {
			undecided = append(undecided, i)
		}
		if len(some) > 0 {
			a.blamed[i] = true
		}
		found = append(found, some...)
	}
	return found, undecided
}

// maxClashes bounds the earlier rules that one rule is held against for nothing more than a longer message.
const maxClashes = 4

// clashesOf is the clashes of one rule with earlier ones.
func (a *analysis) clashesOf(later int) (found []clash, err error) {
	tried := map[int]bool{}
	for j := range a.own[later] {
		l := &a.own[later][j]
		s := a.budget.search()
		numbers, err := a.near(s, l, a.first, later)
		a.budget.done(s)
		if err != nil {
			return found, err
		}
		for _, n := range append([]int32(nil), numbers...) {
			k := a.owner(n)
			if len(found) == maxClashes {
				return found, nil
			}
			if tried[k] || a.verdict(k) == a.verdict(later) {
				continue
			}
			e := a.index.Box(n)
			if a.budget.left -= space.Cost(e, l); a.budget.left < 0 {
				return found, space.ErrTooComplex
			}
			kind, ok := a.clashing(k, e, later, a.whole[later][j])
			if !ok {
				continue
			}
			w, is, err := a.decidedBy(k, e, l)
			if err != nil {
				return found, err
			}
			if is {
				tried[k] = true
				found = append(found, clash{k, later, kind == defeats, w})
			}
		}
	}
	return found, nil
}

func (a *analysis) verdict(i int) policy.Verdict { return a.entries[i].Decision.Verdict }

// The kinds of clash.
const (
	contradicts = iota
	defeats
)

// clashing tells whether two overlapping boxes of rules with different verdicts clash, and how. Three patterns are
// ordinary, and no clash:
//
//   - an exception before the general rule: the earlier box lies within the later one, or the later has items that
//     contain the earlier's ("deny ssh from guests", "allow ssh from office" of which guests are a part);
//   - a refusal of some before what is open to all, though neither lies within the other ("deny any from bogons",
//     "allow web");
//   - trust in some before a refusal for the rest ("allow any from admins", "deny smtp").
//
// What is left is a rule of which whole items have been decided already.
func (a *analysis) clashing(earlier int, e *space.Box, later int, l *space.Box) (kind int, ok bool) {
	em, lm := &a.rule(earlier).Match, &a.rule(later).Match
	fit := func(d space.Dim) space.Fit { return a.space.Fit(d, l, lm, e, em) }
	if a.verdict(earlier) == policy.Allow && !l.Covers(e) && a.narrower(em, lm, fit) {
		return defeats, true
	}
	if lm.From.IsAny() && !em.From.IsAny() || lm.To.IsAny() && !em.To.IsAny() { // one family of what is written as all
		return 0, false
	}
	for d := space.Src; d <= space.DstIn; d++ {
		f := space.Fit(0)
		switch d {
		case space.Socket, space.HopLimit, space.State, space.Spoofed:
			continue // nothing that rules write
		case space.Time, space.SrcIn, space.DstIn:
			f = fit(d) &^ space.Across
		default:
			f = fit(d)
		}
		if f&(space.Inside|space.Across) == 0 {
			return 0, false
		}
	}
	return contradicts, true
}

// narrower tells whether the later of two rules names more narrowly whom it concerns: by addresses, owners or dynamic
// sets that the earlier takes among others, while the earlier itself is not about particular senders.
func (a *analysis) narrower(em, lm *policy.Match, fit func(space.Dim) space.Fit) bool {
	names := fit(space.Src)&space.Strict != 0 && !lm.From.IsAny() || fit(space.Dst)&space.Strict != 0 && !lm.To.IsAny()
	for _, d := range []space.Dim{space.SrcIn, space.DstIn, space.MAC, space.UID, space.GID} {
		names = names || fit(d)&space.Strict != 0
	}
	if !names {
		return false
	}
	for _, d := range []space.Dim{space.Src, space.SrcIn, space.MAC, space.UID, space.GID} {
		if fit(d)&space.Inside == 0 {
			return false
		}
	}
	return true
}

// decidedBy finds packets of two boxes that the earlier one's entry decides.
func (a *analysis) decidedBy(k int, e, l *space.Box) (space.Box, bool, error) {
	both, ok := l.Intersect(e)
	if !ok {
		return both, false, nil
	}
	s := a.budget.search()
	defer a.budget.done(s)
	numbers, err := a.near(s, &both, 0, k)
	if err != nil {
		return both, false, err
	}
	others := a.boxes(numbers)
	if sure, ok := a.space.Sure(&both); ok {
		if w, found, err := s.Outside(&sure, others); found || err != nil {
			return w, found, err
		}
	}
	return s.Outside(&both, others)
}
