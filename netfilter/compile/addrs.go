package compile

import (
	"fmt"
	"slices"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// maxAnonymous is how many ranges of addresses may stand in a rule. More make a named set, which can change without the rule.
const maxAnonymous = 8

// addresses matches a family's addresses in a field of packets: each line is enough, and there is none where a holds none. Name begins the names of
// the sets that this may need, unless they are a set of the policy's.
func (c *compiler) addresses(a policy.Addrs, f family, field ruleset.Field, name string) []conj {
	var out []conj
	for i := range a.Terms {
		out = append(out, c.term(a, i, f, field, name)...)
	}
	return out
}

// term is the lines of one term.
func (c *compiler) term(a policy.Addrs, i int, f family, field ruleset.Field, name string) []conj {
	t := a.Terms[i]
	name += f.digit()
	if i > 0 {
		name += fmt.Sprintf("-%d", i+1)
	}
	if a.Set != "" && len(a.Terms) == 1 {
		name = f.set("set", a.Set)
	}
	var lines []conj
	if f == ipv6 {
		lines = static(c, t.Static.V6, f, field, name, a.Set != "")
	} else {
		lines = static(c, t.Static.V4, f, field, name, a.Set != "")
	}
	var rest conj
	for _, set := range t.In {
		rest = append(rest, c.dynamic(set, f, field, false))
	}
	for _, set := range t.NotIn {
		rest = append(rest, c.dynamic(set, f, field, true))
	}
	return product(lines, []conj{rest})
}

// static matches the addresses of s: each line is enough, and there is none where s is empty. Named tells that they are a set of
// the policy, which has a set in the kernel unless it is a single range.
func static[K addrset.Address[K]](c *compiler, s addrset.Set[K], f family, field ruleset.Field, name string, named bool) []conj {
	few := maxAnonymous
	if named {
		few = 1
	}
	switch {
	case s.IsEmpty():
		return nil
	case s.IsAll():
		return anything()
	case s.Len() <= few+1: // the rest has one range less or more
		rest := s.Complement()
		if s.Len() <= few && s.Len() <= rest.Len() {
			return []conj{{ranges(field, s, false)}}
		}
		if !named && rest.Len() <= few && rest.Len() < s.Len() {
			return []conj{{ranges(field, rest, true)}}
		}
	}
	parts, made := c.parts[name]
	if !made {
		if s.Len() < largeSet {
			parts = []part{{name: name}}
			set := &ruleset.Set{Interval: !singles(s)}
			if !set.Interval {
				set.Size = room(count(s))
			}
			addStatic(c, name, s, set)
		} else {
			parts = addParts(c, name, s)
		}
		c.parts[name] = parts
	}
	lines := make([]conj, len(parts))
	for i, p := range parts {
		lines[i] = conj{ruleset.Lookup{Field: field, Mask: p.mask, Set: p.name}}
	}
	return lines
}

// part is a set of the kernel that holds addresses, or a part of them: an address is looked up in it under a mask.
type part struct {
	name string
	mask []byte // nil for the whole address
}

// addParts makes the sets that hold a large set of addresses together.
func addParts[K addrset.Address[K]](c *compiler, name string, s addrset.Set[K]) (parts []part) {
	var k K
	counts := lengths(s)
	layout := chooseLayout(counts, s.Len())
	for length, held := range slices.Backward(split(layout, s, counts)) {
		if held.IsEmpty() {
			continue
		}
		p, set := part{name: name}, &ruleset.Set{}
		switch length {
		case k.Bits():
			set.Size = room(layout.elements(length, counts))
		case 0:
			set.Interval = true
			if len(parts) > 0 {
				p.name += "/ranges"
			}
		default:
			p.name += fmt.Sprintf("/%d", length)
			p.mask = k.Last().Mask(length).Addr().AsSlice()
			set.Length, set.Size = length, room(layout.elements(length, counts))
		}
		addStatic(c, p.name, held, set)
		parts = append(parts, p)
	}
	return parts
}

// addStatic makes one of the kernel's sets hold addresses.
func addStatic[K addrset.Address[K]](c *compiler, name string, s addrset.Set[K], set *ruleset.Set) {
	set.Name = name
	switch s := any(s).(type) {
	case addrset.Set[addrset.U32]:
		set.Elems4 = s
	case addrset.Set[addrset.U128]:
		set.V6, set.Elems6 = true, s
	}
	c.addSet(set)
}

// singleRun is the longest range that counts as single addresses: a hash set, which is twice as fast as one of intervals, is
// worth so many elements.
const singleRun = 4

// singles tells whether a set is made of single addresses, rather than of ranges.
func singles[K addrset.Address[K]](s addrset.Set[K]) bool {
	for _, r := range s.Ranges() {
		k := r.Lo
		for n := 1; k != r.Hi; n++ {
			if n == singleRun {
				return false
			}
			k = k.Next()
		}
	}
	return true
}

// count is the number of addresses of a set of single addresses.
func count[K addrset.Address[K]](s addrset.Set[K]) (n int) {
	for _, r := range s.Ranges() {
		n++
		for k := r.Lo; k != r.Hi; k = k.Next() {
			n++
		}
	}
	return n
}

// room is the size that the kernel is told for a hash set of n elements, with space to grow in place; none for a small set. It
// loads a large set 2.5 times as fast as without.
func room(n int) uint32 {
	const small = 1024
	if n < small {
		return 0
	}
	size := uint32(small)
	for int(size) < 2*n {
		size *= 2
	}
	return size
}

// dynamic looks up a dynamic set.
func (c *compiler) dynamic(name string, f family, field ruleset.Field, not bool) ruleset.Expr {
	c.dynamicSet(name, f)
	return ruleset.Lookup{Field: field, Set: DynamicSet(name, f == ipv6), Not: not}
}

// dynamicSet makes the kernel's set for a family of a dynamic set. It has neither size nor timeout of its own: they could not be
// changed without losing what it holds. Whoever fills it sees to both.
func (c *compiler) dynamicSet(name string, f family) {
	if kernel := DynamicSet(name, f == ipv6); c.sets[kernel] == nil {
		c.addSet(&ruleset.Set{Name: kernel, V6: f == ipv6, Interval: true, Dynamic: true, Timed: true})
	}
}

func (c *compiler) addSet(s *ruleset.Set) {
	c.sets[s.Name] = s
	c.rs.Sets = append(c.rs.Sets, s)
}

// dynamicSets is the names of the policy's dynamic sets. All of them are in the kernel, used or not, so that what they hold
// outlives a change of the rules.
func dynamicSets(p *policy.Policy) []string {
	var out []string
	for name, s := range p.Sets {
		if s.Dynamic != nil {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
