package check

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// naming puts sets into the words of two policies: names of sets and users, patterns of interfaces.
type naming struct {
	space    *space.Space
	ahead    space.Set // the spans of time that are not over
	sets     []namedSet
	patterns []policy.Pattern
	marked   []policy.Mark
	users    map[uint32]string
	groups   map[uint32]string
}

// namedSet is a set whose name means the same in both policies.
type namedSet struct {
	name  string
	addrs addrset.Addrs
}

func newNaming(sp *space.Space, now int64, policies ...*policy.Policy) *naming {
	n := &naming{space: sp, ahead: sp.From(now), users: map[uint32]string{}, groups: map[uint32]string{}}
	n.setsOf(policies)
	for _, p := range policies {
		for _, list := range p.Lists {
			for _, r := range list {
				m := &r.Match
				n.patterns = slices.Concat(n.patterns, m.IIf.Yes, m.IIf.No, m.OIf.Yes, m.OIf.No)
				n.marked = slices.Concat(n.marked, m.Mark.Yes, m.Mark.No)
				for _, o := range slices.Concat(m.User.Yes, m.User.No) {
					n.users[o.ID] = cmp.Or(o.Name, fmt.Sprint(o.ID))
				}
				for _, o := range slices.Concat(m.Group.Yes, m.Group.No) {
					n.groups[o.ID] = cmp.Or(o.Name, fmt.Sprint(o.ID))
				}
			}
		}
	}
	n.patterns = append(n.patterns, policy.Loopback)
	slices.Sort(n.patterns)
	n.patterns = slices.Compact(n.patterns)
	slices.SortFunc(n.marked, func(a, b policy.Mark) int {
		return cmp.Or(cmp.Compare(a.Mask, b.Mask), cmp.Compare(a.Value, b.Value))
	})
	n.marked = slices.Compact(n.marked)
	return n
}

// setsOf finds the names that can be used: built-in ones, and those that do not mean different addresses.
func (n *naming) setsOf(policies []*policy.Policy) {
	known := map[string]addrset.Addrs{}
	unclear := map[string]bool{}
	for _, p := range policies {
		for name, s := range p.Sets {
			if s.Dynamic != nil || slices.ContainsFunc(s.Addrs.Terms, func(t policy.Term) bool { return !t.IsStatic() }) {
				unclear[name] = true
				continue
			}
			a := s.Addrs.Static()
			if other, ok := known[name]; ok && !other.Equal(a) {
				unclear[name] = true
			}
			known[name] = a
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !unclear[name] && !known[name].IsEmpty() {
			n.sets = append(n.sets, namedSet{name, known[name]})
		}
	}
	for _, s := range policy.BuiltinSets() {
		n.sets = append(n.sets, namedSet{s.Name, s.Addrs.Static()})
	}
}

// addresses is the sources or destinations of what was found: as a list, and as text, abbreviated; empty for all. told
// is whether they say which family is meant.
func (n *naming) addresses(f *found, d space.Dim) (items []string, text string, told bool) {
	in := space.SrcIn
	if d == space.Dst {
		in = space.DstIn
	}
	items, told = n.addrs(f.addrs(d), f.both || !f.box.Six, f.both || f.box.Six)
	text = abbreviate(items, shownItems)
	if held := n.held(f.box.Set(in)); held != "" {
		if text != "" {
			text += " and "
		}
		text += held
		items = []string{text} // a list would say "or"
	}
	return items, text, told
}

// addrs is a set of addresses in words: what is in it, or what is not, whichever is shorter. Nothing stands for all
// addresses of the families that are meant.
func (n *naming) addrs(a addrset.Addrs, four, six bool) (items []string, told bool) {
	all := addrset.Addrs{}
	if four {
		all.V4 = addrset.All[addrset.U32]()
	}
	if six {
		all.V6 = addrset.All[addrset.U128]()
	}
	rest := all.Minus(a)
	if rest.IsEmpty() {
		return nil, false
	}
	items, told = n.positive(a, all)
	shortest := length(items)
	better := func(first []string, without addrset.Addrs, tells bool) {
		if without.Len() > many && !n.mostlyNamed(without) {
			return
		}
		rest, _ := n.positive(without, all)
		for i := range rest {
			rest[i] = "not " + rest[i]
		}
		if rest = append(first, rest...); length(rest) < shortest {
			items, told, shortest = rest, tells, length(rest)
		}
	}
	better(nil, rest, false)
	for _, s := range n.sets { // a set but for some of it
		if whole := s.addrs.Intersect(all); whole.Len() < many && whole.Covers(a) {
			better([]string{s.name}, whole.Minus(a), all.Covers(s.addrs))
		}
	}
	if a.V4.IsEmpty() != a.V6.IsEmpty() {
		around := around(a)
		better([]string{around.String()}, addrset.OfPrefix(around).Minus(a), true)
	}
	return items, told
}

// isShort tells whether addresses of one family are a few that can be named.
func (n *naming) isShort(a addrset.Addrs, six bool) bool {
	if a.Len() > many && !n.mostlyNamed(a) {
		return false
	}
	items, _ := n.addrs(a, !six, six)
	return len(items) <= shownItems && !slices.ContainsFunc(items, func(s string) bool { return strings.HasPrefix(s, "not ") })
}

// mostlyNamed tells whether some set may be a good part of addresses, so that words for them are worth looking for.
func (n *naming) mostlyNamed(a addrset.Addrs) bool {
	return slices.ContainsFunc(n.sets, func(s namedSet) bool { return 2*s.addrs.Len() >= a.Len() })
}

// length is how much there is to read, all items shown.
func length(items []string) int { return len(strings.Join(items, ", ")) }

// around is the smallest prefix that holds addresses of one family.
func around(a addrset.Addrs) netip.Prefix {
	var lo, hi netip.Addr
	if rs := a.V4.Ranges(); len(rs) > 0 {
		lo, hi = rs[0].Lo.Addr(), rs[len(rs)-1].Hi.Addr()
	} else {
		rs := a.V6.Ranges()
		lo, hi = rs[0].Lo.Addr(), rs[len(rs)-1].Hi.Addr()
	}
	p := netip.PrefixFrom(lo, lo.BitLen())
	for !p.Contains(hi) {
		p = netip.PrefixFrom(lo, p.Bits()-1)
	}
	return p.Masked()
}

// many is how many ranges a set may have to be tried as part of another.
const many = 10_000

// positive is addresses as names and ranges, and whether these tell which families are meant. Names stand for what they
// hold of all.
func (n *naming) positive(a, all addrset.Addrs) (items []string, told bool) {
	told = true
	for !a.IsEmpty() {
		best, saves, left, tells := "", 0, a, false
		for _, s := range n.sets {
			whole := s.addrs.Intersect(all)
			if whole.IsEmpty() || whole.Len() > a.Len() || whole.Len() > many && 2*whole.Len() < a.Len() || !a.Covers(whole) {
				continue
			}
			rest := a.Minus(whole)
			if save := a.Len() - rest.Len(); save > saves {
				best, saves, left, tells = s.name, save, rest, all.Covers(s.addrs)
			}
		}
		if best == "" {
			break
		}
		items, a, told = append(items, best), left, told && tells
	}
	for _, r := range a.V4.Ranges() {
		items = append(items, string(addrset.AppendRange(nil, r)))
	}
	for _, r := range a.V6.Ranges() {
		items = append(items, string(addrset.AppendRange(nil, r)))
	}
	return items, told
}

// held is what dynamic sets must hold of an address: "banned", "not banned", "banned and not guests or …".
func (n *naming) held(s space.Set) string {
	var cubes []string
	names := n.space.Held()
	var walk func(i, in int, words []string)
	holds := func(i, in int) (some, all bool) { // of the numbers whose first i bits are in
		all = true
		for rest := range 1 << (len(names) - i) {
			if s.Contains(addrset.U32(in | rest<<i)) {
				some = true
			} else {
				all = false
			}
		}
		return some, all
	}
	same := func(i, in int) bool { // whether the bit i makes no difference
		for rest := range 1 << (len(names) - i - 1) {
			k := in | rest<<(i+1)
			if s.Contains(addrset.U32(k)) != s.Contains(addrset.U32(k|1<<i)) {
				return false
			}
		}
		return true
	}
	walk = func(i, in int, words []string) {
		some, all := holds(i, in)
		switch {
		case !some:
		case all:
			cubes = append(cubes, strings.Join(words, " and "))
		case same(i, in):
			walk(i+1, in, words)
		default:
			walk(i+1, in|1<<i, append(slices.Clip(words), names[i]))
			walk(i+1, in, append(slices.Clip(words), "not "+names[i]))
		}
	}
	walk(0, 0, nil)
	return strings.Join(cubes, " or ")
}

// interfaces is the interfaces of what was found, in patterns. Loopback is left unsaid where something stands before
// the rules that takes it.
func (n *naming) interfaces(f *found, d space.Dim) string {
	every := n.space.Whole(f.dir, f.box.Six)
	set, whole := f.box.Set(d), every.Set(d)
	if whole.Len() == 1 && whole.Ranges()[0].Lo == whole.Ranges()[0].Hi && whole.Contains(0) {
		return "" // a direction without such an interface
	}
	if lo := n.space.Named(policy.Loopback); !f.rules && f.dir != policy.Forward {
		switch {
		case set.Equal(whole) && f.sum > 0:
			return ""
		case set.Equal(whole):
			return "any, lo too"
		}
		if !set.Overlaps(lo) {
			whole = whole.Minus(lo)
		}
	}
	return chosenText(set, whole, n.patterns, n.space.Named, func(p policy.Pattern) string { return string(p) }, func(i addrset.U32) string {
		return n.space.Interfaces()[i]
	})
}

// macs is Ethernet addresses in words.
func (n *naming) macs(s, whole space.Set) string {
	known := n.space.MACs()
	return chosenText(s, whole, known, func(a policy.MAC) space.Set {
		i := slices.Index(known, a)
		return addrset.One(addrset.U32(i + 2))
	}, policy.MAC.String, func(i addrset.U32) string {
		return [...]string{"none", "any other"}[min(i, 1)]
	})
}

// marks is marks in words.
func (n *naming) marks(s, whole space.Set) string {
	return chosenText(s, whole, n.marked, n.space.Marked, policy.Mark.String, func(addrset.U32) string { return "any other" })
}

// owners is users and groups in words.
func (n *naming) owners(b, whole *space.Box) []string {
	var out []string
	text := func(d space.Dim, names map[uint32]string) string {
		known := slices.Sorted(maps.Keys(names))
		one := func(id uint32) space.Set { return addrset.One(addrset.U32(id)) }
		return chosenText(b.Set(d), whole.Set(d), known, one, func(id uint32) string { return names[id] }, func(id addrset.U32) string { return fmt.Sprint(id) })
	}
	user, group := text(space.UID, n.users), text(space.GID, n.groups)
	if user != "" {
		out = append(out, "user "+user)
	}
	if group != "" {
		out = append(out, "group "+group)
	}
	switch s := b.Set(space.Socket); {
	case s.Equal(whole.Set(space.Socket)):
	case !s.Contains(0) && user+group == "":
		out = append(out, "from a socket")
	case !s.Contains(1):
		out = append(out, "from no socket")
	}
	return out
}

// chosenText is a set along a dimension where values are named by the match keys of rules: those that are in it, those
// that are not, or some but for others, whichever is shortest; empty for the whole.
func chosenText[T any](s, whole space.Set, values []T, set func(T) space.Set, text func(T) string, one func(addrset.U32) string) string {
	rest := whole.Minus(s)
	if rest.IsEmpty() {
		return ""
	}
	in := valuesIn(s, values, set, text, one)
	out := valuesIn(rest, values, set, text, one)
	best := abbreviate(in, shownItems)
	fewest := len(in)
	if len(out) < fewest {
		best, fewest = "not "+abbreviate(out, shownItems), len(out)
	}
	for _, v := range values {
		if of := set(v); of.Covers(s) && fewest > 2 {
			if but := valuesIn(of.Minus(s), values, set, text, one); len(but)+1 < fewest {
				best, fewest = text(v)+" but "+abbreviate(but, shownItems), len(but)+1
			}
		}
	}
	return best
}

// valuesIn is a set as values that lie in it, the widest first, and numbers that no value is.
func valuesIn[T any](s space.Set, values []T, set func(T) space.Set, text func(T) string, one func(addrset.U32) string) []string {
	var out []string
	size := func(s space.Set) (n uint64) {
		for _, r := range s.Ranges() {
			n += uint64(r.Hi-r.Lo) + 1
		}
		return n
	}
	for !s.IsEmpty() {
		best, most := -1, uint64(0)
		for i, v := range values {
			of := set(v)
			if !of.IsEmpty() && s.Covers(of) && size(of) > most {
				best, most = i, size(of)
			}
		}
		if best < 0 {
			break
		}
		out, s = append(out, text(values[best])), s.Minus(set(values[best]))
	}
	for _, r := range s.Ranges() {
		if size(s) > 64 {
			if r.Lo == r.Hi {
				out = append(out, one(r.Lo))
			} else {
				out = append(out, one(r.Lo)+"-"+one(r.Hi))
			}
			continue
		}
		for k := r.Lo; ; k++ {
			out = append(out, one(k))
			if k == r.Hi {
				break
			}
		}
	}
	return slices.Compact(out)
}
