package compile

import (
	"maps"
	"slices"
	"sync"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/decide"
	"ringwall/rules/policy"
)

// proof is a policy and its compiled form while dynamic sets hold something, ready to be asked about many packets.
type proof struct {
	p        *policy.Policy
	linear   *ruleset.Machine // tries every rule
	machine  *ruleset.Machine // does the same quicker
	over     *ruleset.Machine // takes limits as exceeded
	slowly   int              // one in so many packets is asked about without the shortcuts
	rewrites int              // one in so many is sent on by other tables, too
	labels   bool             // the compiled form marks what `in` has admitted
	filled   bool             // dynamic sets are filled for this proof alone, which concerns rules that ask for them
	all      bool             // and all the others

	block    []addrset.Addrs     // what `block` names, in parts
	before   []*shape            // what `block` and `failsafe` name, as packets of `in`
	early    map[string][]*shape // what decides before the rules, by its name, where it can be escaped
	around   []*shape            // the same of `in`
	lists    [3][]*shape         // of the rules
	cells    int                 // of a rule and family, so many are tried at most
	pool4    []addrset.U32       // addresses that something is said of
	pool6    []addrset.U128
	index    *decide.Index
	meetings [3]meetings
}

// How many cells of a rule and family are tried at most: the fewer the rules, the more.
const (
	mostCells           = 6000 // of all rules
	fewCells, manyCells = 48, 200
)

// newProof is the proof while dynamic sets hold what the policy is given; whom to ask it is told by ask. A proof of the same with other
// contents may lend what takes long to make.
func newProof(p *policy.Policy, lender *proof) *proof {
	pr := &proof{p: p, filled: lender != nil}
	if lender != nil {
		pr.index = lender.index.With(p)
	} else {
		var others sync.WaitGroup
		others.Go(func() { pr.index = decide.New(p) })
		defer others.Wait()
	}
	rules := 0
	for _, list := range p.Lists {
		rules += len(list)
	}
	known := resolver{given: p.Given, done: make(map[termList]*resolved), few: fewIn(rules), brief: pr.filled}
	for dir, list := range p.Lists {
		for _, r := range list {
			pr.lists[dir] = append(pr.lists[dir], newShape(policy.Dir(dir), &r.Match, r.Expires, known))
		}
	}
	pr.slowly, pr.rewrites = max(4, rules/8), max(3, rules/1000)
	pr.cells = min(max(mostCells/max(1, rules), fewCells), manyCells)
	pr.block = known.addrs(p.Block).whole
	pr.early = make(map[string][]*shape)
	add := func(by string, dir policy.Dir, m policy.Match) *shape {
		s := newShape(dir, &m, 0, known)
		pr.early[by] = append(pr.early[by], s)
		return s
	}
	if len(p.Block.Terms) > 0 {
		from, to := whole(), whole()
		from.From, to.To = p.Block, p.Block
		pr.before = append(pr.before, add(policy.ByBlock, policy.In, from))
		add(policy.ByBlock, policy.Out, to)
		add(policy.ByBlock, policy.Forward, from)
		add(policy.ByBlock, policy.Forward, to)
	}
	for _, f := range p.Failsafe {
		m := whole()
		m.What, m.From = f.What, f.From
		pr.before = append(pr.before, add(policy.ByFailsafe, policy.In, m))
	}
	lo := policy.Choice[policy.Pattern]{Yes: []policy.Pattern{policy.Loopback}}
	for _, dir := range policy.Dirs {
		over := whole()
		if dir == policy.Out {
			over.OIf = lo
		} else {
			over.IIf = lo
		}
		add(policy.ByLoopback, dir, over)
		for by, what := range map[string]policy.What{
			policy.ByNeighbour:  {V6: typeKeys(policy.ProtoICMPv6, 133, 136)},
			policy.ByMulticast:  {V4: typeKeys(policy.ProtoIGMP, 0, 255), V6: typeKeys(policy.ProtoICMPv6, 130, 143)},
			policy.ByICMPErrors: {V4: typeKeys(policy.ProtoICMP, 3, 12), V6: typeKeys(policy.ProtoICMPv6, 1, 4)},
			policy.ByDHCPClient: {V4: addrset.Between(policy.Key(17, 67), policy.Key(17, 68)), V6: addrset.Between(policy.Key(17, 546), policy.Key(17, 547))},
		} {
			m := whole()
			m.What = what
			add(by, dir, m)
		}
	}
	for _, by := range slices.Sorted(maps.Keys(pr.early)) {
		for _, s := range pr.early[by] {
			if s.dir == policy.In {
				pr.around = append(pr.around, s)
			}
		}
	}
	pr.fillPool()
	return pr
}

// ask makes machines of the compiled form the ones that are asked, which do the same.
func (pr *proof) ask(rs *ruleset.Ruleset, linear, quick *ruleset.Machine) {
	pr.labels = hasLabels(rs)
	pr.linear, pr.machine, pr.over = linear, quick, quick.Exceeded()
}

// hasLabels tells whether a rule set marks connections at all.
func hasLabels(rs *ruleset.Ruleset) bool {
	for _, ch := range rs.Chains {
		for _, r := range ch.Rules {
			for _, e := range r.Exprs {
				if _, is := e.(ruleset.SetLabel); is {
					return true
				}
			}
		}
	}
	return false
}

// whole matches everything.
func whole() policy.Match {
	return policy.Match{What: policy.AnyWhat(), From: policy.AnyAddrs(), To: policy.AnyAddrs(), Sport: addrset.All[addrset.U16]()}
}

// typeKeys is the keys of types of ICMP.
func typeKeys(proto, first, last uint8) addrset.Set[addrset.U32] {
	return addrset.Between(policy.Key(proto, uint16(first)<<8), policy.Key(proto, uint16(last)<<8|0xff))
}

// dynamic tells whether anything asks for dynamic sets.
func (pr *proof) dynamic() bool {
	asks := func(s *shape) bool { return s.dynamic }
	return slices.ContainsFunc(pr.before, asks) || slices.ContainsFunc(slices.Concat(pr.lists[:]...), asks)
}

// concerns tells whether witnesses of a shape are part of this proof.
func (pr *proof) concerns(s *shape) bool { return !pr.filled || pr.all || s.dynamic }

// corners is how many witnesses there are to be, about: of all rules, or of those alone that ask for dynamic sets.
func (pr *proof) corners(all bool) (n int) {
	for _, s := range pr.before {
		n += 5 * pr.passes(s) * s.count(pr.cells)
	}
	for _, list := range pr.lists {
		for _, s := range list {
			if all || s.dynamic {
				n += s.count(pr.cells)
			}
		}
	}
	return n
}

// within draws a plain key of a set, else an end of a range.
func within[K addrset.Key[K]](rng *picker, s addrset.Set[K], plain func() K) K {
	if k := plain(); s.Contains(k) {
		return k
	}
	return end(rng, s)
}

// fillPool takes addresses at corners up: of what dynamic sets hold, of what stands before the rules, and of rules.
func (pr *proof) fillPool() {
	const few, most = 16, 512 // ranges of each, and in all
	take := func(a addrset.Addrs) {
		v4, v6 := a.V4.Ranges(), a.V6.Ranges()
		for _, r := range v4[:min(few, len(v4))] {
			pr.pool4 = append(pr.pool4, r.Lo, r.Hi, r.Hi.Next())
		}
		for _, r := range v6[:min(few, len(v6))] {
			pr.pool6 = append(pr.pool6, r.Lo, r.Hi, r.Hi.Next())
		}
	}
	for _, name := range sortedKeys(pr.p.Given) {
		take(pr.p.Given[name])
	}
	for _, s := range pr.before {
		take(s.from)
	}
	for _, list := range pr.lists {
		for i := 0; i < len(list); i += 1 + len(list)/most {
			take(list[i].from)
			take(list[i].to)
		}
	}
}
