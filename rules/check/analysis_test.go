package check

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
	"ringwall/rules/space"
)

// analysed draws a policy and lays out one of its lists.
func analysed(t *rapid.T) *analysis {
	p := policytest.Policy(t, 6)
	dir := rapid.SampledFrom(policy.Dirs[:]).Draw(t, "dir")
	for _, r := range p.Lists[dir] {
		r.Action.Log = rapid.IntRange(0, 7).Draw(t, "log") == 7
	}
	s, err := space.NewFree(p)
	if err != nil {
		t.Fatal(err)
	}
	a, err := newAnalysis(p, s, dir, rapid.SampledFrom([]int64{0, 1500}).Draw(t, "now"), newBudget())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// without is a policy without some rules.
func without(p *policy.Policy, rules ...*policy.Rule) *policy.Policy {
	q := *p
	for dir := range q.Lists {
		q.Lists[dir] = slices.DeleteFunc(slices.Clone(p.Lists[dir]), func(r *policy.Rule) bool { return slices.Contains(rules, r) })
	}
	return &q
}

// effect is what a packet meets, so far as a rule that goes may not change it.
func effect(d policy.Decision) string {
	return fmt.Sprint(d.Verdict, d.Rule != nil && d.Rule.Action.Log)
}

// holdOut checks a claim against packets drawn anywhere from the analysis' time on, with dynamic sets that hold
// anything.
func holdOut(t *rapid.T, a *analysis, claim func(pkt *policy.Packet, given map[string]addrset.Addrs)) {
	for range 60 {
		pkt := policytest.Packet(t, a.dir)
		pkt.Time = max(pkt.Time, a.now)
		claim(&pkt, policytest.Given(t))
	}
}

// shown is an example, read back from its words.
func shown(t *rapid.T, a *analysis, b *space.Box) (policy.Packet, map[string]addrset.Addrs) {
	pkt, given := a.example(b)
	q := policy.NewQuery(a.Policy, policy.Options{Now: a.now})
	back, err := q.Words(strings.Fields(a.words(pkt)))
	if policy.HasPorts(pkt.Proto) && (pkt.Sport == 0 || pkt.Dport == 0) { // such packets exist, and have no words
		return pkt, given
	}
	if err != nil || len(back) != 1 {
		t.Fatalf("%s: read back as %v, %v", a.words(pkt), back, err)
	}
	if got, want := a.With(given).Decide(&back[0]), a.With(given).Decide(&pkt); got != want {
		t.Fatalf("%s: read back it is decided by %s, else by %s", a.words(pkt), got.By, want.By)
	}
	return back[0], given
}

// TestShadows holds the rules said to be dead against packets, and asks for a packet of each other rule: so that none
// is called dead that is not, and none is missed.
func TestShadows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := analysed(t)
		found, undecided := a.shadows()
		if len(undecided) > 0 {
			t.Fatalf("not decided: %v", undecided)
		}
		var dead []*policy.Rule
		for i := a.first; i < a.last; i++ {
			r := a.rule(i)
			if a.gone[i] {
				dead = append(dead, r)
				continue
			}
			w, ok, err := a.alive(i)
			if !ok || err != nil {
				t.Fatalf("%s is neither dead nor alive: %v", r.ID, err)
			}
			pkt, given := shown(t, a, &w)
			if len(given) > 0 && pkt.Src == pkt.Dst {
				continue // the space takes both ends as if they could be in a set and not in it
			}
			if d := a.With(given).Decide(&pkt); d.Rule != r {
				t.Fatalf("%s is said to decide %s, which %s does", r.ID, a.words(pkt), d.By)
			}
		}
		rest := without(a.Policy, dead...)
		holdOut(t, a, func(pkt *policy.Packet, given map[string]addrset.Addrs) {
			d := a.With(given).Decide(pkt)
			if slices.Contains(dead, d.Rule) {
				t.Fatalf("%s is said to be dead and decides %s", d.By, pkt)
			}
			if got := rest.With(given).Decide(pkt); got != d {
				t.Fatalf("without what is dead %s decides %s, else %s", got.By, pkt, d.By)
			}
		})
		for _, c := range found {
			a.holdShadow(t, c)
		}
	})
}

// holdShadow checks that what covers a rule does so, and that none of it can be left out.
func (a *analysis) holdShadow(t *rapid.T, c shadow) {
	pkt, given := shown(t, a, &c.example)
	if d := a.With(given).Decide(&pkt); d.Rule == a.rule(c.rule) {
		t.Fatalf("%s decides %s, the example of that it does not", d.By, a.words(pkt))
	}
	covered := func(by []int) bool {
		var boxes []*space.Box
		for _, k := range by {
			for j := range a.entries[k].Boxes {
				boxes = append(boxes, &a.entries[k].Boxes[j])
			}
		}
		for j := range a.own[c.rule] {
			s := space.Search{Left: 1 << 20}
			if _, found, err := s.Outside(&a.own[c.rule][j], boxes); found || err != nil {
				return false
			}
		}
		return true
	}
	if len(a.own[c.rule]) == 0 {
		return // the base takes it
	}
	if !covered(c.by) {
		t.Fatalf("%s is not covered by %v", a.rule(c.rule).ID, c.by)
	}
	for n := range c.by {
		if len(c.by) > 1 && covered(slices.Delete(slices.Clone(c.by), n, n+1)) {
			t.Fatalf("%s is covered by %v, and the place %d of them could be left out", a.rule(c.rule).ID, c.by, n)
		}
	}
}

// TestIdlers removes the rules that are said never to match, or to change nothing: each alone, all, and whatever choice
// of them. No packet may be judged otherwise. Each other rule must have an effect in one of these policies.
func TestIdlers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := analysed(t)
		a.shadows()
		found, undecided := a.idlers()
		if len(undecided) > 0 {
			t.Fatalf("not decided: %v", undecided)
		}
		var out []*policy.Rule
		for i := a.first; i < a.last; i++ {
			if a.gone[i] && a.idle[i] {
				t.Fatalf("%s is said to never match, and to change nothing", a.rule(i).ID)
			}
			if a.gone[i] || a.idle[i] {
				out = append(out, a.rule(i))
			}
		}
		choices := make([]*policy.Policy, 1<<len(out))
		for n := range choices {
			var some []*policy.Rule
			for k, r := range out {
				if n&(1<<k) != 0 {
					some = append(some, r)
				}
			}
			choices[n] = without(a.Policy, some...)
		}
		same := func(pkt *policy.Packet, given map[string]addrset.Addrs) {
			was := a.With(given).Decide(pkt)
			for n, p := range choices {
				if is := p.With(given).Decide(pkt); effect(was) != effect(is) {
					t.Fatalf("%s: %s by %s, and %s by %s without choice %b of %v", a.words(*pkt), was.Verdict, was.By, is.Verdict, is.By, n, out)
				}
			}
		}
		holdOut(t, a, same)
		for _, i := range found {
			a.aim(i.rule, same)
			pkt, given := shown(t, a, &i.example)
			if len(given) > 0 && pkt.Src == pkt.Dst {
				continue
			}
			if d := a.With(given).Decide(&pkt); d.Rule != a.rule(i.rule) {
				t.Fatalf("%s decides %s, the example of what %s does", d.By, a.words(pkt), a.rule(i.rule).ID)
			}
			d := choices[len(choices)-1].With(given).Decide(&pkt)
			if !slices.ContainsFunc(i.heirs, func(k int) bool { return a.entries[k].Decision.Verdict == d.Verdict }) {
				t.Fatalf("%s: %s decides it in the place of %s, and the heirs are %v", a.words(pkt), d.By, a.rule(i.rule).ID, i.heirs)
			}
		}
		for i := a.first; i < a.last; i++ {
			if !a.gone[i] && !a.idle[i] && plain(a.rule(i)) {
				a.holdEffect(t, i, out)
			}
		}
	})
}

// aim checks a claim against packets that a rule shares with each entry of its list.
func (a *analysis) aim(i int, claim func(pkt *policy.Packet, given map[string]addrset.Addrs)) {
	for _, own := range a.own[i] {
		for _, e := range a.entries {
			for _, b := range e.Boxes {
				if both, ok := own.Intersect(&b); ok {
					pkt, given := a.example(&both)
					claim(&pkt, given)
				}
			}
		}
	}
}

// holdEffect asks the other algorithm for packets that some choice of what can be removed, and a rule with it, would judge
// otherwise: they get past all that stays before it, and to something unlike it before the next that stays.
func (a *analysis) holdEffect(t *rapid.T, i int, out []*policy.Rule) {
	r := a.rule(i)
	pieces, later := slices.Clone(a.own[i]), false
	for _, e := range a.entriesOf(t, a.Policy) {
		switch {
		case e.Decision.Rule == r:
			later = true
			continue
		case later && (e.Decision.Verdict != r.Action.Verdict || e.Decision.Rule != nil && e.Decision.Rule.Action.Log):
			for _, p := range pieces {
				if slices.ContainsFunc(e.Boxes, func(b space.Box) bool { _, ok := p.Intersect(&b); return ok }) {
					return
				}
			}
		}
		if e.Decision.Rule == nil || !slices.Contains(out, e.Decision.Rule) {
			pieces = subtract(t, pieces, e.Boxes)
		}
	}
	t.Fatalf("%s is not said to change nothing, and does", r.ID)
}

func (a *analysis) entriesOf(t *rapid.T, p *policy.Policy) []space.Entry {
	entries, err := a.space.Entries(p, a.dir)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func subtract(t *rapid.T, from, what []space.Box) []space.Box {
	s := space.Search{Left: 1 << 22}
	out, err := s.Subtract(from, what)
	if err != nil {
		t.Skip("too many pieces")
	}
	return out
}

// TestClashes asks that the earlier rule of each pair decides the example, and that the later would decide otherwise.
func TestClashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := analysed(t)
		a.shadows()
		found, undecided := a.clashes()
		if len(undecided) > 0 {
			t.Fatalf("not decided: %v", undecided)
		}
		for _, c := range found {
			pkt, given := shown(t, a, &c.example)
			if len(given) > 0 && pkt.Src == pkt.Dst {
				continue
			}
			if d := a.With(given).Decide(&pkt); d.Rule != a.rule(c.earlier) {
				t.Fatalf("%s is decided by %s, not by %s", a.words(pkt), d.By, a.rule(c.earlier).ID)
			}
			alone := *a.Policy
			alone.Lists[a.dir] = []*policy.Rule{a.rule(c.later)}
			if d := alone.With(given).Decide(&pkt); d.Rule != a.rule(c.later) || d.Verdict == a.verdict(c.earlier) {
				t.Fatalf("%s: %s would not decide otherwise", a.words(pkt), a.rule(c.later).ID)
			}
		}
	})
}
