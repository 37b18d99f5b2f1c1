package space

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
)

// edited draws a policy that is another with some edits: rules gone, moved, new or of another verdict, another base.
func edited(t *rapid.T, p *policy.Policy) *policy.Policy {
	q := *p
	other := policytest.Policy(t, 2)
	for _, dir := range policy.Dirs {
		list := slices.Clone(p.Lists[dir])
		for range rapid.IntRange(0, 2).Draw(t, "edits") {
			at := func() int { return rapid.IntRange(0, len(list)-1).Draw(t, "at") }
			switch edit := rapid.IntRange(0, 3).Draw(t, "edit"); {
			case len(list) == 0 || edit == 0:
				list = append(list, other.Lists[dir]...)
			case edit == 1:
				i := at()
				list = slices.Delete(list, i, i+1)
			case edit == 2:
				i, j := at(), at()
				list[i], list[j] = list[j], list[i]
			default:
				r := *list[at()]
				r.Match.From = policytest.Addrs(t)
				list[at()] = &r
			}
		}
		q.Lists[dir] = list
	}
	switch rapid.IntRange(0, 5).Draw(t, "what stands before") {
	case 0:
		q.Base = other.Base
	case 1:
		q.Block = other.Block
	case 2:
		q.Failsafe = other.Failsafe
	case 3:
		q.Defaults, q.Transit = other.Defaults, other.Transit
	}
	return &q
}

// comparison makes the comparison of two policies in a direction; what differs is verdicts. Some pairs are left out.
func comparison(t *rapid.T, s *Space, p, q *policy.Policy, dir policy.Dir) *Comparison {
	c := &Comparison{Left: work}
	does := func(p *policy.Policy) ([]Entry, []int) {
		es, err := s.Entries(p, dir)
		if err != nil {
			t.Fatal(err)
		}
		var does []int
		for _, e := range es {
			does = append(does, int(e.Decision.Verdict))
		}
		return es, does
	}
	c.Old, c.OldDoes = does(p)
	c.New, c.NewDoes = does(q)
	c.OldFirst, c.NewFirst = len(c.Old), len(c.New)
	next := 0
	for i, e := range c.Old {
		for j := next; j < len(c.New); j++ {
			if d := c.New[j].Decision; d.By == e.Decision.By && d.Verdict == e.Decision.Verdict && rapid.Bool().Draw(t, "pair") {
				c.Pairs = append(c.Pairs, [2]int{i, j})
				next = j + 1
				break
			}
		}
	}
	return c
}

// TestCompareAgreesWithDecide: a packet is in exactly one piece if its verdict differs, and in none if it does not; the
// piece names what decides. Both directions, and after merging as well.
func TestCompareAgreesWithDecide(t *testing.T) {
	differ, alike, compared, undecided := 0, 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := policytest.Policy(t, 6)
		q := policytest.Policy(t, 6)
		if rapid.Bool().Draw(t, "an edit") {
			q = edited(t, p)
		}
		q.Given = p.Given
		s, err := NewFree(p, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range policy.Dirs {
			forth, back := comparison(t, s, p, q, dir), comparison(t, s, q, p, dir)
			pieces, open := run(s, forth, dir)
			pieces2, open2 := run(s, back, dir)
			compared++
			if len(open)+len(open2) > 0 {
				undecided++ // it says so, which is no false claim
				continue
			}
			boxes := make([]Box, len(pieces))
			for i := range pieces {
				boxes[i] = pieces[i].Box
			}
			merged, from := Merge(boxes)
			check := func(pkt *policy.Packet) {
				point := s.point(t, pkt, p.Given)
				was, is := p.Decide(pkt), q.Decide(pkt)
				in := holders(&point, boxes)
				if was.Verdict == is.Verdict {
					alike++
					if len(in) > 0 || len(holders(&point, merged)) > 0 || len(holdersOf(&point, pieces2)) > 0 {
						t.Fatalf("%s: %s by %s on both sides, but in a piece", pkt, was.Verdict, was.By)
					}
					return
				}
				differ++
				in2 := holdersOf(&point, pieces2)
				if len(in) != 1 || len(in2) != 1 {
					t.Fatalf("%s: %s by %s, then %s by %s, but in %d and %d pieces", pkt, was.Verdict, was.By, is.Verdict, is.By, len(in), len(in2))
				}
				if x, y := forth.Old[pieces[in[0]].Old].Decision, forth.New[pieces[in[0]].New].Decision; x != was || y != is {
					t.Fatalf("%s: the piece has %+v and %+v, Decide %+v and %+v", pkt, x, y, was, is)
				}
				if x, y := pieces2[in2[0]].New, pieces2[in2[0]].Old; x != pieces[in[0]].Old || y != pieces[in[0]].New {
					t.Fatalf("%s: the other way round something else decides", pkt)
				}
				m := holders(&point, merged)
				if len(m) != 1 || !slices.Contains(from[m[0]], in[0]) {
					t.Fatalf("%s: in %d merged boxes", pkt, len(m))
				}
			}
			for range 20 {
				pkt := policytest.Packet(t, dir)
				check(&pkt)
			}
			for i := range boxes { // packets of the pieces themselves, where sets hold what is given
				pkt := s.Packet(dir, &boxes[i])
				if point := s.point(t, &pkt, p.Given); boxes[i].Overlaps(&point) {
					check(&pkt)
				}
			}
			for i, group := range from {
				for _, n := range group {
					if !merged[i].Covers(&boxes[n]) {
						t.Fatal("a merged box has lost something")
					}
				}
			}
		}
	})
	if differ < 200 || alike < 200 {
		t.Errorf("%d packets differ, %d do not: too few of one to have tested much", differ, alike)
	}
	if undecided*20 > compared {
		t.Errorf("%d of %d comparisons were not decided: too many", undecided, compared)
	}
}

// TestCompareLeavesOut: with a first entry on each side, the packets that entries from there on decide on both sides are
// left out, and no others.
func TestCompareLeavesOut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policytest.Policy(t, 4)
		q := edited(t, p)
		s, err := NewFree(p, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range policy.Dirs {
			c := comparison(t, s, p, q, dir)
			all, _ := run(s, c, dir)
			c.OldFirst = rapid.IntRange(0, len(c.Old)).Draw(t, "old")
			c.NewFirst = rapid.IntRange(0, len(c.New)).Draw(t, "new")
			c.Pairs = slices.DeleteFunc(c.Pairs, func(p [2]int) bool { return (p[0] < c.OldFirst) != (p[1] < c.NewFirst) })
			some, _ := run(s, c, dir)
			for range 10 {
				pkt := policytest.Packet(t, dir)
				point := s.point(t, &pkt, p.Given)
				before, now := holdersOf(&point, all), holdersOf(&point, some)
				want := len(before) == 1 && (all[before[0]].Old < c.OldFirst || all[before[0]].New < c.NewFirst)
				if (len(now) == 1) != want {
					t.Fatalf("%s: in %d pieces", &pkt, len(now))
				}
			}
		}
	})
}

// TestCompareWithLittleWork: whatever work is allowed, no piece is wrong, and what is missing lies in an open box.
func TestCompareWithLittleWork(t *testing.T) {
	gaveUp := 0
	rapid.Check(t, func(t *rapid.T) {
		p, q := policytest.Policy(t, 6), policytest.Policy(t, 6)
		q.Given = p.Given
		s, err := NewFree(p, q)
		if err != nil {
			t.Fatal(err)
		}
		dir := rapid.SampledFrom(policy.Dirs[:]).Draw(t, "dir")
		c := comparison(t, s, p, q, dir)
		c.Left = rapid.IntRange(0, 3000).Draw(t, "work")
		pieces, open := run(s, c, dir)
		gaveUp += len(open)
		for range 30 {
			pkt := policytest.Packet(t, dir)
			point := s.point(t, &pkt, p.Given)
			in := len(holdersOf(&point, pieces)) > 0
			differs := p.Decide(&pkt).Verdict != q.Decide(&pkt).Verdict
			if in && !differs || differs && !in && !touches(open, &point) {
				t.Fatalf("%s: differs %v, in a piece %v, and in no open box", &pkt, differs, in)
			}
		}
	})
	if gaveUp < 100 {
		t.Errorf("only %d boxes were left open", gaveUp)
	}
}

func run(s *Space, c *Comparison, dir policy.Dir) (pieces []Piece, open []Box) {
	for _, six := range []bool{false, true} {
		p, o := c.Run(s.Whole(dir, six))
		pieces, open = append(pieces, p...), append(open, o...)
	}
	return pieces, open
}

// holders is the indices of the boxes that hold a point.
func holders(point *Box, boxes []Box) (in []int) {
	for i := range boxes {
		if boxes[i].Overlaps(point) {
			in = append(in, i)
		}
	}
	return in
}

func holdersOf(point *Box, pieces []Piece) []int {
	boxes := make([]Box, len(pieces))
	for i := range pieces {
		boxes[i] = pieces[i].Box
	}
	return holders(point, boxes)
}
