package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

var ctx = context.Background()

// small is a rule set whose rule chains are named.
func small(chains ...string) *ruleset.Ruleset {
	r := &ruleset.Ruleset{Sets: []*ruleset.Set{{Name: "dyn4.bans", Interval: true, Dynamic: true, Timed: true}}}
	in := &ruleset.Chain{Name: "input", Hook: &ruleset.Hook{Point: ruleset.Input, Drop: false}}
	for i, name := range chains {
		r.Counters = append(r.Counters, ruleset.Counter{Name: name})
		r.Chains = append(r.Chains, &ruleset.Chain{Name: name, Rules: []*ruleset.Rule{
			{Exprs: []ruleset.Expr{ruleset.Count{Counter: name}}, Comment: fmt.Sprintf("%s policy.yaml:%d", name, i+1)},
			{Exprs: []ruleset.Expr{ruleset.Verdict{Kind: ruleset.Accept}}},
		}})
		in.Rules = append(in.Rules, &ruleset.Rule{Exprs: []ruleset.Expr{
			ruleset.Cmp{Field: ruleset.L4Proto, Value: []byte{6}},
			ruleset.Cmp{Field: ruleset.Dport, Value: ruleset.Dport.Value(uint64(len(name)*100 + int(name[0])))},
			ruleset.Verdict{Kind: ruleset.Goto, Chain: name},
		}})
	}
	r.Chains = append(r.Chains, in)
	return r
}

func names(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("in.rule-%d", i))
	}
	return out
}

func generation(t testing.TB, c *Conn) uint32 {
	t.Helper()
	g, err := c.Generation(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// holds fails the test where the kernel has another table than wanted.
func holds(t testing.TB, c *Conn, want *ruleset.Ruleset) {
	t.Helper()
	o := observe(t, c)
	if o.Ruleset == nil {
		t.Fatal("there is no table")
	}
	if ch := Diff(o.Ruleset, want); !ch.Empty() || len(o.Foreign) > 0 {
		t.Fatalf("the kernel has another table:\n%s\n%v", strings.Join(ch.Lines(), "\n"), o.Foreign)
	}
}

func TestValidateLeavesNothing(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{})
	before := generation(t, c)
	ch, err := c.Plan(ctx, every())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(ctx, ch); err != nil {
		t.Fatal(err)
	}
	if after := generation(t, c); after != before {
		t.Errorf("the generation went from %d to %d", before, after)
	}
	if out := ns.Run(t, "nft", "list", "ruleset"); out != "" {
		t.Errorf("left behind:\n%s", out)
	}
	if err := c.Commit(ctx, ch); err != nil {
		t.Errorf("the same change, committed: %v", err)
	}
}

func TestErrorNamesTheRule(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	apply(t, c, small("in.ssh", "in.web"))
	before := generation(t, c)
	bad := small("in.ssh", "in.web", "in.dns")
	chain := bad.Chains[2]
	chain.Rules = append(chain.Rules, &ruleset.Rule{
		Comment: "dns policy.yaml:9",
		Exprs:   []ruleset.Expr{ruleset.Count{Counter: "nowhere"}},
	})
	for _, try := range []struct {
		name string
		do   func(*Change) error
	}{
		{"validate", func(ch *Change) error { return c.Validate(ctx, ch) }},
		{"commit", func(ch *Change) error { return c.Commit(ctx, ch) }},
	} {
		t.Run(try.name, func(t *testing.T) {
			ch, err := c.Plan(ctx, bad)
			if err != nil {
				t.Fatal(err)
			}
			err = try.do(ch)
			var op *OpError
			if !errors.As(err, &op) {
				t.Fatalf("error %v", err)
			}
			if op.Op != "add rule" || op.Object != "in chain in.dns (dns policy.yaml:9)" || !errors.Is(err, unix.ENOENT) {
				t.Errorf("error %+v", op)
			}
			if after := generation(t, c); after != before {
				t.Errorf("the generation went from %d to %d", before, after)
			}
			holds(t, c, small("in.ssh", "in.web"))
		})
	}
	if ch := apply(t, c, small("in.ssh")); ch.Empty() {
		t.Error("nothing can be done after an error")
	}
}

func TestUnencodableIsAnError(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	for name, r := range map[string]*ruleset.Rule{
		"value too short":  {Exprs: []ruleset.Expr{ruleset.Cmp{Field: ruleset.Dport, Value: []byte{1}}}},
		"mask too long":    {Exprs: []ruleset.Expr{ruleset.Cmp{Field: ruleset.Dport, Mask: []byte{1, 2, 3}, Value: []byte{1, 2}}}},
		"empty set":        {Exprs: []ruleset.Expr{ruleset.In{Field: ruleset.Dport}}},
		"unknown field":    {Exprs: []ruleset.Expr{ruleset.Cmp{Field: 200, Value: []byte{1}}}},
		"meter of nothing": {Exprs: []ruleset.Expr{ruleset.Meter{Field: ruleset.Saddr4, Set: "x"}}},
		"long comment":     {Exprs: []ruleset.Expr{ruleset.Verdict{}}, Comment: strings.Repeat("x", 129)},
		"unknown reject":   {Exprs: []ruleset.Expr{ruleset.Reject{With: 77}}},
	} {
		want := small()
		want.Chains = append(want.Chains, &ruleset.Chain{Name: "broken", Rules: []*ruleset.Rule{r}})
		_, err := c.Apply(ctx, want)
		if err == nil || !strings.Contains(err.Error(), "in chain broken") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if o := observe(t, c); o.Exists {
		t.Error("a table was made")
	}
}

func TestChangesAreSmall(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	all := names(100)
	apply(t, c, small(all...))
	for _, try := range []struct {
		name string
		want []string
		does string
	}{
		{"nothing", all, "no change"},
		{"one removed", slices.Delete(slices.Clone(all), 50, 51), "1 chain removed; 98 rules added, 101 removed; 1 counter removed"},
		{"one in front", slices.Insert(slices.Clone(all), 0, "in.first"), "1 chain added; 203 rules added, 200 removed; 1 counter added"},
		{"one at the end", append(slices.Clone(all), "in.last"), "1 chain added; 3 rules added; 1 counter added"},
	} {
		t.Run(try.name, func(t *testing.T) {
			apply(t, c, small(all...))
			ch := apply(t, c, small(try.want...))
			if got := ch.String(); got != try.does {
				t.Errorf("did %q, want %q", got, try.does)
			}
			holds(t, c, small(try.want...))
		})
	}
}

func TestReorder(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	order := names(30)
	apply(t, c, small(order...))
	moved := append(append(slices.Clone(order[:3]), order[20]), append(slices.Clone(order[3:20]), order[21:]...)...)
	// The comments carry the place; without them only one rule moves.
	noComments := func(n []string) *ruleset.Ruleset {
		r := small(n...)
		for _, ch := range r.Chains {
			for _, rule := range ch.Rules {
				rule.Comment = ""
			}
		}
		return r
	}
	apply(t, c, noComments(order))
	ch := apply(t, c, noComments(moved))
	want := []string{"delete rule in chain input", "add rule in chain input"}
	if got := ch.Lines(); !slices.Equal(got, want) {
		t.Errorf("did %q", got)
	}
	holds(t, c, noComments(moved))
}

func TestManyRules(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	want := small(names(5000)...)
	apply(t, c, want)
	holds(t, c, want)
	less := small(names(4990)...)
	if got := apply(t, c, less).Counts(); got.RulesRemoved != 30 || got.RulesAdded != 0 {
		t.Errorf("counts %+v", got)
	}
	holds(t, c, less)
}

func TestStaleGeneration(t *testing.T) {
	for _, owned := range []bool{true, false} {
		t.Run(fmt.Sprintf("owned %v", owned), func(t *testing.T) {
			ns := nstest.Enter(t)
			c := dial(t, Options{Without: Features{Persist: !owned}})
			if owned && !c.Features().Persist {
				t.Skip("the kernel has no tables that outlive their owner")
			}
			apply(t, c, small("in.ssh"))
			bump := func() {
				ns.Run(t, "nft", "add table inet other; delete table inet other")
			}
			plan := func() *Change {
				t.Helper()
				ch, err := c.Plan(ctx, small("in.ssh", "in.web"))
				if err != nil {
					t.Fatal(err)
				}
				return ch
			}
			for range 3 {
				ch := plan()
				bump()
				if err := c.Validate(ctx, ch); !errors.Is(err, ErrStale) {
					t.Fatalf("validate: %v", err)
				}
				if err := c.Commit(ctx, ch); !errors.Is(err, ErrStale) {
					t.Fatalf("commit: %v", err)
				}
				holds(t, c, small("in.ssh"))
			}
			ch := plan()
			bump()
			err := c.Commit(ctx, ch)
			if owned && err != nil {
				t.Errorf("the fourth commit of the owner: %v", err)
			}
			if !owned {
				if !errors.Is(err, ErrStale) {
					t.Errorf("the fourth commit without owner: %v", err)
				}
				apply(t, c, small("in.ssh", "in.web"))
			}
			holds(t, c, small("in.ssh", "in.web"))
			// What was learned in the unguarded commit holds for the next plan.
			if got := apply(t, c, small("in.ssh", "in.web")); !got.Empty() {
				t.Errorf("afterwards: %v", got)
			}
		})
	}
}

// TestObservesWhatIsCommitted looks at a set that is known by its count while someone empties it: with the generation of after, it is
// seen emptied. To wait for that raises no generation.
func TestObservesWhatIsCommitted(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{MaxElems: 1000, Without: Features{Persist: true}})
	full := ruleset.Ruleset{Sets: []*ruleset.Set{{Name: "listed", Interval: true}}}
	var rs []addrset.Range[addrset.U32]
	for i := range addrset.U32(20_000) {
		rs = append(rs, addrset.Range[addrset.U32]{Lo: 3 * i, Hi: 3 * i})
	}
	full.Sets[0].Elems4 = addrset.Of(rs...)
	for range 20 {
		apply(t, c, &full)
		before := generation(t, c)
		if o, err := c.Observe(ctx); err != nil || o.Generation != before || !o.Unread["listed"] || generation(t, c) != before {
			t.Fatalf("before: %v of generation %v, %v; the generation was %v and is %v", o.Unread, o.Generation, err, before, generation(t, c))
		}
		flushed := make(chan error, 1)
		go func() {
			_, err := ns.Input(t, "", "nft", "flush set inet ringwall listed")
			flushed <- err
		}()
		for deadline := time.Now().Add(10 * time.Second); generation(t, c) == before && time.Now().Before(deadline); {
		}
		o, err := c.Observe(ctx)
		if err := <-flushed; err != nil {
			t.Fatal(err)
		}
		if err != nil || o.Generation == before || o.Unread["listed"] {
			t.Fatalf("after: %v, %v; the generation was %v and is %v", o.Unread, err, before, o.Generation)
		}
	}
}

func TestForeignEditIsUndone(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{Without: Features{Persist: true}})
	want := small("in.ssh", "in.web")
	for _, edit := range []string{
		"insert rule inet ringwall input accept",
		"add rule inet ringwall in.ssh meta length 7 accept",
		"flush chain inet ringwall input",
		"add chain inet ringwall nat { type nat hook postrouting priority 0; }",
		"add set inet ringwall ports { type inet_service; }",
		"add chain inet ringwall input { policy drop; }",
		"add counter inet ringwall more",
		"add quota inet ringwall q 5 mbytes",
		"add table inet ringwall { flags dormant; }",
		"delete table inet ringwall",
		"flush ruleset",
	} {
		apply(t, c, want)
		ns.Run(t, "nft", edit)
		ch := apply(t, c, want)
		if ch.Empty() {
			t.Errorf("%s: not noticed", edit)
		}
		holds(t, c, want)
	}
}

func TestForeignRuleIsReported(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{Without: Features{Persist: true}})
	apply(t, c, small("in.ssh"))
	ns.Run(t, "nft", `insert rule inet ringwall input meta length 7 accept comment "mine"`)
	o := observe(t, c)
	if len(o.Foreign) != 1 || !strings.Contains(o.Foreign[0], "in chain input (mine)") {
		t.Errorf("foreign: %q", o.Foreign)
	}
}

func TestConcurrentWriters(t *testing.T) {
	home := nstest.Enter(t)
	opt := Options{Without: Features{Persist: true}}
	wants := []*ruleset.Ruleset{small(names(20)...), small(names(30)...), small("in.one")}
	var conns []*Conn
	for range wants {
		conns = append(conns, dial(t, opt))
	}
	var wg sync.WaitGroup
	errs := make([]error, len(wants))
	for i := range wants {
		wg.Go(func() {
			for n := range 10 {
				if _, err := conns[i].Apply(ctx, wants[(i+n)%len(wants)]); err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	o := observe(t, conns[0])
	whole := slices.ContainsFunc(wants, func(w *ruleset.Ruleset) bool { return Diff(o.Ruleset, w).Empty() })
	if !whole {
		t.Errorf("the table is none of those that were wanted:\n%s", home.Run(t, "nft", "list", "ruleset"))
	}
}

func counters(t testing.TB, c *Conn) map[string]ruleset.Counter {
	t.Helper()
	m, err := c.Counters(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCountersAndBansSurviveChanges(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{})
	first := small("in.ssh", "in.web")
	first.Chains = append(first.Chains, &ruleset.Chain{
		Name: "raw", Hook: &ruleset.Hook{Point: ruleset.Prerouting, Priority: -300},
		Rules: []*ruleset.Rule{{Exprs: []ruleset.Expr{ruleset.Count{Counter: "in.ssh"}}}},
	})
	apply(t, c, first)
	if err := c.AddElements(ctx, "dyn4.bans", []Element{{Prefix: prefix("192.0.2.1/32"), Timeout: hour}}); err != nil {
		t.Fatal(err)
	}
	ns.Ping(t, "127.0.0.1", 1, 5*time.Second)
	counted := counters(t, c)["in.ssh"]
	if counted.Packets == 0 {
		t.Fatal("nothing was counted")
	}
	apply(t, c, small("in.first", "in.ssh"))
	if got := counters(t, c)["in.ssh"]; got != counted {
		t.Errorf("counter %+v, was %+v", got, counted)
	}
	if got := held(t, c, "dyn4.bans"); got != "192.0.2.1/32 1h0m0s" {
		t.Errorf("bans %s", got)
	}

	// A set of another make is made anew, with what it held.
	other := small("in.ssh")
	other.Sets[0].Timeout, other.Sets[0].Size = 600, 100
	other.Chains[0].Rules = append(other.Chains[0].Rules, &ruleset.Rule{Exprs: []ruleset.Expr{
		ruleset.Cmp{Field: ruleset.NFProto, Value: []byte{2}},
		ruleset.Lookup{Field: ruleset.Saddr4, Set: "dyn4.bans"},
		ruleset.Verdict{Kind: ruleset.Drop},
	}})
	apply(t, c, other)
	holds(t, c, other)
	if got := held(t, c, "dyn4.bans"); got != "192.0.2.1/32 1h0m0s" {
		t.Errorf("bans after the set was made anew: %s", got)
	}
}

func TestDeleteTable(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{})
	if err := c.DeleteTable(ctx); err != nil {
		t.Errorf("no table: %v", err)
	}
	if _, err := c.Counters(ctx); !errors.Is(err, ErrNoTable) {
		t.Errorf("counters of no table: %v", err)
	}
	ns.Run(t, "nft", "add table inet other")
	apply(t, c, small("in.ssh"))
	if err := c.DeleteTable(ctx); err != nil {
		t.Fatal(err)
	}
	if out := ns.Run(t, "nft", "list", "ruleset"); out != "table inet other {\n}\n" {
		t.Errorf("left:\n%s", out)
	}
	apply(t, c, small("in.ssh"))
	holds(t, c, small("in.ssh"))
}

func TestFeatures(t *testing.T) {
	nstest.Enter(t)
	all := dial(t, Options{}).Features()
	if got := dial(t, Options{Without: Features{Labels: true}}).Features(); got.Labels || got.Persist != all.Persist {
		t.Errorf("without labels: %+v", got)
	}
	if got := dial(t, Options{Without: all}).Features(); got != (Features{}) {
		t.Errorf("without any: %+v", got)
	}
}

func TestCancelled(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.Apply(ctx, small("in.ssh")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if o := observe(t, c); o.Exists {
		t.Error("a table was made")
	}
}
