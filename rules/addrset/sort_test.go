package addrset

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSortByDigits holds the sorting by digits against that by comparing.
func TestSortByDigits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, shift := range []int{0, 7, 21, 31} {
		got := make([]Range[U32], radixFrom)
		for i := range got {
			lo := U32(rng.Uint32() >> shift)
			got[i] = Range[U32]{Lo: lo, Hi: U32(i)} // Hi tells equal ones apart
		}
		want := slices.Clone(got)
		slices.SortStableFunc(want, func(a, b Range[U32]) int { return cmp.Compare(a.Lo, b.Lo) })
		if sortByDigits(got); !slices.Equal(got, want) {
			t.Errorf("numbers of %d bits are out of order", 32-shift)
		}
	}
}

// TestTakeMany makes a set of more ranges than are sorted by comparing, overlapping ones among them, and holds it against the numbers.
func TestTakeMany(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	ranges := make([]Range[U32], 2*radixFrom)
	in := make([]bool, 1<<17)
	for i := range ranges {
		lo := rng.IntN(len(in) - 8)
		hi := lo + rng.IntN(8)
		ranges[i] = Range[U32]{U32(lo), U32(hi)}
		for k := lo; k <= hi; k++ {
			in[k] = true
		}
	}
	s := Take(ranges)
	if !isSet(s.Ranges()) {
		t.Error("the ranges are not those of a set")
	}
	for k, want := range in {
		if s.Contains(U32(k)) != want {
			t.Fatalf("%d: %v, want %v", k, !want, want)
		}
	}
}
