package kernel

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
)

// TestLazyComments inserts a rule before others, whose comments tell where they stand: the change is that rule alone, and the comments
// follow.
func TestLazyComments(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{LazyComments: true})
	before, after := small("in.a", "in.bb", "in.ccc"), small("in.zzzz", "in.a", "in.bb", "in.ccc")
	bucket := func(r *ruleset.Ruleset) *ruleset.Ruleset { // a chain whose rules are kept one by one
		ch := r.Chains[len(r.Chains)-2]
		ch.Rules = append(ch.Rules[:1:1], &ruleset.Rule{Exprs: []ruleset.Expr{ruleset.Limit{Rate: ruleset.Rate{Packets: 10, Unit: 1, Burst: 5}}, ruleset.Log{Group: 7}}}, ch.Rules[1])
		return r
	}
	bucket(before)
	bucket(after)
	apply(t, c, before)
	ch, err := c.Plan(ctx, after)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Counts{ChainsAdded: 1, CountersAdded: 1, RulesAdded: 6, RulesRemoved: 3}, ch.Counts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !ch.Stale() {
		t.Error("the change leaves nothing to refresh")
	}
	if err := c.Commit(ctx, ch); err != nil {
		t.Fatal(err)
	}
	chain := Diff(observe(t, c).Ruleset, after).Counts()
	if diff := cmp.Diff(Counts{RulesAdded: 5, RulesRemoved: 5}, chain); diff != "" {
		t.Errorf("comments that are left, and what is made anew for them (-want +got):\n%s", diff)
	}
	again, err := c.Plan(ctx, after)
	if err != nil || !again.Empty() || !again.Stale() {
		t.Errorf("planned again: %v, %v, stale %v", again, err, again.Stale())
	}
	if err := c.Refresh(ctx, after); err != nil {
		t.Fatal(err)
	}
	holds(t, c, after)
	if again, err = c.Plan(ctx, after); err != nil || !again.Empty() || again.Stale() {
		t.Errorf("planned after the refreshing: %v, %v, stale %v", again, err, again.Stale())
	}

	// What somebody else has changed is not for a refreshing to put back.
	apply(t, c, before)
	if c.Features().Persist {
		return // nobody can
	}
	ns.Run(t, "nft", "flush chain inet ringwall in.a")
	if err := c.Refresh(ctx, before); err != nil {
		t.Fatal(err)
	}
	if Diff(observe(t, c).Ruleset, before).Empty() {
		t.Error("the refreshing has repaired the table")
	}
}
