package check

import (
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// Coverage is which rules of a policy its tests touch. A test touches a rule where the rule decides about some of the
// packets that the test describes, so that the proof of the test stands on it. Tests that do not hold touch nothing.
type Coverage struct {
	Rules     int            // enabled ones
	Untouched []*policy.Rule // in the order of the policy's page
	Undecided []*policy.Rule // of which it would take too long to tell
}

// Touched is how many rules are known to be touched.
func (c *Coverage) Touched() int { return c.Rules - len(c.Untouched) - len(c.Undecided) }

// Cover tells which rules the tests touch that hold. Results is what Tests said of the policy.
func Cover(p *policy.Policy, results []Result) Coverage {
	c := coverer{touched: map[*policy.Rule]bool{}, unclear: map[*policy.Rule]bool{}}
	if s, err := space.New(p); err == nil {
		c.prover = prover{space: s, policy: p}
		for _, r := range results {
			if r.OK {
				c.test(r.Test)
			}
		}
	} // else no test holds
	var out Coverage
	for _, list := range p.Lists {
		for _, r := range list {
			switch out.Rules++; {
			case c.touched[r]:
			case c.unclear[r]:
				out.Undecided = append(out.Undecided, r)
			default:
				out.Untouched = append(out.Untouched, r)
			}
		}
	}
	return out
}

// coverer is Cover at work.
type coverer struct {
	prover
	touched, unclear map[*policy.Rule]bool
}

// test notes the rules that decide about some of what a test describes.
func (c *coverer) test(t *policy.Test) {
	entries, err := c.entries(t.List, t.Given)
	if err != nil {
		return
	}
	search := space.Search{Left: proofWork}
	for _, described := range c.described(t) {
		c.boxes(&search, &described, entries)
	}
}

// boxes notes the rules that decide about some packets of a box.
func (c *coverer) boxes(search *space.Search, described *space.Box, entries []space.Entry) {
	var before []*space.Box
	for _, e := range entries {
		rule := e.Decision.Rule
		for i := range e.Boxes {
			box := &e.Boxes[i]
			if !box.Overlaps(described) {
				continue
			}
			if rule != nil && !c.touched[rule] {
				part, _ := described.Intersect(box)
				_, found, err := search.Outside(&part, before)
				c.touched[rule] = found
				c.unclear[rule] = c.unclear[rule] || err != nil
			}
			if box.Covers(described) {
				return
			}
			before = append(before, box)
		}
	}
}
