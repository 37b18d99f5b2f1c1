package compile

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// looksUp tells of a chain whether it is of a structure of lookups.
func looksUp(chain string) bool {
	parts := strings.Split(chain, "/")
	return len(parts) > 1 && !strings.Contains(parts[0], ".") && (parts[1] == "4" || parts[1] == "6")
}

// elem changes an element of a map; false where it can't, or what comes of it is no map.
func (m mutant) elem(change func(v *ruleset.Map, i int) bool) bool {
	if len(m.Maps) == 0 {
		return false
	}
	v := m.Maps[m.rng.IntN(len(m.Maps))]
	if !change(v, m.rng.IntN(len(v.Elems))) {
		return false
	}
	slices.SortFunc(v.Elems, func(x, y ruleset.MapElem) int { return bytes.Compare(x.Lo, y.Lo) })
	for i := 1; i < len(v.Elems); i++ {
		if bytes.Equal(v.Elems[i-1].Lo, v.Elems[i].Lo) {
			return false
		}
	}
	return true
}

// lookup changes where a rule looks something up, and the map that it looks into.
func (m mutant) lookup(fits func(r ruleset.VMapRef) bool, change func(r *ruleset.VMapRef, v *ruleset.Map) bool) bool {
	looks := func(p place) bool {
		r, is := (*p.end()).(ruleset.VMapRef)
		return is && fits(r)
	}
	return m.rule(looks, func(p place) bool {
		r := (*p.end()).(ruleset.VMapRef)
		r.Keys = slices.Clone(r.Keys)
		i := slices.IndexFunc(m.Maps, func(v *ruleset.Map) bool { return v.Name == r.Map })
		ok := change(&r, m.Maps[i])
		*p.end() = r
		return ok
	})
}

// asks tells whether a lookup has a key of one of some fields.
func asks(fields ...ruleset.Field) func(ruleset.VMapRef) bool {
	return func(r ruleset.VMapRef) bool {
		return slices.ContainsFunc(r.Keys, func(k ruleset.Key) bool { return slices.Contains(fields, k.Field) })
	}
}

// keyMask makes the mask of an address in a key one bit longer or shorter.
func (m mutant) keyMask(longer bool) bool {
	return m.lookup(asks(ruleset.Saddr4, ruleset.Daddr4, ruleset.Saddr6, ruleset.Daddr6), func(r *ruleset.VMapRef, _ *ruleset.Map) bool {
		k := &r.Keys[m.rng.IntN(len(r.Keys))]
		if k.Field.Size() < 4 {
			return false
		}
		mask := slices.Clone(k.Mask)
		if mask == nil {
			mask = bytes.Repeat([]byte{0xff}, k.Field.Size())
		}
		bits := addrset.U32(0)
		for _, b := range mask {
			for ; b != 0; b <<= 1 {
				bits++
			}
		}
		if longer {
			if int(bits) == 8*len(mask) {
				return false
			}
			mask[bits/8] |= 0x80 >> (bits % 8)
		} else {
			mask[(bits-1)/8] &^= 0x80 >> ((bits - 1) % 8)
		}
		k.Mask = mask
		return true
	})
}

// place is a rule of a chain.
type place struct {
	chain *ruleset.Chain
	i     int
}

func (p place) end() *ruleset.Expr {
	r := p.chain.Rules[p.i]
	return &r.Exprs[len(r.Exprs)-1]
}

// verdict is how the rule ends, the zero Verdict where it ends by a lookup.
func (p place) verdict() ruleset.Verdict {
	v, _ := (*p.end()).(ruleset.Verdict)
	return v
}

// ends tells whether the rule ends by a verdict of the kind.
func (p place) ends(kind ruleset.VerdictKind) bool {
	v, is := (*p.end()).(ruleset.Verdict)
	return is && v.Kind == kind
}

// calls tells whether the rule calls what late members share.
func (p place) calls() bool {
	return p.i == 0 && p.ends(ruleset.Jump) && strings.Contains(p.chain.Name, "/late/")
}

// meets tells whether a rule decides about some of the packets that the rule here is about.
func (p place) meets(o *ruleset.Rule) bool {
	v, is := last(o).(ruleset.Verdict)
	_, ok := anywhere(policy.In).all(slices.Concat(matches(p.chain.Rules[p.i]), matches(o)))
	return ok && is && v.Kind != ruleset.Return
}

func (p place) remove() bool {
	p.chain.Rules = slices.Delete(p.chain.Rules, p.i, p.i+1)
	return true
}

// move puts the rule behind others.
func (p place) move(to int) bool {
	r := p.chain.Rules[p.i]
	p.remove()
	p.chain.Rules = slices.Insert(p.chain.Rules, to, r)
	return to != p.i
}

// rule changes a rule that fits.
func (m mutant) rule(fits func(place) bool, change func(place) bool) bool {
	var places []place
	for _, ch := range m.may() {
		for i := range ch.Rules {
			if p := (place{ch, i}); fits(p) {
				places = append(places, p)
			}
		}
	}
	return places != nil && change(places[m.rng.IntN(len(places))])
}

// lookupMutations is the ways in which lookups are broken.
func lookupMutations() map[string]func(mutant) bool {
	isCase := func(v *ruleset.Map, i int) bool { _, _, acts := ParseName(v.Elems[i].Verdict.Chain); return !acts }
	guards := func(p place) bool { return p.ends(ruleset.Return) }
	return map[string]func(mutant) bool{
		"a lost element": func(m mutant) bool {
			return m.elem(func(v *ruleset.Map, i int) bool { v.Elems = slices.Delete(v.Elems, i, i+1); return true })
		},
		"an element of another rule": func(m mutant) bool {
			return m.elem(func(v *ruleset.Map, i int) bool {
				e := &v.Elems[i]
				e.Verdict = ruleset.Verdict{Kind: ruleset.Goto, Chain: m.acting(e.Verdict.Chain)}
				return e.Verdict.Chain != ""
			})
		},
		"an element that does not come back": func(m mutant) bool {
			return m.elem(func(v *ruleset.Map, i int) bool { v.Elems[i].Verdict.Kind = ruleset.Goto; return isCase(v, i) })
		},
		"two elements swapped": func(m mutant) bool {
			return m.elem(func(v *ruleset.Map, i int) bool {
				j := m.rng.IntN(len(v.Elems))
				x, y := &v.Elems[i].Verdict, &v.Elems[j].Verdict
				*x, *y = *y, *x
				return *x != *y
			})
		},
		"neighbouring elements swapped": func(m mutant) bool {
			return m.elem(func(v *ruleset.Map, i int) bool {
				if i+1 == len(v.Elems) {
					return false
				}
				x, y := &v.Elems[i].Verdict, &v.Elems[i+1].Verdict
				*x, *y = *y, *x
				return *x != *y
			})
		},
		"a key one off": func(m mutant) bool {
			return m.elem(func(v *ruleset.Map, i int) bool {
				at := 0
				f := m.rng.IntN(len(v.Keys))
				for _, k := range v.Keys[:f] {
					at += k.Size()
				}
				n := v.Keys[f].Size()
				e := &v.Elems[i]
				key := slices.Clone(e.Lo)
				copy(key[at:at+n], step(key[at:at+n], m.rng.IntN(2) == 0))
				e.Lo, e.Hi = key, key
				return true
			})
		},
		"a bit of a key": func(m mutant) bool {
			return m.elem(func(v *ruleset.Map, i int) bool {
				e := &v.Elems[i]
				key := slices.Clone(e.Lo)
				key[m.rng.IntN(len(key))] ^= 1 << m.rng.IntN(8)
				e.Lo, e.Hi = key, key
				return true
			})
		},
		"a key's mask too long":  func(m mutant) bool { return m.keyMask(true) },
		"a key's mask too short": func(m mutant) bool { return m.keyMask(false) },
		"a key's fields swapped": func(m mutant) bool {
			other := map[ruleset.Field]ruleset.Field{
				ruleset.Saddr4: ruleset.Daddr4, ruleset.Daddr4: ruleset.Saddr4, ruleset.Saddr6: ruleset.Daddr6, ruleset.Daddr6: ruleset.Saddr6,
			}
			return m.lookup(asks(slices.Collect(maps.Keys(other))...), func(r *ruleset.VMapRef, v *ruleset.Map) bool {
				for i := range r.Keys {
					if o, has := other[r.Keys[i].Field]; has {
						r.Keys[i].Field, v.Keys[i] = o, o
					}
				}
				return true
			})
		},
		"ports of a key swapped": func(m mutant) bool {
			return m.lookup(asks(ruleset.Dport), func(r *ruleset.VMapRef, v *ruleset.Map) bool {
				i := slices.Index(v.Keys, ruleset.Dport)
				r.Keys[i].Field, v.Keys[i] = ruleset.Sport, ruleset.Sport
				return true
			})
		},
		"another map": func(m mutant) bool {
			any := func(ruleset.VMapRef) bool { return true }
			return m.lookup(any, func(r *ruleset.VMapRef, v *ruleset.Map) bool {
				var like []string
				for _, o := range m.Maps {
					if o.Name != v.Name && slices.Equal(o.Keys, v.Keys) {
						like = append(like, o.Name)
					}
				}
				if like != nil {
					r.Map = like[m.rng.IntN(len(like))]
				}
				return like != nil
			})
		},
		"a lost lookup": func(m mutant) bool {
			return m.rule(func(p place) bool { _, is := (*p.end()).(ruleset.VMapRef); return is }, place.remove)
		},
		"a lost guard": func(m mutant) bool { return m.rule(guards, place.remove) },
		"a guard that decides": func(m mutant) bool {
			return m.rule(guards, func(p place) bool {
				to := m.acting("")
				*p.end() = ruleset.Verdict{Kind: ruleset.Goto, Chain: to}
				return to != ""
			})
		},
		"a guard too late": func(m mutant) bool {
			return m.rule(guards, func(p place) bool { return p.move(len(p.chain.Rules) - 1) })
		},
		"a guard too early": func(m mutant) bool {
			late := func(p place) bool { return guards(p) && slices.ContainsFunc(p.chain.Rules[:p.i], p.meets) }
			return m.rule(late, func(p place) bool { return p.move(slices.IndexFunc(p.chain.Rules, p.meets)) })
		},
		"a guard that asks too little": func(m mutant) bool {
			return m.rule(guards, func(p place) bool {
				r := p.chain.Rules[p.i]
				if len(r.Exprs) > 1 {
					at := m.rng.IntN(len(r.Exprs) - 1)
					r.Exprs = slices.Delete(r.Exprs, at, at+1)
				}
				return true
			})
		},
		"a decision that only guards": func(m mutant) bool {
			return m.rule(func(p place) bool { return p.ends(ruleset.Goto) }, func(p place) bool {
				*p.end() = ruleset.Verdict{Kind: ruleset.Return}
				return true
			})
		},
		"a decision for another rule": func(m mutant) bool {
			return m.rule(func(p place) bool { return p.ends(ruleset.Goto) }, func(p place) bool {
				to := m.acting(p.verdict().Chain)
				*p.end() = ruleset.Verdict{Kind: ruleset.Goto, Chain: to}
				return to != ""
			})
		},
		"a lost call": func(m mutant) bool { return m.rule(place.calls, place.remove) },
		"a call too late": func(m mutant) bool {
			return m.rule(place.calls, func(p place) bool { return p.move(len(p.chain.Rules) - 1) })
		},
		"a call of another part": func(m mutant) bool {
			return m.rule(place.calls, func(p place) bool {
				var parts []string
				for _, ch := range m.Chains {
					if name := ch.Name; strings.Contains(name, "/before/") && name != p.verdict().Chain && strings.Count(name, "/") == strings.Count(p.verdict().Chain, "/") {
						parts = append(parts, name)
					}
				}
				if parts != nil {
					*p.end() = ruleset.Verdict{Kind: ruleset.Jump, Chain: parts[m.rng.IntN(len(parts))]}
				}
				return parts != nil
			})
		},
		"a late member that is not": func(m mutant) bool {
			late := func(p place) bool { return strings.Contains(p.verdict().Chain, "/late/") }
			return m.rule(late, func(p place) bool {
				for _, ch := range m.Chains {
					if ch.Name == p.verdict().Chain {
						*p.end() = *place{ch, len(ch.Rules) - 1}.end()
						break
					}
				}
				return true
			})
		},
		"a lost family's half": func(m mutant) bool {
			m.only = nil
			return m.rule(func(p place) bool {
				return p.ends(ruleset.Jump) && looksUp(p.verdict().Chain) && !looksUp(p.chain.Name)
			}, place.remove)
		},
	}
}

// mixed is packets of pairs of rules: the one where they differ, the other where it says something.
func (s *sampler) mixed(list []*policy.Rule, packets int) (out []policy.Packet) {
	for range packets {
		a := oneOfList(s.rng, list)
		pkt, o := s.near(a), s.near(list[s.rng.IntN(len(list))])
		if s.rng.IntN(2) == 0 {
			pkt.Src = o.Src
			if pkt.Src.Is4() != pkt.Dst.Is4() {
				pkt.Dst = o.Dst
			}
		}
		if s.rng.IntN(2) == 0 {
			pkt.Proto, pkt.Sport, pkt.Dport, pkt.Type, pkt.Code = o.Proto, o.Sport, o.Dport, o.Type, o.Code
		}
		for _, take := range []func(){
			func() { pkt.IIf, pkt.OIf = o.IIf, o.OIf },
			func() { pkt.Mark = o.Mark },
			func() { pkt.Socket, pkt.UID, pkt.GID = o.Socket, o.UID, o.GID },
			func() { pkt.HasMAC, pkt.MAC = o.HasMAC, o.MAC },
		} {
			if s.rng.IntN(2) == 0 {
				take()
			}
		}
		pkt.Dir = a.List
		if possible(&pkt) {
			out = append(out, pkt)
		}
	}
	return out
}

// common is the rules that any two of a workload have in common.
func common(w *workload.Workload) (out []workload.Rule) {
	prefix := func(a, b netip.Prefix) (netip.Prefix, bool) {
		if a.Bits() < b.Bits() {
			a, b = b, a
		}
		return a, b.Overlaps(a)
	}
	ports := func(a, b workload.Ports) (workload.Ports, bool) {
		switch {
		case a.IsAny():
			return b, true
		case b.IsAny():
			return a, true
		}
		m := workload.Ports{Lo: max(a.Lo, b.Lo), Hi: min(a.Hi, b.Hi)}
		return m, m.Lo <= m.Hi
	}
	for j, b := range w.Rules {
		for _, a := range w.Rules[:j] {
			var m workload.Rule
			var fits [4]bool
			m.From, fits[0] = prefix(a.From, b.From)
			m.To, fits[1] = prefix(a.To, b.To)
			m.Dport, fits[2] = ports(a.Dport, b.Dport)
			m.Sport, fits[3] = ports(a.Sport, b.Sport)
			m.Proto = max(a.Proto, b.Proto)
			if fits == [4]bool{true, true, true, true} && (a.Proto == 0 || b.Proto == 0 || a.Proto == b.Proto) {
				out = append(out, m)
			}
		}
	}
	return out
}

// services is rules for a port each, and now and then one for a network.
func services(rules int) *workload.Workload {
	w := &workload.Workload{Shape: workload.FW}
	all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	for i := range rules {
		r := workload.Rule{Allow: i%3 > 0, Proto: policy.ProtoTCP, From: all, To: all, Dport: workload.Ports{Lo: uint16(20 + i), Hi: uint16(20 + i)}}
		if i%10 == 9 {
			r.From, r.Dport = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16), workload.Ports{}
		}
		w.Rules = append(w.Rules, r)
	}
	return w
}

// TestVerifyCatchesLookups is TestVerifyCatches for policies that are looked up. They are broken in the ways of their own, and within
// the chains of lookups in the ways of all; by default in every fourth of these once.
func TestVerifyCatchesLookups(t *testing.T) {
	kinds := mutations()
	maps.Copy(kinds, lookupMutations())
	ts := newFates(kinds)
	each := max(1, rounds(t, 1))
	quick := each == 1 // not every policy is broken in every way
	var subjects []func(t *testing.T) *broken
	for seed := range uint64(2) {
		subjects = append(subjects, func(t *testing.T) *broken {
			p := newGenerator(seed + 7000).long()
			packets, contents := drawn(p, seed, 2000)
			s := newSampler(p, seed)
			for i := range packets {
				packets[i] = append(packets[i], s.mixed(s.rules, 1000)...)
			}
			return newBroken(t, fmt.Sprint("long ", seed), p, Options{Linear: -1, Brief: 1}, packets, contents...)
		})
	}
	long := len(subjects)
	workloads := []*workload.Workload{services(60)}
	for i, shape := range workload.Shapes {
		workloads = append(workloads, workload.Generate(shape, 150+10*i, 7), workload.Generate(shape, 250+10*i, 7))
	}
	for i, w := range workloads {
		subjects = append(subjects, func(t *testing.T) *broken {
			pairs := workload.Workload{Shape: w.Shape, Rules: common(w)}
			packets := append(w.Packets(3000, 5), pairs.Packets(6000, 6)...)
			return newBroken(t, fmt.Sprint(w.Shape, " ", len(w.Rules)), w.Policy(), Options{Brief: i % 2}, [][]policy.Packet{packets})
		})
	}
	t.Run("policies", func(t *testing.T) {
		for i, subject := range subjects {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				b := subject(t)
				for k, name := range slices.Sorted(maps.Keys(kinds)) {
					if own := lookupMutations()[name] != nil; quick && (!own || i < long) && k%4 != i%4 {
						continue
					}
					for n := range each {
						m := newMutant(b.rs, rand.New(rand.NewPCG(uint64(i), uint64(k<<16|n))))
						m.only = looksUp
						if kinds[name](m) {
							ts.try(t, b, name, m)
						}
					}
				}
			})
		}
	})
	ts.report(t, lookupMutations())
}
