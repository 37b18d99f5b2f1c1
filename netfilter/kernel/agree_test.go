package kernel

import (
	"testing"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
)

// TestAgree holds that of two rule sets that are alike the one that was committed last is kept, and only where it is what the kernel has.
func TestAgree(t *testing.T) {
	nstest.Enter(t)
	c, err := Dial(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	table := func(addresses ...string) *ruleset.Ruleset {
		return &ruleset.Ruleset{Sets: []*ruleset.Set{{Name: "s", Interval: true, Elems4: set4(addresses...)}}}
	}
	first, second, other := table("192.0.2.0/24"), table("192.0.2.0/24"), table("198.51.100.0/24")
	commit := func(want *ruleset.Ruleset) *Change {
		t.Helper()
		ch, err := c.Plan(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Commit(t.Context(), ch); err != nil {
			t.Fatal(err)
		}
		return ch
	}
	commit(first)
	if ch := commit(second); !ch.Empty() || c.known == nil || c.known.Ruleset != second {
		t.Error("the second is not taken for the first")
	}
	late, err := c.Plan(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	commit(other)
	if err := c.Commit(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if c.known.Ruleset != other {
		t.Error("what was alike before another commit is taken for what is there")
	}
	if ch := commit(second); ch.Empty() {
		t.Error("a difference is not seen")
	}
}
