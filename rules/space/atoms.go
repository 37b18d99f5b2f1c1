package space

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// names is interface names by number: of all the names there are, one for each way in which the patterns of a space
// can match. The first is the empty one, of a packet without such an interface.
type names struct {
	list  []string    // sorted
	plain addrset.U32 // the name that only * matches, 0 where there is none
	sets  map[policy.Pattern]Set

	patterns []policy.Pattern // of the space and lo, those that match more first
}

// longestName is the length of the longest interface name, IFNAMSIZ without the final zero.
const longestName = 15

// newNames finds the names. Exact patterns are names themselves; a wildcard needs a name that it matches and no
// longer or exact pattern does, if there is one; and one name should be matched by nothing.
func newNames(patterns []policy.Pattern) names {
	seen := map[string]bool{"": true, policy.Loopback: true}
	prefixes := []string{""} // of which the first stands for every other name
	for _, p := range patterns {
		prefix, wild := strings.CutSuffix(string(p), "*")
		if wild {
			prefixes = append(prefixes, prefix)
		} else {
			seen[prefix] = true
		}
	}
	slices.Sort(prefixes)
	prefixes = slices.Compact(prefixes)
	taken := func(name, own string) bool {
		return seen[name] || slices.ContainsFunc(prefixes, func(p string) bool {
			return len(p) > len(own) && strings.HasPrefix(name, p)
		})
	}
	var found []string
	plain := ""
	for _, prefix := range prefixes {
		name, ok := freeName(prefix, taken)
		if ok {
			found = append(found, name)
		}
		if prefix == "" {
			plain = name
		}
	}
	for _, name := range found {
		seen[name] = true
	}
	n := names{sets: make(map[policy.Pattern]Set)}
	for name := range seen {
		n.list = append(n.list, name)
	}
	slices.Sort(n.list)
	if plain != "" {
		i, _ := slices.BinarySearch(n.list, plain)
		n.plain = addrset.U32(i)
	}
	n.patterns = append(slices.Clone(patterns), policy.Loopback)
	slices.Sort(n.patterns)
	n.patterns = slices.Compact(n.patterns)
	slices.SortStableFunc(n.patterns, func(a, b policy.Pattern) int { return cmp.Compare(span(n.set(b)), span(n.set(a))) })
	return n
}

// freeName is a name with a prefix that nothing has taken. It need not look further than one more character and a
// number: each pattern takes away one name or one beginning.
func freeName(prefix string, taken func(name, own string) bool) (string, bool) {
	var candidates []string
	if prefix == "" {
		candidates = []string{"eth0", "eth1", "net0"}
	}
	const letters = "0123456789abcdefghijklmnopqrstuvwxyz_.-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	for i := range len(letters) {
		candidates = append(candidates, prefix+letters[i:i+1])
	}
	for i := range len(letters) {
		for j := range len(letters) {
			candidates = append(candidates, prefix+letters[i:i+1]+letters[j:j+1])
		}
	}
	for _, name := range append(candidates, prefix) {
		if name != "" && len(name) <= longestName && !taken(name, prefix) {
			return name, true
		}
	}
	return "", false
}

// set is the names that a pattern matches.
func (n *names) set(p policy.Pattern) Set {
	s, ok := n.sets[p]
	if !ok {
		var rs []addrset.Range[addrset.U32]
		for i, name := range n.list {
			if p.Matches(name) {
				rs = append(rs, addrset.Range[addrset.U32]{Lo: addrset.U32(i), Hi: addrset.U32(i)})
			}
		}
		s = addrset.Of(rs...)
		n.sets[p] = s
	}
	return s
}

// real is the names that an interface can have.
func (n *names) real() Set { return upTo(len(n.list)).Minus(upTo(1)) }

// marks is all 32-bit marks in classes: marks of one class are matched by the same of a space's cubes.
type marks struct {
	classes []class
	cubes   []policy.Mark
}

// class is marks as disjoint cubes, and which of the space's cubes hold them.
type class struct {
	parts []policy.Mark
	in    []bool
}

// maxMarks bounds the cubes that a space's marks are cut into.
const maxMarks = 1 << 16

// newMarks splits all marks by one cube after the other.
func newMarks(cubes []policy.Mark) (marks, error) {
	slices.SortFunc(cubes, func(a, b policy.Mark) int { return cmp.Or(cmp.Compare(a.Mask, b.Mask), cmp.Compare(a.Value, b.Value)) })
	cubes = slices.Compact(cubes)
	classes := []class{{parts: []policy.Mark{{}}}}
	for _, c := range cubes {
		var next []class
		total := 0
		for _, k := range classes {
			in, out := class{in: append(slices.Clip(k.in), true)}, class{in: append(slices.Clip(k.in), false)}
			for _, part := range k.parts {
				if both, ok := meet(part, c); ok {
					in.parts = append(in.parts, both)
					out.parts = without(out.parts, part, c)
				} else {
					out.parts = append(out.parts, part)
				}
			}
			for _, k := range []class{in, out} {
				if len(k.parts) > 0 {
					next = append(next, k)
					total += len(k.parts)
				}
			}
		}
		if classes = next; total > maxMarks {
			return marks{}, fmt.Errorf("%d different marks: %w", len(cubes), ErrTooComplex)
		}
	}
	return marks{classes, cubes}, nil
}

// meet is the marks in both cubes, false where there are none.
func meet(a, b policy.Mark) (policy.Mark, bool) {
	return policy.Mark{Value: a.Value | b.Value, Mask: a.Mask | b.Mask}, (a.Value^b.Value)&a.Mask&b.Mask == 0
}

// without appends the marks of a that are not in b, which a meets: one cube for each bit that b asks for and a does not.
func without(to []policy.Mark, a, b policy.Mark) []policy.Mark {
	for free := b.Mask &^ a.Mask; free != 0; free &= free - 1 {
		bit := free & -free
		to = append(to, policy.Mark{Value: a.Value | ^b.Value&bit, Mask: a.Mask | bit})
		a = policy.Mark{Value: a.Value | b.Value&bit, Mask: a.Mask | bit}
	}
	return to
}

// set is the classes in a cube.
func (m *marks) set(c policy.Mark) Set {
	i := slices.Index(m.cubes, c)
	var rs []addrset.Range[addrset.U32]
	for n, k := range m.classes {
		if i >= 0 && k.in[i] {
			rs = append(rs, addrset.Range[addrset.U32]{Lo: addrset.U32(n), Hi: addrset.U32(n)})
		}
	}
	return addrset.Of(rs...)
}

// upTo is the numbers from 0 to n-1.
func upTo(n int) Set {
	if n == 0 {
		return Set{}
	}
	return addrset.Between(addrset.U32(0), addrset.U32(n-1))
}
