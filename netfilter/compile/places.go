package compile

import (
	"sync"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// places is the chains of the compiled form up to the rules' own, by their numbers, and by which ways packets come there.
type places struct {
	chains  []*ruleset.Chain
	number  map[string]int32
	maps    map[string]*ruleset.Map
	rules   []*policy.Rule // of the chains that are a rule's own
	callers [][]call       // of each chain that is none

	mu    sync.Mutex
	ways  [][]region // to each chain, as far as they are known
	known []bool
}

// call is where a chain is gone to: from a rule of another one or, where that is a lookup, from an element of its map.
type call struct{ chain, rule, elem int32 }

// How many ways to a chain are looked at: of those that rules or lookups lead to, and of those that many chains call.
const (
	mostWays  = 4
	mostCalls = 256
)

// newPlaces is the places of a rule set, which need not be sound unless one looks at them.
func newPlaces(p *policy.Policy, rs *ruleset.Ruleset) *places {
	n := len(rs.Chains)
	g := &places{
		chains: rs.Chains, number: make(map[string]int32, n), maps: make(map[string]*ruleset.Map, len(rs.Maps)),
		rules: make([]*policy.Rule, n), callers: make([][]call, n), ways: make([][]region, n), known: make([]bool, n),
	}
	for i, ch := range rs.Chains {
		g.number[ch.Name] = int32(i)
	}
	for _, m := range rs.Maps {
		g.maps[m.Name] = m
	}
	for _, list := range p.Lists {
		for _, r := range list {
			if i, ok := g.number[ChainName(r)]; ok {
				g.rules[i] = r
			}
		}
	}
	g.findCallers()
	for dir, base := range [...]string{policy.In: chainPre, policy.Out: chainOutput, policy.Forward: chainForward} {
		if i, ok := g.number[base]; ok {
			g.ways[i] = []region{anywhere(policy.Dir(dir))}
		}
	}
	for i := range g.known {
		g.known[i] = len(g.callers[i]) == 0
	}
	return g
}

// findCallers finds where each chain is gone to.
func (g *places) findCallers() {
	// Several chains ask one map, whose elements are resolved once.
	elems := make(map[string][]int32, len(g.maps))
	for name, m := range g.maps {
		to := make([]int32, len(m.Elems))
		for i := range m.Elems {
			to[i] = g.leads(&m.Elems[i].Verdict)
		}
		elems[name] = to
	}
	each := func(do func(from call, to int32)) {
		for i, ch := range g.chains {
			if g.rules[i] != nil {
				continue
			}
			for k, r := range ch.Rules {
				switch end := last(r).(type) {
				case ruleset.Verdict:
					do(call{int32(i), int32(k), -1}, g.leads(&end))
				case ruleset.VMapRef:
					for n, to := range elems[end.Map] {
						do(call{int32(i), int32(k), int32(n)}, to)
					}
				}
			}
		}
	}
	counts, total := make([]int, len(g.chains)), 0
	each(func(_ call, to int32) {
		if to >= 0 {
			counts[to]++
			total++
		}
	})
	room := make([]call, total)
	for i, n := range counts {
		g.callers[i], room = room[:0:n], room[n:]
	}
	each(func(from call, to int32) {
		if to >= 0 {
			g.callers[to] = append(g.callers[to], from)
		}
	})
}

// leads is the chain that a verdict leads to, where that is none of a rule's own; negative for none.
func (g *places) leads(v *ruleset.Verdict) int32 {
	if v.Chain != "" {
		if to, ok := g.number[v.Chain]; ok && g.rules[to] == nil {
			return to
		}
	}
	return -1
}

// last is how a rule ends.
func last(r *ruleset.Rule) ruleset.Expr {
	if len(r.Exprs) == 0 {
		return nil
	}
	return r.Exprs[len(r.Exprs)-1]
}

// matches is what a rule asks, and where it counts or logs, that.
func matches(r *ruleset.Rule) []ruleset.Expr { return r.Exprs[:len(r.Exprs)-1] }

// waysTo is the ways to a chain of a rule set that is sound.
func (g *places) waysTo(chain int32) []region {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.find(chain)
}

func (g *places) find(chain int32) []region {
	if g.known[chain] {
		return g.ways[chain]
	}
	var out []region
	for _, c := range g.callers[chain] {
		r := g.chains[c.chain].Rules[c.rule]
		v, direct := last(r).(ruleset.Verdict)
		called := direct && v.Kind == ruleset.Jump
		if len(out) >= mostCalls || !called && len(out) >= mostWays {
			continue
		}
		most, tries := mostWays, len(g.find(c.chain))
		if called {
			most, tries = mostCalls, min(mostWays, tries)
		}
		from := g.ways[c.chain]
		for n := 0; n < tries && len(out) < most; n++ {
			way, ok := from[(int(c.rule)+n)%len(from)].all(matches(r))
			if ok && !direct {
				ref := last(r).(ruleset.VMapRef)
				way, ok = way.keyed(&ref, &g.maps[ref.Map].Elems[c.elem])
			}
			if ok {
				out = append(out, way)
			}
		}
	}
	g.ways[chain], g.known[chain] = out, true
	return out
}

// size is about how many witnesses a chain has: for spans and lookups, and for what is asked besides.
func (g *places) size(chain int32) (n, loose int) {
	if len(g.callers[chain]) == 0 && len(g.ways[chain]) == 0 { // nor will there be any
		return 0, 0
	}
	const each = 4
	for _, r := range g.chains[chain].Rules {
		n += each
		for _, e := range r.Exprs {
			loose += looseCorners(e)
		}
		if ref, is := last(r).(ruleset.VMapRef); is {
			n += 2 * len(g.maps[ref.Map].Elems)
		}
	}
	return n, loose
}

// corners is about how many witnesses there are of either kind.
func (g *places) corners() (n, loose int) {
	for i := range g.chains {
		a, b := g.size(int32(i))
		n, loose = n+a, loose+b
	}
	return n, loose
}
