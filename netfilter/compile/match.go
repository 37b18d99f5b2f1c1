package compile

import (
	"fmt"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// maxLines is how many lines one rule may take in a classifier. Only keys with many wildcards or masks, all in one rule, get there.
const maxLines = 4096

// lines matches what a rule matches: each line is enough. Owner names the rule's own sets.
func (c *compiler) lines(m *policy.Match, owner string) ([]conj, error) {
	keys, err := bounded(
		patterns(ruleset.IIfName, m.IIf),
		patterns(ruleset.OIfName, m.OIf),
		marks(m.Mark),
		owners(ruleset.SkUID, m.User),
		owners(ruleset.SkGID, m.Group),
		macs(m.MAC),
	)
	if err != nil || len(keys) == 0 || m.Sport.IsEmpty() {
		return nil, err
	}
	what := traffic{what: m.What, sport: m.Sport}
	if m.From.IsAny() && m.To.IsAny() {
		return bounded(what.lines(both), keys, anything())
	}
	var out []conj
	for _, f := range families {
		heads := what.lines(f)
		if heads == nil {
			continue
		}
		src := c.addresses(m.From, f, f.saddr(), owner+"/from")
		if src == nil {
			continue
		}
		lines, err := bounded(heads, keys, product(src, c.addresses(m.To, f, f.daddr(), owner+"/to")))
		if err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	return out, nil
}

// bounded is a product that is an error where it exceeds the bound.
func bounded(lists ...[]conj) ([]conj, error) {
	n := 1
	for _, list := range lists {
		if n *= len(list); n > maxLines {
			return nil, fmt.Errorf("it takes more than %d lines to match", maxLines)
		}
	}
	return product(lists...), nil
}
