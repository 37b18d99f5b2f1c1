package kernel

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
)

type (
	addMap struct{ m *ruleset.Map }
	delMap struct{ name string }
	// editMap adds elements to a map or takes them out of it.
	editMap struct {
		m     *ruleset.Map
		del   bool
		elems []ruleset.MapElem
	}
)

func (o addMap) encode(b *batch, _ handles) { b.addMap(o.m) }

// encode empties the map first: kernels before 6.4 count what its elements refer to as used until the map is gone, and would not
// have the chains deleted in the same transaction.
func (o delMap) encode(b *batch, _ handles) {
	b.flushSet(o.name)
	b.named(subject{"delete map", o.name}, unix.NFT_MSG_DELSET, 0, unix.NFTA_SET_TABLE, unix.NFTA_SET_NAME, o.name)
}

func (o editMap) encode(b *batch, _ handles) { b.mapElements(o.m, o.del, o.elems) }

func (o addMap) String() string { return "add map " + o.m.Name }
func (o delMap) String() string { return "delete map " + o.name }

func (o editMap) String() string {
	verb := "add"
	if o.del {
		verb = "delete"
	}
	return fmt.Sprintf("%s %s of map %s", verb, plural(len(o.elems), "entry"), o.m.Name)
}

func (o addMap) count(c *Counts) { c.MapsAdded++ }
func (o delMap) count(c *Counts) { c.MapsRemoved++ }

func (o editMap) count(c *Counts) {
	if o.del {
		c.EntriesRemoved += len(o.elems)
	} else {
		c.EntriesAdded += len(o.elems)
	}
}

// sameMap tells whether a map can stay: what it is declared as, not what it holds.
func sameMap(a, b *ruleset.Map) bool {
	return keyType(a.Keys) == keyType(b.Keys) && a.Interval == b.Interval && a.Size == b.Size
}

// mapEdit is how the elements of a map become others.
type mapEdit struct{ removed, added []ruleset.MapElem }

// mapEdit compares two sorted lists of elements. One whose verdict leads to a chain that is made anew goes and comes back.
func (d *differ) mapEdit(have, want []ruleset.MapElem) (e mapEdit) {
	for len(have) > 0 && len(want) > 0 {
		h, w := have[0], want[0]
		c := bytes.Compare(h.Lo, w.Lo)
		if c == 0 && bytes.Equal(h.Hi, w.Hi) && h.Verdict == w.Verdict && !d.isRedefined(kindChain, h.Verdict.Chain) {
			have, want = have[1:], want[1:]
			continue
		}
		if c <= 0 {
			e.removed, have = append(e.removed, h), have[1:]
		}
		if c >= 0 {
			e.added, want = append(e.added, w), want[1:]
		}
	}
	return mapEdit{append(e.removed, have...), append(e.added, want...)}
}

// indexMaps compares the maps. The chains have been compared.
func (d *differ) indexMaps(have, want *ruleset.Ruleset) {
	name := func(m *ruleset.Map) string { return m.Name }
	d.haveMaps, d.wantMaps = newNamed(have.Maps, name), newNamed(want.Maps, name)
	d.mapEdits = make([]mapEdit, len(want.Maps))
	for i, w := range want.Maps {
		h, ok := d.haveMaps.find(w.Name)
		switch {
		case !ok:
			h = new(ruleset.Map)
		case !sameMap(h, w):
			d.redefined[objectID{kindMap, w.Name}] = true
			h = new(ruleset.Map)
		}
		d.mapEdits[i] = d.mapEdit(h.Elems, w.Elems)
	}
}

// removeMaps deletes maps and elements: before the chains that they refer to, after the rules that refer to them.
func (d *differ) removeMaps(have *ruleset.Ruleset) {
	for _, h := range have.Maps {
		place := d.wantMaps.place(h.Name)
		if place < 0 || d.isRedefined(kindMap, h.Name) {
			d.add(delMap{h.Name})
		} else if e := d.mapEdits[place]; len(e.removed) > 0 {
			d.add(editMap{d.wantMaps.list[place], true, e.removed})
		}
	}
}

// addMaps adds maps, those that most rules ask first: for every rule that asks one, the kernel searches a list of a table's maps and
// sets by name, in the order in which they were added.
func (d *differ) addMaps(want *ruleset.Ruleset) {
	var added []int
	for i, w := range want.Maps {
		if fresh(d, kindMap, w.Name, d.haveMaps) {
			added = append(added, i)
		} else if e := d.mapEdits[i]; len(e.added) > 0 {
			d.add(editMap{w, false, e.added})
		}
	}
	if len(added) > 1 {
		asked := mapUses(want)
		slices.SortStableFunc(added, func(i, j int) int { return cmp.Compare(asked[want.Maps[j].Name], asked[want.Maps[i].Name]) })
	}
	for _, i := range added {
		d.add(addMap{want.Maps[i]})
		if e := d.mapEdits[i]; len(e.added) > 0 {
			d.add(editMap{want.Maps[i], false, e.added})
		}
	}
}

// mapUses counts, for every map, the rules that ask it.
func mapUses(rs *ruleset.Ruleset) map[string]int {
	uses := make(map[string]int, len(rs.Maps))
	for _, c := range rs.Chains {
		for _, r := range c.Rules {
			for _, e := range r.Exprs {
				if ref, ok := e.(ruleset.VMapRef); ok {
					uses[ref.Map]++
				}
			}
		}
	}
	return uses
}
