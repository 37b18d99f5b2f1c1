package space

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/policy"
)

// TestNames: every name is matched like one of the list, so that no interface is left out.
func TestNames(t *testing.T) {
	letters := rapid.StringOfN(rapid.RuneFrom([]rune("ab0")), 1, 3, -1)
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Pattern {
			return policy.Pattern(letters.Draw(t, "name") + rapid.SampledFrom([]string{"", "*"}).Draw(t, "wild"))
		}), 0, 8).Draw(t, "patterns")
		n := newNames(patterns)
		ways := func(name string) string {
			return fmt.Sprint(slices.Collect(func(yield func(bool) bool) {
				for _, p := range patterns {
					if !yield(p.Matches(name)) {
						return
					}
				}
			}))
		}
		name := letters.Draw(t, "name") + strings.Repeat("b", rapid.IntRange(0, 4).Draw(t, "more"))
		if !slices.ContainsFunc(n.list[1:], func(other string) bool { return ways(other) == ways(name) }) {
			t.Fatalf("%v: %s is matched like none of %v", patterns, name, n.list)
		}
		for _, name := range n.list {
			if len(name) > longestName {
				t.Fatalf("%s is too long", name)
			}
		}
	})
}

// TestMarks: the classes hold every mark once, and each in the cubes that it is in.
func TestMarks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.SampledFrom([]uint32{0, 1, 2, 3, 7, 0xff, 1 << 31, 1<<32 - 1})
		cubes := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Mark {
			mask := bits.Draw(t, "mask")
			return policy.Mark{Value: bits.Draw(t, "value") & mask, Mask: mask}
		}), 0, 6).Draw(t, "cubes")
		m, err := newMarks(slices.Clone(cubes))
		if err != nil {
			t.Fatal(err)
		}
		mark := rapid.OneOf(bits, rapid.Uint32()).Draw(t, "mark")
		holders := 0
		for i, c := range m.classes {
			for _, part := range c.parts {
				if mark&part.Mask != part.Value {
					continue
				}
				holders++
				for _, cube := range cubes {
					if set := m.set(cube); set.Contains(upTo(i + 1).Ranges()[0].Hi) != (mark&cube.Mask == cube.Value) {
						t.Fatalf("%#x is in class %d, but %v has %v", mark, i, cube, set.Ranges())
					}
				}
			}
		}
		if holders != 1 {
			t.Fatalf("%#x is in %d parts of classes", mark, holders)
		}
	})
}

// TestTooManyMarks: marks that can't be told apart within bounds are given up, not guessed at.
func TestTooManyMarks(t *testing.T) {
	p := &policy.Policy{}
	for bit := range 20 {
		r := &policy.Rule{}
		r.Match.Mark.Yes = []policy.Mark{{Value: 1 << bit, Mask: 1 << bit}}
		p.Lists[policy.In] = append(p.Lists[policy.In], r)
	}
	if _, err := New(p); !errors.Is(err, ErrTooComplex) {
		t.Errorf("got %v", err)
	}
}
