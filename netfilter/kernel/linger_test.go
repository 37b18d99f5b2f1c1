package kernel

import (
	"testing"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
)

// askedMap is a table with a map that a rule asks, and one without either.
func askedMap() (have, want *ruleset.Ruleset) {
	drop := []*ruleset.Rule{{Exprs: []ruleset.Expr{ruleset.Verdict{Kind: ruleset.Drop}}}}
	ask := []*ruleset.Rule{{Exprs: []ruleset.Expr{ruleset.VMapRef{Keys: []ruleset.Key{{Field: ruleset.L4Proto}}, Map: "m"}}}}
	m := &ruleset.Map{Name: "m", Keys: []ruleset.Field{ruleset.L4Proto}, Elems: []ruleset.MapElem{
		{Interval: ruleset.Interval{Lo: []byte{17}, Hi: []byte{17}}, Verdict: ruleset.Verdict{Kind: ruleset.Goto, Chain: "rule"}},
	}}
	return &ruleset.Ruleset{Maps: []*ruleset.Map{m}, Chains: []*ruleset.Chain{{Name: "rule", Rules: drop}, {Name: "in", Rules: ask}}},
		&ruleset.Ruleset{Chains: []*ruleset.Chain{{Name: "in", Rules: drop}}}
}

// TestLingering removes a map in two steps: in the first its rule goes, and it stays with the chain that it leads to; in the second it goes.
func TestLingering(t *testing.T) {
	have, want := askedMap()
	mid := lingering(have, want)
	if mid == nil {
		t.Fatal("the map does not stay")
	}
	removes := func(c *Change) (n int) {
		for _, o := range c.ops {
			switch o.(type) {
			case delMap, delChain, editMap:
				n++
			}
		}
		return n
	}
	first, second := Diff(have, mid), Diff(mid, want)
	if removes(first) != 0 || len(first.ops) == 0 || removes(second) != 2 || len(second.ops) != 2 {
		t.Errorf("first %v, then %v", first.ops, second.ops)
	}
	if again := lingering(mid, want); again != nil {
		t.Error("a map that no rule asks stays longer")
	}
	if lingering(want, have) != nil || lingering(have, have) != nil {
		t.Error("maps that come, or stay, linger")
	}
}

// TestLingeringCutShort ends after the first of the two transactions, as a process that is killed does: the next one removes the rest.
func TestLingeringCutShort(t *testing.T) {
	nstest.Enter(t)
	have, want := askedMap()
	c := dial(t, Options{})
	apply(t, c, have)
	ch, err := c.Plan(ctx, want)
	if err != nil || ch.first == nil {
		t.Fatalf("%+v, %v", ch, err)
	}
	if err := c.Commit(ctx, ch.first); err != nil {
		t.Fatal(err)
	}
	if o := observe(t, c); len(o.Ruleset.Maps) != 1 || len(o.Ruleset.Chains) != 2 {
		t.Errorf("after the first: %+v", o.Ruleset)
	}
	c.Close()
	next := dial(t, Options{})
	apply(t, next, want)
	if o := observe(t, next); !Diff(o.Ruleset, want).Empty() || len(o.Ruleset.Maps) != 0 {
		t.Errorf("after the next: %+v", o.Ruleset)
	}
}
