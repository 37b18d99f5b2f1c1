package kernel

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

// asRulesets compares what stands in a table; sets, counters and limits in any order.
var asRulesets = cmp.Options{
	cmpopts.SortSlices(func(a, b *ruleset.Set) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b ruleset.Counter) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b ruleset.LimitObject) bool { return a.Name < b.Name }),
	cmpopts.SortSlices(func(a, b *ruleset.Chain) bool { return a.Name < b.Name }),
	cmp.Comparer(func(a, b addrset.Set[addrset.U32]) bool { return a.Equal(b) }),
	cmp.Comparer(func(a, b addrset.Set[addrset.U128]) bool { return a.Equal(b) }),
	cmpopts.EquateEmpty(),
}

// dial opens a Conn in the test's namespace.
func dial(t testing.TB, opt Options) *Conn {
	t.Helper()
	c, err := Dial(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func apply(t testing.TB, c *Conn, want *ruleset.Ruleset) *Change {
	t.Helper()
	ch, err := c.Apply(context.Background(), want)
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func observe(t testing.TB, c *Conn) *Observed {
	t.Helper()
	o, err := c.Observe(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestRoundTrip(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	want := every()
	apply(t, c, want)
	got := observe(t, c)
	for _, f := range got.Foreign {
		t.Errorf("not recognised: %s", f)
	}
	if diff := cmp.Diff(want, got.Ruleset, asRulesets); diff != "" {
		t.Errorf("read back (-written +read):\n%s", diff)
	}
	if ch := Diff(got.Ruleset, want); !ch.Empty() {
		t.Errorf("the difference to itself: %v", ch.Lines())
	}
}
