package space

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
)

// point is the box of the packets that nothing in the space tells from p, while dynamic sets hold what is given.
func (s *Space) point(t *rapid.T, p *policy.Packet, given map[string]addrset.Addrs) Box {
	b := s.Whole(p.Dir, p.Is6())
	one := func(n uint32) Set { return addrset.One(addrset.U32(n)) }
	index := func(is func(i int) bool, n int) Set {
		for i := range n {
			if is(i) {
				return one(uint32(i))
			}
		}
		t.Fatalf("%+v: no such value in the space", p)
		return Set{}
	}
	alike := func(name string) Set { // the name of the space that is matched by the same patterns
		return index(func(i int) bool {
			for pattern := range s.names.sets {
				if pattern.Matches(name) != pattern.Matches(s.names.list[i]) {
					return false
				}
			}
			return (name == "") == (i == 0)
		}, len(s.names.list))
	}
	ok := b.LimitAddrs(Src, addrset.OfRange(p.Src, p.Src)) && b.LimitAddrs(Dst, addrset.OfRange(p.Dst, p.Dst)) &&
		b.Limit(Key, addrset.One(p.Key())) && b.Limit(Sport, one(uint32(p.Sport))) &&
		b.Limit(IIf, alike(p.IIf)) && b.Limit(OIf, alike(p.OIf)) &&
		b.Limit(Mark, index(func(i int) bool {
			for n, c := range s.marks.cubes {
				if s.marks.classes[i].in[n] != (p.Mark&c.Mask == c.Value) {
					return false
				}
			}
			return true
		}, len(s.marks.classes))) &&
		b.Limit(HopLimit, one(uint32(p.HopLimit))) && b.Limit(State, one(uint32(p.State))) && b.Limit(Time, s.At(p.Time))
	if p.HasMAC {
		mac := one(1)
		for i, m := range s.macs {
			if m == p.MAC {
				mac = one(uint32(i) + 2)
			}
		}
		ok = ok && b.Limit(MAC, mac)
	} else {
		ok = ok && b.Limit(MAC, one(0))
	}
	if p.Socket {
		ok = ok && b.Limit(Socket, one(1)) && b.Limit(UID, one(p.UID)) && b.Limit(GID, one(p.GID))
	} else {
		ok = ok && b.Limit(Socket, one(0)) && b.Limit(UID, one(0)) && b.Limit(GID, one(0))
	}
	spoofed := one(0)
	if p.Spoofed {
		spoofed = one(1)
	}
	holders := func(ip netip.Addr) Set {
		n := uint32(0)
		for i, name := range s.held {
			if given[name].Contains(ip) {
				n |= 1 << i
			}
		}
		return one(n)
	}
	if !ok || !b.Limit(Spoofed, spoofed) || !b.Limit(SrcIn, holders(p.Src)) || !b.Limit(DstIn, holders(p.Dst)) {
		t.Fatalf("%+v is not in the space", p)
	}
	return b
}

// TestEntriesAgreeWithDecide holds the two readings of a policy against each other: the first entry that holds a
// packet must be what Decide says, both for packets drawn anywhere and for packets made from boxes.
func TestEntriesAgreeWithDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policytest.Policy(t, 5)
		free := rapid.Bool().Draw(t, "free")
		s, err := New(p)
		if free {
			s, err = NewFree(p)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range policy.Dirs {
			entries, err := s.Entries(p, dir)
			if err != nil {
				t.Fatal(err)
			}
			decide := func(b *Box) policy.Decision {
				for _, e := range entries {
					for i := range e.Boxes {
						if e.Boxes[i].Overlaps(b) {
							if !e.Boxes[i].Covers(b) {
								t.Fatalf("%s: the space tells too little apart", e.Decision.By)
							}
							return e.Decision
						}
					}
				}
				t.Fatal("nothing decides")
				return policy.Decision{}
			}
			for range 20 {
				pkt := policytest.Packet(t, dir)
				b := s.point(t, &pkt, p.Given)
				if got, want := decide(&b), p.Decide(&pkt); got != want {
					t.Fatalf("%+v: boxes say %+v, Decide %+v", pkt, got, want)
				}
			}
			for _, e := range entries {
				if free { // a box may ask that sets hold what is not given
					break
				}
				for i := range e.Boxes {
					pkt := s.Packet(dir, &e.Boxes[i])
					b := s.point(t, &pkt, p.Given)
					if !e.Boxes[i].Covers(&b) {
						t.Fatalf("%+v is not of the box it was made from", pkt)
					}
					if got, want := decide(&b), p.Decide(&pkt); got != want {
						t.Fatalf("%+v: boxes say %+v, Decide %+v", pkt, got, want)
					}
				}
			}
		}
	})
}

// TestMinus holds difference and intersection of boxes against membership.
func TestMinus(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir := rapid.SampledFrom(policy.Dirs[:]).Draw(t, "dir")
		a, b := policytest.Match(t, dir), policytest.Match(t, dir)
		p := &policy.Policy{}
		p.Lists[dir] = []*policy.Rule{{Match: a}, {Match: b}}
		s, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		as, bs := s.Match(dir, &a, nil), s.Match(dir, &b, nil)
		for range 10 {
			pkt := policytest.Packet(t, dir)
			point := s.point(t, &pkt, p.Given)
			for i := range as {
				for j := range bs {
					in, out := as[i].Overlaps(&point), bs[j].Overlaps(&point)
					both, ok := as[i].Intersect(&bs[j])
					if got := ok && both.Overlaps(&point); got != (in && out) || ok != as[i].Overlaps(&bs[j]) {
						t.Fatalf("%+v: intersection says %v", pkt, got)
					}
					n := 0
					for _, piece := range as[i].Minus(&bs[j]) {
						if piece.Overlaps(&point) {
							n++
						}
					}
					if want := in && !out; n > 1 || (n == 1) != want {
						t.Fatalf("%+v: in %d pieces, want %v", pkt, n, want)
					}
				}
			}
		}
	})
}

// TestOutside holds the search against one by one subtraction.
func TestOutside(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policytest.Policy(t, 6)
		s, err := New(p)
		if err != nil {
			t.Fatal(err)
		}
		var boxes []Box
		for _, r := range p.Lists[policy.In] {
			boxes = append(boxes, s.Match(policy.In, &r.Match, p.Given)...)
		}
		if len(boxes) == 0 {
			return
		}
		var others []*Box
		for i := range boxes[1:] {
			others = append(others, &boxes[i+1])
		}
		search := Search{Left: work}
		rest, err := search.Subtract(boxes[:1], boxes[1:])
		if err != nil {
			t.Fatal(err)
		}
		w, found, err := search.Outside(&boxes[0], others)
		if err != nil || found != (len(rest) > 0) {
			t.Fatalf("found %v, %v; %d boxes are left", found, err, len(rest))
		}
		if !found {
			return
		}
		if !boxes[0].Covers(&w) {
			t.Error("the find is not in the box")
		}
		for _, o := range others {
			if o.Overlaps(&w) {
				t.Error("the find is in another box")
			}
		}
		none := Search{}
		if _, _, err := none.Outside(&boxes[0], others); err != ErrTooComplex {
			t.Errorf("without work: %v", err)
		}
	})
}

// TestBaseAgreesWithDecide goes through every ICMP type and the ports of DHCP, from all kinds of sources.
func TestBaseAgreesWithDecide(t *testing.T) {
	p := &policy.Policy{Base: policy.DefaultBase(), Transit: true, Defaults: [3]policy.Verdict{policy.Deny, policy.Deny, policy.Deny}}
	s, err := New(p)
	if err != nil {
		t.Fatal(err)
	}
	addrs := []string{"10.0.0.1", "::", "::1", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::"}
	seen := map[string]int{}
	for _, dir := range policy.Dirs {
		entries, err := s.Entries(p, dir)
		if err != nil {
			t.Fatal(err)
		}
		check := func(pkt policy.Packet) {
			point := s.plainPoint(&pkt)
			want := p.Decide(&pkt)
			for _, e := range entries {
				if touches(e.Boxes, &point) {
					if seen[want.By]++; e.Decision != want {
						t.Fatalf("%s: boxes say %+v, Decide %+v", pkt, e.Decision, want)
					}
					return
				}
			}
			t.Fatalf("%s: nothing decides", pkt)
		}
		for _, src := range addrs {
			pkt := policy.Packet{Dir: dir, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr("10.0.0.2"), HopLimit: 255}
			if pkt.Src.Is6() {
				pkt.Dst = netip.MustParseAddr("2001:db8::2")
			}
			for typ := range 256 {
				pkt.Type = uint8(typ)
				for _, pkt.HopLimit = range []uint8{255, 254} {
					for _, pkt.Proto = range []uint8{policy.ProtoICMP, policy.ProtoICMPv6, policy.ProtoIGMP} {
						check(pkt)
					}
				}
			}
			pkt.Proto, pkt.Type = policy.ProtoUDP, 0
			for _, pkt.Sport = range []uint16{66, 67, 68, 69, 545, 546, 547, 548} {
				for _, pkt.Dport = range []uint16{66, 67, 68, 69, 545, 546, 547, 548} {
					check(pkt)
				}
			}
		}
	}
	for _, by := range []string{policy.ByNeighbour, policy.ByMulticast, policy.ByICMPErrors, policy.ByDHCPClient, policy.ByDefault} {
		if seen[by] == 0 {
			t.Errorf("nothing was decided by %s", by)
		}
	}
}

// plainPoint is the box of a packet by its addresses, key, source port and hop limit; the rest is ordinary.
func (s *Space) plainPoint(p *policy.Packet) Box {
	b := s.Whole(p.Dir, p.Is6())
	one := func(n uint32) Set { return addrset.One(addrset.U32(n)) }
	b.LimitAddrs(Src, addrset.OfRange(p.Src, p.Src))
	b.LimitAddrs(Dst, addrset.OfRange(p.Dst, p.Dst))
	b.Limit(Key, addrset.One(p.Key()))
	b.Limit(Sport, one(uint32(p.Sport)))
	b.Limit(HopLimit, one(uint32(p.HopLimit)))
	b.Limit(State, one(0))
	for _, d := range []Dim{IIf, OIf} {
		b.Limit(d, s.Named(policy.Loopback).Complement())
	}
	return b
}

func touches(boxes []Box, b *Box) bool {
	return slices.ContainsFunc(boxes, func(x Box) bool { return x.Overlaps(b) })
}
