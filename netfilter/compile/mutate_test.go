package compile

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// mutant is a compiled rule set that is about to be broken.
type mutant struct {
	*ruleset.Ruleset
	rng *rand.Rand
	// only tells of a chain whether it may be broken; nil for any.
	only func(chain string) bool
}

// may is the chains that may be broken.
func (m mutant) may() (out []*ruleset.Chain) {
	for _, ch := range m.Chains {
		if m.only == nil || m.only(ch.Name) {
			out = append(out, ch)
		}
	}
	return out
}

// newMutant copies a rule set as deep as mutations reach.
func newMutant(rs *ruleset.Ruleset, rng *rand.Rand) mutant {
	out := *rs
	out.Chains, out.Sets, out.Maps, out.Limits = nil, nil, nil, slices.Clone(rs.Limits)
	for _, ch := range rs.Chains {
		c := *ch
		if ch.Hook != nil {
			h := *ch.Hook
			c.Hook = &h
		}
		c.Rules = nil
		for _, r := range ch.Rules {
			c.Rules = append(c.Rules, &ruleset.Rule{Exprs: slices.Clone(r.Exprs), Comment: r.Comment})
		}
		out.Chains = append(out.Chains, &c)
	}
	for _, s := range rs.Sets {
		s := *s
		out.Sets = append(out.Sets, &s)
	}
	for _, v := range rs.Maps {
		v := *v
		v.Keys, v.Elems = slices.Clone(v.Keys), slices.Clone(v.Elems)
		out.Maps = append(out.Maps, &v)
	}
	return mutant{Ruleset: &out, rng: rng}
}

// chain changes a chain with at least so many rules.
func (m mutant) chain(rules int, change func(*ruleset.Chain) bool) bool {
	var list []*ruleset.Chain
	for _, ch := range m.may() {
		if len(ch.Rules) >= rules {
			list = append(list, ch)
		}
	}
	return list != nil && change(list[m.rng.IntN(len(list))])
}

// expr changes a randomly chosen expression that change can change: it returns what to put in its place, none to leave it out,
// and false where it is not one of its kind.
func (m mutant) expr(change func(ruleset.Expr) ([]ruleset.Expr, bool)) bool {
	type place struct {
		rule *ruleset.Rule
		at   int
		with []ruleset.Expr
	}
	var places []place
	for _, ch := range m.may() {
		for _, r := range ch.Rules {
			for i, e := range r.Exprs {
				if with, ok := change(e); ok {
					places = append(places, place{r, i, with})
				}
			}
		}
	}
	if places == nil {
		return false
	}
	p := places[m.rng.IntN(len(places))]
	if p.with == nil && len(p.rule.Exprs) == 1 {
		return false // a rule that says nothing
	}
	p.rule.Exprs = slices.Replace(p.rule.Exprs, p.at, p.at+1, p.with...)
	return true
}

// instead is one expression in place of another.
func instead(e ruleset.Expr) ([]ruleset.Expr, bool) { return []ruleset.Expr{e}, true }

func unfit() ([]ruleset.Expr, bool) { return nil, false }

// step is a value moved by one, up or down.
func step(v []byte, up bool) []byte {
	v = slices.Clone(v)
	for i := len(v) - 1; i >= 0; i-- {
		if up {
			if v[i]++; v[i] != 0 {
				break
			}
		} else if v[i]--; v[i] != 255 {
			break
		}
	}
	return v
}

// bound moves an end of an interval of an anonymous set, which must stay one.
func (m mutant) bound(hi, up bool) bool {
	return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
		in, is := e.(ruleset.In)
		if !is || in.Field.IsName() {
			return unfit()
		}
		i := m.rng.IntN(len(in.Elems))
		in.Elems = slices.Clone(in.Elems)
		el := &in.Elems[i]
		if hi {
			el.Hi = step(el.Hi, up)
		} else {
			el.Lo = step(el.Lo, up)
		}
		switch {
		case bytes.Compare(el.Lo, el.Hi) > 0:
			return unfit()
		case i > 0 && bytes.Compare(in.Elems[i-1].Hi, el.Lo) >= 0, i+1 < len(in.Elems) && bytes.Compare(el.Hi, in.Elems[i+1].Lo) >= 0:
			return unfit()
		}
		return instead(in)
	})
}

// verdict changes a verdict of a kind.
func (m mutant) verdict(from ruleset.VerdictKind, to ruleset.Expr) bool {
	return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
		if v, is := e.(ruleset.Verdict); is && v.Kind == from {
			return instead(to)
		}
		return unfit()
	})
}

// without leaves out an expression that asks about a field.
func (m mutant) without(fields ...ruleset.Field) bool {
	return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
		switch e := e.(type) {
		case ruleset.Cmp:
			return nil, slices.Contains(fields, e.Field)
		case ruleset.In:
			return nil, slices.Contains(fields, e.Field)
		case ruleset.Lookup:
			return nil, slices.Contains(fields, e.Field)
		}
		return unfit()
	})
}

// renamed asks another field for the same.
func (m mutant) renamed(pairs ...ruleset.Field) bool {
	other := func(f ruleset.Field) (ruleset.Field, bool) {
		i := slices.Index(pairs, f)
		if i < 0 {
			return f, false
		}
		return pairs[i^1], true
	}
	return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
		var ok bool
		switch e := e.(type) {
		case ruleset.Cmp:
			e.Field, ok = other(e.Field)
			return []ruleset.Expr{e}, ok
		case ruleset.In:
			e.Field, ok = other(e.Field)
			return []ruleset.Expr{e}, ok
		case ruleset.Lookup:
			e.Field, ok = other(e.Field)
			return []ruleset.Expr{e}, ok
		}
		return unfit()
	})
}

// cmp changes a comparison.
func (m mutant) cmp(fits func(ruleset.Cmp) bool, change func(*ruleset.Cmp)) bool {
	return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
		c, is := e.(ruleset.Cmp)
		if !is || !fits(c) {
			return unfit()
		}
		change(&c)
		return instead(c)
	})
}

// mask makes a masked comparison of addresses ask for one bit less, or one more.
func (m mutant) mask(wider bool) bool {
	fits := func(c ruleset.Cmp) bool { return c.Mask != nil && len(c.Mask)%4 == 0 && c.Field != ruleset.CtState }
	return m.cmp(fits, func(c *ruleset.Cmp) {
		c.Mask, c.Value = slices.Clone(c.Mask), slices.Clone(c.Value)
		for i := range 8 * len(c.Mask) {
			j := i
			if wider {
				j = 8*len(c.Mask) - 1 - i
			}
			bit := byte(0x80) >> (j % 8)
			if (c.Mask[j/8]&bit != 0) == wider {
				c.Mask[j/8] ^= bit
				c.Value[j/8] &^= bit
				return
			}
		}
	})
}

// hook changes a base chain.
func (m mutant) hook(change func(*ruleset.Hook)) bool {
	var hooks []*ruleset.Hook
	for _, ch := range m.Chains {
		if ch.Hook != nil {
			hooks = append(hooks, ch.Hook)
		}
	}
	change(hooks[m.rng.IntN(len(hooks))])
	return true
}

// acting draws the chain of a rule.
func (m mutant) acting(not string) string {
	var names []string
	for _, ch := range m.Chains {
		if _, _, ok := ParseName(ch.Name); ok && ch.Name != not {
			names = append(names, ch.Name)
		}
	}
	if names == nil {
		return ""
	}
	return names[m.rng.IntN(len(names))]
}

// mutations is the ways in which the compiler's output is broken. Each returns false where there is nothing of its kind.
func mutations() map[string]func(mutant) bool {
	isA := func(f ruleset.Field) func(ruleset.Cmp) bool { return func(c ruleset.Cmp) bool { return c.Field == f } }
	return map[string]func(mutant) bool{
		"two lines in the wrong order": func(m mutant) bool {
			return m.chain(2, func(ch *ruleset.Chain) bool {
				i := m.rng.IntN(len(ch.Rules) - 1)
				ch.Rules[i], ch.Rules[i+1] = ch.Rules[i+1], ch.Rules[i]
				return true
			})
		},
		"two rules far apart in the wrong order": func(m mutant) bool {
			return m.chain(3, func(ch *ruleset.Chain) bool {
				i, j := m.rng.IntN(len(ch.Rules)), m.rng.IntN(len(ch.Rules))
				ch.Rules[i], ch.Rules[j] = ch.Rules[j], ch.Rules[i]
				return i != j
			})
		},
		"a lost line": func(m mutant) bool {
			return m.chain(1, func(ch *ruleset.Chain) bool {
				i := m.rng.IntN(len(ch.Rules))
				ch.Rules = slices.Delete(ch.Rules, i, i+1)
				return true
			})
		},
		"a line twice, the first time too early": func(m mutant) bool {
			return m.chain(2, func(ch *ruleset.Chain) bool {
				i := 1 + m.rng.IntN(len(ch.Rules)-1)
				ch.Rules = slices.Insert(ch.Rules, m.rng.IntN(i), ch.Rules[i])
				return true
			})
		},
		"a chain cut short": func(m mutant) bool {
			return m.chain(1, func(ch *ruleset.Chain) bool {
				ch.Rules = ch.Rules[:m.rng.IntN(len(ch.Rules))]
				return true
			})
		},
		"a lower bound one too low":   func(m mutant) bool { return m.bound(false, false) },
		"a lower bound one too high":  func(m mutant) bool { return m.bound(false, true) },
		"an upper bound one too low":  func(m mutant) bool { return m.bound(true, false) },
		"an upper bound one too high": func(m mutant) bool { return m.bound(true, true) },
		"a value one off": func(m mutant) bool {
			return m.cmp(func(c ruleset.Cmp) bool { return c.Mask == nil && !c.Field.IsName() }, func(c *ruleset.Cmp) { c.Value = step(c.Value, m.rng.IntN(2) == 0) })
		},
		"a mask too wide":   func(m mutant) bool { return m.mask(true) },
		"a mask too narrow": func(m mutant) bool { return m.mask(false) },
		"a lost family":     func(m mutant) bool { return m.without(ruleset.NFProto) },
		"the other family": func(m mutant) bool {
			return m.cmp(isA(ruleset.NFProto), func(c *ruleset.Cmp) { c.Value = []byte{c.Value[0] ^ ruleset.IPv4 ^ ruleset.IPv6} })
		},
		"a lost protocol": func(m mutant) bool { return m.without(ruleset.L4Proto) },
		"a lost port":     func(m mutant) bool { return m.without(ruleset.Sport, ruleset.Dport) },
		"a lost ICMP type or code": func(m mutant) bool {
			return m.without(ruleset.ICMPType, ruleset.ICMPCode, ruleset.ICMP6Type, ruleset.ICMP6Code)
		},
		"a lost address":   func(m mutant) bool { return m.without(ruleset.Saddr4, ruleset.Daddr4, ruleset.Saddr6, ruleset.Daddr6) },
		"a lost interface": func(m mutant) bool { return m.without(ruleset.IIfName, ruleset.OIfName) },
		"a lost mark, owner or MAC": func(m mutant) bool {
			return m.without(ruleset.MetaMark, ruleset.SkUID, ruleset.SkGID, ruleset.EtherSaddr)
		},
		"a lost state":                 func(m mutant) bool { return m.without(ruleset.CtState) },
		"a lost kind of address (fib)": func(m mutant) bool { return m.without(ruleset.FibDaddrType, ruleset.FibSaddrOIf) },
		"a lost expiry":                func(m mutant) bool { return m.without(ruleset.Time) },
		"a lost hop limit":             func(m mutant) bool { return m.without(ruleset.HopLimit) },
		"source and destination mixed up": func(m mutant) bool {
			return m.renamed(ruleset.Saddr4, ruleset.Daddr4, ruleset.Saddr6, ruleset.Daddr6)
		},
		"ports mixed up":      func(m mutant) bool { return m.renamed(ruleset.Sport, ruleset.Dport) },
		"interfaces mixed up": func(m mutant) bool { return m.renamed(ruleset.IIfName, ruleset.OIfName) },
		"owners mixed up":     func(m mutant) bool { return m.renamed(ruleset.SkUID, ruleset.SkGID) },
		"type and code mixed up": func(m mutant) bool {
			return m.renamed(ruleset.ICMPType, ruleset.ICMPCode, ruleset.ICMP6Type, ruleset.ICMP6Code)
		},
		"a lost not, or one too many": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
				switch e := e.(type) {
				case ruleset.In:
					e.Not = !e.Not
					return instead(e)
				case ruleset.Lookup:
					e.Not = !e.Not
					return instead(e)
				case ruleset.Cmp:
					if e.Op > ruleset.Ne {
						return unfit()
					}
					e.Op ^= ruleset.Ne
					return instead(e)
				}
				return unfit()
			})
		},
		"a comparison turned round": func(m mutant) bool {
			return m.cmp(func(c ruleset.Cmp) bool { return c.Op > ruleset.Ne }, func(c *ruleset.Cmp) { c.Op = ruleset.Lt + ruleset.Ge - c.Op })
		},
		"a comparison that takes its end": func(m mutant) bool {
			return m.cmp(func(c ruleset.Cmp) bool { return c.Op == ruleset.Lt }, func(c *ruleset.Cmp) { c.Op = ruleset.Le })
		},
		"a name for a wildcard, or the reverse": func(m mutant) bool {
			return m.cmp(func(c ruleset.Cmp) bool { return c.Field.IsName() }, func(c *ruleset.Cmp) { c.Wildcard = !c.Wildcard })
		},
		"other bits of a state": func(m mutant) bool {
			fits := func(c ruleset.Cmp) bool {
				return c.Mask != nil && (c.Field == ruleset.CtState || c.Field == ruleset.CtStatus)
			}
			return m.cmp(fits, func(c *ruleset.Cmp) { c.Mask = c.Field.Value(uint64(c.Mask[3]) ^ 1<<m.rng.IntN(6)) })
		},
		"a lost element of an anonymous set": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
				in, is := e.(ruleset.In)
				if !is || len(in.Elems) < 2 {
					return unfit()
				}
				i := m.rng.IntN(len(in.Elems))
				in.Elems = slices.Delete(slices.Clone(in.Elems), i, i+1)
				return instead(in)
			})
		},
		"a lost element of a named set": func(m mutant) bool {
			var sets []*ruleset.Set
			for _, s := range m.Sets {
				if s.Elems4.Len()+s.Elems6.Len() > 0 {
					sets = append(sets, s)
				}
			}
			if sets == nil {
				return false
			}
			s := sets[m.rng.IntN(len(sets))]
			if rs := s.Elems4.Ranges(); len(rs) > 0 {
				i := m.rng.IntN(len(rs))
				s.Elems4 = addrset.Of(slices.Delete(slices.Clone(rs), i, i+1)...)
			} else {
				rs := s.Elems6.Ranges()
				i := m.rng.IntN(len(rs))
				s.Elems6 = addrset.Of(slices.Delete(slices.Clone(rs), i, i+1)...)
			}
			return true
		},
		"another set": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
				l, is := e.(ruleset.Lookup)
				if !is {
					return unfit()
				}
				var like []string
				for _, s := range m.Sets {
					if s.Name != l.Set && s.V6 == (l.Field.Size() == 16) && !s.Packets {
						like = append(like, s.Name)
					}
				}
				if like == nil {
					return unfit()
				}
				l.Set = like[m.rng.IntN(len(like))]
				return instead(l)
			})
		},
		"another hook": func(m mutant) bool {
			return m.hook(func(h *ruleset.Hook) { h.Point = (h.Point + 1 + ruleset.HookPoint(m.rng.IntN(4))) % 5 })
		},
		"another priority": func(m mutant) bool {
			return m.hook(func(h *ruleset.Hook) { h.Priority = []int32{-310, -120, 10}[m.rng.IntN(3)] })
		},
		"another policy of a hook": func(m mutant) bool { return m.hook(func(h *ruleset.Hook) { h.Drop = !h.Drop }) },
		"accept for drop":          func(m mutant) bool { return m.verdict(ruleset.Drop, accept) },
		"drop for accept":          func(m mutant) bool { return m.verdict(ruleset.Accept, drop) },
		"drop for reject":          func(m mutant) bool { return m.goesTo(chainReject, drop) },
		"a lost end of a rule": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
				_, is := e.(ruleset.Verdict)
				return nil, is
			})
		},
		"the chain of another rule": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
				v, is := e.(ruleset.Verdict)
				if _, _, ok := ParseName(v.Chain); !is || !ok {
					return unfit()
				}
				to := m.acting(v.Chain)
				v.Chain = to
				return []ruleset.Expr{v}, to != ""
			})
		},
		"two rules merged": func(m mutant) bool {
			var lines []*ruleset.Rule
			for _, ch := range m.may() {
				for _, r := range ch.Rules {
					if v, is := r.Exprs[len(r.Exprs)-1].(ruleset.Verdict); is {
						if _, _, ok := ParseName(v.Chain); ok {
							lines = append(lines, r)
						}
					}
				}
			}
			if len(lines) < 2 {
				return false
			}
			i := m.rng.IntN(len(lines) - 1)
			a, b := lines[i], lines[i+1]
			b.Exprs = append(slices.Clone(b.Exprs[:len(b.Exprs)-1]), a.Exprs[len(a.Exprs)-1])
			return true
		},
		"another counter": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
				if _, is := e.(ruleset.Count); !is {
					return unfit()
				}
				return instead(ruleset.Count{Counter: m.Counters[m.rng.IntN(len(m.Counters))].Name})
			})
		},
		"a lost counter": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) { _, is := e.(ruleset.Count); return nil, is })
		},
		"another answer": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
				r, is := e.(ruleset.Reject)
				r.With = (r.With + 1 + ruleset.RejectWith(m.rng.IntN(2))) % 3
				return []ruleset.Expr{r}, is
			})
		},
		"a lost limit": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
				switch e.(type) {
				case ruleset.Limit, ruleset.LimitRef, ruleset.Meter, ruleset.ConnLimit:
					return nil, true
				}
				return unfit()
			})
		},
		"a limit turned round": func(m mutant) bool {
			if len(m.Limits) == 0 {
				return false
			}
			l := &m.Limits[m.rng.IntN(len(m.Limits))]
			l.Rate.Over = !l.Rate.Over
			return true
		},
		"a lost log": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) { _, is := e.(ruleset.Log); return nil, is })
		},
		"a lost label, or another": func(m mutant) bool {
			return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
				switch e := e.(type) {
				case ruleset.SetLabel:
					return nil, true
				case ruleset.Label:
					e.Bit ^= 1
					return instead(e)
				}
				return unfit()
			})
		},
	}
}

// goesTo changes where a rule goes.
func (m mutant) goesTo(chain string, to ruleset.Expr) bool {
	return m.expr(func(e ruleset.Expr) ([]ruleset.Expr, bool) {
		if v, is := e.(ruleset.Verdict); is && v.Chain == chain {
			return instead(to)
		}
		return unfit()
	})
}

// broken is a compiled policy that is broken in many ways, and how to see what that does.
type broken struct {
	name  string
	p     *policy.Policy
	rs    *ruleset.Ruleset
	brute bruteForce
}

// newBroken compiles a policy.
func newBroken(t *testing.T, name string, p *policy.Policy, opt Options, packets [][]policy.Packet, contents ...map[string]addrset.Addrs) *broken {
	t.Helper()
	opt.LogGroup = 5
	rs, err := Compile(p, opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(p, rs); err != nil {
		t.Fatal(err)
	}
	b := &broken{name, p, rs, newBruteForce(p, rs, packets, contents)}
	if err := b.brute.find(rs); err != nil {
		t.Fatal(err)
	}
	return b
}

// fate is what became of some mutants: no kernel would take them, Verify objects, brute force finds no difference, or Verify does not object.
type fate struct{ made, refused, caught, neutral, missed int }

func (a *fate) add(b fate) {
	a.made += b.made
	a.refused += b.refused
	a.caught += b.caught
	a.neutral += b.neutral
	a.missed += b.missed
}

// fates is what became of mutants, by the kind of mutation.
type fates struct {
	mu    sync.Mutex
	kinds map[string]*fate
}

func newFates(kinds ...map[string]func(mutant) bool) *fates {
	ts := &fates{kinds: make(map[string]*fate)}
	for _, list := range kinds {
		for name := range list {
			ts.kinds[name] = new(fate)
		}
	}
	return ts
}

// reached is a rule set without the chains and maps that nothing leads to any more. No packet tells, but Check would refuse what they load:
// then Verify would not be tried.
func reached(rs *ruleset.Ruleset) *ruleset.Ruleset {
	chains, lookups := byName(rs.Chains, func(c *ruleset.Chain) string { return c.Name }), byName(rs.Maps, func(m *ruleset.Map) string { return m.Name })
	seen, seenMaps := make(map[string]bool), make(map[string]bool)
	var visit func(v ruleset.Verdict)
	visit = func(v ruleset.Verdict) {
		ch := chains[v.Chain]
		if ch == nil || seen[v.Chain] {
			return
		}
		seen[v.Chain] = true
		for _, r := range ch.Rules {
			switch e := last(r).(type) {
			case ruleset.Verdict:
				visit(e)
			case ruleset.VMapRef:
				if m := lookups[e.Map]; m != nil && !seenMaps[e.Map] {
					seenMaps[e.Map] = true
					for _, el := range m.Elems {
						visit(el.Verdict)
					}
				}
			}
		}
	}
	for _, ch := range rs.Chains {
		if ch.Hook != nil {
			visit(ruleset.Verdict{Chain: ch.Name})
		}
	}
	out := *rs
	out.Chains = slices.DeleteFunc(slices.Clone(rs.Chains), func(c *ruleset.Chain) bool { return !seen[c.Name] })
	out.Maps = slices.DeleteFunc(slices.Clone(rs.Maps), func(m *ruleset.Map) bool { return !seenMaps[m.Name] })
	return &out
}

func byName[T any](list []T, name func(T) string) map[string]T {
	out := make(map[string]T, len(list))
	for _, v := range list {
		out[name(v)] = v
	}
	return out
}

// try holds Verify against brute force over a mutant.
func (ts *fates) try(t *testing.T, b *broken, kind string, m mutant) {
	m.Ruleset = reached(m.Ruleset)
	refused := m.Check() != nil
	found := b.brute.find(m.Ruleset)
	one := fate{made: 1}
	if found == nil {
		one.neutral++
	} else if _, caught := Verify(b.p, m.Ruleset); caught == nil {
		one.missed++
		t.Errorf("policy %s, %s: Verify passes, and %v\n%s", b.name, kind, found, changed(reached(b.rs), m.Ruleset))
	} else if refused {
		one.refused++
	} else {
		one.caught++
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.kinds[kind].add(one)
}

// report logs the table. Of every kind that must be caught one must have been.
func (ts *fates) report(t *testing.T, must map[string]func(mutant) bool) {
	var b strings.Builder
	var sum fate
	row := func(name string, tl fate) {
		fmt.Fprintf(&b, "%-42s %7d %7d %7d %7d %7d\n", name, tl.made, tl.refused, tl.caught, tl.neutral, tl.missed)
	}
	fmt.Fprintf(&b, "\n%-42s %7s %7s %7s %7s %7s\n", "mutation", "made", "refused", "caught", "neutral", "missed")
	for _, name := range slices.Sorted(maps.Keys(ts.kinds)) {
		tl := *ts.kinds[name]
		row(name, tl)
		sum.add(tl)
		if must[name] != nil && tl.caught+tl.refused == 0 {
			t.Errorf("no mutant with %s was caught: the test says nothing about it", name)
		}
	}
	row("all", sum)
	t.Log(b.String())
}

// TestVerifyCatches breaks the compiler's output of random policies in the ways of the list. Where one of thousands of packets, drawn
// in another way than Verify's, is then treated otherwise, Verify must object too. ROUNDS is how often each policy is broken in each
// way; by default in every second way once.
func TestVerifyCatches(t *testing.T) {
	const policies = 20
	kinds := mutations()
	ts := newFates(kinds)
	each := max(1, rounds(t, 1))
	quick := each == 1 // every policy is broken in half of the ways
	t.Run("policies", func(t *testing.T) {
		for seed := range uint64(policies) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				p := newGenerator(seed + 5000).policy()
				packets, contents := drawn(p, seed, 2500)
				b := newBroken(t, fmt.Sprint(seed), p, Options{}, packets, contents...)
				for i, name := range slices.Sorted(maps.Keys(kinds)) {
					if quick && uint64(i)%2 != seed%2 {
						continue
					}
					for n := range each {
						m := newMutant(b.rs, rand.New(rand.NewPCG(seed, uint64(i<<16|n))))
						if kinds[name](m) {
							ts.try(t, b, name, m)
						}
					}
				}
			})
		}
	})
	ts.report(t, kinds)
}

// changed is the lines that a mutant has and the compiler's output has not, and the reverse.
func changed(was, is *ruleset.Ruleset) string {
	lines := func(rs *ruleset.Ruleset) (out []string) {
		var b strings.Builder
		if err := rs.WriteNFT(&b); err != nil {
			return []string{err.Error()}
		}
		chain := ""
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "chain ") || strings.HasPrefix(line, "set ") {
				chain = line
			}
			out = append(out, chain+" "+line)
		}
		return out
	}
	before, after := lines(was), lines(is)
	var b strings.Builder
	for sign, pair := range map[string][2][]string{"-": {before, after}, "+": {after, before}} {
		for _, line := range pair[0] {
			if !slices.Contains(pair[1], line) {
				fmt.Fprintf(&b, "%s %s\n", sign, line)
			}
		}
	}
	return b.String()
}

// bruteForce is packets of a policy, with some contents of its dynamic sets.
type bruteForce struct {
	proofs  []*proof // of the policy with each contents
	packets [][]policy.Packet
}

// newBruteForce has packets for a policy as it is, and for each contents of its dynamic sets.
func newBruteForce(p *policy.Policy, rs *ruleset.Ruleset, packets [][]policy.Packet, contents []map[string]addrset.Addrs) bruteForce {
	b := bruteForce{packets: packets}
	for i := range packets {
		if i > 0 {
			p = p.With(contents[i-1])
		}
		m, _ := ruleset.NewMachine(rs, nil)
		pr := newProof(p, nil)
		pr.ask(rs, m, m)
		b.proofs = append(b.proofs, pr)
	}
	return b
}

// drawn is packets at random for a policy as it is, and for two contents of its dynamic sets.
func drawn(p *policy.Policy, seed uint64, packets int) (out [][]policy.Packet, contents []map[string]addrset.Addrs) {
	s := newSampler(p, seed+77)
	contents = []map[string]addrset.Addrs{s.fill(), s.fill()}
	for range 1 + len(contents) {
		var list []policy.Packet
		for i := range packets {
			list = append(list, s.draw(i, packets))
		}
		out = append(out, list)
	}
	return out, contents
}

// find looks for a packet of which policy and compiled form differ, or says why the compiled form is none.
func (b bruteForce) find(rs *ruleset.Ruleset) error {
	machine, err := ruleset.NewMachine(rs, nil)
	if err != nil {
		return err
	}
	for i, pr := range b.proofs {
		m := machine.With(Contents(pr.p))
		one := *pr
		one.linear, one.machine, one.over, one.labels, one.slowly = m, m, m.Exceeded(), hasLabels(rs), 1<<30
		j := one.newJudge()
		for k := range b.packets[i] {
			if _, err := j.hold(&b.packets[i][k]); err != nil {
				return err
			}
		}
	}
	return nil
}
