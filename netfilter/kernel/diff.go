package kernel

import (
	"bytes"
	"fmt"
	"slices"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// Diff is the smallest change that makes a table that is have be want. With have nil the whole table is made, replacing the one
// that may be there. A counter, and a dynamic set with what it holds, stay as they are while want has them. A set whose comment
// alone differs stays too. want is kept and must not be changed any more.
func Diff(have, want *ruleset.Ruleset) *Change { return diff(have, want, nil, false) }

// diff is Diff; the elements of the sets in unread (see Observed) are not known and are written anew, unless their mark stands. Where
// it is lazy, a rule whose comment alone differs stays too.
func diff(have, want *ruleset.Ruleset, unread map[string]bool, lazy bool) *Change {
	c := &Change{want: want, after: want}
	if have == nil {
		c.table = tableMade
		have = new(ruleset.Ruleset)
	}
	d := differ{Change: c, unread: unread, lazy: lazy, redefined: make(map[objectID]bool), unchanged: chainEdit{same: true}}
	d.index(have, want)

	// Rules refer to maps, those to chains, and rules to the rest. What refers goes before what it refers to, so all removals come
	// before all additions: a name that stays with another meaning is free by then.
	d.removeRules(have)
	d.removeMaps(have)
	d.removeChains(have)
	d.removeObjects(have)
	d.addObjects(want)
	d.addChains(want)
	d.addMaps(want)
	d.addRules(want)
	d.keepComments(want)
	return c
}

// differ compares two rule sets.
type differ struct {
	*Change
	unread map[string]bool
	lazy   bool // comments may stay as they are

	haveChains, wantChains     *named[*ruleset.Chain]
	haveSets, wantSets         *named[*ruleset.Set]
	haveMaps, wantMaps         *named[*ruleset.Map]
	haveCounters, wantCounters *named[ruleset.Counter]
	haveLimits, wantLimits     *named[ruleset.LimitObject]

	// redefined are the names that stay, but must be removed and added; rules that refer to them too.
	redefined map[objectID]bool
	edits     []*chainEdit               // of the chains that are wanted
	comments  map[string][]*ruleset.Rule // of chains that keep comments, the rules with these
	mapEdits  []mapEdit                  // of the maps that are wanted

	unchanged        chainEdit // that of most chains
	haveKey, wantKey []byte    // of the rules that are compared, kept for their memory
}

func byName[T any](list []T, name func(T) string) map[string]T {
	m := make(map[string]T, len(list))
	for _, x := range list {
		m[name(x)] = x
	}
	return m
}

func (d *differ) index(have, want *ruleset.Ruleset) {
	set := func(s *ruleset.Set) string { return s.Name }
	counter := func(c ruleset.Counter) string { return c.Name }
	limit := func(l ruleset.LimitObject) string { return l.Name }
	d.haveChains, d.wantChains = newNamed(have.Chains, chainName), newNamed(want.Chains, chainName)
	d.haveSets, d.wantSets = newNamed(have.Sets, set), newNamed(want.Sets, set)
	d.haveCounters, d.wantCounters = newNamed(have.Counters, counter), newNamed(want.Counters, counter)
	d.haveLimits, d.wantLimits = newNamed(have.Limits, limit), newNamed(want.Limits, limit)
	for _, w := range want.Chains {
		if h, ok := d.haveChains.find(w.Name); ok && !sameHook(h.Hook, w.Hook) {
			d.redefined[objectID{kindChain, w.Name}] = true
		}
	}
	for _, w := range want.Sets {
		if h, ok := d.haveSets.find(w.Name); ok && !sameSet(h, w) {
			d.redefined[objectID{kindSet, w.Name}] = true
		}
	}
	for _, w := range want.Limits {
		if h, ok := d.haveLimits.find(w.Name); ok && h.Rate != w.Rate {
			d.redefined[objectID{kindLimit, w.Name}] = true
		}
	}
	d.indexMaps(have, want)
	d.edits = make([]*chainEdit, len(want.Chains))
	for i, w := range want.Chains {
		h, ok := d.haveChains.find(w.Name)
		if !ok || d.isRedefined(kindChain, w.Name) {
			h = &ruleset.Chain{}
		}
		e := d.chainEdit(h.Rules, w.Rules)
		if d.lazy && !e.flush {
			d.noteComments(w.Name, h.Rules, w.Rules, e)
		}
		d.edits[i] = e
	}
}

// isRedefined tells whether a name stays, but what has it must be removed and added.
func (d *differ) isRedefined(kind objectKind, name string) bool {
	return len(d.redefined) > 0 && d.redefined[objectID{kind, name}]
}

// sameHook tells whether a chain can stay where it stands: its policy can be changed.
func sameHook(a, b *ruleset.Hook) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Point == b.Point && a.Priority == b.Priority
}

// sameSet tells whether a set can stay. What it holds and says of itself does not count.
func sameSet(a, b *ruleset.Set) bool {
	return a.V6 == b.V6 && setFlags(a) == setFlags(b) && a.Timeout == b.Timeout && setSize(a) == setSize(b)
}

// gone tells whether something that is there must be removed.
func gone[T any](d *differ, kind objectKind, name string, want *named[T]) bool {
	return !want.has(name) || d.isRedefined(kind, name)
}

// fresh tells whether something that is wanted must be added.
func fresh[T any](d *differ, kind objectKind, name string, have *named[T]) bool {
	return !have.has(name) || d.isRedefined(kind, name)
}

func (d *differ) removeRules(have *ruleset.Ruleset) {
	for _, h := range have.Chains {
		place := d.wantChains.place(h.Name)
		switch {
		case len(h.Rules) == 0:
		case place < 0 || d.isRedefined(kindChain, h.Name) || d.edits[place].flush:
			d.add(flushChain{h.Name, len(h.Rules)})
		case d.edits[place].same:
		default:
			edit := d.edits[place]
			for i, r := range h.Rules {
				if !edit.kept[i] {
					d.add(delRule{h.Name, i, r})
				}
			}
			if edit.byHandle {
				d.needHandles(h.Name, len(h.Rules))
			}
		}
	}
}

func (d *differ) removeChains(have *ruleset.Ruleset) {
	for _, h := range have.Chains {
		if gone(d, kindChain, h.Name, d.wantChains) {
			d.add(delChain{h.Name})
		}
	}
}

func (d *differ) removeObjects(have *ruleset.Ruleset) {
	for _, h := range have.Sets {
		if gone(d, kindSet, h.Name, d.wantSets) {
			d.add(delSet{h.Name})
		}
	}
	for _, h := range have.Counters {
		if gone(d, kindCounter, h.Name, d.wantCounters) {
			d.add(delCounter{h.Name})
		}
	}
	for _, h := range have.Limits {
		if gone(d, kindLimit, h.Name, d.wantLimits) {
			d.add(delLimit{h.Name})
		}
	}
}

func (d *differ) addObjects(want *ruleset.Ruleset) {
	for _, w := range want.Sets {
		if fresh(d, kindSet, w.Name, d.haveSets) {
			d.add(addSet{w})
			if !w.Dynamic {
				d.edit(w, false, w.Elems4.Ranges(), w.Elems6.Ranges())
			}
			continue
		}
		if h, ok := d.haveSets.find(w.Name); ok && !w.Dynamic {
			d.setContent(h, w)
		}
	}
	for _, w := range want.Counters {
		if fresh(d, kindCounter, w.Name, d.haveCounters) {
			d.add(addCounter{w})
		}
	}
	for _, w := range want.Limits {
		if fresh(d, kindLimit, w.Name, d.haveLimits) {
			d.add(addLimit{w})
		}
	}
}

// edit adds an editSet where there is something to edit.
func (d *differ) edit(s *ruleset.Set, del bool, v4 []addrset.Range[addrset.U32], v6 []addrset.Range[addrset.U128]) {
	if len(v4)+len(v6) > 0 {
		d.add(editSet{s, del, v4, v6})
	}
}

// setContent changes what a set that stays holds. The kernel knows ranges, not addresses: one that is cut goes, and its rest
// comes.
func (d *differ) setContent(have, want *ruleset.Set) {
	if tooMany, unread := d.unread[want.Name]; unread {
		if tooMany && d.haveCounters.has(want.Mark()) {
			return // it says that the set holds just that
		}
		d.add(emptySet{want.Name})
		d.edit(want, false, want.Elems4.Ranges(), want.Elems6.Ranges())
		return
	}
	if have.Length != want.Length {
		have = lengthened(have, want.Length)
	}
	if !want.Interval {
		old4, new4 := have.Elems4.Differ(want.Elems4)
		old6, new6 := have.Elems6.Differ(want.Elems6)
		d.edit(want, true, old4.Ranges(), old6.Ranges())
		d.edit(want, false, new4.Ranges(), new6.Ranges())
		return
	}
	old4, new4 := changed(have.Elems4.Ranges(), want.Elems4.Ranges())
	old6, new6 := changed(have.Elems6.Ranges(), want.Elems6.Ranges())
	d.edit(want, true, old4, old6)
	d.edit(want, false, new4, new6)
}

// lengthened is a set that was read, of which the kernel does not tell how long the prefixes in it are.
func lengthened(s *ruleset.Set, length int) *ruleset.Set {
	l := *s
	l.Length, l.Elems4, l.Elems6 = length, topped(s.Elems4, length), topped(s.Elems6, length)
	return &l
}

func topped[K addrset.Address[K]](s addrset.Set[K], length int) addrset.Set[K] {
	var rs []addrset.Range[K]
	ruleset.Keys(s.Ranges(), 0, func(k K) { rs = append(rs, addrset.Range[K]{Lo: k, Hi: k.Top(length)}) })
	return addrset.Take(rs)
}

// changed compares two sorted lists of ranges: those only in the one, and only in the other.
func changed[K addrset.Key[K]](have, want []addrset.Range[K]) (removed, added []addrset.Range[K]) {
	for len(have) > 0 && len(want) > 0 {
		h, w := have[0], want[0]
		if h == w {
			have, want = have[1:], want[1:]
			continue
		}
		if c := h.Lo.Compare(w.Lo); c <= 0 {
			removed, have = append(removed, h), have[1:]
			if c == 0 {
				added, want = append(added, w), want[1:]
			}
			continue
		}
		added, want = append(added, w), want[1:]
	}
	return append(removed, have...), append(added, want...)
}

func (d *differ) addChains(want *ruleset.Ruleset) {
	for _, w := range want.Chains {
		if fresh(d, kindChain, w.Name, d.haveChains) {
			d.add(addChain{w})
		} else if w.Hook != nil {
			if h, ok := d.haveChains.find(w.Name); ok && w.Hook.Drop != h.Hook.Drop {
				d.add(setPolicy{w})
			}
		}
	}
}

func (d *differ) addRules(want *ruleset.Ruleset) {
	for n, w := range want.Chains {
		edit := d.edits[n]
		if edit.same {
			continue
		}
		for i, r := range w.Rules {
			if edit.flush || edit.match[i] < 0 {
				d.add(addRule{w.Name, r, edit.before[i]})
			}
		}
	}
}

// chainEdit is how a chain's rules become others.
type chainEdit struct {
	same     bool         // nothing is to be done
	flush    bool         // all old rules go, all new ones come
	kept     map[int]bool // old rules that stay
	match    []int        // of each new rule the old one that it is, -1 for none
	before   []int        // of each new rule the next old one that stays, -1 where it comes at the end
	byHandle bool         // old rules must be told apart
}

// smallChain is up to how many rules a chain is rewritten, rather than edited with handles that must be asked for.
const smallChain = 8

// chainEdit keeps as many rules as can stay in order. Of rules that are alike the first is taken for the first.
func (d *differ) chainEdit(have, want []*ruleset.Rule) *chainEdit {
	if len(have) == 0 { // as it mostly is where the whole table is made
		return &chainEdit{same: len(want) == 0, flush: true, before: slices.Repeat([]int{-1}, len(want))}
	}
	if d.same(have, want) {
		return &d.unchanged
	}
	haveKeys, wantKeys := d.keys(have), d.keys(want)
	e := &chainEdit{kept: make(map[int]bool), match: make([]int, len(want))}
	places := make(map[string][]int, len(have))
	for i, k := range haveKeys {
		places[k] = append(places[k], i)
	}
	for i, k := range wantKeys {
		e.match[i] = -1
		if k != "" && len(places[k]) > 0 {
			e.match[i], places[k] = places[k][0], places[k][1:]
		}
	}
	inOrder(e.match)
	keepsState := false
	for _, m := range e.match {
		if m >= 0 {
			e.kept[m] = true
			keepsState = keepsState || stateful(have[m])
		}
	}
	e.before = make([]int, len(want))
	if e.flush = len(e.kept) == 0 || len(have) <= smallChain && !keepsState; e.flush {
		for i := range e.before {
			e.before[i] = -1
		}
		return e
	}
	next := -1
	for i, m := range slices.Backward(e.match) {
		e.before[i] = next
		if m >= 0 {
			next = m
		}
	}
	// Rules that only come at the end need no handle of an old one.
	appended := len(e.kept) == len(have) && !slices.Contains(e.match[:len(have)], -1)
	e.byHandle = !appended
	return e
}

// same tells whether two chains have the same rules, all of which can stay. Of a long table most chains do, so it keeps no keys.
func (d *differ) same(have, want []*ruleset.Rule) bool {
	if len(have) != len(want) {
		return false
	}
	for i, h := range have {
		w := want[i]
		switch {
		case d.refersAnew(h) || d.refersAnew(w), !d.lazy && h.Comment != w.Comment:
			return false
		case sameExprs(h.Exprs, w.Exprs):
			continue
		}
		d.haveKey, d.wantKey = appendRuleKey(d.haveKey[:0], h), appendRuleKey(d.wantKey[:0], w)
		if len(d.haveKey) == 0 || !bytes.Equal(d.haveKey, d.wantKey) {
			return false
		}
	}
	return true
}

func (d *differ) keys(rules []*ruleset.Rule) []string {
	keys := make([]string, len(rules))
	for i, r := range rules {
		keys[i] = d.key(r)
	}
	return keys
}

// key is the rule's, unless it refers to something that is made anew: then it must be, too.
func (d *differ) key(r *ruleset.Rule) string {
	if d.refersAnew(r) {
		return ""
	}
	key := ruleKey(r)
	if key != "" && !d.lazy {
		key = fmt.Sprintf("%d %s%s", len(r.Comment), r.Comment, key)
	}
	return key
}

// refersAnew tells whether a rule refers to something that is made anew.
func (d *differ) refersAnew(r *ruleset.Rule) (anew bool) {
	if len(d.redefined) > 0 {
		references(r, func(kind objectKind, name string) { anew = anew || d.redefined[objectID{kind, name}] })
	}
	return anew
}

// inOrder sets to -1 whatever does not belong to a longest rising subsequence of the numbers that are not -1.
func inOrder(match []int) {
	tails := make([]int, 0, len(match)) // by length less one: where the lowest end of such a subsequence is
	prev := make([]int, len(match))
	for i, m := range match {
		if m < 0 {
			continue
		}
		n, _ := slices.BinarySearchFunc(tails, m, func(at, m int) int { return match[at] - m })
		prev[i] = -1
		if n > 0 {
			prev[i] = tails[n-1]
		}
		if n == len(tails) {
			tails = append(tails, i)
		} else {
			tails[n] = i
		}
	}
	keep := make(map[int]bool, len(tails))
	if len(tails) > 0 {
		for i := tails[len(tails)-1]; i >= 0; i = prev[i] {
			keep[i] = true
		}
	}
	for i := range match {
		if !keep[i] {
			match[i] = -1
		}
	}
}
