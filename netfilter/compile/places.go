package compile

import (
	"slices"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// places is the chains that lists begin with, all that follow them up to the rules' own, and by which ways packets come there.
type places struct {
	chains map[string]*ruleset.Chain
	number map[*ruleset.Chain]int32
	maps   map[string]*ruleset.Map
	ways   map[string][]region
	order  []*ruleset.Chain        // of chains, those that lead to others before them
	rules  map[string]*policy.Rule // by their own chains
}

// How many ways to a chain are looked at: of those that rules or lookups lead to, and of those that many chains call.
const (
	mostWays  = 4
	mostCalls = 256
)

func newPlaces(p *policy.Policy, rs *ruleset.Ruleset) *places {
	g := &places{
		chains: make(map[string]*ruleset.Chain), number: make(map[*ruleset.Chain]int32), maps: make(map[string]*ruleset.Map), ways: make(map[string][]region), rules: make(map[string]*policy.Rule),
	}
	for i, ch := range rs.Chains {
		g.chains[ch.Name] = ch
		g.number[ch] = int32(i)
	}
	for _, m := range rs.Maps {
		g.maps[m.Name] = m
	}
	for _, list := range p.Lists {
		for _, r := range list {
			g.rules[ChainName(r)] = r
		}
	}
	seen := make(map[string]bool)
	for dir, base := range [...]string{policy.In: chainPre, policy.Out: chainOutput, policy.Forward: chainForward} {
		if g.chains[base] != nil {
			g.sort(base, seen)
			g.ways[base] = []region{anywhere(policy.Dir(dir))}
		}
	}
	slices.Reverse(g.order)
	for _, ch := range g.order {
		g.follow(ch)
	}
	return g
}

// next gives the verdicts of a rule that lead to chains which are looked at, with the element where the rule is a lookup.
func (g *places) next(r *ruleset.Rule, give func(chain string, ref *ruleset.VMapRef, e *ruleset.MapElem)) {
	leads := func(v ruleset.Verdict) bool {
		return v.Chain != "" && g.rules[v.Chain] == nil && g.chains[v.Chain] != nil
	}
	switch end := last(r).(type) {
	case ruleset.Verdict:
		if leads(end) {
			give(end.Chain, nil, nil)
		}
	case ruleset.VMapRef:
		elems := g.maps[end.Map].Elems
		for i := range elems {
			if leads(elems[i].Verdict) {
				give(elems[i].Verdict.Chain, &end, &elems[i])
			}
		}
	}
}

// last is how a rule ends.
func last(r *ruleset.Rule) ruleset.Expr { return r.Exprs[len(r.Exprs)-1] }

// matches is what a rule asks, and where it counts or logs, that.
func matches(r *ruleset.Rule) []ruleset.Expr { return r.Exprs[:len(r.Exprs)-1] }

// sort appends a chain after those that it leads to.
func (g *places) sort(chain string, seen map[string]bool) {
	if seen[chain] {
		return
	}
	seen[chain] = true
	for _, r := range g.chains[chain].Rules {
		g.next(r, func(to string, _ *ruleset.VMapRef, _ *ruleset.MapElem) { g.sort(to, seen) })
	}
	g.order = append(g.order, g.chains[chain])
}

// follow takes the ways to a chain on to those that it leads to.
func (g *places) follow(ch *ruleset.Chain) {
	ways := g.ways[ch.Name]
	for i, r := range ch.Rules {
		g.next(r, func(to string, ref *ruleset.VMapRef, e *ruleset.MapElem) {
			most, tries := mostWays, len(ways)
			if ref == nil && last(r).(ruleset.Verdict).Kind == ruleset.Jump {
				most, tries = mostCalls, min(mostWays, len(ways))
			}
			for n := range tries {
				if len(g.ways[to]) >= most {
					return
				}
				way, ok := ways[(i+n)%len(ways)].all(matches(r))
				if ok && ref != nil {
					way, ok = way.keyed(ref, e)
				}
				if ok {
					g.ways[to] = append(g.ways[to], way)
				}
			}
		})
	}
}

// size is about how many witnesses a chain has.
func (g *places) size(ch *ruleset.Chain) (n int) {
	const each = 4
	for _, r := range ch.Rules {
		n += each
		if ref, is := last(r).(ruleset.VMapRef); is {
			n += 2 * len(g.maps[ref.Map].Elems)
		}
	}
	return n
}

// corners is about how many witnesses there are.
func (g *places) corners() (n int) {
	for _, ch := range g.order {
		n += g.size(ch)
	}
	return n
}
