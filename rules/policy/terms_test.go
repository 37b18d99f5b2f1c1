package policy

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
)

// TestTerms holds the algebra of address lists against what each address makes of it, for every choice of contents.
func TestTerms(t *testing.T) {
	names := []string{"a", "b", "c"}
	addr := rapid.Map(rapid.IntRange(0, 15), func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) })
	static := rapid.Custom(func(t *rapid.T) addrset.Addrs {
		var s addrset.Addrs
		for _, a := range rapid.SliceOfN(addr, 0, 8).Draw(t, "addresses") {
			s = s.Union(addrset.OfRange(a, a))
		}
		return s
	})
	term := rapid.Custom(func(t *rapid.T) Term {
		return Term{
			Static: static.Draw(t, "static"),
			In:     sortedSubset(t, names),
			NotIn:  sortedSubset(t, names),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		e := &effort{most: freeEffort}
		a := Addrs{Terms: normal(rapid.SliceOfN(term, 0, 3).Draw(t, "a"), e)}
		b := Addrs{Terms: normal(rapid.SliceOfN(term, 0, 3).Draw(t, "b"), e)}
		union := a.union(b, e)
		minus, ok := a.minus(b, e)
		if !ok {
			t.Fatal("too many terms")
		}
		for contents := range 1 << len(names) {
			given := map[string]bool{}
			for i, name := range names {
				given[name] = contents>>i&1 != 0
			}
			for i := range 16 {
				ip := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
				inA, inB := inTerms(a, ip, given), inTerms(b, ip, given)
				if got := inTerms(union, ip, given); got != (inA || inB) {
					t.Fatalf("%v in union: %v, in a %v, in b %v, given %v", ip, got, inA, inB, given)
				}
				if got := inTerms(minus, ip, given); got != (inA && !inB) {
					t.Fatalf("%v in minus: %v, in a %v, in b %v, given %v", ip, got, inA, inB, given)
				}
			}
		}
		for _, out := range []Addrs{union, minus} {
			for i, t1 := range out.Terms {
				if t1.Static.IsEmpty() {
					t.Fatal("an empty term")
				}
				for j, t2 := range out.Terms {
					if i != j && t1.covers(t2, e) {
						t.Fatalf("term %v covers %v", t1, t2)
					}
				}
			}
		}
	})
}

func sortedSubset(t *rapid.T, names []string) []string {
	var out []string
	for _, name := range names {
		if rapid.IntRange(0, 2).Draw(t, name) == 0 {
			out = append(out, name)
		}
	}
	return out
}

// inTerms is the meaning of Addrs where a dynamic set holds all addresses or none.
func inTerms(a Addrs, ip netip.Addr, given map[string]bool) bool {
	return slices.ContainsFunc(a.Terms, func(t Term) bool {
		return t.Static.Contains(ip) &&
			!slices.ContainsFunc(t.In, func(name string) bool { return !given[name] }) &&
			!slices.ContainsFunc(t.NotIn, func(name string) bool { return given[name] })
	})
}
