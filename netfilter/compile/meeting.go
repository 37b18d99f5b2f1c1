package compile

import "ringwall/rules/addrset"

// meetings is which rules of a list have packets in common.
type meetings struct {
	of    [][]meeting // of each rule, with later ones
	share float64     // of them that is tried
}

// meeting is a later rule that a rule meets, in a family.
type meeting struct {
	rule int32
	six  bool
}

// How many meetings are tried, and how many pairs of rules are looked at to find them: in long lists only those that stand close.
const (
	mostMeetings = 12_000
	mostPairs    = 2_000_000
	closePairs   = 64
)

// meet finds the meetings of rules, unless they are known.
func (pr *proof) meet() {
	for dir, list := range pr.lists {
		if pr.meetings[dir].of == nil {
			pr.meetings[dir] = pr.meetingsOf(list)
		}
	}
}

// meetingsOf is the meetings of a list's rules, one of which at least concerns the proof.
func (pr *proof) meetingsOf(list []*shape) meetings {
	m := meetings{of: make([][]meeting, len(list)), share: 1}
	far := max(closePairs, mostPairs/max(1, len(list)))
	total := 0
	for _, six := range []bool{false, true} {
		hulls := make([]hull, len(list))
		for i, s := range list {
			hulls[i] = s.hull(six)
		}
		for i, s := range list {
			if hulls[i].empty {
				continue
			}
			concerned := pr.concerns(s)
			for j := i + 1; j < min(len(list), i+far); j++ {
				if (concerned || pr.concerns(list[j])) && hulls[i].meets(&hulls[j]) && s.meets(list[j], six) {
					m.of[i] = append(m.of[i], meeting{int32(j), six})
					total++
				}
			}
		}
	}
	m.share = min(1, mostMeetings/float64(max(1, total)))
	return m
}

// hull bounds what a shape takes of a family, to tell at once most of what it does not meet.
type hull struct {
	empty         bool
	src, dst, key extent
}

func (s *shape) hull(six bool) (h hull) {
	if !s.hasFamily(six) {
		return hull{empty: true}
	}
	if six {
		h.src, h.dst = hullOf(s.from.V6), hullOf(s.to.V6)
	} else {
		h.src, h.dst = hullOf(s.from.V4), hullOf(s.to.V4)
	}
	h.key = hullOf(s.what(six))
	return h
}

func hullOf[K addrset.Address[K]](s addrset.Set[K]) extent {
	rs := s.Ranges()
	return extent{Lo: wide(rs[0].Lo), Hi: wide(rs[len(rs)-1].Hi)}
}

func (h *hull) meets(o *hull) bool {
	return !o.empty && overlap(&h.src, &o.src) && overlap(&h.dst, &o.dst) && overlap(&h.key, &o.key)
}
