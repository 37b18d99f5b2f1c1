package compile

import (
	"net/netip"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// shape is where a rule lies among packets, or block, or failsafe: what it takes in each dimension.
type shape struct {
	dir      policy.Dir
	from, to addrset.Addrs // while dynamic sets hold what they are given
	// froms and tos are the same in parts, which may overlap: what depends on other dynamic sets is a part of its own.
	froms, tos []addrset.Addrs
	// staticFroms and staticTos are the most that parts which depend on dynamic sets can be, few ranges of each.
	staticFroms, staticTos []addrset.Addrs
	match                  *policy.Match // the rest
	expires                int64
	dynamic                bool      // it asks for dynamic sets
	again                  bool      // it is not the first cell of its shape
	said                   [2]dimSet // the dimensions that it asks for something in, by family
}

// dimSet is a set of dimensions, as bits.
type dimSet uint16

func (s dimSet) has(d dim) bool { return s>>d&1 == 1 }

// dim is a dimension of packets that rules have.
type dim uint8

const (
	dimSrc dim = iota
	dimDst
	dimKey
	dimSport
	dimIIf
	dimOIf
	dimMAC
	dimMark
	dimUser
	dimGroup
	dimTime
	dims
)

func newShape(dir policy.Dir, m *policy.Match, expires int64, known resolver) *shape {
	s := &shape{dir: dir, match: m, expires: expires}
	from, to := known.addrs(m.From), known.addrs(m.To)
	s.from, s.froms, s.staticFroms = from.all, from.parts, from.statics
	s.to, s.tos, s.staticTos = to.all, to.parts, to.statics
	s.dynamic = from.dynamic || to.dynamic
	s.look()
	return s
}

// look finds the dimensions that s asks for something in.
func (s *shape) look() {
	m := s.match
	for family, asks := range [][dims]bool{
		{dimSrc: !s.from.V4.IsAll(), dimDst: !s.to.V4.IsAll(), dimKey: !m.What.V4.IsAll()},
		{dimSrc: !s.from.V6.IsAll(), dimDst: !s.to.V6.IsAll(), dimKey: !m.What.V6.IsAll()},
	} {
		asks[dimSport], asks[dimIIf], asks[dimOIf], asks[dimMAC] = !m.Sport.IsAll(), !m.IIf.IsAny(), !m.OIf.IsAny(), !m.MAC.IsAny()
		asks[dimMark], asks[dimUser], asks[dimGroup], asks[dimTime] = !m.Mark.IsAny(), !m.User.IsAny(), !m.Group.IsAny(), s.expires != 0
		s.said[family] = 0
		for d, is := range asks {
			if is {
				s.said[family] |= 1 << d
			}
		}
	}
}

// saying is the dimensions that s asks packets of a family for something in.
func (s *shape) saying(six bool) dimSet {
	if six {
		return s.said[1]
	}
	return s.said[0]
}

// resolver resolves addresses while dynamic sets hold what they are given; the same ones, which may be a million, once.
type resolver struct {
	given map[string]addrset.Addrs
	done  map[termList]*resolved
	few   int // ranges, of what depends on dynamic sets
	// brief: of what depends on dynamic sets now, and of large parts, all has few ranges only. That is enough to look for packets,
	// and spares a copy of millions.
	brief bool
}

// termList is the terms of some addresses, by where they lie in memory.
type termList struct {
	first *policy.Term
	n     int
}

// resolved is addresses as a shape has them.
type resolved struct {
	all            addrset.Addrs
	parts, statics []addrset.Addrs
	whole          []addrset.Addrs // all, in parts that may overlap
	dynamic        bool
}

func (known resolver) addrs(a policy.Addrs) *resolved {
	if len(a.Terms) == 0 {
		return &resolved{}
	}
	list := termList{&a.Terms[0], len(a.Terms)}
	r := known.done[list]
	if r == nil {
		r = known.resolve(a)
		known.done[list] = r
	}
	return r
}

func (known resolver) resolve(a policy.Addrs) *resolved {
	r := new(resolved)
	for _, t := range a.Terms {
		if !t.IsStatic() {
			r.dynamic = true
			r.statics = append(r.statics, fewOf(t.Static, known.few))
		}
		part := space.Resolve(policy.Addrs{Terms: []policy.Term{t}}, known.given)
		if part.IsEmpty() {
			continue
		}
		r.whole = append(r.whole, part)
		if known.brief && part.Len() >= largeSet {
			part = fewOf(part, known.few)
		}
		r.all = r.all.Union(part)
		if known.brief && !t.IsStatic() {
			part = fewOf(part, known.few)
		}
		r.parts = append(r.parts, part)
	}
	return r
}

// atMost is a shape as if dynamic sets held all that the shape asks them for: its packets are in it or not as these are filled.
func (s *shape) atMost() *shape {
	c := *s
	c.staticFroms, c.staticTos = nil, nil
	if len(s.staticFroms) > 0 {
		c.froms, c.from = s.staticFroms, union(s.staticFroms)
	}
	if len(s.staticTos) > 0 {
		c.tos, c.to = s.staticTos, union(s.staticTos)
	}
	c.look()
	return &c
}

func union(parts []addrset.Addrs) (all addrset.Addrs) {
	for _, a := range parts {
		all = all.Union(a)
	}
	return all
}

// fewIn is how many ranges of what depends on dynamic sets are looked at, of each rule of so many: the fewer, the more.
func fewIn(rules int) int { return min(max(6, 640/max(1, rules)), 64) }

// fewOf is some ranges of addresses, evenly spread, where there are many.
func fewOf(a addrset.Addrs, few int) addrset.Addrs {
	return addrset.Addrs{V4: fewRanges(a.V4, few), V6: fewRanges(a.V6, few)}
}

func fewRanges[K addrset.Key[K]](s addrset.Set[K], few int) addrset.Set[K] {
	rs := s.Ranges()
	if len(rs) <= few {
		return s
	}
	var some []addrset.Range[K]
	for i := range few {
		some = append(some, rs[i*(len(rs)-1)/(few-1)])
	}
	return addrset.Of(some...)
}

// what is the keys of a family.
func (s *shape) what(six bool) addrset.Set[addrset.U32] {
	if six {
		return s.match.What.V6
	}
	return s.match.What.V4
}

// hasFamily tells whether packets of a family can be in s.
func (s *shape) hasFamily(six bool) bool {
	if six {
		return !s.what(true).IsEmpty() && !s.from.V6.IsEmpty() && !s.to.V6.IsEmpty()
	}
	return !s.what(false).IsEmpty() && !s.from.V4.IsEmpty() && !s.to.V4.IsEmpty()
}

// has tells whether a packet is in s, as far as a dimension goes.
func (s *shape) has(pkt *policy.Packet, d dim) bool {
	m := s.match
	switch d {
	case dimSrc:
		return s.from.Contains(pkt.Src)
	case dimDst:
		return s.to.Contains(pkt.Dst)
	case dimKey:
		return s.what(pkt.Is6()).Contains(pkt.Key())
	case dimSport:
		return m.Sport.Contains(addrset.U16(pkt.Sport))
	case dimIIf:
		return m.IIf.Matches(func(p policy.Pattern) bool { return p.Matches(pkt.IIf) })
	case dimOIf:
		return m.OIf.Matches(func(p policy.Pattern) bool { return p.Matches(pkt.OIf) })
	case dimMAC:
		return m.MAC.IsAny() || pkt.HasMAC && m.MAC.Matches(func(a policy.MAC) bool { return a == pkt.MAC })
	case dimMark:
		return m.Mark.Matches(func(k policy.Mark) bool { return pkt.Mark&k.Mask == k.Value })
	case dimUser:
		return m.User.IsAny() || pkt.Socket && m.User.Matches(func(o policy.Owner) bool { return o.ID == pkt.UID })
	case dimGroup:
		return m.Group.IsAny() || pkt.Socket && m.Group.Matches(func(o policy.Owner) bool { return o.ID == pkt.GID })
	}
	return s.expires == 0 || pkt.Time < s.expires
}

// What s takes in the dimensions of intervals.

func (s *shape) src4() addrset.Set[addrset.U32]  { return s.from.V4 }
func (s *shape) src6() addrset.Set[addrset.U128] { return s.from.V6 }
func (s *shape) dst4() addrset.Set[addrset.U32]  { return s.to.V4 }
func (s *shape) dst6() addrset.Set[addrset.U128] { return s.to.V6 }
func (s *shape) key4() addrset.Set[addrset.U32]  { return s.match.What.V4 }
func (s *shape) key6() addrset.Set[addrset.U32]  { return s.match.What.V6 }
func (s *shape) sport() addrset.Set[addrset.U16] { return s.match.Sport }

// meets tells whether s and o may share packets of a family, as far as intervals tell.
func (s *shape) meets(o *shape, six bool) bool {
	if s.dir != o.dir || !s.what(six).Overlaps(o.what(six)) || !s.match.Sport.Overlaps(o.match.Sport) {
		return false
	}
	if six {
		return s.from.V6.Overlaps(o.from.V6) && s.to.V6.Overlaps(o.to.V6)
	}
	return s.from.V4.Overlaps(o.from.V4) && s.to.V4.Overlaps(o.to.V4)
}

// value is a place in one dimension.
type value struct {
	dim  dim
	none bool // the packet has no such thing
	addr netip.Addr
	n    uint64 // key, port, mark, user, group, time
	name string
	mac  policy.MAC
}

// put gives a packet the value.
func (v value) put(pkt *policy.Packet) {
	switch v.dim {
	case dimSrc:
		pkt.Src = v.addr
	case dimDst:
		pkt.Dst = v.addr
	case dimKey:
		setKey(pkt, addrset.U32(v.n))
	case dimSport:
		if policy.HasPorts(pkt.Proto) {
			pkt.Sport = uint16(v.n)
		}
	case dimIIf:
		pkt.IIf = v.name
	case dimOIf:
		pkt.OIf = v.name
	case dimMAC:
		pkt.MAC, pkt.HasMAC = v.mac, !v.none
	case dimMark:
		pkt.Mark = uint32(v.n)
	case dimUser:
		pkt.UID, pkt.Socket = uint32(v.n), !v.none
	case dimGroup:
		pkt.GID, pkt.Socket = uint32(v.n), pkt.Socket && !v.none
	case dimTime:
		pkt.Time = int64(v.n)
	}
}

// crossed gives a packet the value in another dimension.
func (v value) crossed(pkt *policy.Packet, other dim) {
	switch {
	case v.dim == dimSport:
		v.n = uint64(policy.Key(pkt.Proto, uint16(v.n)))
	case v.dim == dimKey && other == dimSport:
		v.n &= 0xffff
	}
	v.dim = other
	v.put(pkt)
}

// setKey gives a packet the protocol, and port or type, of a key.
func setKey(pkt *policy.Packet, k addrset.U32) {
	pkt.Proto, pkt.Dport, pkt.Type, pkt.Code = uint8(k>>16), 0, 0, 0
	switch {
	case policy.HasPorts(pkt.Proto):
		pkt.Dport = uint16(k)
	case pkt.Proto == policy.ProtoICMP && !pkt.Is6(), pkt.Proto == policy.ProtoICMPv6 && pkt.Is6():
		pkt.Type, pkt.Code = uint8(k>>8), uint8(k)
	}
	if !policy.HasPorts(pkt.Proto) {
		pkt.Sport = 0
	}
}

// possible makes a packet one that can occur: a socket is known only where a packet leaves, an address of hardware where it
// arrives, and what passes through does not come from the loopback. False where it cannot be.
func possible(pkt *policy.Packet) bool {
	switch pkt.Dir {
	case policy.In:
		pkt.OIf, pkt.Socket = "", false
	case policy.Out:
		pkt.IIf, pkt.HasMAC, pkt.Spoofed = "", false, false
	case policy.Forward:
		pkt.Socket = false
		if pkt.IIf == policy.Loopback {
			pkt.IIf = "eth0"
		}
	}
	if !policy.HasPorts(pkt.Proto) {
		pkt.Sport = 0
	}
	return !pkt.Src.Is4In6() && !pkt.Dst.Is4In6()
}
