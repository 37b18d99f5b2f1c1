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
	choices := [][]conj{
		patterns(ruleset.IIfName, m.IIf),
		patterns(ruleset.OIfName, m.OIf),
		marks(m.Mark),
		owners(ruleset.SkUID, m.User),
		owners(ruleset.SkGID, m.Group),
		macs(m.MAC),
	}
	n := 1
	for _, list := range choices {
		if n *= len(list); n > maxLines {
			return nil, fmt.Errorf("it takes more than %d lines to match", maxLines)
		}
	}
	if n == 0 || m.Sport.IsEmpty() {
		return nil, nil
	}
	keys := product(choices...)
	what := traffic{what: m.What, sport: m.Sport}
	var out []conj
	add := func(f family, addrs []conj) error {
		heads := what.lines(f)
		if len(out)+len(heads)*len(keys)*len(addrs) > maxLines {
			return fmt.Errorf("it takes more than %d lines to match", maxLines)
		}
		out = append(out, product(heads, keys, addrs)...)
		return nil
	}
	if m.From.IsAny() && m.To.IsAny() {
		err := add(both, anything())
		return out, err
	}
	for _, f := range families {
		if what.lines(f) == nil {
			continue
		}
		src := c.addresses(m.From, f, f.saddr(), owner+"/from")
		if src == nil {
			continue
		}
		if err := add(f, product(src, c.addresses(m.To, f, f.daddr(), owner+"/to"))); err != nil {
			return nil, err
		}
	}
	return out, nil
}
