package compile

import (
	"math"
	"math/rand/v2"

	"ringwall/rules/policy"
)

// witness makes packets and has them judged. It is one of several workers; what it draws depends on its seed alone.
type witness struct {
	*judge
	rng     *picker
	packets int
	room    [3]*shape // for draw
}

// seed begins a part of the work.
func (w *witness) seed(n uint64) { w.rng = &picker{Rand: rand.New(rand.NewPCG(n, 0))} }

// jobs is the work of a proof in parts. Of a share below one, not every corner has its witness.
func (pr *proof) jobs(share float64) []job {
	pr.meet()
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
func (w *witness) draw(pkt *policy.Packet, six bool, beside *shape, pinned dim, within ...*shape) bool {
	*pkt = policy.Packet{Dir: within[0].dir, HopLimit: 64, Sport: uint16(w.rng.Uint32()), Socket: true}
	var said, near dimSet
	for _, s := range within {
		said |= s.saying(six)
	}
	all := append(w.room[:0], within...)
	if beside != nil {
		near = beside.saying(six) & dimSet(w.rng.Uint32())
		all = append(all, beside)
	}
	for d := range dims {
		if near.has(d) {
			if v, ok := w.rng.pick(d, six, all, nil); ok {
				v.put(pkt)
				continue
			}
		}
		if !said.has(d) {
			w.rng.any(pkt, d, six)
			continue
		}
		v, ok := w.rng.pick(d, six, within, nil)
		if ok {
			v.put(pkt)
		} else if d != pinned {
			return false
		}
	}
	return true
}

// try has a packet judged that lies in some shapes, but for the dimension that is pinned. Where something before the place own in
// the list decides it, it moves the packet within the shapes until it escapes that, and tries it too.
func (w *witness) try(pkt *policy.Packet, pinned dim, own int, within ...*shape) error {
	const escapes = 6
	six := pkt.Is6()
	for range escapes {
		if !possible(pkt) {
			return nil
		}
		d, err := w.hold(pkt)
		if err != nil {
			return err
		}
		by := w.shapeOf(pkt, d, own)
		if by == nil || !w.escape(pkt, six, by, pinned, within) {
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
		if d == pinned || !by.saying(six).has(d) {
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
	const near, strangers = 3, 3
	list := w.lists[dir]
	neighbours := list[max(0, i-near):min(len(list), i+near+1)]
	for _, six := range []bool{false, true} {
		err := w.shape(list[i], six, neighbours, share, func(pkt *policy.Packet, pinned dim, cell *shape) error { return w.try(pkt, pinned, i, cell) })
		if err != nil {
			return err
		}
		if !list[i].hasFamily(six) {
			for range strangers {
				if err := w.stranger(list[i], i, six, share); err != nil {
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
			var pkt policy.Packet
			if w.draw(&pkt, m.six, nil, dims, list[i], list[m.rule]) {
				if err := w.try(&pkt, dims, i, list[i], list[m.rule]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// skips tells, at random, whether a witness is not of the share.
func (w *witness) skips(share float64) bool { return share < 1 && w.rng.Float64() >= share }

// round is the witnesses of a family at the corners of a shape, in the making.
type round struct {
	*witness
	s      *shape
	six    bool
	share  float64                                                 // of the witnesses of what is looked at
	beside []*shape                                                // some of whose values packets have too
	give   func(pkt *policy.Packet, pinned dim, cell *shape) error // gets each
	err    error                                                   // the first; nothing is made after it
	pkt    policy.Packet                                           // at hand
}

// shape makes the packets of a family at the corners of a shape, each list of its values tried with each other's, and those that
// differ in what rules don't match; of what depends on dynamic sets also what these could hold. give gets each with the dimension of
// the corner, and the cell that it lies in but for that; it may change the packet.
func (w *witness) shape(s *shape, six bool, beside []*shape, share float64, give func(pkt *policy.Packet, pinned dim, cell *shape) error) error {
	r := &round{witness: w, s: s, six: six, share: share, beside: beside, give: give}
	if s.dynamic {
		if most := s.atMost(); most.hasFamily(six) {
			r.corners(most)
		}
	}
	if !s.hasFamily(six) {
		return r.err
	}
	total, most := s.cellsOf(six, w.cells), w.cells
	if share < 1 && total > 1 {
		// Some corners of some cells, rather than a look at every cell for the few corners that are its share.
		most = max(1, int(math.Sqrt(share)*float64(total)))
		r.share = min(1, share*float64(total)/float64(most))
	}
	for _, cell := range s.cells(six, most, w.rng.Rand) {
		r.corners(cell)
	}
	r.share = share
	// A service of the other family alone is none of this one.
	for _, k := range s.what(!six).Minus(s.what(six)).Ranges() {
		r.corner(s, value{dim: dimKey, n: uint64(k.Lo)})
	}
	if total > w.cells {
		r.corners(s)
	}
	r.others()
	return r.err
}

// starts makes a packet of a cell but for a dimension; false where there is to be none, or is none.
func (r *round) starts(cell *shape, pinned dim) bool {
	return r.err == nil && !r.skips(r.share) && r.draw(&r.pkt, r.six, r.beside[r.rng.IntN(len(r.beside))], pinned, cell)
}

// corner gives a packet of a cell but for a value.
func (r *round) corner(cell *shape, v value) {
	if r.starts(cell, v.dim) {
		v.put(&r.pkt)
		r.err = r.give(&r.pkt, v.dim, cell)
	}
}

// corners gives the packets at the corners of a cell.
func (r *round) corners(cell *shape) {
	// What is said of one dimension, met in the one that it is most easily mixed up with, and not where it is said.
	const each = 2
	var crossed [dims][each]value
	var of [dims]int
	give := func(v value) {
		d := v.dim
		at := of[d]
		if of[d]++; at >= each {
			at = r.rng.IntN(of[d])
		}
		if at < each {
			crossed[d][at] = v
		}
		r.corner(cell, v)
	}
	for d := range dims {
		cell.corners(d, r.six, r.rng.Rand, r.share, give)
	}
	for _, pair := range [][2]dim{{dimSrc, dimDst}, {dimKey, dimSport}, {dimIIf, dimOIf}, {dimUser, dimGroup}} {
		for way, d := range pair {
			other := pair[1-way]
			for _, v := range crossed[d][:min(each, of[d])] {
				if r.starts(cell, other) {
					if u, ok := r.rng.pick(d, r.six, nil, r.s); ok {
						u.put(&r.pkt)
					}
					v.crossed(&r.pkt, other)
					r.err = r.give(&r.pkt, other, cell)
				}
			}
		}
	}
}

// others gives packets that differ in what rules don't match, as far as packets of the direction have it.
func (r *round) others() {
	one := func(pinned dim, change func(*policy.Packet)) {
		if r.starts(r.s, pinned) {
			change(&r.pkt)
			r.err = r.give(&r.pkt, pinned, r.s)
		}
	}
	for _, state := range states {
		one(dims, func(pkt *policy.Packet) { pkt.State = state })
	}
	for _, dir := range policy.Dirs {
		if dir != r.s.dir {
			one(dims, func(pkt *policy.Packet) { pkt.Dir = dir })
		}
	}
	if r.s.dir != policy.Out || r.thorough {
		one(dims, func(pkt *policy.Packet) { pkt.Spoofed = true })
		one(dims, func(pkt *policy.Packet) { pkt.HasMAC = false })
	}
	if r.s.dir == policy.Out || r.thorough {
		one(dims, func(pkt *policy.Packet) { pkt.Socket = false })
	}
	one(dims, func(pkt *policy.Packet) { pkt.HopLimit = 255 })
	one(dimIIf, func(pkt *policy.Packet) { pkt.IIf, pkt.OIf = policy.Loopback, policy.Loopback })
}

// stranger has a packet judged that would be in the shape of a rule were it not of the other family.
func (w *witness) stranger(s *shape, rule int, six bool, share float64) error {
	var pkt policy.Packet
	if !s.hasFamily(!six) || w.skips(share) || !w.draw(&pkt, !six, nil, dims, s) {
		return nil
	}
	key := pkt.Key()
	w.rng.any(&pkt, dimSrc, six)
	w.rng.any(&pkt, dimDst, six)
	setKey(&pkt, key)
	return w.try(&pkt, dims, rule, s)
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
