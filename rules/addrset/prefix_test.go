package addrset

import (
	"fmt"
	"math"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

func v4(lo, hi string) Range[U32] {
	return Range[U32]{V4(netip.MustParseAddr(lo)), V4(netip.MustParseAddr(hi))}
}

func v6(lo, hi string) Range[U128] {
	return Range[U128]{V6(netip.MustParseAddr(lo)), V6(netip.MustParseAddr(hi))}
}

func TestPrefixes(t *testing.T) {
	tests := []struct{ got, want string }{
		{fmt.Sprint(Prefixes(v4("10.0.0.0", "10.255.255.255"))), "[10.0.0.0/8]"},
		{fmt.Sprint(Prefixes(v4("10.0.0.1", "10.0.0.1"))), "[10.0.0.1/32]"},
		{fmt.Sprint(Prefixes(v4("10.0.0.1", "10.0.0.6"))), "[10.0.0.1/32 10.0.0.2/31 10.0.0.4/31 10.0.0.6/32]"},
		{fmt.Sprint(Prefixes(v4("0.0.0.0", "255.255.255.255"))), "[0.0.0.0/0]"},
		{fmt.Sprint(Prefixes(v4("255.255.255.254", "255.255.255.255"))), "[255.255.255.254/31]"},
		{fmt.Sprint(Prefixes(v4("10.0.0.1", "10.0.0.0"))), "[]"},
		{fmt.Sprint(len(Prefixes(v4("0.0.0.1", "255.255.255.254")))), "62"},
		{fmt.Sprint(Prefixes(v6("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))), "[::/0]"},
		{fmt.Sprint(Prefixes(v6("2001:db8::", "2001:db8:0:1:ffff:ffff:ffff:ffff"))), "[2001:db8::/63]"},
		{fmt.Sprint(len(Prefixes(v6("::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe")))), "254"},
	}
	for i, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%d: got %s, want %s", i, tt.got, tt.want)
		}
	}
}

// check holds the prefixes of a range against their definition: in order, without gaps, and none could be wider.
func check[K Address[K]](t *rapid.T, r Range[K]) {
	next, ps := r.Lo.Addr(), Prefixes(r)
	for i, p := range ps {
		if p.Addr() != next || p != p.Masked() {
			t.Fatalf("%v: prefix %d is %v", r, i, p)
		}
		last := LastOf(p)
		if i == len(ps)-1 {
			if last != r.Hi.Addr() {
				t.Fatalf("%v: ends at %v", r, last)
			}
			break
		}
		wider := netip.PrefixFrom(p.Addr(), p.Bits()-1)
		if wider.Masked().Addr() == p.Addr() && LastOf(wider).Compare(r.Hi.Addr()) <= 0 {
			t.Fatalf("%v: prefix %d, %v, could be wider", r, i, p)
		}
		next = last.Next()
	}
	i := 0
	EachPrefix(Of(r), func(first K, length int) {
		if i < len(ps) && (first.Addr() != ps[i].Addr() || length != ps[i].Bits() || first.Mask(length) != first) {
			t.Fatalf("%v: prefix %d is %v and %v/%d", r, i, ps[i], first.Addr(), length)
		}
		i++
	})
	if i != len(ps) {
		t.Fatalf("%v: %d and %d prefixes", r, len(ps), i)
	}
	p, ok := Prefix(r)
	if ok != (len(ps) == 1) || ok && p != ps[0] {
		t.Fatalf("%v: Prefix is %v, %v; Prefixes %v", r, p, ok, ps)
	}
}

func TestPrefixesTileTheRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Uint32().Draw(t, "a"), rapid.Uint32().Draw(t, "b")
		check(t, Range[U32]{U32(min(a, b)), U32(max(a, b))})
		bits := rapid.IntRange(0, 32).Draw(t, "bits")
		whole := OfPrefix(netip.PrefixFrom(U32(a).Addr(), bits))
		check(t, whole.V4.Ranges()[0])

		lo := U128{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
		hi := U128{rapid.Uint64().Draw(t, "hi2"), rapid.Uint64().Draw(t, "lo2")}
		if lo.Compare(hi) > 0 {
			lo, hi = hi, lo
		}
		check(t, Range[U128]{lo, hi})
		check(t, OfPrefix(netip.PrefixFrom(lo.Addr(), bits*4)).V6.Ranges()[0])
	})
}

// mask holds Mask and Top against netip.
func mask[K Address[K]](t *rapid.T, k K) {
	p := netip.PrefixFrom(k.Addr(), rapid.IntRange(0, k.Bits()).Draw(t, "length"))
	if got := k.Mask(p.Bits()).Addr(); got != p.Masked().Addr() {
		t.Fatalf("%v: the first is not %v", p, got)
	}
	if got := k.Top(p.Bits()).Addr(); got != LastOf(p) {
		t.Fatalf("%v: the last is not %v", p, got)
	}
}

func TestMask(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := U128{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
		mask(t, k)
		mask(t, U32(k.Lo))
	})
}

// TestCountPrefixes holds the number of prefixes of a length against counting, where they are few.
func TestCountPrefixes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo := U128{rapid.Uint64().Draw(t, "hi"), rapid.Uint64().Draw(t, "lo")}
		more := rapid.IntRange(0, 40).Draw(t, "more")
		length := rapid.IntRange(0, 128).Draw(t, "length")
		hi, want := lo.Top(length), 1
		for ; want <= more && hi != hi.Last(); want++ {
			hi = hi.Next().Top(length)
		}
		if got := lo.Prefixes(hi, length); got != want {
			t.Fatalf("%v to %v: %d of %d bits, want %d", lo.Addr(), hi.Addr(), got, length, want)
		}
		four, length := U32(lo.Lo), rapid.IntRange(0, 32).Draw(t, "short")
		end, want := four.Top(length), 1
		for ; want <= more && end != end.Last(); want++ {
			end = end.Next().Top(length)
		}
		if got := four.Prefixes(end, length); got != want {
			t.Fatalf("%v to %v: %d of %d bits, want %d", four.Addr(), end.Addr(), got, length, want)
		}
	})
	for _, length := range []int{63, 64, 65, 128} {
		if got := (U128{}).Prefixes(U128{}.Last(), length); got != math.MaxInt {
			t.Errorf("all of %d bits are %d", length, got)
		}
	}
	if got := (U128{}).Prefixes(U128{}.Last(), 62); got != 1<<62 {
		t.Errorf("all of 62 bits are %d", got)
	}
}

func TestAppendRange(t *testing.T) {
	for want, r := range map[string]Range[U32]{
		"10.0.0.1":            v4("10.0.0.1", "10.0.0.1"),
		"10.0.0.0/30":         v4("10.0.0.0", "10.0.0.3"),
		"10.0.0.1-10.0.0.4":   v4("10.0.0.1", "10.0.0.4"),
		"10.0.0.0-10.0.0.4":   v4("10.0.0.0", "10.0.0.4"),
		"10.0.0.2-10.0.0.5":   v4("10.0.0.2", "10.0.0.5"),
		"0.0.0.0/0":           v4("0.0.0.0", "255.255.255.255"),
		"128.0.0.0/1":         v4("128.0.0.0", "255.255.255.255"),
		"0.0.0.0-192.0.0.255": v4("0.0.0.0", "192.0.0.255"),
	} {
		if got := string(AppendRange(nil, r)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if got := string(AppendRange(nil, v6("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"))); got != "fe80::/10" {
		t.Errorf("got %s", got)
	}
	s := Of(v4("10.0.0.0", "10.0.0.3"), v4("192.0.2.1", "192.0.2.1"), v4("192.0.2.9", "192.0.2.9"))
	if got := fmt.Sprint(Texts(s, 2)); got != "[10.0.0.0/30 192.0.2.1]" {
		t.Errorf("got %s", got)
	}
}
