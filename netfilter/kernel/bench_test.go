package kernel

import (
	"testing"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// BenchmarkTable makes a table of 10,000 rules of a chain each.
func BenchmarkTable(b *testing.B) {
	nstest.Enter(b)
	want := small(names(10000)...)
	for b.Loop() {
		c := dial(b, Options{})
		if err := c.DeleteTable(ctx); err != nil {
			b.Fatal(err)
		}
		apply(b, c, want)
		c.Close()
	}
}

// BenchmarkEdit changes one rule of 10,000 in a table that is known.
func BenchmarkEdit(b *testing.B) {
	nstest.Enter(b)
	c := dial(b, Options{})
	first, second := small(names(10000)...), small(names(10000)...)
	second.Chains[5000].Rules[1].Exprs = []ruleset.Expr{ruleset.Verdict{Kind: ruleset.Drop}}
	for b.Loop() {
		apply(b, c, first)
		apply(b, c, second)
	}
}

// BenchmarkObserve reads a table of 10,000 rules.
func BenchmarkObserve(b *testing.B) {
	nstest.Enter(b)
	c := dial(b, Options{})
	apply(b, c, small(names(10000)...))
	for b.Loop() {
		observe(b, c)
	}
}

// BenchmarkMap makes a map of 100,000 keys of an address, a protocol and a port.
func BenchmarkMap(b *testing.B) {
	nstest.Enter(b)
	want := large(100_000)
	for b.Loop() {
		c := dial(b, Options{})
		if err := c.DeleteTable(ctx); err != nil {
			b.Fatal(err)
		}
		apply(b, c, want)
		c.Close()
	}
}

// BenchmarkMapEdit changes one of its elements.
func BenchmarkMapEdit(b *testing.B) {
	nstest.Enter(b)
	c := dial(b, Options{})
	first := large(100_000)
	second := edited(first, func(m *ruleset.Map) { m.Elems[50_000].Verdict = ruleset.Verdict{Kind: ruleset.Return} })
	apply(b, c, first)
	for b.Loop() {
		apply(b, c, second)
		apply(b, c, first)
	}
}

// BenchmarkMapObserve reads it back.
func BenchmarkMapObserve(b *testing.B) {
	nstest.Enter(b)
	c := dial(b, Options{})
	apply(b, c, large(100_000))
	for b.Loop() {
		observe(b, c)
	}
}

// BenchmarkSet makes a set of 100,000 prefixes.
func BenchmarkSet(b *testing.B) {
	nstest.Enter(b)
	var ranges []addrset.Range[addrset.U32]
	for i := range addrset.U32(100000) {
		ranges = append(ranges, addrset.Range[addrset.U32]{Lo: i << 12, Hi: i<<12 + 255})
	}
	want := &ruleset.Ruleset{Sets: []*ruleset.Set{{Name: "block4", Interval: true, Elems4: addrset.Of(ranges...)}}}
	for b.Loop() {
		c := dial(b, Options{})
		if err := c.DeleteTable(ctx); err != nil {
			b.Fatal(err)
		}
		apply(b, c, want)
		c.Close()
	}
}
