package check

import (
	"slices"

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
