package compile

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// sampler draws packets where policies and what is made of them could differ: at and around the ends of every range, inside and
// outside of every value that a policy names.
type sampler struct {
	p      *policy.Policy
	rng    *rand.Rand
	addrs  [2][]netip.Addr  // by family: IPv4, IPv6
	keys   [2][]addrset.U32 // of WHAT, by family
	sports []uint16
	names  []string // of interfaces
	marks  []uint32
	ids    []uint32 // of users and groups
	macs   []policy.MAC
	times  []int64
	rules  []*policy.Rule
}

// shownRanges is how many ranges of one set are looked at.
const shownRanges = 64

// newSampler makes a sampler whose draws depend on the seed alone.
func newSampler(p *policy.Policy, seed uint64) *sampler {
	s := &sampler{p: p, rng: rand.New(rand.NewPCG(seed, 0))}
	s.addrs[0] = []netip.Addr{netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("255.255.255.255"), netip.MustParseAddr("127.0.0.1")}
	s.addrs[1] = []netip.Addr{netip.MustParseAddr("::"), netip.MustParseAddr("fe80::1"), netip.MustParseAddr("fec0::"),
		netip.MustParseAddr("ff02::1"), netip.MustParseAddr("2001:db8::1")}
	for _, proto := range []uint8{0, 1, 2, 6, 17, 33, 47, 58, 132, 136, 255} {
		for f := range s.keys {
			s.keys[f] = append(s.keys[f], policy.Key(proto, 0), policy.Key(proto, 443))
		}
	}
	for _, typ := range []uint8{0, 3, 4, 5, 8, 11, 12, 13} {
		s.keys[0] = append(s.keys[0], policy.Key(policy.ProtoICMP, uint16(typ)<<8))
	}
	for _, typ := range []uint8{1, 4, 5, 128, 129, 130, 132, 133, 136, 137, 143} {
		s.keys[1] = append(s.keys[1], policy.Key(policy.ProtoICMPv6, uint16(typ)<<8))
	}
	s.sports = []uint16{0, 40000, 65535}
	s.names = []string{"eth0", "wan", policy.Loopback}
	s.marks, s.ids, s.times = []uint32{0, 1}, []uint32{0, 1000}, []int64{1_700_000_000}
	s.macs = []policy.MAC{{2, 0, 0, 0, 0, 1}}

	s.addresses(p.Block)
	for _, f := range p.Failsafe {
		s.addresses(f.From)
		s.what(f.What)
	}
	for _, name := range dynamicSets(p) {
		s.static(p.Given[name])
	}
	for _, list := range p.Lists {
		for _, r := range list {
			s.rule(r)
		}
	}
	return s
}

// rule takes up every value that a rule names.
func (s *sampler) rule(r *policy.Rule) {
	m := &r.Match
	s.rules = append(s.rules, r)
	s.what(m.What)
	s.addresses(m.From)
	s.addresses(m.To)
	for _, p := range sampledEnds(m.Sport) {
		s.sports = append(s.sports, uint16(p))
	}
	for _, c := range []policy.Choice[policy.Pattern]{m.IIf, m.OIf} {
		for _, p := range slices.Concat(c.Yes, c.No) {
			name := strings.TrimSuffix(string(p), "*")
			s.names = append(s.names, name, name+"7", name[:max(0, len(name)-1)])
		}
	}
	for _, k := range slices.Concat(m.Mark.Yes, m.Mark.No) {
		s.marks = append(s.marks, k.Value, k.Value|^k.Mask, k.Value^1)
	}
	for _, c := range []policy.Choice[policy.Owner]{m.User, m.Group} {
		for _, o := range slices.Concat(c.Yes, c.No) {
			s.ids = append(s.ids, o.ID, o.ID+1)
		}
	}
	s.macs = slices.Concat(s.macs, m.MAC.Yes, m.MAC.No)
	if r.Expires != 0 {
		s.times = append(s.times, r.Expires-1, r.Expires)
	}
}

func (s *sampler) what(w policy.What) {
	s.keys[0] = append(s.keys[0], sampledEnds(w.V4)...)
	s.keys[1] = append(s.keys[1], sampledEnds(w.V6)...)
}

func (s *sampler) addresses(a policy.Addrs) {
	for _, t := range a.Terms {
		s.static(t.Static)
	}
}

func (s *sampler) static(a addrset.Addrs) {
	for _, k := range sampledEnds(a.V4) {
		s.addrs[0] = append(s.addrs[0], k.Addr())
	}
	for _, k := range sampledEnds(a.V6) {
		s.addrs[1] = append(s.addrs[1], k.Addr())
	}
}

// sampledEnds is the first and last number of every range of a set, and their neighbours outside.
func sampledEnds[K addrset.Key[K]](s addrset.Set[K]) []K {
	var out []K
	for i, r := range s.Ranges() {
		if i == shownRanges {
			break
		}
		out = append(out, r.Lo, r.Hi, r.Lo.Prev(), r.Hi.Next())
	}
	return out
}

// fill draws what the policy's dynamic sets hold: single addresses of the policy, the networks around some of them, and now and
// then nothing or everything.
func (s *sampler) fill() map[string]addrset.Addrs {
	out := make(map[string]addrset.Addrs)
	for _, name := range dynamicSets(s.p) {
		var a addrset.Addrs
		for range s.rng.IntN(12) {
			ip := oneOfList(s.rng, s.addrs[s.rng.IntN(2)])
			bits := ip.BitLen()
			if s.rng.IntN(3) == 0 {
				bits -= s.rng.IntN(12)
			}
			a = a.Union(addrset.OfPrefix(netip.PrefixFrom(ip, bits).Masked()))
		}
		if s.rng.IntN(8) == 0 {
			a = addrset.AllAddrs()
		}
		out[name] = a
	}
	return out
}

func oneOfList[T any](rng *rand.Rand, list []T) T { return list[rng.IntN(len(list))] }

// inside draws a number of a set, mostly an end of a range; other where the set is empty.
func inside[K addrset.Key[K]](rng *rand.Rand, s addrset.Set[K], other K) K {
	if s.IsEmpty() {
		return other
	}
	r := oneOfList(rng, s.Ranges())
	if rng.IntN(2) == 0 {
		return r.Lo
	}
	return r.Hi
}

// dhcpPorts is the ports that base.dhcp-client knows, and another.
var dhcpPorts = []uint16{67, 68, 546, 547, 1}

// any draws a packet from all values of the policy.
func (s *sampler) any() policy.Packet {
	rng := s.rng
	f := rng.IntN(2)
	pkt := policy.Packet{
		Dir:      oneOfList(rng, policy.Dirs[:]),
		Src:      oneOfList(rng, s.addrs[f]),
		Dst:      oneOfList(rng, s.addrs[f]),
		HopLimit: oneOfList(rng, []uint8{1, 64, 254, 255}),
		IIf:      oneOfList(rng, s.names),
		OIf:      oneOfList(rng, s.names),
		MAC:      oneOfList(rng, s.macs),
		HasMAC:   rng.IntN(4) > 0,
		Mark:     oneOfList(rng, s.marks),
		Socket:   rng.IntN(4) > 0,
		UID:      oneOfList(rng, s.ids),
		GID:      oneOfList(rng, s.ids),
		Spoofed:  rng.IntN(8) == 0,
		Time:     oneOfList(rng, s.times),
		Sport:    oneOfList(rng, s.sports),
	}
	// Most packets that rules see are new.
	if rng.IntN(4) == 0 {
		pkt.State = oneOfList(rng, []policy.State{policy.Established, policy.Related, policy.Invalid, policy.Untracked})
	}
	setKey(&pkt, oneOfList(rng, s.keys[f]))
	return pkt
}

// before draws a packet that something before the rules is about, or nearly so.
func (s *sampler) before() policy.Packet {
	pkt, rng := s.any(), s.rng
	switch n := rng.IntN(3); {
	case n == 0:
		setKey(&pkt, policy.Key(policy.ProtoUDP, oneOfList(rng, dhcpPorts)))
		pkt.Sport = oneOfList(rng, dhcpPorts)
		if pkt.Is6() && rng.IntN(2) == 0 {
			pkt.Src = netip.MustParseAddr("fe80::1")
		}
	case n == 1 || len(s.p.Failsafe) == 0:
		pkt.HopLimit = oneOfList(rng, []uint8{254, 255})
		if !pkt.Is6() {
			setKey(&pkt, policy.Key(policy.ProtoICMP, uint16(rng.IntN(14))<<8))
			break
		}
		pkt.Src = netip.MustParseAddr(oneOfList(rng, []string{"fe80::1", "febf::1", "::", "2001:db8::1"}))
		setKey(&pkt, policy.Key(policy.ProtoICMPv6, uint16(oneOfList(rng, []int{0, 127})+rng.IntN(20))<<8))
	default:
		f := oneOfList(rng, s.p.Failsafe)
		pkt = s.near(&policy.Rule{List: policy.In, Match: policy.Match{
			What: f.What, From: f.From, To: policy.AnyAddrs(), Sport: addrset.All[addrset.U16](),
		}})
		pkt.State = oneOfList(rng, []policy.State{policy.New, policy.Established})
		if rng.IntN(2) == 0 {
			pkt.Dir, pkt.Src, pkt.Dst, pkt.Sport, pkt.Dport = policy.Out, pkt.Dst, pkt.Src, pkt.Dport, pkt.Sport
			if pkt.Is6() {
				pkt.Type = policy.ReplyType6(pkt.Type)
			} else {
				pkt.Type = policy.ReplyType(pkt.Type)
			}
		}
	}
	return pkt
}

// draw draws the packet with a number: in turn from everything, about what stands before the rules, and near a rule. Every rule
// has its turn, and where there are more of them than packets those that have are spread evenly.
func (s *sampler) draw(i, packets int) (pkt policy.Packet) {
	n := len(s.rules)
	switch {
	case i%8 == 0:
		pkt = s.any()
	case i%8 < 3 || n == 0:
		pkt = s.before()
	default:
		turn := i - 3*(i/8+1)
		pkt = s.near(s.rules[turn*max(1, n/max(1, packets))%n])
	}
	possible(&pkt)
	return pkt
}

// near draws a packet that a rule matches, but for a part now and then.
func (s *sampler) near(r *policy.Rule) policy.Packet {
	pkt, m, rng := s.any(), &r.Match, s.rng
	pkt.Dir, pkt.State = r.List, policy.New
	most := func() bool { return rng.IntN(12) > 0 }
	six := m.What.V4.IsEmpty() || pkt.Is6() && !m.What.V6.IsEmpty()
	for _, a := range []*policy.Addrs{&m.From, &m.To} {
		if !six && len(a.Terms) > 0 && a.Static().V4.IsEmpty() {
			six = !a.Static().V6.IsEmpty()
		}
	}
	f, what := 0, m.What.V4
	if six {
		f, what = 1, m.What.V6
	}
	pkt.Src, pkt.Dst = oneOfList(rng, s.addrs[f]), oneOfList(rng, s.addrs[f])
	setKey(&pkt, oneOfList(rng, s.keys[f]))
	if most() {
		setKey(&pkt, inside(rng, what, 0))
	}
	address := func(addr *netip.Addr, a policy.Addrs) {
		switch {
		case len(a.Terms) == 0 || !most():
		case six:
			*addr = inside(rng, oneOfList(rng, a.Terms).Static.V6, addrset.V6(*addr)).Addr()
		default:
			*addr = inside(rng, oneOfList(rng, a.Terms).Static.V4, addrset.V4(*addr)).Addr()
		}
	}
	address(&pkt.Src, m.From)
	address(&pkt.Dst, m.To)
	if most() {
		pkt.Sport = uint16(inside(rng, m.Sport, 0))
	}
	iface := func(name *string, c policy.Choice[policy.Pattern]) {
		if len(c.Yes) > 0 && most() {
			*name = strings.Replace(string(oneOfList(rng, c.Yes)), "*", "x", 1)
		}
	}
	iface(&pkt.IIf, m.IIf)
	iface(&pkt.OIf, m.OIf)
	if len(m.Mark.Yes) > 0 && most() {
		k := oneOfList(rng, m.Mark.Yes)
		pkt.Mark = k.Value | rng.Uint32()&^k.Mask
	}
	pkt.Socket = pkt.Socket || most()
	if len(m.User.Yes) > 0 && most() {
		pkt.UID = oneOfList(rng, m.User.Yes).ID
	}
	if len(m.Group.Yes) > 0 && most() {
		pkt.GID = oneOfList(rng, m.Group.Yes).ID
	}
	if len(m.MAC.Yes) > 0 && most() {
		pkt.MAC, pkt.HasMAC = oneOfList(rng, m.MAC.Yes), true
	}
	if r.Expires != 0 && most() {
		pkt.Time = r.Expires - 1
	}
	return pkt
}
