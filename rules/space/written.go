package space

import (
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Written is the packets of one box as rules say them. What a packet has no value of, an Ethernet address or a socket, no match can
// ask for; so there are two lists. An ordered list of rules takes exactly the packets of some boxes where the matches of Has come
// before all those of Lacks, and each of Lacks takes what its Buts do not hold.
type Written struct {
	Has   []policy.Match
	Lacks []Lack
}

// Lack is the packets of Match that are in none of Buts: those without an Ethernet address, or without a socket.
type Lack struct {
	Match policy.Match
	Buts  []policy.Match
}

// Write says a box as rules do. HopLimit, State, Spoofed and Time are left out: no match asks for them.
func (s *Space) Write(dir policy.Dir, b *Box) Written {
	whole := s.Whole(dir, b.Six)
	m := policy.Match{What: s.writeWhat(b), Sport: writeSport(b.sets[Sport])}
	m.From, m.To = s.writeAddrs(b, Src), s.writeAddrs(b, Dst)
	list := []policy.Match{m}
	list = with(list, s.names.write(b.sets[IIf], whole.sets[IIf]), func(m *policy.Match, c policy.Choice[policy.Pattern]) { m.IIf = c })
	list = with(list, s.names.write(b.sets[OIf], whole.sets[OIf]), func(m *policy.Match, c policy.Choice[policy.Pattern]) { m.OIf = c })
	list = with(list, []policy.Choice[policy.Mark]{s.marks.write(b.sets[Mark])}, func(m *policy.Match, c policy.Choice[policy.Mark]) { m.Mark = c })

	var out Written
	macs, anyMAC := b.sets[MAC], whole.sets[MAC].Equal(b.sets[MAC])
	socket := b.sets[Socket]
	owned := !socket.Equal(whole.sets[Socket]) || !b.sets[UID].Equal(whole.sets[UID]) || !b.sets[GID].Equal(whole.sets[GID])
	for _, m := range list {
		has, buts := []policy.Match{m}, []policy.Match{m}
		some, none := true, false
		if !anyMAC {
			has = with(has, s.writeMACs(macs.Minus(upTo(1))), setMAC)
			buts = with(buts, anyOf(policy.MAC{}), setMAC)
			some, none = !macs.Minus(upTo(1)).IsEmpty(), macs.Contains(0)
		}
		if owned {
			users, groups := writeOwners(b.sets[UID]), writeOwners(b.sets[GID])
			if users.IsAny() && groups.IsAny() {
				has = with(has, anyOf(policy.Owner{}), setUser)
			} else {
				has = with(with(has, []policy.Choice[policy.Owner]{users}, setUser), []policy.Choice[policy.Owner]{groups}, setGroup)
			}
			buts = with(buts, anyOf(policy.Owner{}), setUser)
			some, none = some && socket.Contains(1), none || socket.Contains(0)
		}
		if some {
			out.Has = append(out.Has, has...)
		}
		if none {
			out.Lacks = append(out.Lacks, Lack{m, buts})
		}
	}
	return out
}

func setMAC(m *policy.Match, c policy.Choice[policy.MAC])     { m.MAC = c }
func setUser(m *policy.Match, c policy.Choice[policy.Owner])  { m.User = c }
func setGroup(m *policy.Match, c policy.Choice[policy.Owner]) { m.Group = c }

// anyOf takes every packet that has a value: this one, and any other.
func anyOf[T any](v T) []policy.Choice[T] {
	return []policy.Choice[T]{{Yes: []T{v}}, {No: []T{v}}}
}

// with is each match of a list with each of some choices.
func with[T any](list []policy.Match, choices []policy.Choice[T], set func(*policy.Match, policy.Choice[T])) []policy.Match {
	var out []policy.Match
	for _, m := range list {
		for _, c := range choices {
			set(&m, c)
			out = append(out, m)
		}
	}
	return out
}

func (s *Space) writeWhat(b *Box) policy.What {
	if b.Six {
		return policy.What{V6: b.sets[Key]}
	}
	return policy.What{V4: b.sets[Key]}
}

func writeSport(s Set) addrset.Set[addrset.U16] {
	rs := make([]addrset.Range[addrset.U16], 0, s.Len())
	for _, r := range s.Ranges() {
		rs = append(rs, addrset.Range[addrset.U16]{Lo: addrset.U16(r.Lo), Hi: addrset.U16(r.Hi)})
	}
	return addrset.Of(rs...)
}

// writeAddrs is the addresses of a box along Src or Dst: a term for each way in which dynamic sets may hold them.
func (s *Space) writeAddrs(b *Box, d Dim) policy.Addrs {
	in := SrcIn
	if d == Dst {
		in = DstIn
	}
	addrs := b.addrs[d]
	if addrs.V4.IsAll() || addrs.V6.IsAll() {
		addrs = addrset.AllAddrs()
	}
	var out policy.Addrs
	for _, t := range s.writeHeld(b.sets[in], len(s.held)) {
		t.Static = addrs
		out.Terms = append(out.Terms, t)
	}
	return out
}

// writeHeld is numbers along SrcIn or DstIn as terms without addresses: what the first n dynamic sets are asked for.
func (s *Space) writeHeld(numbers Set, n int) []policy.Term {
	if numbers.IsEmpty() {
		return nil
	}
	if n == 0 {
		return []policy.Term{{}}
	}
	half := addrset.U32(1) << (n - 1)
	var without, within []addrset.Range[addrset.U32]
	for _, r := range numbers.Ranges() {
		if r.Lo < half {
			without = append(without, addrset.Range[addrset.U32]{Lo: r.Lo, Hi: min(r.Hi, half-1)})
		}
		if r.Hi >= half {
			within = append(within, addrset.Range[addrset.U32]{Lo: max(r.Lo, half) - half, Hi: r.Hi - half})
		}
	}
	a, b := addrset.Of(without...), addrset.Of(within...)
	if a.Equal(b) {
		return s.writeHeld(a, n-1)
	}
	var out []policy.Term
	for _, t := range s.writeHeld(a, n-1) {
		t.NotIn = append(slices.Clip(t.NotIn), s.held[n-1])
		out = append(out, t)
	}
	for _, t := range s.writeHeld(b, n-1) {
		t.In = append(slices.Clip(t.In), s.held[n-1])
		out = append(out, t)
	}
	return out
}

// write is names as choices of patterns, each of which is enough.
func (n *names) write(s, whole Set) []policy.Choice[policy.Pattern] {
	if s.Equal(whole) {
		return []policy.Choice[policy.Pattern]{{}}
	}
	if yes := n.covering(s, whole); yes != nil {
		return []policy.Choice[policy.Pattern]{{Yes: yes}}
	}
	if no := n.covering(whole.Minus(s), whole); no != nil {
		return []policy.Choice[policy.Pattern]{{No: no}}
	}
	var out []policy.Choice[policy.Pattern]
	for _, r := range s.Ranges() {
		for i := r.Lo; ; i++ {
			out = append(out, n.class(i))
			if i == r.Hi {
				break
			}
		}
	}
	return out
}

// covering is patterns that together match the names of a set and no others of the whole, nil where there are none such.
func (n *names) covering(s, whole Set) []policy.Pattern {
	var out []policy.Pattern
	var covered Set
	for _, p := range n.patterns {
		if set := n.set(p).Intersect(whole); s.Covers(set) && !covered.Covers(set) {
			out = append(out, p)
			covered = covered.Union(set)
		}
	}
	if !covered.Equal(s) {
		return nil
	}
	return out
}

// class is the names that the same patterns match as one: those of the narrowest pattern, without what is narrower still.
func (n *names) class(i addrset.U32) policy.Choice[policy.Pattern] {
	var c policy.Choice[policy.Pattern]
	narrow := n.real()
	for _, p := range n.patterns { // wide ones first
		if set := n.set(p); set.Contains(i) {
			c.Yes, narrow = []policy.Pattern{p}, set
		}
	}
	for _, p := range n.patterns {
		if set := n.set(p); !set.Contains(i) && narrow.Covers(set) && !set.IsEmpty() {
			c.No = append(c.No, p)
		}
	}
	return c
}

// write is classes of marks as one choice.
func (m *marks) write(s Set) policy.Choice[policy.Mark] {
	var yes, no []policy.Mark
	for i, c := range m.classes {
		if s.Contains(addrset.U32(i)) {
			yes = append(yes, c.parts...)
		} else {
			no = append(no, c.parts...)
		}
	}
	switch {
	case len(no) == 0:
		return policy.Choice[policy.Mark]{}
	case len(no) < len(yes):
		return policy.Choice[policy.Mark]{No: no}
	}
	return policy.Choice[policy.Mark]{Yes: yes}
}

// writeMACs is numbers above 0 along MAC as choices, each of which is enough.
func (s *Space) writeMACs(set Set) []policy.Choice[policy.MAC] {
	var yes, no []policy.MAC
	for i, mac := range s.macs {
		if set.Contains(addrset.U32(i + 2)) {
			yes = append(yes, mac)
		} else {
			no = append(no, mac)
		}
	}
	switch {
	case !set.Contains(1):
		return []policy.Choice[policy.MAC]{{Yes: yes}}
	case len(no) == 0:
		return anyOf(policy.MAC{})
	}
	return []policy.Choice[policy.MAC]{{No: no}}
}

// writeOwners is numbers along UID or GID as one choice; it is any where all are meant.
func writeOwners(s Set) policy.Choice[policy.Owner] {
	all := addrset.All[addrset.U32]()
	if s.Equal(all) {
		return policy.Choice[policy.Owner]{}
	}
	if rest := all.Minus(s); rest.Len() > 0 && span(rest) < span(s) {
		return policy.Choice[policy.Owner]{No: owners(rest)}
	}
	return policy.Choice[policy.Owner]{Yes: owners(s)}
}

// span is how many numbers a set holds.
func span(s Set) (n uint64) {
	for _, r := range s.Ranges() {
		n += uint64(r.Hi) - uint64(r.Lo) + 1
	}
	return n
}

func owners(s Set) (out []policy.Owner) {
	for _, r := range s.Ranges() {
		for k := r.Lo; ; k++ {
			out = append(out, policy.Owner{ID: uint32(k)})
			if k == r.Hi {
				break
			}
		}
	}
	return out
}
