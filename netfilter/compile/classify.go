package compile

import "ringwall/netfilter/ruleset"

// target is a chain and the lines that lead to it.
type target struct {
	lines []conj
	chain string
}

// classify makes rules that send a packet to the chain of the first target of which it is in any line, and let it fall through
// where there is none. It is a plain ordered list, so that it costs every packet what stands before its rule; a quicker
// structure may take its place and must only lead every packet to the same target.
func classify(targets []target) []*ruleset.Rule {
	var out []*ruleset.Rule
	for _, t := range targets {
		for _, line := range t.lines {
			out = append(out, rule(line, ruleset.Verdict{Kind: ruleset.Goto, Chain: t.chain}))
		}
	}
	return out
}

// rule is a rule of matches and what it does.
func rule(match conj, do ...ruleset.Expr) *ruleset.Rule {
	return &ruleset.Rule{Exprs: and(match, do)}
}
