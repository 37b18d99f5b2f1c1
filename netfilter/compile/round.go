package compile

import (
	"math"

	"ringwall/rules/policy"
)

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
	r := &w.round
	*r = round{witness: w, s: s, six: six, share: share, beside: beside, give: give}
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
