package policy

import (
	"math/rand/v2"
	"testing"

	"ringwall/rules/addrset"
)

// TestJoin holds the union that takes no room of its own against Union.
func TestJoin(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	draw := func(room int) addrset.Set[addrset.U32] {
		list := make([]addrset.Range[addrset.U32], 0, room)
		from, most := rng.Uint32N(100), rng.IntN(30)
		for range most {
			lo := from + rng.Uint32N(100)
			list = append(list, addrset.Range[addrset.U32]{Lo: addrset.U32(lo), Hi: addrset.U32(lo + rng.Uint32N(5))})
		}
		return addrset.Take(list)
	}
	for range 5000 {
		a, b := draw(30+rng.IntN(40)), draw(30)
		want := a.Union(b)
		want = addrset.Of(want.Ranges()...) // join may change what it is given
		if got := join(a, b); !got.Equal(want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}
