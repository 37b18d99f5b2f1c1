package compile

import (
	"net/netip"
	"slices"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// Where rules are looked up, one stands in many places: in its own, and as a guard before others. So there is a witness for each
// place, too: a packet that comes there, and is what the compiled rule there asks for.

// leaf is a place in the compiled form: what packets that come to it have been asked, and are asked there.
type leaf struct {
	dir policy.Dir
	way *way
	step
}

// way is how packets come to a chain: by a step in the chain before.
type way struct {
	chain string
	from  *way
	step
}

// step is what a rule asks and, where it looks in a map, the element that is found.
type step struct {
	asks []ruleset.Expr
	ref  *ruleset.VMapRef
	elem *ruleset.MapElem
}

// append appends what a step asks.
func (s *step) append(asks []ruleset.Expr) []ruleset.Expr {
	asks = append(asks, s.asks...)
	if s.elem != nil {
		asks = append(asks, s.ref.Asks(*s.elem)...)
	}
	return asks
}

// asked is all that packets of a chain were asked, in order.
func (w *way) asked() []ruleset.Expr {
	if w == nil {
		return nil
	}
	return w.append(w.from.asked())
}

// leaves is every rule of the chains that lists begin with, and every key of their maps that leads to a rule's own chain.
func leaves(rs *ruleset.Ruleset) (out []leaf) {
	chains := make(map[string]*ruleset.Chain, len(rs.Chains))
	for _, ch := range rs.Chains {
		chains[ch.Name] = ch
	}
	maps := make(map[string]*ruleset.Map, len(rs.Maps))
	for _, m := range rs.Maps {
		maps[m.Name] = m
	}
	for dir, base := range [...]string{policy.In: chainPre, policy.Out: chainOutput, policy.Forward: chainForward} {
		seen := map[string]bool{base: true}
		todo := []*way{{chain: base}}
		visit := func(v ruleset.Verdict, l leaf) {
			if v.Chain == "" || seen[v.Chain] {
				return
			}
			seen[v.Chain] = true
			if _, _, acts := ParseName(v.Chain); !acts {
				todo = append(todo, &way{v.Chain, l.way, l.step})
			}
		}
		for len(todo) > 0 {
			w := todo[0]
			todo = todo[1:]
			ch := chains[w.chain]
			if ch == nil {
				continue
			}
			for _, r := range ch.Rules {
				l := leaf{policy.Dir(dir), w, step{asks: r.Exprs[:len(r.Exprs)-1]}}
				switch end := r.Exprs[len(r.Exprs)-1].(type) {
				case ruleset.Verdict:
					visit(end, l)
					out = append(out, l)
				case ruleset.VMapRef:
					elems := maps[end.Map].Elems
					for i := range elems {
						e := &elems[i]
						l.ref, l.elem = &end, e
						visit(e.Verdict, l)
						if e.Verdict.Kind == ruleset.Goto {
							out = append(out, l)
						}
					}
				}
			}
		}
	}
	return out
}

// leafJobs is the work of places in parts; of a share below one, not every place has its witness.
func (pr *proof) leafJobs(places []leaf, share float64) (out []job) {
	const part = 512
	for some := range slices.Chunk(places, part) {
		out = append(out, func(w *witness) error {
			w.judge = pr.newJudge()
			w.rng.pool4, w.rng.pool6 = pr.pool4, pr.pool6
			defer func() { w.packets += w.count }()
			for _, l := range some {
				if w.skips(share) {
					continue
				}
				if err := w.leaf(l); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return out
}

// leaf has the witnesses of a place judged.
func (w *witness) leaf(l leaf) error {
	pkt := policy.Packet{Dir: l.dir, HopLimit: 64, Sport: uint16(w.rng.Uint32()), Socket: true, HasMAC: l.dir != policy.Out, IIf: "eth0", OIf: "eth0", Time: 1_700_000_000}
	pkt.Proto = []uint8{policy.ProtoTCP, policy.ProtoUDP}[w.rng.IntN(2)]
	pkt.Src, pkt.Dst = w.rng.plain4().Addr(), w.rng.plain4().Addr()
	asks := l.append(l.way.asked())
	for _, e := range asks {
		if c, is := e.(ruleset.Cmp); is && c.Field == ruleset.NFProto && c.Value[0] == ruleset.IPv6 {
			pkt.Src, pkt.Dst = w.rng.plain6().Addr(), w.rng.plain6().Addr()
		}
	}
	for _, e := range asks {
		w.meet(&pkt, e)
	}
	if !possible(&pkt) {
		return nil
	}
	_, err := w.hold(&pkt)
	return err
}

// meet makes a packet what an expression asks for, where it can.
func (w *witness) meet(pkt *policy.Packet, e ruleset.Expr) {
	switch e := e.(type) {
	case ruleset.Cmp:
		switch {
		case e.Op == ruleset.Eq && e.Wildcard:
			w.set(pkt, e.Field, append(slices.Clone(e.Value), '7'), nil)
		case e.Op == ruleset.Eq:
			w.set(pkt, e.Field, e.Value, e.Mask)
		}
	case ruleset.In:
		if !e.Not {
			i := e.Elems[w.rng.IntN(len(e.Elems))]
			w.set(pkt, e.Field, [][]byte{i.Lo, i.Hi}[w.rng.IntN(2)], nil)
		}
	}
}

// set gives a packet a field's value, under a mask.
func (w *witness) set(pkt *policy.Packet, f ruleset.Field, v, mask []byte) {
	n := uint64(0)
	for _, b := range v {
		n = n<<8 | uint64(b)
	}
	addr := func(a *netip.Addr) {
		b := a.AsSlice()
		if len(b) != len(v) {
			return
		}
		for i := range b {
			m := byte(0xff)
			if mask != nil {
				m = mask[i]
			}
			b[i] = b[i]&^m | v[i]&m
		}
		*a, _ = netip.AddrFromSlice(b)
	}
	switch f {
	case ruleset.Saddr4, ruleset.Saddr6:
		addr(&pkt.Src)
	case ruleset.Daddr4, ruleset.Daddr6:
		addr(&pkt.Dst)
	case ruleset.L4Proto:
		pkt.Proto = uint8(n)
	case ruleset.Dport:
		pkt.Dport = uint16(n)
	case ruleset.Sport:
		pkt.Sport = uint16(n)
	case ruleset.ICMPType, ruleset.ICMP6Type:
		pkt.Type = uint8(n)
	case ruleset.ICMPCode, ruleset.ICMP6Code:
		pkt.Code = uint8(n)
	case ruleset.IIfName:
		pkt.IIf = string(v)
	case ruleset.OIfName:
		pkt.OIf = string(v)
	case ruleset.MetaMark:
		pkt.Mark = uint32(n)
	case ruleset.SkUID:
		pkt.UID = uint32(n)
	case ruleset.SkGID:
		pkt.GID = uint32(n)
	case ruleset.EtherSaddr:
		copy(pkt.MAC[:], v)
	}
}
