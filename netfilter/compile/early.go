package compile

import (
	"net/netip"
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// What stands before the rules has its corners in few dimensions, and the same in every policy. Here they are tried with each other.

// states is every state.
var states = [...]policy.State{policy.New, policy.Established, policy.Related, policy.Invalid, policy.Untracked}

// corners of a family, for what stands before the rules: an ordinary address first.
type familyCorners struct {
	sources, targets []netip.Addr
	types            []protoTypes
	ports            []uint16 // of DHCP
}

// protoTypes is types of ICMP, or 0 of a protocol that has none.
type protoTypes struct {
	proto uint8
	types []uint8
}

func addresses(texts ...string) (out []netip.Addr) {
	for _, t := range texts {
		out = append(out, netip.MustParseAddr(t))
	}
	return out
}

func cornersBefore() [2]familyCorners {
	icmp := []uint8{0, 1, 2, 3, 4, 5, 8, 10, 11, 12, 13, 30, 255}
	icmp6 := []uint8{0, 1, 2, 3, 4, 5, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 142, 143, 144, 255}
	none := []uint8{0}
	all := []protoTypes{{0, none}, {policy.ProtoICMP, icmp}, {policy.ProtoIGMP, none}, {47, none}, {policy.ProtoICMPv6, icmp6}, {255, none}}
	return [2]familyCorners{
		{
			sources: addresses("192.0.2.77", "0.0.0.0"),
			targets: addresses("198.18.0.1", "224.0.0.1"),
			types:   all,
			ports:   []uint16{66, 67, 68, 69, 546, 547},
		},
		{
			sources: addresses("2001:db8:77::77", "::", "::1", "fe7f:ffff::ffff", "fe80::", "fe80::1", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fec0::"),
			targets: addresses("2001:2::1", "ff02::1"),
			types:   all,
			ports:   []uint16{545, 546, 547, 548, 67, 68},
		},
	}
}

// overLoopback has a packet run over loopback.
func overLoopback(pkt *policy.Packet) { pkt.IIf, pkt.OIf = policy.Loopback, policy.Loopback }

// base has packets of a family judged at the corners of what stands before the rules, whatever the policy.
func (w *witness) base(dir policy.Dir, six bool) error {
	var failed error
	w.thorough = true
	f := cornersBefore()[0]
	if six {
		f = cornersBefore()[1]
	}
	f.sources = w.unblocked(six, f.sources)
	f.targets = w.unblocked(six, f.targets)
	for _, state := range states {
		ask := func(change func(*policy.Packet)) {
			pkt := &w.pkt
			*pkt = policy.Packet{
				Dir: dir, State: state, Src: f.sources[0], Dst: f.targets[w.rng.IntN(len(f.targets))], HopLimit: 64,
				IIf: "eth0", OIf: "eth0", Time: 1_700_000_000,
			}
			change(pkt)
			if failed == nil && possible(pkt) {
				_, failed = w.hold(pkt)
			}
		}
		icmp := func(proto, typ uint8, change func(*policy.Packet)) {
			ask(func(pkt *policy.Packet) {
				setKey(pkt, policy.Key(proto, uint16(typ)<<8|uint16(w.rng.IntN(3))))
				change(pkt)
			})
		}
		for _, t := range f.types {
			for _, typ := range t.types {
				for _, spoofed := range []bool{false, true} {
					for _, hops := range []uint8{254, 255} {
						icmp(t.proto, typ, func(pkt *policy.Packet) { pkt.HopLimit, pkt.Spoofed = hops, spoofed })
					}
				}
				icmp(t.proto, typ, overLoopback)
			}
		}
		for i, src := range f.sources {
			for _, typ := range []uint8{129, 130, 131, 132, 133, 135, 142, 143, 144} {
				icmp(policy.ProtoICMPv6, typ, func(pkt *policy.Packet) { pkt.Src = src })
			}
			for _, sport := range f.ports {
				for _, dport := range f.ports {
					ask(func(pkt *policy.Packet) {
						pkt.Src, pkt.Proto, pkt.Sport, pkt.Dport = src, policy.ProtoUDP, sport, dport
						if i < 2 {
							pkt.Dst = f.targets[0] // neither end is blocked
						}
					})
					ask(func(pkt *policy.Packet) {
						pkt.Src, pkt.Proto, pkt.Sport, pkt.Dport = src, policy.ProtoUDP, sport, dport
						overLoopback(pkt)
					})
				}
			}
		}
		ask(func(pkt *policy.Packet) { pkt.Proto, pkt.Sport, pkt.Dport = policy.ProtoTCP, f.ports[1], f.ports[2] })
		for _, name := range []string{policy.Loopback, "l", "lo0", "", "ol"} {
			for _, spoofed := range []bool{false, true} {
				ask(func(pkt *policy.Packet) {
					pkt.IIf, pkt.OIf, pkt.Spoofed = name, name, spoofed
					pkt.Proto, pkt.Sport, pkt.Dport = policy.ProtoTCP, 40000, uint16(w.rng.Uint32())
				})
			}
		}
	}
	return failed
}

// unblocked is addresses, and before them some of each kind that the base tells apart which neither block nor failsafe hold; where
// there are none, of those that block does not hold, or that failsafe exempts from it.
func (w *witness) unblocked(six bool, list []netip.Addr) (out []netip.Addr) {
	all := slices.Clone(w.block)
	for _, s := range w.early[policy.ByFailsafe] {
		all = append(all, s.from)
	}
	for _, kind := range []string{"0.0.0.0/0", "::/0", "fe80::/10"} {
		p := netip.MustParsePrefix(kind)
		if p.Addr().Is6() != six {
			continue
		}
		addr, ok := w.free(p, all)
		if !ok {
			addr, ok = w.free(p, w.block)
		}
		for _, exempt := range all[len(w.block):] {
			if !ok {
				addr, ok = w.some(addrset.OfPrefix(p).Intersect(exempt))
			}
		}
		if ok {
			out = append(out, addr)
		}
	}
	return append(out, list...)
}

// free is an address of a prefix that none of some sets holds. They may be large: mostly one that is drawn is free, and only where
// it hardly ever is are they taken away from the prefix.
func (w *witness) free(p netip.Prefix, held []addrset.Addrs) (addr netip.Addr, ok bool) {
	const tries = 32
	for range tries {
		if p.Addr().Is4() {
			addr = w.rng.plain4().Addr()
		} else {
			k, random := addrset.V6(p.Addr()), addrset.U128{Hi: w.rng.Uint64(), Lo: w.rng.Uint64()}
			host := random.Mask(p.Bits())
			addr = addrset.U128{Hi: k.Hi | random.Hi ^ host.Hi, Lo: k.Lo | random.Lo ^ host.Lo}.Addr()
		}
		if !slices.ContainsFunc(held, func(a addrset.Addrs) bool { return a.Contains(addr) }) {
			return addr, true
		}
	}
	free := addrset.OfPrefix(p)
	for _, a := range held {
		free = free.Minus(a)
	}
	return w.some(free)
}

// some is an end of addresses of one family, false where there are none.
func (w *witness) some(a addrset.Addrs) (addr netip.Addr, ok bool) {
	switch {
	case !a.V4.IsEmpty():
		return end(w.rng, a.V4).Addr(), true
	case !a.V6.IsEmpty():
		return end(w.rng, a.V6).Addr(), true
	}
	return addr, false
}

// named has the witnesses judged of what `block` or `failsafe` names: as packets that arrive, as the answers to these that
// leave, and as transit.
func (w *witness) named(i int, share float64) error {
	s := w.before[i]
	w.thorough = true
	ways := func(pkt *policy.Packet, pinned dim, within ...*shape) error {
		if w.rng.IntN(2) == 0 {
			pkt.HopLimit = 255 // as neighbours' packets have it
		}
		reply := mirrored(*pkt)
		through := *pkt
		through.Dir = policy.Forward
		back := reply
		back.Dir = policy.Forward
		unasked := reply
		unasked.State = states[w.rng.IntN(len(states))]
		if err := w.try(pkt, pinned, 0, within...); err != nil {
			return err
		}
		for _, p := range []*policy.Packet{&reply, &unasked, &through, &back} {
			if possible(p) {
				if _, err := w.hold(p); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for _, six := range []bool{false, true} {
		for range w.passes(s) {
			err := w.shape(s, six, w.around, share, func(pkt *policy.Packet, pinned dim, cell *shape) error { return ways(pkt, pinned, cell) })
			if err != nil {
				return err
			}
		}
		for _, o := range w.before[i+1:] {
			const each = 8
			for range each {
				var pkt policy.Packet
				if w.draw(&pkt, six, nil, dims, s, o) {
					if err := ways(&pkt, dims, s, o); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// passes is how often the corners of what `block` or `failsafe` names are tried, beside each other: more where there are few.
func (pr *proof) passes(s *shape) int {
	const few = 2000
	if len(pr.before) > 1 && s.count(pr.cells) < few {
		return 4
	}
	return 1
}

// mirrored is what this host answers to a packet.
func mirrored(pkt policy.Packet) policy.Packet {
	pkt.Dir, pkt.Src, pkt.Dst, pkt.Sport, pkt.Dport = policy.Out, pkt.Dst, pkt.Src, pkt.Dport, pkt.Sport
	pkt.IIf, pkt.OIf = pkt.OIf, pkt.IIf
	switch {
	case pkt.Proto == policy.ProtoICMP && !pkt.Is6():
		pkt.Type = policy.ReplyType(pkt.Type)
	case pkt.Proto == policy.ProtoICMPv6 && pkt.Is6():
		pkt.Type = policy.ReplyType6(pkt.Type)
	}
	pkt.State = policy.Established
	return pkt
}
