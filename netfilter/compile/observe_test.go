package compile

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/check"
	"ringwall/rules/policy"
)

// The table that counts lets every packet on, and counts just what two policies decide otherwise, each packet in its case.
func TestObserveCountsWhatIsDecidedOtherwise(t *testing.T) {
	var pairs, counted, refused, early int
	n := rounds(t, 60)
	for seed := range uint64(n) {
		rng := rand.New(rand.NewPCG(seed, 7))
		w := newWriter(rng)
		text := w.policy()
		p, err := read(text.String())
		if err != nil {
			continue
		}
		f := failure{doc: text, given: w.contents()}
		if p, err = f.with(p); err != nil {
			t.Fatal(err)
		}
		q := *p
		for dir, list := range q.Lists { // another order, other verdicts, and some rules gone
			list = slices.Clone(list)
			rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			q.Lists[dir] = list[:len(list)-rng.IntN(len(list)+1)/2]
		}
		q.Defaults[rng.IntN(3)] = policy.Reject
		if rng.IntN(2) == 0 {
			q.Block = policy.Addrs{}
		}
		now := time.Now().Unix()
		o, err := check.Differ(p, &q, now, check.DiffWork)
		if err != nil {
			refused++
			if strings.Contains(err.Error(), "contradicts") {
				t.Fatalf("policies %d: %v\n%s", seed, err, text)
			}
			continue
		}
		rs, err := Observe(o, []Options{{LogGroup: 7}, {LogGroup: 7, Linear: -1, Brief: 1}}[seed%2])
		if err != nil {
			t.Fatalf("policies %d: %v\n%s", seed, err, text)
		}
		written := o.Policy.With(f.given)
		m, err := ruleset.NewMachine(rs, Contents(written))
		if err != nil {
			t.Fatal(err)
		}
		first := *rs
		first.Chains = slices.Clone(rs.Chains)
		for i, ch := range first.Chains {
			if ch.Hook != nil && !strings.HasPrefix(ch.Name, "early/") { // it is moved to where none of the packets comes
				first.Chains[i] = &ruleset.Chain{Name: ch.Name, Hook: &ruleset.Hook{Point: ruleset.Postrouting}, Rules: ch.Rules}
			}
		}
		before, err := ruleset.NewMachine(&first, Contents(written))
		if err != nil {
			t.Fatal(err)
		}
		s := newSampler(p, rng.Uint64())
		for i := range 200 {
			pkt := s.draw(i, 200)
			pkt.Time = now
			if pkt.Spoofed && pkt.Dir == policy.Forward {
				continue // where reverse-path is on, prerouting has dropped it
			}
			pairs++
			out := m.Eval(&pkt)
			if out.Verdict != policy.Allow || out.Label != (ruleset.Bits{}) {
				t.Fatalf("policies %d: packet %+v: %+v", seed, pkt, out)
			}
			var want []string
			d := written.Decide(&pkt)
			if p.Decide(&pkt).By == policy.ByBlock {
				if pkt.Dir == policy.Forward {
					continue // prerouting has dropped it
				}
				if d = (policy.Decision{}); o.Early != nil {
					d = o.Early.With(f.given).Decide(&pkt)
				}
				out = before.Eval(&pkt) // what comes after it never sees the packet
				early += len(out.Counters)
			}
			if d.Verdict == policy.Deny && d.Rule != nil {
				n := o.Of[d.Rule]
				want = []string{CaseName(n)}
				if c := o.Cases[n]; c.Rule != nil && c.Old == c.New {
					want = nil // only what exceeds a limit
				}
			}
			counted += len(want)
			if !slices.Equal(out.Counters, want) {
				t.Fatalf("policies %d: packet %+v was counted by %q, want %q\n%s", seed, pkt, out.Counters, want, text)
			}
		}
	}
	t.Logf("%d packets, %d decided otherwise, %d of them blocked now; %d pairs of policies too different", pairs, counted, early, refused)
	if pairs < 50*n || counted < 4*n || early < n/10 {
		t.Error("too few to show anything")
	}
}

func TestObserveLimits(t *testing.T) {
	p := mustRead(t, "version: 1\nin:\n  - {id: ssh, allow: ssh}\n")
	q := mustRead(t, "version: 1\nin:\n  - {id: ssh, allow: ssh, limit: 3/minute per source}\n  - {id: web, allow: tcp/80, limit: 5/minute}\n")
	o, err := check.Differ(p, q, time.Now().Unix(), check.DiffWork)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := Observe(o, Options{LogGroup: 7})
	if err != nil {
		t.Fatal(err)
	}
	m, err := ruleset.NewMachine(rs, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n, c := range o.Cases {
		within, over := m.Eval(&c.Example).Counters, m.Exceeded().Eval(&c.Example).Counters
		counts := []string{CaseName(n)}
		wantWithin, wantOver := counts, []string(nil)
		if c.Old == policy.Allow {
			wantWithin, wantOver = nil, counts
		}
		if !slices.Equal(within, wantWithin) || !slices.Equal(over, wantOver) {
			t.Errorf("case %s → %s by %s: within the limit counted by %q, over it by %q", c.Old, c.New, c.Now.By, within, over)
		}
	}
	if len(o.Cases) != 2 {
		t.Errorf("%d cases, want 2: %+v", len(o.Cases), o.Cases)
	}
}

func TestHarmless(t *testing.T) {
	rs, err := Compile(mustRead(t, "version: 1\nin: [{allow: ssh}]\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if Harmless(rs) == nil {
		t.Error("a rule set that enforces is called harmless")
	}
	hook := &ruleset.Hook{Point: ruleset.Input}
	for _, ch := range []*ruleset.Chain{
		{Name: "a", Hook: &ruleset.Hook{Drop: true}},
		{Name: "b", Hook: hook, Rules: []*ruleset.Rule{rule(nil, drop)}},
		{Name: "c", Hook: hook, Rules: []*ruleset.Rule{rule(nil, ruleset.Reject{})}},
		{Name: "d", Hook: hook, Rules: []*ruleset.Rule{rule(nil, ruleset.SetLabel{Bit: 3})}},
		{Name: "e", Hook: hook, Rules: []*ruleset.Rule{rule(nil, ruleset.VMap{Elems: []ruleset.VMapElem{{Verdict: drop}}})}},
	} {
		if Harmless(&ruleset.Ruleset{Chains: []*ruleset.Chain{ch}}) == nil {
			t.Errorf("chain %s is called harmless", ch.Name)
		}
	}
	if Harmless(&ruleset.Ruleset{Maps: []*ruleset.Map{{Elems: []ruleset.MapElem{{Verdict: drop}}}}}) == nil {
		t.Error("a map that drops is called harmless")
	}
}

func mustRead(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseCase(t *testing.T) {
	for _, n := range []int{0, 7, 123} {
		if got, ok := ParseCase(CaseName(n)); !ok || got != n {
			t.Errorf("%d → %d %v", n, got, ok)
		}
	}
	for _, name := range []string{"", "in.ssh", "otherwise.", "otherwise.x", "otherwise.1/over", "otherwise.-1"} {
		if n, ok := ParseCase(name); ok {
			t.Errorf("%q is case %d", name, n)
		}
	}
}
