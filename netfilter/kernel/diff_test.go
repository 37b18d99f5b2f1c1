package kernel

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
)

func TestInOrder(t *testing.T) {
	for _, try := range []struct{ in, want []int }{
		{nil, nil},
		{[]int{-1, -1}, []int{-1, -1}},
		{[]int{0, 1, 2}, []int{0, 1, 2}},
		{[]int{2, 0, 1}, []int{-1, 0, 1}},
		{[]int{1, 2, 3, 0}, []int{1, 2, 3, -1}},
		{[]int{3, -1, 0, 1, -1, 2}, []int{-1, -1, 0, 1, -1, 2}},
	} {
		got := append([]int(nil), try.in...)
		inOrder(got)
		if diff := cmp.Diff(try.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", try.in, diff)
		}
	}
}

// TestStateIsKept holds that a rule with a bucket of its own is not made anew with its chain.
func TestStateIsKept(t *testing.T) {
	table := func(comment string) *ruleset.Ruleset {
		return &ruleset.Ruleset{
			Counters: []ruleset.Counter{{Name: "in.ssh"}},
			Chains: []*ruleset.Chain{{Name: "in.ssh", Rules: []*ruleset.Rule{
				{Exprs: []ruleset.Expr{ruleset.Count{Counter: "in.ssh"}}, Comment: comment},
				{Exprs: []ruleset.Expr{ruleset.Limit{Rate: ruleset.Rate{Packets: 10, Unit: 1, Burst: 5}}, ruleset.Log{Group: 7}}},
				{Exprs: []ruleset.Expr{ruleset.Verdict{Kind: ruleset.Accept}}},
			}}},
		}
	}
	got := Diff(table("ssh policy.yaml:1"), table("ssh policy.yaml:2")).Lines()
	want := []string{
		"delete rule in chain in.ssh (ssh policy.yaml:1)",
		"add rule in chain in.ssh (ssh policy.yaml:2)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCommentsOfSetsDoNotCount(t *testing.T) {
	a, b := every(), every()
	b.Sets[2].Comment = "from policy.yaml:4"
	if ch := Diff(a, b); !ch.Empty() {
		t.Errorf("%v", ch.Lines())
	}
}

func TestDescription(t *testing.T) {
	ch := Diff(nil, &ruleset.Ruleset{
		Sets:   []*ruleset.Set{{Name: "block4", Interval: true, Elems4: set4("10.0.0.0/8", "192.0.2.0/24")}},
		Limits: []ruleset.LimitObject{{Name: "slow", Rate: ruleset.Rate{Packets: 1, Unit: 1, Burst: 1}}},
		Chains: []*ruleset.Chain{{Name: "input", Hook: &ruleset.Hook{Point: ruleset.Input}, Rules: []*ruleset.Rule{
			{Exprs: []ruleset.Expr{ruleset.Verdict{Kind: ruleset.Drop}}, Comment: "last"},
		}}},
	})
	want := "table made anew; 1 chain added; 1 rule added; 1 set added; 2 ranges added; 1 limit added"
	if got := ch.String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	lines := []string{
		"make table inet ringwall",
		"add set block4",
		"add 2 ranges of set block4",
		"add limit slow",
		"add chain input",
		"add rule in chain input (last)",
	}
	if diff := cmp.Diff(lines, ch.Lines()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := Diff(every(), every()).String(); got != "no change" {
		t.Errorf("the same: %q", got)
	}
}

// TestRandomChanges walks from one random table to the next, by this Conn's own knowledge and by what another reads.
func TestRandomChanges(t *testing.T) {
	ns := nstest.Enter(t)
	rng := rand.New(rand.NewPCG(3, 4))
	opt := Options{Without: Features{Persist: true}}
	a, b := dial(t, opt), dial(t, opt)
	for i := range 150 {
		want := randomTable(rng)
		c := a
		if rng.IntN(3) == 0 {
			c = b
		}
		ch, err := c.Apply(ctx, want)
		if err != nil {
			t.Fatalf("change %d: %v\nfrom\n%s", i, err, ns.Run(t, "nft", "list", "ruleset"))
		}
		o := observe(t, a)
		if rest := Diff(o.Ruleset, want); !rest.Empty() || len(o.Foreign)+len(o.Unread) > 0 {
			t.Fatalf("change %d: did\n%s\nwhat is missing:\n%s\n%v %v", i, strings.Join(ch.Lines(), "\n"), strings.Join(rest.Lines(), "\n"), o.Foreign, o.Unread)
		}
		again, err := c.Plan(ctx, want)
		if err != nil || !again.Empty() {
			t.Fatalf("change %d: planned again: %v %v", i, again, err)
		}
	}
}

func randomTable(rng *rand.Rand) *ruleset.Ruleset {
	r := new(ruleset.Ruleset)
	maybe := func(n int) bool { return rng.IntN(n) == 0 }
	var sets []string
	for i := range 3 {
		if maybe(4) {
			continue
		}
		s := &ruleset.Set{Name: fmt.Sprintf("set%d", i), Interval: !maybe(4)}
		for range rng.IntN(20) {
			lo := addrset.U32(rng.UintN(40))
			s.Elems4 = s.Elems4.Union(addrset.Between(lo, lo+addrset.U32(rng.UintN(4))))
		}
		if maybe(5) {
			s.Elems4 = s.Elems4.Union(addrset.Between(addrset.U32(1<<32-5), addrset.U32(1<<32-1)))
		}
		r.Sets = append(r.Sets, s)
		sets = append(sets, s.Name)
	}
	for i := range 2 {
		if maybe(3) {
			r.Limits = append(r.Limits, ruleset.LimitObject{Name: fmt.Sprintf("limit%d", i), Rate: ruleset.Rate{Packets: 1 + rng.Uint64N(2), Unit: 60, Burst: 5}})
		}
	}
	var targets []string
	for i := range 6 {
		if maybe(3) {
			continue
		}
		name := fmt.Sprintf("in.%d", i)
		c := &ruleset.Chain{Name: name}
		if maybe(8) {
			c.Hook = &ruleset.Hook{Point: ruleset.Output, Priority: int32(rng.IntN(3)), Drop: maybe(2)}
		}
		r.Counters = append(r.Counters, ruleset.Counter{Name: name})
		c.Rules = append(c.Rules, &ruleset.Rule{Exprs: []ruleset.Expr{ruleset.Count{Counter: name}}, Comment: fmt.Sprint(rng.IntN(3))})
		if len(r.Limits) > 0 && maybe(2) {
			c.Rules = append(c.Rules, &ruleset.Rule{Exprs: []ruleset.Expr{ruleset.LimitRef{Limit: r.Limits[0].Name}}})
		}
		if maybe(3) {
			c.Rules = append(c.Rules, &ruleset.Rule{Exprs: []ruleset.Expr{ruleset.ConnLimit{Max: 5}, ruleset.Verdict{Kind: ruleset.Drop}}})
		}
		if c.Hook == nil {
			targets = append(targets, name)
		}
		r.Chains = append(r.Chains, c)
	}
	in := &ruleset.Chain{Name: "input", Hook: &ruleset.Hook{Point: ruleset.Input, Drop: maybe(2)}}
	for i := range 3 {
		if !maybe(3) {
			m, rule := randomMap(rng, fmt.Sprintf("map%d", i), targets)
			r.Maps = append(r.Maps, m)
			in.Rules = append(in.Rules, rule)
		}
	}
	for range rng.IntN(25) {
		rule := &ruleset.Rule{Exprs: []ruleset.Expr{ruleset.Cmp{Field: ruleset.NFProto, Value: []byte{2}}}}
		if len(sets) > 0 && maybe(2) {
			rule.Exprs = append(rule.Exprs, ruleset.Lookup{Field: ruleset.Saddr4, Set: sets[rng.IntN(len(sets))]})
		} else {
			n := byte(rng.IntN(5))
			rule.Exprs = append(rule.Exprs, ruleset.In{Field: ruleset.Saddr4, Elems: []ruleset.Interval{one([]byte{10, 0, 0, n}), one([]byte{10, 0, 1, n})}})
		}
		verdict := ruleset.Verdict{Kind: ruleset.Accept}
		if len(targets) > 0 && maybe(2) {
			verdict = ruleset.Verdict{Kind: ruleset.Jump, Chain: targets[rng.IntN(len(targets))]}
		}
		rule.Exprs = append(rule.Exprs, verdict)
		in.Rules = append(in.Rules, rule)
	}
	r.Chains = append(r.Chains, in)
	return r
}

// randomMap is a map that leads to some of the chains, and a rule that looks in it.
func randomMap(rng *rand.Rand, name string, targets []string) (*ruleset.Map, *ruleset.Rule) {
	m := &ruleset.Map{Name: name, Keys: []ruleset.Field{ruleset.L4Proto, ruleset.MetaMark}, Size: 64 * rng.Uint32N(2)}
	if rng.IntN(2) == 0 {
		m.Keys, m.Interval = m.Keys[:1], rng.IntN(2) == 0
	}
	for p := 0; p < 256; p += 1 + rng.IntN(20) {
		v := ruleset.Verdict{Kind: ruleset.VerdictKind(rng.IntN(3))}
		if len(targets) > 0 {
			v = ruleset.Verdict{Kind: ruleset.Jump, Chain: targets[rng.IntN(len(targets))]}
		}
		e := between(v, []byte{byte(p)}, []byte{byte(p)})
		switch {
		case len(m.Keys) > 1:
			e = key(v, []byte{byte(p)}, ruleset.MetaMark.Value(rng.Uint64N(3)))
		case m.Interval:
			p = min(p+rng.IntN(3), 255)
			e.Hi = []byte{byte(p)}
		}
		m.Elems = append(m.Elems, e)
	}
	ref := ruleset.VMapRef{Map: name}
	for _, f := range m.Keys {
		ref.Keys = append(ref.Keys, ruleset.Key{Field: f})
	}
	return m, &ruleset.Rule{Exprs: []ruleset.Expr{ref}}
}

// TestLargeSetIsNotRead has a set of more elements than are read back: it is written anew, once.
func TestLargeSetIsNotRead(t *testing.T) {
	nstest.Enter(t)
	want := func(n addrset.U32) *ruleset.Ruleset {
		var ranges []addrset.Range[addrset.U32]
		for i := range n {
			ranges = append(ranges, addrset.Range[addrset.U32]{Lo: i << 12, Hi: i<<12 + 255})
		}
		return &ruleset.Ruleset{Sets: []*ruleset.Set{{Name: "block4", Interval: true, Elems4: addrset.Of(ranges...)}}}
	}
	apply(t, dial(t, Options{Without: Features{Persist: true}}), want(5000))
	c := dial(t, Options{Without: Features{Persist: true}, MaxElems: 1000})
	if o := observe(t, c); !o.Unread["block4"] {
		t.Error("it was read")
	}
	if elems, all, err := c.elements(ctx, "block4", 1000); elems != nil || all || err != nil {
		t.Errorf("read %d elements, all %v, error %v", len(elems), all, err)
	}
	if got := apply(t, c, want(5001)).Counts(); got.ElemsAdded != 5001 {
		t.Errorf("first: %+v", got)
	}
	if got := apply(t, c, want(5002)).Counts(); got.ElemsAdded != 1 {
		t.Errorf("then: %+v", got)
	}
	all := dial(t, Options{Without: Features{Persist: true}})
	holds(t, all, want(5002))
}

// TestLargeSetIsKnownByItsMark has one Conn write a set that the next does not read.
func TestLargeSetIsKnownByItsMark(t *testing.T) {
	nstest.Enter(t)
	want := func(n addrset.U32) *ruleset.Ruleset {
		ranges := make([]addrset.Range[addrset.U32], n)
		for i := range n {
			ranges[i] = addrset.Range[addrset.U32]{Lo: i << 12, Hi: i<<12 + 255}
		}
		s := &ruleset.Set{Name: "block4", Interval: true, Elems4: addrset.Of(ranges...)}
		return &ruleset.Ruleset{Sets: []*ruleset.Set{s}, Counters: []ruleset.Counter{{Name: s.Mark()}}}
	}
	small := Options{Without: Features{Persist: true}, MaxElems: 1000}
	const many = 20_000
	apply(t, dial(t, small), want(many))
	c := dial(t, small)
	if ch := apply(t, c, want(many)); !ch.Empty() {
		t.Errorf("the same again: %v", ch)
	}
	if got := apply(t, dial(t, small), want(many+1)).Counts(); got.ElemsAdded != many+1 || got.CountersAdded != 1 || got.CountersRemoved != 1 {
		t.Errorf("another: %+v", got)
	}
	if ch := apply(t, dial(t, small), want(many+1)); !ch.Empty() {
		t.Errorf("that again: %v", ch)
	}
	holds(t, dial(t, Options{Without: Features{Persist: true}}), want(many+1))
}

// TestDiffAllocatesLittle holds that to compare a long table costs no garbage for what is the same, as most of it always is.
func TestDiffAllocatesLittle(t *testing.T) {
	const rules, most = 10_000, 400 // allocations; those that there are, are for the maps by name
	have, want := small(names(rules)...), small(names(rules)...)
	if n := testing.AllocsPerRun(2, func() {
		if ch := Diff(have, want); !ch.Empty() {
			t.Fatalf("%v", ch)
		}
	}); n > most {
		t.Errorf("%v allocations for %d rules", n, rules)
	}
	want.Chains[rules/2].Rules[1].Exprs = []ruleset.Expr{ruleset.Verdict{Kind: ruleset.Drop}}
	if n := testing.AllocsPerRun(2, func() { Diff(have, want) }); n > most+100 {
		t.Errorf("%v allocations for one rule of %d that has changed", n, rules)
	}
}
