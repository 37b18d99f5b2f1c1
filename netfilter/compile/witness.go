package compile

import (
	"math"
	"math/rand/v2"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// witness makes packets and has them judged. It is one of several workers; what it draws depends on its seed alone.
type witness struct {
	*judge
	rng     *picker
	packets int
}

// seed begins a part of the work.
func (w *witness) seed(n uint64) { w.rng = &picker{Rand: rand.New(rand.NewPCG(n, 0))} }

// jobs is the work of a proof in parts. Of a share below one, not every corner has its witness.
func (pr *proof) jobs(share float64) []job {
	for dir, list := range pr.lists {
		pr.meetings[dir] = pr.meet(list)
	}
	var out []job
	add := func(do func(*witness) error) {
		out = append(out, func(w *witness) error {
			w.judge = pr.newJudge()
			w.rng.pool4, w.rng.pool6 = pr.pool4, pr.pool6
			err := do(w)
			w.packets += w.count
			return err
		})
	}
	const part = 16 // rules
	for dir := range pr.lists {
		for from := 0; from < len(pr.lists[dir]); from += part {
			add(func(w *witness) error {
				for i := from; i < min(from+part, len(pr.lists[dir])); i++ {
					if pr.concerns(pr.lists[dir][i]) {
						if err := w.rule(policy.Dir(dir), i, share); err != nil {
							return err
						}
					}
					if err := w.pairs(policy.Dir(dir), i, share); err != nil {
						return err
					}
				}
				return nil
			})
		}
	}
	for i := range pr.before {
		add(func(w *witness) error { return w.named(i, share) })
	}
	if !pr.filled {
		for _, dir := range policy.Dirs {
			for _, six := range []bool{false, true} {
				add(func(w *witness) error { return w.base(dir, six) })
			}
		}
	}
	return out
}

// draw makes a packet of a family that is in all of some shapes, but for the dimension that is pinned where it must; false where
// none was found. Half of its values lie in another shape too, where they can.
func (w *witness) draw(six bool, beside *shape, pinned dim, within ...*shape) (policy.Packet, bool) {
	pkt := policy.Packet{Dir: within[0].dir, HopLimit: 64, Sport: uint16(w.rng.Uint32()), Socket: true}
	for d := range dims {
		if beside != nil && w.rng.IntN(2) == 0 {
			if v, ok := w.rng.pick(d, six, append(within[:len(within):len(within)], beside), nil); ok {
				v.put(&pkt)
				continue
			}
		}
		v, ok := w.rng.pick(d, six, within, nil)
		if !ok && d != pinned {
			return pkt, false
		}
		if ok {
			v.put(&pkt)
		}
	}
	return pkt, true
}

// try has a packet judged that lies in some shapes, but for the dimension that is pinned. Where something before the place own in
// the list decides it, it looks for a packet in the same shapes that escapes that, and tries it too.
func (w *witness) try(pkt policy.Packet, pinned dim, own int, within ...*shape) error {
	const escapes = 6
	six := pkt.Is6()
	for range escapes {
		if !possible(&pkt) {
			return nil
		}
		d, err := w.hold(&pkt)
		if err != nil {
			return err
		}
		by := w.shapeOf(&pkt, d, own)
		if by == nil || !w.escape(&pkt, six, by, pinned, within) {
			return nil
		}
	}
	return nil
}

// shapeOf is where what decided a packet lies, nil where it does not stand before a place in the list, or there is no way around it.
func (w *witness) shapeOf(pkt *policy.Packet, d policy.Decision, own int) *shape {
	if d.Rule != nil {
		if i := w.asker.Place(d.Rule); i < own {
			return w.lists[pkt.Dir][i]
		}
		return nil
	}
next:
	for _, s := range w.early[d.By] {
		if s.dir != pkt.Dir {
			continue
		}
		for d := range dims {
			if !s.has(pkt, d) {
				continue next
			}
		}
		return s
	}
	return nil
}

// escape moves a packet out of a shape, in one dimension that is not pinned, and keeps it in others; false where it can't.
func (w *witness) escape(pkt *policy.Packet, six bool, by *shape, pinned dim, within []*shape) bool {
	from := dim(w.rng.IntN(int(dims)))
	for i := range dims {
		d := (from + i) % dims
		if d == pinned || by.open(d) {
			continue
		}
		if v, ok := w.rng.pick(d, six, within, by); ok {
			v.put(pkt)
			return true
		}
	}
	return false
}

// rule has the witnesses of a rule judged.
func (w *witness) rule(dir policy.Dir, i int, share float64) error {
	list := w.lists[dir]
	s := list[i]
	for _, six := range []bool{false, true} {
		beside := func() *shape { return list[max(0, min(len(list)-1, i-3+w.rng.IntN(7)))] }
		err := w.shape(s, six, beside, share, func(pkt policy.Packet, pinned dim, cell *shape) error { return w.try(pkt, pinned, i, cell) })
		if err != nil {
			return err
		}
		if !s.hasFamily(six) {
			const strangers = 3
			for range strangers {
				if err := w.stranger(s, i, six, share); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// pairs has witnesses judged of what a rule has in common with later ones, where their order shows.
func (w *witness) pairs(dir policy.Dir, i int, share float64) error {
	list := w.lists[dir]
	share *= w.meetings[dir].share
	many := max(1, min(8, 128/len(list))) // packets of each
	for _, m := range w.meetings[dir].of[i] {
		if w.skips(share) {
			continue
		}
		for range many {
			if pkt, ok := w.draw(m.six, nil, dims, list[i], list[m.rule]); ok {
				if err := w.try(pkt, dims, i, list[i], list[m.rule]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// skips tells, at random, whether a witness is not of the share.
func (w *witness) skips(share float64) bool { return share < 1 && w.rng.Float64() >= share }

// shape makes the packets of a family at the corners of a shape, each list of its values tried with each other's, and those that
// differ in what rules don't match; of what depends on dynamic sets also what these could hold. give gets each with the dimension of the corner, and the cell that it lies in but for that.
func (w *witness) shape(s *shape, six bool, beside func() *shape, share float64, give func(pkt policy.Packet, pinned dim, cell *shape) error) error {
	var failed error
	part := share // of the witnesses of what is looked at
	one := func(cell *shape, pinned dim, change func(*policy.Packet)) {
		if failed != nil || w.skips(part) {
			return
		}
		if pkt, ok := w.draw(six, beside(), pinned, cell); ok {
			change(&pkt)
			failed = give(pkt, pinned, cell)
		}
	}
	corners := func(cell *shape) {
		// What is said of one dimension, met in the one that it is most easily mixed up with, and not where it is said.
		const each = 2
		var crossed [dims][each]value
		var of [dims]int
		for d := range dims {
			cell.corners(d, six, w.rng.Rand, part, func(v value) {
				at := of[d]
				if of[d]++; at >= each {
					at = w.rng.IntN(of[d])
				}
				if at < each {
					crossed[d][at] = v
				}
				one(cell, d, v.put)
			})
		}
		for _, pair := range [][2]dim{{dimSrc, dimDst}, {dimKey, dimSport}, {dimIIf, dimOIf}, {dimUser, dimGroup}} {
			for way, d := range pair {
				other := pair[1-way]
				for _, v := range crossed[d][:min(each, of[d])] {
					one(cell, other, func(pkt *policy.Packet) {
						if u, ok := w.rng.pick(d, six, nil, s); ok {
							u.put(pkt)
						}
						v.crossed(pkt, other)
					})
				}
			}
		}
	}
	if s.dynamic {
		if most := s.atMost(); most.hasFamily(six) {
			corners(most)
		}
	}
	if !s.hasFamily(six) {
		return failed
	}
	total, most := s.cellsOf(six, w.cells), w.cells
	if share < 1 && total > 1 {
		// Some corners of some cells, rather than a look at every cell for the few corners that are its share.
		most = max(1, int(math.Sqrt(share)*float64(total)))
		part = min(1, share*float64(total)/float64(most))
	}
	for _, cell := range s.cells(six, most, w.rng.Rand) {
		corners(cell)
	}
	part = share
	// A service of the other family alone is none of this one.
	for _, r := range s.what(!six).Minus(s.what(six)).Ranges() {
		one(s, dimKey, value{dim: dimKey, n: uint64(r.Lo)}.put)
	}
	if total > w.cells {
		corners(s)
	}
	for _, state := range states {
		one(s, dims, func(pkt *policy.Packet) { pkt.State = state })
	}
	for _, dir := range policy.Dirs {
		one(s, dims, func(pkt *policy.Packet) { pkt.Dir = dir })
	}
	one(s, dims, func(pkt *policy.Packet) { pkt.Spoofed = true })
	one(s, dims, func(pkt *policy.Packet) { pkt.HopLimit = 255 })
	one(s, dims, func(pkt *policy.Packet) { pkt.Socket = false })
	one(s, dims, func(pkt *policy.Packet) { pkt.HasMAC = false })
	one(s, dimIIf, func(pkt *policy.Packet) { pkt.IIf, pkt.OIf = policy.Loopback, policy.Loopback })
	return failed
}

// stranger has a packet judged that would be in the shape of a rule were it not of the other family.
func (w *witness) stranger(s *shape, rule int, six bool, share float64) error {
	if !s.hasFamily(!six) || w.skips(share) {
		return nil
	}
	pkt, ok := w.draw(!six, nil, dims, s)
	if !ok {
		return nil
	}
	key := pkt.Key()
	for _, d := range []dim{dimSrc, dimDst} {
		v, _ := w.rng.pick(d, six, []*shape{{from: addrset.AllAddrs(), to: addrset.AllAddrs()}}, nil)
		v.put(&pkt)
	}
	setKey(&pkt, key)
	return w.try(pkt, dims, rule, s)
}

// named has the witnesses judged of what `block` or `failsafe` names: as packets that arrive, as the answers to these that
// leave, and as transit.
func (w *witness) named(i int, share float64) error {
	s := w.before[i]
	w.thorough = true
	ways := func(pkt policy.Packet, pinned dim, within ...*shape) error {
		if w.rng.IntN(2) == 0 {
			pkt.HopLimit = 255 // as neighbours' packets have it
		}
		if err := w.try(pkt, pinned, 0, within...); err != nil {
			return err
		}
		reply := mirrored(pkt)
		through := pkt
		through.Dir = policy.Forward
		back := reply
		back.Dir = policy.Forward
		unasked := reply
		unasked.State = states[w.rng.IntN(len(states))]
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
		beside := func() *shape { return w.around[w.rng.IntN(len(w.around))] }
		for range w.passes(s) {
			err := w.shape(s, six, beside, share, func(pkt policy.Packet, pinned dim, cell *shape) error { return ways(pkt, pinned, cell) })
			if err != nil {
				return err
			}
		}
		for _, o := range w.before[i+1:] {
			const each = 8
			for range each {
				if pkt, ok := w.draw(six, nil, dims, s, o); ok {
					if err := ways(pkt, dims, s, o); err != nil {
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
