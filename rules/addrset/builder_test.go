package addrset

import (
	"testing"

	"pgregory.net/rapid"
)

func TestBuilderAgainstBitmap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rs := ranges(t)
		if rapid.Bool().Draw(t, "sorted") {
			rs = Of(rs...).Ranges()
		}
		var b Builder[U8]
		var want bitmap
		for _, r := range rs {
			b.Add(r)
			for k := int(r.Lo); k <= int(r.Hi); k++ {
				want[k] = true
			}
		}
		same(t, "Builder", b.Set(), want)
		if b.Len() != 0 || !b.Set().IsEmpty() {
			t.Fatal("something is left in the Builder")
		}
	})
}

func TestJoinAgainstBitmap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a, b Builder[U8]
		a.Grow(rapid.IntRange(0, 30).Draw(t, "room"))
		var want bitmap
		for _, to := range []*Builder[U8]{&a, &b} {
			s, in := draw(t)
			for _, r := range s.Ranges() {
				to.Add(r)
			}
			want = want.each(func(k U8, was bool) bool { return was || in[k] })
		}
		s := Join(a.Set(), b.Set())
		same(t, "Join", s, want)
		same(t, "Trim", s.Trim(), want)
	})
}
