package check

import (
	"maps"
	"slices"

	"ringwall/rules/policy"
)

// unknownOwner is the first of the numbers that a load without a host gives to users and groups.
const unknownOwner = 1 << 31

// withSameOwners returns two policies in which a name of a user or group that no host has looked up for both has one
// number. Policies that are so already are returned as they are.
func withSameOwners(p, q *policy.Policy) (*policy.Policy, *policy.Policy) {
	users, groups := ownersOf(p.Users, q.Users), ownersOf(p.Groups, q.Groups)
	return withOwners(p, users, groups), withOwners(q, users, groups)
}

// ownersOf is the number of each name that should not keep those it has.
func ownersOf(a, b map[string]uint32) map[string]uint32 {
	out := map[string]uint32{}
	next := uint32(unknownOwner)
	names := slices.Collect(maps.Keys(a))
	names = slices.AppendSeq(names, maps.Keys(b))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		x, inA := a[name]
		y, inB := b[name]
		switch {
		case inA && x < unknownOwner && (!inB || y >= unknownOwner):
			out[name] = x
		case inB && y < unknownOwner && (!inA || x >= unknownOwner):
			out[name] = y
		case inA && x < unknownOwner: // known on both sides, and maybe not as the same
		default:
			out[name] = next
			next++
		}
	}
	return out
}

// withOwners returns a policy with other numbers for some names.
func withOwners(p *policy.Policy, users, groups map[string]uint32) *policy.Policy {
	differs := func(known, want map[string]uint32) bool {
		for name, id := range known {
			if n, ok := want[name]; ok && n != id {
				return true
			}
		}
		return false
	}
	if !differs(p.Users, users) && !differs(p.Groups, groups) {
		return p
	}
	q := *p
	q.Users, q.Groups = renumbered(p.Users, users), renumbered(p.Groups, groups)
	for dir, list := range p.Lists {
		list = slices.Clone(list)
		for i, r := range list {
			if r.Match.User.IsAny() && r.Match.Group.IsAny() {
				continue
			}
			s := *r
			s.Match.User, s.Match.Group = choose(r.Match.User, users), choose(r.Match.Group, groups)
			list[i] = &s
		}
		q.Lists[dir] = list
	}
	return &q
}

func renumbered(known, want map[string]uint32) map[string]uint32 {
	out := maps.Clone(known)
	for name := range out {
		if n, ok := want[name]; ok {
			out[name] = n
		}
	}
	return out
}

// choose is a choice with other numbers.
func choose(c policy.Choice[policy.Owner], ids map[string]uint32) policy.Choice[policy.Owner] {
	each := func(os []policy.Owner) []policy.Owner {
		os = slices.Clone(os)
		for i, o := range os {
			if n, ok := ids[o.Name]; ok {
				os[i].ID = n
			}
		}
		return os
	}
	return policy.Choice[policy.Owner]{Yes: each(c.Yes), No: each(c.No)}
}
