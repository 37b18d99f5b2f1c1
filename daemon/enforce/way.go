package enforce

import (
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// Way is more than any packet passes where its direction is judged, from the base chain to the verdict.
type Way struct {
	List    string `json:"list"`
	Lookups int    `json:"lookups"` // in maps of many rules
	Rules   int    `json:"rules"`   // of the kernel's, others
}

// Long tells whether a way is more than what comes of a list that is tried in order.
func (w Way) Long() bool {
	const most = 100 // rules: the base, failsafe, and the lines of two families
	return w.Lookups > 0 || w.Rules > most
}

// costliest is the costliest way in each direction that something is judged in.
func costliest(rs *ruleset.Ruleset) (out []Way) {
	judged := [...]ruleset.HookPoint{policy.In: ruleset.Prerouting, policy.Out: ruleset.Output, policy.Forward: ruleset.ForwardHook}
	for _, dir := range policy.Dirs {
		if w := rs.Worst(judged[dir]); w != (ruleset.Way{}) {
			out = append(out, Way{dir.String(), w.Lookups, w.Rules})
		}
	}
	return out
}
