package ruleset

import "testing"

func TestWorst(t *testing.T) {
	count := func(n int) (out []*Rule) {
		for range n {
			out = append(out, &Rule{Exprs: []Expr{Cmp{Field: L4Proto, Value: []byte{6}}, Verdict{Kind: Drop}}})
		}
		return out
	}
	end := func(kind VerdictKind, chain string) *Rule {
		return &Rule{Exprs: []Expr{Verdict{Kind: kind, Chain: chain}}}
	}
	key := func(b byte, kind VerdictKind, chain string) MapElem {
		return MapElem{Interval{[]byte{b}, []byte{b}}, Verdict{Kind: kind, Chain: chain}}
	}
	r := &Ruleset{
		Maps: []*Map{{Name: "m", Keys: []Field{L4Proto}, Elems: []MapElem{key(6, Jump, "long"), key(17, Jump, "short"), key(47, Goto, "away")}}},
		Chains: []*Chain{
			{Name: "base", Hook: &Hook{Point: Input}, Rules: append([]*Rule{{Exprs: []Expr{VMapRef{Keys: []Key{{Field: L4Proto}}, Map: "m"}}}}, count(5)...)},
			{Name: "other", Hook: &Hook{Point: Output}, Rules: append(count(1), end(Goto, "away"))},
			{Name: "long", Rules: count(7)},
			{Name: "short", Rules: count(2)},
			{Name: "away", Rules: count(3)},
		},
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	if got, want := r.Worst(Input), (Way{Lookups: 1, Rules: 12}); got != want {
		t.Errorf("in: %+v, want %+v", got, want)
	}
	if got, want := r.Worst(Output), (Way{Rules: 5}); got != want {
		t.Errorf("out: %+v, want %+v", got, want)
	}
	r.Maps[0].Elems[2].Verdict.Chain, r.Chains[4].Rules = "away", count(40)
	if got, want := r.Worst(Input), (Way{Lookups: 1, Rules: 40}); got != want {
		t.Errorf("away: %+v, want %+v", got, want)
	}
}
