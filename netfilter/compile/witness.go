package compile

import (
	"math/rand/v2"

	"ringwall/rules/policy"
)

// witness makes packets and has them judged. It is one of several workers; what it draws depends on its seed alone.
type witness struct {
	*judge
	rng     *picker
	packets int
	room    [3]*shape     // for draw
	pkt     policy.Packet // at hand
	round   round         // the one under way
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
	many := max(2, min(8, 512/len(list))) // packets of each
	for _, m := range w.meetings[dir].of[i] {
		if w.skips(share) {
			continue
		}
		for range many {
			if w.draw(&w.pkt, m.six, nil, dims, list[i], list[m.rule]) {
				if err := w.try(&w.pkt, dims, i, list[i], list[m.rule]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// skips tells, at random, whether a witness is not of the share.
func (w *witness) skips(share float64) bool { return share < 1 && w.rng.Float64() >= share }

// stranger has a packet judged that would be in the shape of a rule were it not of the other family.
func (w *witness) stranger(s *shape, rule int, six bool, share float64) error {
	pkt := &w.pkt
	if !s.hasFamily(!six) || w.skips(share) || !w.draw(pkt, !six, nil, dims, s) {
		return nil
	}
	key := pkt.Key()
	w.rng.any(pkt, dimSrc, six)
	w.rng.any(pkt, dimDst, six)
	setKey(pkt, key)
	return w.try(pkt, dims, rule, s)
}
