package sieve

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFindMissesNoRule holds Find against the ranges themselves: it must find every rule that takes the packet, and where no
// axis is coarse no other.
func TestFindMissesNoRule(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		const axes = 3
		rules := 1 + rng.IntN(200)
		if seed%10 == 0 {
			rules += 3 * blockRules
		}
		asks := make([][axes][]Range, rules)
		key := func() Key {
			switch rng.IntN(8) {
			case 0:
				return Key{}
			case 1:
				return Key{}.Last()
			}
			return Key{Hi: uint64(rng.IntN(2)), Lo: uint64(rng.IntN(40))}
		}
		for r := range asks {
			for a := range axes {
				for range rng.IntN(4) {
					lo, hi := key(), key()
					if lo.Compare(hi) > 0 {
						lo, hi = hi, lo
					}
					asks[r][a] = append(asks[r][a], Range{Lo: lo, Hi: hi})
				}
			}
		}
		s := New(rules, axes, func(rule, axis int) ([]Range, bool) { return asks[rule][axis], asks[rule][axis] != nil })
		for range 200 {
			var keys [axes]Key
			var has [axes]bool
			for a := range keys {
				keys[a], has[a] = key(), rng.IntN(6) > 0
			}
			var want []int32
			for r := range asks {
				takes := true
				for a, ranges := range asks[r] {
					takes = takes && (ranges == nil || has[a] && slices.ContainsFunc(ranges, func(g Range) bool {
						return g.Lo.Compare(keys[a]) <= 0 && keys[a].Compare(g.Hi) <= 0
					}))
				}
				if takes {
					want = append(want, int32(r))
				}
			}
			got := s.Find(nil, func(a int) (Key, bool) { return keys[a], has[a] })
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d: of %v, %v found %v, want %v", seed, keys, has, got, want)
			}
		}
	}
}

// TestCoarse shows that an axis beyond its bounds lets more rules through, and none less.
func TestCoarse(t *testing.T) {
	const rules, step = 12_000, 16
	s := New(rules, 1, func(rule, _ int) ([]Range, bool) {
		var rs []Range
		for i := range uint64(30) {
			lo := uint64(rule)*step + i*1_000_000
			rs = append(rs, Range{Lo: Key{Lo: lo}, Hi: Key{Lo: lo + step - 1}})
		}
		return rs, true
	})
	size := 4*len(s.axes[0].rows) + 8*blockWords*len(s.axes[0].blocks)
	if size > mostBytes {
		t.Errorf("the rows of an axis take %d bytes", size)
	}
	for rule := 0; rule < rules; rule += 97 {
		for i := range uint64(30) {
			k := Key{Lo: uint64(rule)*step + i*1_000_000 + 5}
			if got := s.Find(nil, func(int) (Key, bool) { return k, true }); !slices.Contains(got, int32(rule)) {
				t.Fatalf("rule %d takes %v and was not found", rule, k)
			}
		}
	}
}

func BenchmarkFind(b *testing.B) {
	const rules = 10_000
	s := New(rules, 2, func(rule, axis int) ([]Range, bool) {
		lo := Key{Lo: uint64(rule) << 8}
		return []Range{{Lo: lo, Hi: Key{Lo: lo.Lo | 255}}}, rule%2 == axis
	})
	var dst []int32
	for i := 0; b.Loop(); i++ {
		dst = s.Find(dst[:0], func(axis int) (Key, bool) { return Key{Lo: uint64(i % (rules << 8))}, true })
	}
}
