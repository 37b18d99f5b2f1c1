// Package decide answers for many packets what policy.Policy.Decide would, quicker: a sieve leaves out rules that can't match,
// and Decide goes through the rest.
package decide

import (
	"slices"

	"ringwall/rules/policy"
	"ringwall/rules/sieve"
)

// Index is a policy, ready to be asked about many packets. It may be shared between goroutines.
type Index struct {
	policy *policy.Policy
	sieves [3]*sieve.Sieve // by list; nil where it is short
}

// long is how many rules a list must have for a sieve to pay.
const long = 24

// New prepares a policy.
func New(p *policy.Policy) *Index {
	ix := &Index{policy: p}
	known := make(statics)
	for dir, list := range p.Lists {
		if len(list) >= long {
			ix.sieves[dir] = sieve.New(len(list), int(axes), func(rule, n int) ([]sieve.Range, bool) {
				return known.ranges(&list[rule].Match, axis(n))
			})
		}
	}
	return ix
}

// With is the Index of the same policy with other contents of its dynamic sets.
func (ix *Index) With(p *policy.Policy) *Index { return &Index{p, ix.sieves} }

// Asker asks an Index. It belongs to one goroutine.
type Asker struct {
	index *Index
	some  policy.Policy // the policy with those rules only that the packet at hand could match
	found []int32       // their places in the list
	rules []*policy.Rule
	value func(n int) (sieve.Key, bool)
	pkt   *policy.Packet // that value is about
}

// Asker makes an Asker.
func (ix *Index) Asker() *Asker {
	a := &Asker{index: ix, some: *ix.policy}
	a.value = func(n int) (sieve.Key, bool) { return keyOn(axis(n), a.pkt) }
	return a
}

// Decide is what the policy's Decide is: rules that do not match change nothing.
func (a *Asker) Decide(pkt *policy.Packet) policy.Decision {
	s := a.index.sieves[pkt.Dir]
	if s == nil || pkt.Src.Is4In6() || pkt.Dst.Is4In6() {
		return a.index.policy.Decide(pkt)
	}
	a.pkt = pkt
	a.found = s.Find(a.found[:0], a.value)
	list := a.index.policy.Lists[pkt.Dir]
	a.rules = a.rules[:0]
	for _, i := range a.found {
		a.rules = append(a.rules, list[i])
	}
	a.some.Lists[pkt.Dir] = a.rules
	return a.some.Decide(pkt)
}

// Place is where in its list the rule stands that decided last.
func (a *Asker) Place(r *policy.Rule) int {
	if i := slices.Index(a.rules, r); i >= 0 {
		return int(a.found[i])
	}
	return slices.Index(a.index.policy.Lists[r.List], r)
}
