package compile

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

func TestLayout(t *testing.T) {
	counted := func(width int, n map[int]int) []int {
		counts := make([]int, width+1)
		for length, m := range n {
			counts[length] = m
		}
		return counts
	}
	for _, tt := range []struct {
		name   string
		counts []int
		ranges int
		want   string // by length of prefixes
	}{
		{"addresses", counted(32, map[int]int{32: 1_000_000}), 1_000_000, "map[32:32]"},
		{"one length", counted(32, map[int]int{24: 1_000_000}), 900_000, "map[24:24]"},
		{"addresses side by side", counted(32, map[int]int{31: 10_000, 32: 900_000}), 910_000, "map[31:32 32:32]"},
		{"a blocklist", counted(32, map[int]int{16: 800, 20: 900, 22: 4000, 23: 5000, 24: 400_000, 29: 500, 32: 500_000}), 900_000,
			"map[16:0 20:0 22:24 23:24 24:24 29:0 32:32]"},
		{"a few ranges", counted(32, map[int]int{8: 1, 13: 40, 14: 40, 25: 40, 30: 40, 32: 900_000}), 900_050, "map[8:0 13:0 14:0 25:0 30:0 32:32]"},
		{"mostly ranges", counted(32, map[int]int{25: 900_000, 26: 900_000, 27: 900_000, 28: 900_000, 29: 900_000, 30: 900_000, 31: 900_000, 32: 900_000}), 1_000_000,
			"map[25:0 26:0 27:0 28:0 29:0 30:0 31:0 32:0]"},
		{"IPv6", counted(128, map[int]int{32: 5000, 40: 10, 48: 500_000, 64: 400_000, 128: 100_000}), 1_000_000, "map[32:32 40:48 48:48 64:64 128:128]"},
	} {
		got := make(map[int]int)
		l := chooseLayout(tt.counts, tt.ranges)
		used := make(map[int]bool)
		for length, n := range tt.counts {
			if n > 0 {
				got[length] = l[length]
				used[l[length]] = true
			}
		}
		if fmt.Sprint(got) != tt.want || len(used) > maxLookups {
			t.Errorf("%s: got %v, want %s", tt.name, got, tt.want)
		}
		// A few lines more are no reason to load everything again.
		for length, n := range tt.counts {
			if n > 100 && n&(n-1) != 0 {
				tt.counts[length] += 10
			}
		}
		if again := chooseLayout(tt.counts, tt.ranges+10); !slices.Equal(again, l) {
			t.Errorf("%s: with ten more of each, %v", tt.name, again)
		}
	}
}

// TestSplit holds any layout of any set against the set, at all ends of all ranges.
func TestSplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var rs []addrset.Range[addrset.U32]
		for range rapid.IntRange(1, 12).Draw(t, "ranges") {
			lo := addrset.U32(rapid.Uint32().Draw(t, "lo")) >> rapid.SampledFrom([]int{0, 16, 24}).Draw(t, "shift")
			rs = append(rs, addrset.Range[addrset.U32]{Lo: lo, Hi: lo | addrset.U32(rapid.Uint32Range(0, 1<<12).Draw(t, "more"))})
		}
		s := addrset.Of(rs...)
		counts := lengths(s)
		l := make(layout, 33)
		for length := range l {
			if length > 0 && rapid.Bool().Draw(t, "hashed") {
				l[length] = rapid.IntRange(length, min(length+4, 32)).Draw(t, "at")
			}
		}
		held := split(l, s, counts)
		keys := make([]map[addrset.U32]bool, 33)
		for at, set := range held {
			keys[at] = make(map[addrset.U32]bool)
			if at == 0 {
				continue
			}
			ruleset.Keys(set.Ranges(), at, func(k addrset.U32) {
				if k.Mask(at) != k || keys[at][k] {
					t.Fatalf("%v is no key of length %d, or is twice", k.Addr(), at)
				}
				keys[at][k] = true
			})
			if n := l.elements(at, counts); n != len(keys[at]) {
				t.Fatalf("%d elements of length %d, counted %d", len(keys[at]), at, n)
			}
		}
		in := func(k addrset.U32) bool {
			for at := 1; at <= 32; at++ {
				if keys[at][k.Mask(at)] {
					return true
				}
			}
			return held[0].Contains(k)
		}
		for _, r := range append(rs, s.Ranges()...) {
			for _, k := range []addrset.U32{r.Lo.Prev(), r.Lo, r.Lo.Next(), r.Hi.Prev(), r.Hi, r.Hi.Next()} {
				if in(k) != s.Contains(k) {
					t.Fatalf("%v: %v, and the set says otherwise", k.Addr(), in(k))
				}
			}
		}
	})
}
