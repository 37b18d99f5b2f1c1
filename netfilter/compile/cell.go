package compile

import (
	"math/rand/v2"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// A rule that lists several services, prefixes or interfaces is a box for each way of taking one of each list. A compiler may
// make a line of each, so each is tried: a cell is the shape of one.

// lists is how many values a shape lists in each dimension for a family; 1 where it takes everything or only subtracts.
func (s *shape) lists(six bool) (n [dims]int) {
	m := s.match
	n = [dims]int{
		dimSrc: countRanges(s.froms, six), dimDst: countRanges(s.tos, six), dimKey: s.what(six).Len(), dimSport: m.Sport.Len(),
		dimIIf: len(m.IIf.Yes), dimOIf: len(m.OIf.Yes), dimMAC: len(m.MAC.Yes), dimMark: len(m.Mark.Yes),
		dimUser: len(m.User.Yes), dimGroup: len(m.Group.Yes),
	}
	for d := range n {
		n[d] = max(1, n[d])
	}
	return n
}

// cellsOf is how many cells a shape has in a family, or more than most.
func (s *shape) cellsOf(six bool, most int) int {
	total := 1
	for _, n := range s.lists(six) {
		if total *= n; total > most {
			return most + 1
		}
	}
	return total
}

// cells is the cells of a shape in a family; where there are more than most, so many drawn at random.
func (s *shape) cells(six bool, most int, rng *rand.Rand) (out []*shape) {
	total := s.cellsOf(six, most)
	if total == 1 {
		return []*shape{s}
	}
	n := s.lists(six)
	var at [dims]int
	for range min(total, most) {
		if total > most {
			for d := range at {
				at[d] = rng.IntN(n[d])
			}
		}
		c := s.cell(six, at)
		c.again = len(out) > 0
		out = append(out, c)
		for d := range at {
			if at[d]++; at[d] < n[d] {
				break
			}
			at[d] = 0
		}
	}
	return out
}

// cell is the shape of one value of each list.
func (s *shape) cell(six bool, at [dims]int) *shape {
	m := *s.match
	c := *s
	c.match = &m
	c.from, c.to = nthRange(s.froms, six, at[dimSrc]), nthRange(s.tos, six, at[dimDst])
	c.froms, c.tos, c.staticFroms, c.staticTos = []addrset.Addrs{c.from}, []addrset.Addrs{c.to}, nil, nil
	if six {
		m.What = policy.What{V6: nth(m.What.V6, at[dimKey])}
	} else {
		m.What = policy.What{V4: nth(m.What.V4, at[dimKey])}
	}
	m.Sport = nth(m.Sport, at[dimSport])
	m.IIf.Yes, m.OIf.Yes = nthOf(m.IIf.Yes, at[dimIIf]), nthOf(m.OIf.Yes, at[dimOIf])
	m.MAC.Yes, m.Mark.Yes = nthOf(m.MAC.Yes, at[dimMAC]), nthOf(m.Mark.Yes, at[dimMark])
	m.User.Yes, m.Group.Yes = nthOf(m.User.Yes, at[dimUser]), nthOf(m.Group.Yes, at[dimGroup])
	c.look()
	return &c
}

// countRanges is how many ranges of a family some parts have.
func countRanges(parts []addrset.Addrs, six bool) (n int) {
	for _, a := range parts {
		if six {
			n += a.V6.Len()
		} else {
			n += a.V4.Len()
		}
	}
	return n
}

// nthRange is one of them.
func nthRange(parts []addrset.Addrs, six bool, i int) addrset.Addrs {
	for _, a := range parts {
		switch n := countRanges([]addrset.Addrs{a}, six); {
		case i >= n:
			i -= n
		case six:
			return addrset.Addrs{V6: nth(a.V6, i)}
		default:
			return addrset.Addrs{V4: nth(a.V4, i)}
		}
	}
	return addrset.Addrs{}
}

// nth is one range of a set.
func nth[K addrset.Key[K]](s addrset.Set[K], i int) addrset.Set[K] {
	r := s.Ranges()[i]
	return addrset.Between(r.Lo, r.Hi)
}

// nthOf is one value of a list; none of none.
func nthOf[T any](list []T, i int) []T {
	if len(list) == 0 {
		return nil
	}
	return list[i : i+1]
}
