package addrset

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// bitmap is a Set[U8] the plain way.
type bitmap [256]bool

func (b bitmap) each(f func(k U8, in bool) bool) bitmap {
	for k := range b {
		b[k] = f(U8(k), b[k])
	}
	return b
}

// ranges draws ranges in any order, overlapping, touching and reversed ones among them.
func ranges(t *rapid.T) []Range[U8] {
	edge := rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte{0, 1, 2, 127, 128, 253, 254, 255}))
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Range[U8] {
		return Range[U8]{U8(edge.Draw(t, "lo")), U8(edge.Draw(t, "hi"))}
	}), 0, 12).Draw(t, "ranges")
}

func draw(t *rapid.T) (Set[U8], bitmap) {
	rs := ranges(t)
	var b bitmap
	for _, r := range rs {
		for k := int(r.Lo); k <= int(r.Hi); k++ {
			b[k] = true
		}
	}
	return Of(rs...), b
}

// same tells whether s is b, and whether its ranges are as they must be.
func same(t *rapid.T, what string, s Set[U8], b bitmap) {
	t.Helper()
	rs := s.Ranges()
	for i, r := range rs {
		if r.Lo > r.Hi || i > 0 && int(rs[i-1].Hi)+1 >= int(r.Lo) {
			t.Fatalf("%s: ranges out of order: %v", what, rs)
		}
	}
	for k := range b {
		if s.Contains(U8(k)) != b[k] {
			t.Fatalf("%s: %d is wrong in %v", what, k, rs)
		}
	}
}

func TestSetAgainstBitmap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, b := draw(t)
		u, c := draw(t)
		same(t, "Of", s, b)
		only, other := s.Differ(u)
		same(t, "only in the one", only, b.each(func(k U8, in bool) bool { return in && !c[k] }))
		same(t, "only in the other", other, c.each(func(k U8, in bool) bool { return in && !b[k] }))
		same(t, "Union", s.Union(u), b.each(func(k U8, in bool) bool { return in || c[k] }))
		same(t, "Intersect", s.Intersect(u), b.each(func(k U8, in bool) bool { return in && c[k] }))
		same(t, "Minus", s.Minus(u), b.each(func(k U8, in bool) bool { return in && !c[k] }))
		same(t, "Complement", s.Complement(), b.each(func(_ U8, in bool) bool { return !in }))

		overlaps, covers, first := false, true, -1
		for k := range b {
			overlaps = overlaps || b[k] && c[k]
			covers = covers && (b[k] || !c[k])
			if b[k] && first < 0 {
				first = k
			}
		}
		if s.Overlaps(u) != overlaps {
			t.Fatalf("Overlaps is not %v", overlaps)
		}
		if s.Covers(u) != covers {
			t.Fatalf("Covers is not %v", covers)
		}
		if k, ok := s.Min(); ok != (first >= 0) || ok && int(k) != first {
			t.Fatalf("Min is %d, %v, not %d", k, ok, first)
		}
		if s.Equal(u) != (b == c) {
			t.Fatalf("Equal is not %v", b == c)
		}
		if s.IsEmpty() != (b == bitmap{}) || s.IsAll() != (b == bitmap{}.each(func(U8, bool) bool { return true })) {
			t.Fatal("IsEmpty or IsAll is wrong")
		}
	})
}

func TestSetsAreValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, b := draw(t)
		u, c := draw(t)
		for _, r := range []Set[U8]{s.Union(u), s.Intersect(u), s.Minus(u), s.Complement(), u.Minus(s)} {
			r.Union(One[U8](7)).Minus(u)
		}
		same(t, "left operand", s, b)
		same(t, "right operand", u, c)
	})
}

// edges is a test of a key's first and last values, which must neither wrap nor be lost.
func edges[K Key[K]](t *testing.T) {
	var k K
	first, last := k.First(), k.Last()
	second, before := first.Next(), last.Prev()
	switch {
	case first.Prev() != last || last.Next() != first:
		t.Error("Next and Prev do not wrap")
	case !Of(Range[K]{before, last}, Range[K]{first, before.Prev()}).IsAll():
		t.Error("adjacent halves are not all")
	case !Of(Range[K]{first, last}, Range[K]{last, last}).IsAll():
		t.Error("a range after the last value is not merged")
	case Of(Range[K]{last, first}).Len() != 0:
		t.Error("a reversed range is not empty")
	case !One(last).Union(One(before)).Equal(Between(before, last)):
		t.Error("the last two values do not merge")
	case One(last).Union(One(first)).Len() != 2:
		t.Error("the last value touches the first")
	case !All[K]().Minus(One(last)).Equal(Between(first, before)):
		t.Error("all but the last")
	case !All[K]().Minus(One(first)).Equal(Between(second, last)):
		t.Error("all but the first")
	case !All[K]().Complement().IsEmpty() || !(Set[K]{}).Complement().IsAll():
		t.Error("complements of all and nothing")
	case !All[K]().Contains(first) || !All[K]().Contains(last) || One(last).Contains(first):
		t.Error("Contains at the edges")
	case !One(last).Covers(Set[K]{}) || !All[K]().Covers(One(last)) || One(last).Covers(All[K]()):
		t.Error("Covers at the edges")
	}
}

func TestEdges(t *testing.T) {
	t.Run("U8", edges[U8])
	t.Run("U16", edges[U16])
	t.Run("U32", edges[U32])
	t.Run("U128", edges[U128])
}

func TestU128Carries(t *testing.T) {
	low := U128{5, ^uint64(0)}
	if low.Next() != (U128{6, 0}) || low.Next().Prev() != low {
		t.Errorf("%v: %v, %v", low, low.Next(), low.Next().Prev())
	}
	if got := Of(Range[U128]{U128{6, 0}, U128{6, 9}}, Range[U128]{U128{4, 0}, low}); got.Len() != 1 {
		t.Errorf("ranges that touch over the middle do not merge: %v", got.Ranges())
	}
}

func TestAddrs(t *testing.T) {
	net := func(s string) Addrs { return OfPrefix(netip.MustParsePrefix(s)) }
	a := net("10.1.2.3/8").Union(net("2001:db8::/32"))
	for addr, want := range map[string]bool{
		"10.0.0.0": true, "10.255.255.255": true, "11.0.0.0": false, "9.255.255.255": false,
		"::ffff:10.0.0.1": true, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff": true, "2001:db9::": false, "::": false,
	} {
		if a.Contains(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: not %v", addr, want)
		}
	}
	if got := a.Minus(net("10.128.0.0/9")).Union(net("10.128.0.0/9")); !got.Equal(a) {
		t.Errorf("taken out and put back: %v", got)
	}
	if !AllAddrs().Minus(a).Union(a).IsAll() || !a.Minus(AllAddrs()).IsEmpty() || a.Intersect(net("10.0.0.0/9")).Len() != 1 {
		t.Error("algebra over both families")
	}
	if got := net("0.0.0.0/0").Union(net("::/0")); !got.IsAll() {
		t.Errorf("both /0: %v", got)
	}
	if got := LastOf(netip.MustParsePrefix("2001:db8::/33")); got != netip.MustParseAddr("2001:db8:7fff:ffff:ffff:ffff:ffff:ffff") {
		t.Errorf("last of a /33: %v", got)
	}
}

// TestSkip holds the search that jumps ahead against a plain one, on lists longer than the bitmap's draws.
func TestSkip(t *testing.T) {
	var rs []Range[U16]
	for n := range 40 {
		for k := range 3*n + 3 {
			want := n
			for i, r := range rs {
				if int(r.Hi) >= k {
					want = i
					break
				}
			}
			if got := skip(rs, U16(k)); got != want {
				t.Fatalf("of %d ranges, %d: got %d, want %d", n, k, got, want)
			}
		}
		rs = append(rs, Range[U16]{U16(3 * n), U16(3*n + 1)})
	}
}
