package space

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
)

// crowd draws boxes of one direction, those of many rules.
func crowd(t *rapid.T, most int) (*Space, policy.Dir, []*Box) {
	dir := rapid.SampledFrom(policy.Dirs[:]).Draw(t, "dir")
	p := &policy.Policy{}
	for range rapid.IntRange(1, most).Draw(t, "rules") {
		p.Lists[dir] = append(p.Lists[dir], &policy.Rule{Match: policytest.Match(t, dir)})
	}
	s, err := NewFree(p)
	if err != nil {
		t.Fatal(err)
	}
	var boxes []*Box
	for _, r := range p.Lists[dir] {
		for _, b := range s.Match(dir, &r.Match, nil) {
			boxes = append(boxes, &b)
		}
	}
	return s, dir, boxes
}

// TestOutsideCrowds holds the search, with its guesses and gaps, against subtraction, and what it says it has used
// against the claim.
func TestOutsideCrowds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, dir, boxes := crowd(t, 40)
		b := s.Whole(dir, rapid.Bool().Draw(t, "six"))
		if len(boxes) > 0 && rapid.Bool().Draw(t, "part") {
			b, boxes = *boxes[0], boxes[1:]
		}
		search := Search{Left: 1 << 20, Used: map[*Box]bool{}}
		w, found, err := search.Outside(&b, boxes)
		if err != nil {
			t.Skip(err)
		}
		values := func(boxes []*Box) (out []Box) {
			for _, o := range boxes {
				out = append(out, *o)
			}
			return out
		}
		outside := func(others []*Box) bool {
			subtract := Search{Left: 1 << 20}
			rest, err := subtract.Subtract([]Box{b}, values(others))
			if err != nil {
				t.Skip(err)
			}
			return len(rest) > 0
		}
		if found != outside(boxes) {
			t.Fatalf("found %v", found)
		}
		if !found {
			if outside(slices.DeleteFunc(slices.Clone(boxes), func(o *Box) bool { return !search.Used[o] })) {
				t.Fatal("what was used is not enough")
			}
			return
		}
		if !b.Covers(&w) {
			t.Error("the find is not in the box")
		}
		for _, o := range boxes {
			if o.Overlaps(&w) {
				t.Error("the find is in another box")
			}
		}
	})
}

// TestIndex holds what is near against looking at every box.
func TestIndex(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, _, boxes := crowd(t, 60)
		ix := NewIndex(boxes)
		for range min(len(boxes), 8) {
			b := boxes[rapid.IntRange(0, len(boxes)-1).Draw(t, "box")]
			lo := rapid.IntRange(0, len(boxes)).Draw(t, "lo")
			hi := rapid.IntRange(lo, len(boxes)).Draw(t, "hi")
			var want []int32
			for n := lo; n < hi; n++ {
				if boxes[n].Overlaps(b) {
					want = append(want, int32(n))
				}
			}
			search := Search{Left: 1 << 20}
			got, err := ix.Near(&search, b, lo, hi, nil)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("got %v, want %v; %v", got, want, err)
			}
		}
	})
}
