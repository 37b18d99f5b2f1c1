package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// TestMembership: of a list of a million lines with overlaps, duplicates, nested prefixes and ranges of both families, the table
// holds exactly the addresses that some line names. It is asked at the ends of every line and beside them, in Go; the kernel is at
// some thousands.
func TestMembership(t *testing.T) {
	lines, asked := 1_000_000, 4000
	if testing.Short() {
		lines, asked = 60_000, 500
	}
	for _, kind := range []struct {
		name   string
		ranges int // in a thousand lines, so many are a-b
	}{{"prefixes", 2}, {"ranges", 500}} {
		t.Run(kind.name, func(t *testing.T) {
			nstest.Enter(t)
			rng := rand.New(rand.NewPCG(7, uint64(kind.ranges)))
			var list []string
			var named []addrRange
			for range lines {
				text, r := messy(rng, kind.ranges)
				list, named = append(list, text), append(named, r)
			}
			want := united(named)
			rs := compiled(t, writeBulk(t, t.TempDir(), list))
			m, err := ruleset.NewMachine(rs, nil)
			if err != nil {
				t.Fatal(err)
			}
			blocked := func(a netip.Addr) bool {
				return m.Eval(&policy.Packet{Dir: policy.In, State: policy.New, Src: a, Dst: destination(a), IIf: "eth0", Proto: policy.ProtoTCP, Dport: 9}).
					Counters[0] == "base.in.block"
			}
			for _, r := range named {
				for _, a := range []netip.Addr{r.lo.Prev(), r.lo, r.hi, r.hi.Next()} {
					if a.IsValid() && blocked(a) != holds(want, a) {
						t.Fatalf("%v, at the end of %v-%v: blocked is %v", a, r.lo, r.hi, blocked(a))
					}
				}
			}

			c, err := kernel.Dial(kernel.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Apply(t.Context(), rs); err != nil {
				t.Fatal(err)
			}
			for range asked {
				r := named[rng.IntN(len(named))]
				for _, a := range []netip.Addr{r.lo.Prev(), r.lo, r.hi, r.hi.Next()} {
					if !a.IsValid() {
						continue
					}
					if got, err := inKernel(t, c, rs, a); err != nil || got != holds(want, a) {
						t.Fatalf("%v, at the end of %v-%v: the kernel has it is %v, %v", a, r.lo, r.hi, got, err)
					}
				}
			}
		})
	}
}

// addrRange is the addresses from lo to hi.
type addrRange struct{ lo, hi netip.Addr }

// messy draws a line of a list. Addresses lie close together in places, so that lines overlap.
func messy(rng *rand.Rand, ranges int) (string, addrRange) {
	width := 32
	var b [16]byte
	if rng.IntN(3) == 0 {
		width = 128
		copy(b[:], []byte{0x20, 1, 0x0d, 0xb8})
		b[5], b[7], b[15] = byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())
		b[4], b[6] = byte(rng.IntN(4)), byte(rng.Uint32())
	} else {
		n := rng.Uint32() % 0xdf000000
		if rng.IntN(4) == 0 {
			n = 0x0a000000 | n%0x00100000
		}
		b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
	}
	a, _ := netip.AddrFromSlice(b[:width/8])
	if rng.IntN(1000) < ranges {
		hi := a
		for range rng.IntN(40) {
			hi = hi.Next()
		}
		return fmt.Sprintf("%s-%s", a, hi), addrRange{a, hi}
	}
	bits := width
	switch n := rng.IntN(100); {
	case n < 40 && width == 32:
		bits = 24
	case n < 40:
		bits = 64
	case n < 50:
		bits = width - rng.IntN(12)
	case n == 50 && rng.IntN(50) == 0:
		bits = width/2 + rng.IntN(8)
	}
	p := netip.PrefixFrom(a, bits).Masked()
	hi := p.Addr().AsSlice()
	for i := bits; i < width; i++ {
		hi[i/8] |= 1 << (7 - i%8)
	}
	last, _ := netip.AddrFromSlice(hi)
	return p.String(), addrRange{p.Addr(), last}
}

// united is ranges sorted and without overlaps.
func united(rs []addrRange) (out []addrRange) {
	rs = slices.Clone(rs)
	slices.SortFunc(rs, func(a, b addrRange) int { return a.lo.Compare(b.lo) })
	for _, r := range rs {
		if n := len(out); n > 0 && r.lo.BitLen() == out[n-1].lo.BitLen() && r.lo.Compare(out[n-1].hi) <= 0 {
			if r.hi.Compare(out[n-1].hi) > 0 {
				out[n-1].hi = r.hi
			}
			continue
		}
		out = append(out, r)
	}
	return out
}

// holds tells whether sorted ranges hold an address.
func holds(rs []addrRange, a netip.Addr) bool {
	i, found := slices.BinarySearchFunc(rs, a, func(r addrRange, a netip.Addr) int { return r.hi.Compare(a) })
	return found || i < len(rs) && rs[i].lo.BitLen() == a.BitLen() && rs[i].lo.Compare(a) <= 0
}

func destination(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.MustParseAddr(nstest.Host4)
	}
	return netip.MustParseAddr(nstest.Host6)
}

// inKernel asks the kernel's sets, as the rules of the table look a source up in them.
func inKernel(t *testing.T, c *kernel.Conn, rs *ruleset.Ruleset, a netip.Addr) (bool, error) {
	field := ruleset.Saddr4
	if a.Is6() {
		field = ruleset.Saddr6
	}
	for _, ch := range rs.Chains {
		if ch.Name != "raw-in" {
			continue
		}
		for _, r := range ch.Rules {
			for _, e := range r.Exprs {
				l, is := e.(ruleset.Lookup)
				if !is || l.Field != field || strings.HasPrefix(l.Set, "dyn") {
					continue
				}
				key := a.AsSlice()
				for i, m := range l.Mask {
					key[i] &= m
				}
				if in, err := c.Holds(t.Context(), l.Set, key); in || err != nil {
					return in, err
				}
			}
		}
	}
	return false, nil
}
