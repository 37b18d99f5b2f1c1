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
	if m.From.IsAny() && m.To.IsAny() {
		return c.familyLines(m, owner, both)
	}
	var out []conj
	for _, f := range families {
		lines, err := c.familyLines(m, owner, f)
		if err != nil {
			return nil, err
		}
		out = append(out, lines...)
	}
	return out, nil
}

// familyLines is the lines for a family, or for both where no address is asked for.
func (c *compiler) familyLines(m *policy.Match, owner string, f family) ([]conj, error) {
	keys, err := keyLines(m)
	if err != nil || len(keys) == 0 || m.Sport.IsEmpty() {
		return nil, err
	}
	heads := traffic{what: m.What, sport: m.Sport}.lines(f)
	if f == both || heads == nil {
		return bounded(heads, keys)
	}
	src := c.addresses(m.From, f, f.saddr(), owner+"/from")
	if src == nil {
		return nil, nil
	}
	return bounded(heads, keys, product(src, c.addresses(m.To, f, f.daddr(), owner+"/to")))
}

// keyLines matches what a rule asks for beside protocols, ports and addresses.
func keyLines(m *policy.Match) ([]conj, error) {
	if m.IIf.IsAny() && m.OIf.IsAny() && m.Mark.IsAny() && m.User.IsAny() && m.Group.IsAny() && m.MAC.IsAny() {
		return anything(), nil
	}
	return bounded(
		patterns(ruleset.IIfName, m.IIf),
		patterns(ruleset.OIfName, m.OIf),
		marks(m.Mark),
		owners(ruleset.SkUID, m.User),
		owners(ruleset.SkGID, m.Group),
		macs(m.MAC),
	)
}

// expiry is the time until which a rule matches.
func expiry(r *policy.Rule) []conj {
	if r.Expires == 0 {
		return anything()
	}
	return only(ruleset.Cmp{Field: ruleset.Time, Op: ruleset.Lt, Value: ruleset.Time.Value(uint64(r.Expires) * 1e9)})
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
