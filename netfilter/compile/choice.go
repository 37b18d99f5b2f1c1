package compile

import (
	"bytes"
	"slices"
	"strings"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Each function here makes lines of a match key's values: one for each way of matching, none where nothing can match, and one
// that asks nothing where the key is not written.

// anything is one line that asks nothing.
func anything() []conj { return []conj{nil} }

// patterns matches interface names.
func patterns(f ruleset.Field, c policy.Choice[policy.Pattern]) []conj {
	yes, no := namesOf(c.Yes), namesOf(c.No)
	if no.all {
		return nil
	}
	if len(c.Yes) == 0 {
		yes.all = true
	}
	if !yes.all {
		yes.exact = slices.DeleteFunc(yes.exact, func(name string) bool { return no.hold(name) || yes.prefixed(name) })
		if len(yes.prefixes) == 0 {
			no = names{} // taken away already
		}
	}
	without := conj(nil)
	if len(no.exact) > 0 {
		without = append(without, oneOf(f, no.exact, true))
	}
	for _, p := range no.prefixes {
		without = append(without, ruleset.Cmp{Field: f, Op: ruleset.Ne, Value: []byte(p), Wildcard: true})
	}
	if yes.all {
		return []conj{without}
	}
	var out []conj
	if len(yes.exact) > 0 {
		out = append(out, conj{oneOf(f, yes.exact, false)})
	}
	for _, p := range yes.prefixes {
		if !no.prefixed(p) {
			out = append(out, and(conj{ruleset.Cmp{Field: f, Value: []byte(p), Wildcard: true}}, without))
		}
	}
	return out
}

// names is interface names and prefixes of such.
type names struct {
	all             bool
	exact, prefixes []string // sorted; no prefix within another
}

func namesOf(ps []policy.Pattern) (n names) {
	for _, p := range ps {
		prefix, wild := strings.CutSuffix(string(p), "*")
		switch {
		case !wild:
			n.exact = append(n.exact, prefix)
		case prefix == "":
			n.all = true
		default:
			n.prefixes = append(n.prefixes, prefix)
		}
	}
	slices.Sort(n.exact)
	n.exact = slices.Compact(n.exact)
	// In order, what a prefix covers comes after it.
	slices.Sort(n.prefixes)
	all := n.prefixes
	n.prefixes = nil
	for _, p := range all {
		if !n.prefixed(p) {
			n.prefixes = append(n.prefixes, p)
		}
	}
	return n
}

func (n names) prefixed(name string) bool {
	return slices.ContainsFunc(n.prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
}

func (n names) hold(name string) bool { return slices.Contains(n.exact, name) || n.prefixed(name) }

// oneOf matches any of some sorted names, or none of them.
func oneOf(f ruleset.Field, names []string, not bool) ruleset.Expr {
	in := ruleset.In{Field: f, Not: not}
	for _, n := range names {
		in.Elems = append(in.Elems, ruleset.Interval{Lo: []byte(n), Hi: []byte(n)})
	}
	return simplest(in)
}

// marks matches the packet's mark. Whole marks are one set; each masked one needs a line of its own.
func marks(c policy.Choice[policy.Mark]) []conj {
	whole := func(ms []policy.Mark) (s addrset.Set[addrset.U32]) {
		for _, m := range ms {
			if m.Mask == ^uint32(0) {
				s = s.Union(addrset.One(addrset.U32(m.Value)))
			}
		}
		return s
	}
	masked := func(m policy.Mark, op ruleset.Op) ruleset.Expr {
		f := ruleset.MetaMark
		return ruleset.Cmp{Field: f, Mask: f.Value(uint64(m.Mask)), Op: op, Value: f.Value(uint64(m.Value))}
	}
	without := conj(nil)
	if s := whole(c.No); !s.IsEmpty() {
		without = append(without, numbers(ruleset.MetaMark, s, true))
	}
	for _, m := range c.No {
		if m.Mask != ^uint32(0) {
			without = append(without, masked(m, ruleset.Ne))
		}
	}
	if len(c.Yes) == 0 {
		return []conj{without}
	}
	var out []conj
	if s := whole(c.Yes); !s.IsEmpty() {
		out = append(out, and(conj{numbers(ruleset.MetaMark, s, false)}, without))
	}
	for _, m := range c.Yes {
		if m.Mask != ^uint32(0) {
			out = append(out, and(conj{masked(m, ruleset.Eq)}, without))
		}
	}
	return out
}

// owners matches the user or group of the sending socket; packets without one match nothing, what is subtracted from all
// included.
func owners(f ruleset.Field, c policy.Choice[policy.Owner]) []conj {
	ids := func(os []policy.Owner) (s addrset.Set[addrset.U32]) {
		for _, o := range os {
			s = s.Union(addrset.One(addrset.U32(o.ID)))
		}
		return s
	}
	if c.IsAny() {
		return anything()
	}
	if len(c.Yes) == 0 {
		return []conj{{numbers(f, ids(c.No), true)}}
	}
	s := ids(c.Yes).Minus(ids(c.No))
	if s.IsEmpty() {
		return nil
	}
	return []conj{{numbers(f, s, false)}}
}

// macs matches the Ethernet address of the sender; what came in by another kind of interface has none.
func macs(c policy.Choice[policy.MAC]) []conj {
	if c.IsAny() {
		return anything()
	}
	list, not := c.Yes, len(c.Yes) == 0
	if not {
		list = c.No
	}
	list = slices.Clone(list)
	if !not {
		list = slices.DeleteFunc(list, func(m policy.MAC) bool { return slices.Contains(c.No, m) })
	}
	slices.SortFunc(list, func(a, b policy.MAC) int { return bytes.Compare(a[:], b[:]) })
	list = slices.Compact(list)
	if len(list) == 0 {
		return nil
	}
	in := ruleset.In{Field: ruleset.EtherSaddr, Not: not}
	for _, m := range list {
		in.Elems = append(in.Elems, ruleset.Interval{Lo: m[:], Hi: m[:]})
	}
	return []conj{{equal(ruleset.IIfType, ruleset.IfEther), simplest(in)}}
}
