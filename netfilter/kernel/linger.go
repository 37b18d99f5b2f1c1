package kernel

import (
	"context"
	"errors"
	"slices"

	"ringwall/netfilter/ruleset"
)

// lingering is want with the maps that rules of have ask and want does not know; nil where there are none.
//
// A packet on its way at the moment of a commit goes through the rules that were there before, as it should, but finds nothing in a
// map that the same commit removes: the kernel looks elements up as of now, not as of when the packet came (nft_set_elem_active). It
// would go on to what comes after the map, which may be another verdict than before and after. So such maps are removed in a
// transaction of their own, once the rules that ask them are gone. The chains that they lead to stay as long, without their rules:
// rules are the packet's own as of when it came.
func lingering(have, want *ruleset.Ruleset) *ruleset.Ruleset {
	stays := newNamed(want.Maps, func(m *ruleset.Map) string { return m.Name })
	gone := make(map[string]bool)
	for _, m := range have.Maps {
		if !stays.has(m.Name) {
			gone[m.Name] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	asked := make(map[string]bool) // of those that are gone
	for _, c := range have.Chains {
		for _, r := range c.Rules {
			references(r, func(kind objectKind, name string) {
				if kind == kindMap && gone[name] {
					asked[name] = true
				}
			})
		}
	}
	if len(asked) == 0 {
		return nil
	}
	was, is := byName(have.Chains, chainName), byName(want.Chains, chainName)
	// A chain that is made anew can't be while a map leads to it.
	anew := func(e ruleset.MapElem) bool {
		w := is[e.Verdict.Chain]
		return w != nil && was[w.Name] != nil && !sameHook(was[w.Name].Hook, w.Hook)
	}
	maps := slices.DeleteFunc(slices.Clone(have.Maps), func(m *ruleset.Map) bool { return !asked[m.Name] || slices.ContainsFunc(m.Elems, anew) })
	if len(maps) == 0 {
		return nil
	}
	mid := *want
	mid.Maps, mid.Chains = slices.Concat(want.Maps, maps), slices.Clone(want.Chains)
	for _, m := range maps {
		for _, e := range m.Elems {
			if to := e.Verdict.Chain; to != "" && is[to] == nil {
				is[to] = &ruleset.Chain{Name: to}
				mid.Chains = append(mid.Chains, is[to])
			}
		}
	}
	return &mid
}

func chainName(c *ruleset.Chain) string { return c.Name }

// clear removes what a change has left for packets under way. The change is done: what can't be removed now goes with the next
// change, or when the table is next compared.
func (c *Conn) clear(ctx context.Context, want *ruleset.Ruleset) {
	for range applyAttempts {
		ch, err := c.plan(ctx, want)
		if err != nil || ch.Empty() {
			return
		}
		if err := c.send(ctx, ch); !errors.Is(err, ErrStale) {
			return
		}
	}
}
