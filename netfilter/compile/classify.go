package compile

import (
	"fmt"
	"sync"

	"ringwall/netfilter/classify"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// linear is the longest list that stays one. To try so many lines in order is quicker than to look anything up.
func (o Options) linear() int {
	if o.Linear != 0 {
		return o.Linear
	}
	return 24
}

// classify makes what leads a packet to the chain of the first rule of a list that matches it, and lets it fall through where
// there is none: a plain ordered list where it is short or nothing in it can be looked up, else a structure of lookups for each
// family; it tells which.
func (c *compiler) classify(ch *ruleset.Chain, list []*policy.Rule) (lookups bool, err error) {
	reached := 1 // chains, of which the last is the list's
	if ch.Hook == nil {
		reached = 2
	}
	var trees []*tree
	var building sync.WaitGroup // of both families' halves at once
	for _, f := range families {
		t := &tree{compiler: c, family: f, name: ch.Name + "/" + f.digit(), rules: list}
		t.lines, t.boxes = make([]line, 0, len(list)), make([]classify.Line, 0, len(list))
		for i, r := range list {
			boxes, err := c.boxes(r, f)
			if err != nil {
				building.Wait()
				return false, at(r, err)
			}
			for _, b := range boxes {
				t.lines = append(t.lines, b)
				t.boxes = append(t.boxes, classify.Line{Box: b.Box, Target: i, Loose: len(b.rest) > 0})
			}
		}
		if len(t.lines) > c.opt.linear() {
			building.Go(func() { t.build(reached) })
		}
		trees = append(trees, t)
	}
	building.Wait()
	for _, t := range trees {
		lookups = lookups || t.root != nil && t.root.Probes()
	}
	if !lookups {
		for _, r := range list {
			lines, err := c.lines(&r.Match, ChainName(r))
			if err != nil {
				return false, at(r, err)
			}
			add(ch, product(lines, expiry(r)), to(ChainName(r)))
		}
		return false, nil
	}
	for _, t := range trees {
		if len(t.lines) == 0 {
			continue
		}
		add(ch, []conj{t.family.guard()}, ruleset.Verdict{Kind: ruleset.Jump, Chain: t.name})
		if t.root == nil {
			t.build(reached)
		}
		t.emit()
	}
	return true, nil
}

// at adds a rule's place to an error.
func at(r *policy.Rule, err error) error {
	return fmt.Errorf("%s: rule %s: %w", r.At.Short(), r.ID, err)
}

// rule is a rule of matches and what it does.
func rule(match conj, do ...ruleset.Expr) *ruleset.Rule {
	return &ruleset.Rule{Exprs: and(match, do)}
}
