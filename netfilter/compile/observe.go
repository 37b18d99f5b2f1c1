package compile

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/check"
	"ringwall/rules/policy"
)

// ObserveTable is the name of the table that counts what another policy would decide otherwise.
const ObserveTable = "ringwall-observe"

// CaseName is the name of a case's chain, of its counter, and its log prefix; n is its number in check.Otherwise.
func CaseName(n int) string { return "otherwise." + strconv.Itoa(n) }

// ParseCase is the number of the case whose name it is, false where it is none's.
func ParseCase(name string) (n int, ok bool) {
	digits, found := strings.CutPrefix(name, "otherwise.")
	if !found {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0
}

// observeWitnesses is about how many packets the policy of an observation is held against.
const observeWitnesses = 20_000

// Observe is the rule set of ObserveTable: it counts and logs what another policy would decide otherwise, by case, and decides
// nothing. Its base chains stand on the hooks of the policy that is enforced, each just before that one's. It is the compiled form of
// the policies of o, which Verify has held against them, with other ends.
//
// Be aware: what `in` has admitted it knows by the connection label that the enforced table sets.
func Observe(o *check.Otherwise, opt Options) (*ruleset.Ruleset, error) {
	w := onlooker{Ruleset: new(ruleset.Ruleset), opt: opt, of: o.Of}
	chains, err := w.part(o.Policy, opt)
	if err != nil {
		return nil, err
	}
	w.Chains = chains
	if o.Early != nil {
		// Nothing is labelled yet where block is asked.
		opt.NoLabels = true
		if chains, err = w.part(o.Early, opt); err != nil {
			return nil, err
		}
		w.early(chains)
	}
	for _, set := range w.Sets { // so that large ones need not be read back
		if mark := set.Mark(); mark != "" {
			w.Counters = append(w.Counters, ruleset.Counter{Name: mark})
		}
	}
	for n := range o.Cases {
		w.count(CaseName(n), &o.Cases[n])
	}
	if err := Harmless(w.Ruleset); err != nil {
		return nil, err
	}
	if err := w.Check(); err != nil {
		return nil, fmt.Errorf("compiled rule set: %w", err)
	}
	return w.Ruleset, nil
}

// onlooker is the rule set of ObserveTable in the making.
type onlooker struct {
	*ruleset.Ruleset
	opt Options
	of  map[*policy.Rule]int
}

// part compiles a policy of what is decided otherwise, holds the result against it, and leads its rules to the chains of their cases.
// Sets and maps are taken up; the chains are returned.
func (w *onlooker) part(p *policy.Policy, opt Options) ([]*ruleset.Chain, error) {
	rs, err := Compile(p, opt)
	if err != nil {
		return nil, fmt.Errorf("compile what is decided otherwise: %w", err)
	}
	if _, err := VerifySample(p, rs, observeWitnesses); err != nil {
		return nil, fmt.Errorf("the compiled form of what is decided otherwise is wrong: %w", err)
	}
	ends := map[string]string{}
	for _, list := range p.Lists {
		for _, r := range list {
			if n, ok := w.of[r]; ok {
				ends[ChainName(r)] = CaseName(n)
			}
		}
	}
	for _, ch := range rs.Chains {
		w.disarm(ch)
		if end, ok := ends[ch.Name]; ok {
			ch.Rules = []*ruleset.Rule{rule(nil, to(end))}
		}
	}
	for _, set := range rs.Sets {
		// Sets are named for their rules, whose ids are unique, but dynamic ones are the same for all.
		if !slices.ContainsFunc(w.Sets, func(s *ruleset.Set) bool { return s.Name == set.Name }) {
			w.Sets = append(w.Sets, set)
		}
	}
	w.Maps = append(w.Maps, rs.Maps...)
	return rs.Chains, nil
}

// early adds chains that see packets before block and connection tracking do, under names of their own.
func (w *onlooker) early(chains []*ruleset.Chain) {
	const prefix = "early/"
	renamed := map[string]bool{}
	for _, ch := range chains {
		renamed[ch.Name] = true
	}
	verdict := func(v ruleset.Verdict) ruleset.Verdict {
		if renamed[v.Chain] {
			v.Chain = prefix + v.Chain
		}
		return v
	}
	maps := map[string]bool{}
	for _, ch := range chains {
		if ch.Name == chainInput {
			continue // nothing of it gets there
		}
		ch.Name = prefix + ch.Name
		if ch.Hook != nil {
			ch.Hook.Priority = priorityRaw - 1
		}
		for _, r := range ch.Rules {
			for i, e := range r.Exprs {
				switch e := e.(type) {
				case ruleset.Verdict:
					r.Exprs[i] = verdict(e)
				case ruleset.VMap:
					elems := slices.Clone(e.Elems)
					for j := range elems {
						elems[j].Verdict = verdict(elems[j].Verdict)
					}
					e.Elems = elems
					r.Exprs[i] = e
				case ruleset.VMapRef:
					maps[e.Map] = true
					e.Map = prefix + e.Map
					r.Exprs[i] = e
				}
			}
		}
		w.Chains = append(w.Chains, ch)
	}
	// The maps of this part are the last with their names.
	for i := len(w.Maps) - 1; i >= 0; i-- {
		if m := w.Maps[i]; maps[m.Name] {
			delete(maps, m.Name)
			m.Name = prefix + m.Name
			for j := range m.Elems {
				m.Elems[j].Verdict = verdict(m.Elems[j].Verdict)
			}
		}
	}
}

// disarm takes out of a chain what decides: it counts nothing, changes no connection, and lets every packet on.
func (w *onlooker) disarm(ch *ruleset.Chain) {
	if ch.Hook != nil {
		ch.Hook.Drop = false
		ch.Hook.Priority--
	}
	for _, r := range ch.Rules {
		r.Comment = ""
		r.Exprs = slices.DeleteFunc(slices.Clone(r.Exprs), func(e ruleset.Expr) bool {
			switch e.(type) {
			case ruleset.Count, ruleset.SetLabel:
				return true
			}
			return false
		})
		for i, e := range r.Exprs {
			if e == ruleset.Expr(drop) {
				r.Exprs[i] = accept
			}
		}
	}
}

// count makes the chain of a case.
func (w *onlooker) count(name string, c *check.Case) {
	w.Counters = append(w.Counters, ruleset.Counter{Name: name})
	found := []*ruleset.Rule{
		rule(conj{ruleset.Count{Counter: name}}),
		rule(conj{ruleset.Limit{Rate: ruleset.Rate{Packets: logsASecond, Unit: 1, Burst: logsASecond}}}, ruleset.Log{Group: w.opt.LogGroup, Prefix: name}),
		rule(nil, accept),
	}
	ch := &ruleset.Chain{Name: name, Rules: found}
	w.Chains = append(w.Chains, ch)
	if c.New != policy.Allow || c.Rule == nil {
		return
	}
	// What exceeds the limits of the new rule is not admitted by it: of what is denied now nothing changes for that, and of what is
	// admitted now that alone.
	over := accept
	if c.Old == policy.Allow {
		over = ruleset.Verdict{Kind: ruleset.Goto, Chain: name + "/over"}
		w.Chains = append(w.Chains, &ruleset.Chain{Name: over.Chain, Rules: found})
		ch.Rules = []*ruleset.Rule{rule(nil, accept)}
	}
	ch.Rules = append(w.limits(name, c.Rule, over), ch.Rules...)
}

// limits is the rules that send on what exceeds the limits of a rule, from buckets of their own.
func (w *onlooker) limits(name string, r *policy.Rule, over ruleset.Verdict) (rules []*ruleset.Rule) {
	c := &compiler{opt: w.opt, rs: new(ruleset.Ruleset), sets: make(map[string]*ruleset.Set), counters: make(map[string]bool)}
	b := actBuilder{compiler: c, rule: r, name: name, chain: &ruleset.Chain{Name: name}, when: conj{isNew()}}
	if l := r.Action.Limit; l != nil {
		b.limit(l)
	}
	if n := r.Action.Connections; n != nil {
		b.connections(n)
	}
	w.Sets, w.Limits = append(w.Sets, c.rs.Sets...), append(w.Limits, c.rs.Limits...)
	for _, r := range b.chain.Rules {
		n := len(r.Exprs)
		if r.Exprs[n-1] != ruleset.Expr(drop) {
			continue // counts whom there was no room for
		}
		rules = append(rules, rule(r.Exprs[:n-2], over)) // without the counter
	}
	return rules
}

// Harmless tells whether a rule set can't touch a packet: no chain refuses, and no rule drops, answers, or marks anything. An error
// names what could.
func Harmless(rs *ruleset.Ruleset) error {
	verdict := func(where string, v ruleset.Verdict) error {
		if v.Kind == ruleset.Drop {
			return fmt.Errorf("what only counts would drop in %s", where)
		}
		return nil
	}
	for _, m := range rs.Maps {
		for _, e := range m.Elems {
			if err := verdict("map "+m.Name, e.Verdict); err != nil {
				return err
			}
		}
	}
	for _, ch := range rs.Chains {
		if ch.Hook != nil && ch.Hook.Drop {
			return fmt.Errorf("what only counts would drop at the end of chain %s", ch.Name)
		}
		for _, r := range ch.Rules {
			for _, e := range r.Exprs {
				var err error
				switch e := e.(type) {
				case ruleset.Verdict:
					err = verdict("chain "+ch.Name, e)
				case ruleset.VMap:
					for _, elem := range e.Elems {
						err = cmp.Or(err, verdict("chain "+ch.Name, elem.Verdict))
					}
				case ruleset.Reject, ruleset.SetLabel:
					err = fmt.Errorf("what only counts would act in chain %s: %T", ch.Name, e)
				}
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}
