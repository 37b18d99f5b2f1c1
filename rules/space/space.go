package space

import (
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Space is all packets, as finely told apart as some policies and their tests do. It may not be shared between
// goroutines.
type Space struct {
	names  names
	macs   []policy.MAC // sorted
	marks  marks
	times  []int64  // sorted: the moments at which rules expire
	free   bool     // made by NewFree
	held   []string // sorted: the dynamic sets that are left open
	whole  [3]Box   // by Dir: every packet of IPv4
	static map[*policy.Rule][]Box
}

// New is the space of some policies. The error is ErrTooComplex.
func New(policies ...*policy.Policy) (*Space, error) {
	return (&Space{}).over(policies)
}

// over makes the space that of some policies.
func (s *Space) over(policies []*policy.Policy) (*Space, error) {
	s.static = make(map[*policy.Rule][]Box)
	var patterns []policy.Pattern
	var cubes []policy.Mark
	match := func(m *policy.Match) {
		for _, c := range []policy.Choice[policy.Pattern]{m.IIf, m.OIf} {
			patterns = append(append(patterns, c.Yes...), c.No...)
		}
		s.macs = append(append(s.macs, m.MAC.Yes...), m.MAC.No...)
		cubes = append(append(cubes, m.Mark.Yes...), m.Mark.No...)
	}
	for _, p := range policies {
		for _, list := range p.Lists {
			for _, r := range list {
				match(&r.Match)
				if r.Expires != 0 {
					s.times = append(s.times, r.Expires)
				}
			}
		}
		for _, t := range p.Tests {
			match(&t.Match)
		}
	}
	slices.SortFunc(s.macs, func(a, b policy.MAC) int { return slices.Compare(a[:], b[:]) })
	s.macs = slices.Compact(s.macs)
	slices.Sort(s.times)
	s.times = slices.Compact(s.times)
	s.names = newNames(patterns)
	var err error
	if s.marks, err = newMarks(cubes); err != nil {
		return nil, err
	}
	for _, dir := range policy.Dirs {
		s.whole[dir] = s.newWhole(dir)
	}
	return s, nil
}

// newWhole is every packet of IPv4 in a direction. What no packet of the direction has is a single value.
func (s *Space) newWhole(dir policy.Dir) Box {
	b := Box{}
	b.addrs[Src].V4, b.addrs[Dst].V4 = addrset.All[addrset.U32](), addrset.All[addrset.U32]()
	b.sets = [dims]Set{
		Key:      addrset.Between(policy.Key(0, 0), policy.Key(255, 1<<16-1)),
		Sport:    upTo(1 << 16),
		IIf:      s.names.real(),
		OIf:      s.names.real(),
		MAC:      upTo(len(s.macs) + 2),
		Mark:     upTo(len(s.marks.classes)),
		Socket:   upTo(1),
		UID:      upTo(1),
		GID:      upTo(1),
		HopLimit: addrset.Between(addrset.U32(1), addrset.U32(255)),
		State:    upTo(int(policy.Invalid) + 1), // untracked packets are judged like new ones
		Spoofed:  upTo(2),
		Time:     upTo(len(s.times) + 1),
		SrcIn:    upTo(1 << len(s.held)),
		DstIn:    upTo(1 << len(s.held)),
	}
	switch dir {
	case policy.In:
		b.sets[OIf] = upTo(1)
	case policy.Out:
		b.sets[IIf], b.sets[MAC], b.sets[Spoofed] = upTo(1), upTo(1), upTo(1)
		b.sets[Socket] = upTo(2)
		b.sets[UID], b.sets[GID] = addrset.All[addrset.U32](), addrset.All[addrset.U32]()
	}
	return b
}

// Whole is every packet of a direction and family.
func (s *Space) Whole(dir policy.Dir, six bool) Box {
	b := s.whole[dir]
	if six {
		b.Six = true
		all := addrset.Addrs{V6: addrset.All[addrset.U128]()}
		b.addrs[Src], b.addrs[Dst] = all, all
	}
	return b
}

// Match is the packets of a direction that are in every part of a match: a box a family at most, or in a free space
// one for each way in which dynamic sets can make it so. given is what dynamic sets hold; a free space does not ask.
func (s *Space) Match(dir policy.Dir, m *policy.Match, given map[string]addrset.Addrs) []Box {
	var out []Box
	from, to := s.cases(m.From, given), s.cases(m.To, given)
	for _, six := range []bool{false, true} {
		what := m.What.V4
		if six {
			what = m.What.V6
		}
		b := s.Whole(dir, six)
		if !(b.Limit(Key, what) && s.limitSport(&b, m) &&
			limitChoice(&b, IIf, m.IIf, s.names.set) && limitChoice(&b, OIf, m.OIf, s.names.set) &&
			s.limitMAC(&b, m.MAC) && limitChoice(&b, Mark, m.Mark, s.marks.set) &&
			limitOwner(&b, UID, m.User) && limitOwner(&b, GID, m.Group)) {
			continue
		}
		for _, f := range from {
			for _, t := range to {
				if c := b; f.limit(&c, Src) && t.limit(&c, Dst) {
					out = append(out, c)
				}
			}
		}
	}
	return out
}

// Resolve is the addresses of a while dynamic sets hold what is given; others are empty.
func Resolve(a policy.Addrs, given map[string]addrset.Addrs) addrset.Addrs {
	var out addrset.Addrs
	for _, t := range a.Terms {
		s := t.Static
		for _, name := range t.In {
			s = s.Intersect(given[name])
		}
		for _, name := range t.NotIn {
			s = s.Minus(given[name])
		}
		out = out.Union(s)
	}
	return out
}

func (s *Space) limitSport(b *Box, m *policy.Match) bool {
	if m.Sport.IsAll() {
		return true
	}
	rs := make([]addrset.Range[addrset.U32], 0, m.Sport.Len())
	for _, r := range m.Sport.Ranges() {
		rs = append(rs, addrset.Range[addrset.U32]{Lo: addrset.U32(r.Lo), Hi: addrset.U32(r.Hi)})
	}
	return b.Limit(Sport, addrset.Of(rs...))
}

// limitChoice keeps what a choice takes along a dimension where every packet has a value.
func limitChoice[T any](b *Box, d Dim, c policy.Choice[T], set func(T) Set) bool {
	if c.IsAny() {
		return true
	}
	return b.Limit(d, chosen(b.sets[d], c, set))
}

// chosen is the values of a choice, out of all those there are.
func chosen[T any](all Set, c policy.Choice[T], set func(T) Set) Set {
	yes := all
	if len(c.Yes) > 0 {
		yes = union(c.Yes, set)
	}
	return yes.Minus(union(c.No, set))
}

func union[T any](vs []T, set func(T) Set) Set {
	var rs []addrset.Range[addrset.U32]
	for _, v := range vs {
		rs = append(rs, set(v).Ranges()...)
	}
	return addrset.Of(rs...)
}

func (s *Space) limitMAC(b *Box, c policy.Choice[policy.MAC]) bool {
	if c.IsAny() {
		return true
	}
	some := b.sets[MAC].Minus(upTo(1))
	return b.Limit(MAC, chosen(some, c, s.macSet))
}

// macSet is a MAC address of the space's policies as a set along MAC.
func (s *Space) macSet(a policy.MAC) Set {
	i, _ := slices.BinarySearchFunc(s.macs, a, func(a, b policy.MAC) int { return slices.Compare(a[:], b[:]) })
	return addrset.One(addrset.U32(i + 2))
}

// limitOwner keeps what a socket of the right user or group sent.
func limitOwner(b *Box, d Dim, c policy.Choice[policy.Owner]) bool {
	if c.IsAny() {
		return true
	}
	return b.Limit(Socket, addrset.One(addrset.U32(1))) &&
		b.Limit(d, chosen(addrset.All[addrset.U32](), c, ownerSet))
}

// ownerSet is a user or group as a set along UID or GID.
func ownerSet(o policy.Owner) Set { return addrset.One(addrset.U32(o.ID)) }

// At is the span of time that a moment is in, as a set along Time. The moment is in Unix seconds.
func (s *Space) At(time int64) Set {
	i, found := slices.BinarySearch(s.times, time)
	if found {
		i++
	}
	return addrset.One(addrset.U32(i))
}

// Spans is the spans of time in which the same rules live, each as a set along Time.
func (s *Space) Spans() []Set {
	out := make([]Set, len(s.times)+1)
	for i := range out {
		out[i] = addrset.One(addrset.U32(i))
	}
	return out
}

// Named is the interfaces that a pattern matches, as a set along IIf or OIf. The pattern must be one of the space's
// policies, or lo.
func (s *Space) Named(p policy.Pattern) Set { return s.names.set(p) }

// before is the times before a moment at which a rule of the space expires.
func (s *Space) before(expires int64) Set {
	i, _ := slices.BinarySearch(s.times, expires)
	return upTo(i + 1)
}
