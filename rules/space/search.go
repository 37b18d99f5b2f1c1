package space

import "errors"

// Search looks for packets, within a bound on the work. The zero Search has no work left.
type Search struct {
	Left int // how many comparisons of boxes may still be made
}

// ErrTooComplex says that a question was given up: the answer would have taken more work than was allowed.
var ErrTooComplex = errors.New("too complex to decide")

// Outside finds packets of a box that are in none of the others, as a box; false where there are none.
// The error is ErrTooComplex.
func (s *Search) Outside(b *Box, others []*Box) (Box, bool, error) {
	if s.Left -= len(others) + 1; s.Left < 0 {
		return Box{}, false, ErrTooComplex
	}
	var near []*Box
	for _, o := range others {
		if !o.Overlaps(b) {
			continue
		}
		if o.Covers(b) {
			return Box{}, false, nil
		}
		near = append(near, o)
	}
	if len(near) == 0 {
		return *b, true, nil
	}
	pieces := b.Minus(near[0])
	for i := range pieces {
		if w, found, err := s.Outside(&pieces[i], near[1:]); found || err != nil {
			return w, found, err
		}
	}
	return Box{}, false, nil
}

// Subtract is the packets of some boxes that are in none of the others, as boxes. The error is ErrTooComplex.
func (s *Search) Subtract(boxes, others []Box) ([]Box, error) {
	for i := range others {
		var rest []Box
		for j := range boxes {
			if s.Left--; s.Left < 0 {
				return nil, ErrTooComplex
			}
			rest = append(rest, boxes[j].Minus(&others[i])...)
		}
		boxes = rest
	}
	return boxes, nil
}
