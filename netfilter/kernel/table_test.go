package kernel

import (
	"strings"
	"testing"

	"ringwall/netfilter/nstest"
)

// A table of another name stands beside the first, each is changed without the other, and one that shall vanish goes with its Conn.
func TestAnotherTable(t *testing.T) {
	ns := nstest.Enter(t)
	first, second := dial(t, Options{}), dial(t, Options{Table: "ringwall-other", Vanish: true})
	one, other := small("in.ssh"), small("in.web")
	apply(t, first, one)
	alone := ns.Run(t, "nft", "-a", "list", "table", "inet", "ringwall")
	apply(t, second, other)
	holds(t, first, one)
	holds(t, second, other)
	if o := observe(t, second); !o.Owned || o.Persist {
		t.Errorf("the second table: %+v", o)
	}
	if counters, err := second.Counters(ctx); err != nil || len(counters) != len(other.Counters) {
		t.Errorf("counters of the second: %v %v", counters, err)
	}
	changed := small("in.web", "in.more")
	if ch := apply(t, second, changed); ch.Counts().Replace {
		t.Errorf("an edit made the table anew: %v", ch)
	}
	holds(t, second, changed)
	if now := ns.Run(t, "nft", "-a", "list", "table", "inet", "ringwall"); now != alone {
		t.Errorf("the first table changed:\n%s\n%s", alone, now)
	}
	if err := second.Replace(ctx, other); err != nil {
		t.Fatal(err)
	}
	holds(t, second, other)
	second.Close()
	if tables := ns.Run(t, "nft", "list", "tables"); strings.Contains(tables, "ringwall-other") || !strings.Contains(tables, "inet ringwall\n") {
		t.Errorf("tables after the second's end: %s", tables)
	}
	third := dial(t, Options{Table: "ringwall-other", Vanish: true})
	apply(t, third, other)
	if err := third.DeleteTable(ctx); err != nil {
		t.Fatal(err)
	}
	holds(t, first, one)
}
