package check

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
)

// The policy that Differ writes denies exactly the packets that the two decide otherwise, each by a rule of the right case.
func TestDifferHoldsAgainstDecide(t *testing.T) {
	denied, alike := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := policytest.Policy(t, 4)
		q := policytest.Policy(t, 4)
		if rapid.Bool().Draw(t, "near") {
			edit := *p
			edit.Given = q.Given
			dir := rapid.SampledFrom(policy.Dirs[:]).Draw(t, "edited")
			edit.Lists[dir] = append(slices.Clone(q.Lists[dir]), p.Lists[dir]...)
			for i, r := range edit.Lists[dir] {
				c := *r
				c.ID += string(rune('a' + i))
				edit.Lists[dir][i] = &c
			}
			q = &edit
		}
		const now = 1500
		o, err := Differ(p, q, now, DiffWork)
		if err != nil {
			if strings.Contains(err.Error(), "contradicts") {
				t.Fatal(err)
			}
			t.Skip(err)
		}
		for _, c := range o.Cases {
			if c.Text == "" {
				continue
			}
			was, is := p.With(c.Given).Decide(&c.Example), q.With(c.Given).Decide(&c.Example)
			d := o.decide(&c.Example, was, c.Given)
			if was.Verdict != c.Old || is.Verdict != c.New || d.Rule == nil || d.Verdict != policy.Deny {
				t.Fatalf("example %+v of case %+v: was %v, is %v, written %+v", c.Example, c, was.Verdict, is.Verdict, d)
			}
		}
		given := policytest.Given(t)
		for range 20 {
			pkt := policytest.Packet(t, rapid.SampledFrom(policy.Dirs[:]).Draw(t, "dir"))
			pkt.State, pkt.Time = policy.New, now
			was, is := p.With(given).Decide(&pkt), q.With(given).Decide(&pkt)
			d := o.decide(&pkt, was, given)
			if d.Rule == nil && d.By != policy.ByDefault && d.By != policy.ByUnjudged || was.By == policy.ByBlock && pkt.Dir == policy.Forward ||
				was.By == policy.ByBlock && pkt.HopLimit == 255 && is.By == policy.ByNeighbour || was.By == policy.ByBlock && pkt.Spoofed ||
				was.By == policy.ByReversePath || is.By == policy.ByReversePath {
				continue // out of consideration, as the notes say
			}
			if (was.Verdict != is.Verdict) != (d.Verdict == policy.Deny) {
				t.Fatalf("packet %+v: %v by %s becomes %v by %s, but the written policy says %v by %s", pkt, was.Verdict, was.By, is.Verdict, is.By, d.Verdict, d.By)
			}
			if d.Verdict != policy.Deny {
				alike++
				continue
			}
			denied++
			if c := o.Cases[o.Of[d.Rule]]; c.Was != decider(was) || c.Now != decider(is) || c.Old != was.Verdict || c.New != is.Verdict {
				t.Fatalf("packet %+v: %+v becomes %+v, but the case is %+v", pkt, was, is, c)
			}
		}
	})
	if denied < 50 || alike < 50 {
		t.Errorf("%d packets decided otherwise and %d alike: too few to show anything", denied, alike)
	}
}

// decide asks the policy that sees a packet, by what decides about it now.
func (o *Otherwise) decide(pkt *policy.Packet, was policy.Decision, given map[string]addrset.Addrs) policy.Decision {
	p := o.Policy
	if was.By == policy.ByBlock {
		if p = o.Early; p == nil {
			return policy.Decision{By: policy.ByDefault}
		}
	}
	return p.With(given).Decide(pkt)
}

func TestDifferSaysWhatIsDecidedOtherwise(t *testing.T) {
	p := load(t, `version: 1
defaults: {in: deny}
sets: {banned: {dynamic: true}, office: [192.0.2.0/24]}
block: [banned]
in:
  - {id: ssh, allow: ssh}
  - {id: web, allow: tcp/80}
  - {id: mail, allow: tcp/25}
`)
	q := load(t, `version: 1
defaults: {in: deny}
sets: {banned: {dynamic: true}, office: [192.0.2.0/24]}
block: [banned, 203.0.113.0/24]
in:
  - {id: ssh, allow: ssh, from: office}
  - {id: web, allow: [tcp/80, tcp/443]}
  - {id: mail, allow: tcp/25, limit: 10/minute}
`)
	o, err := Differ(p, q, 1500, DiffWork)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range o.Cases {
		got = append(got, c.Old.String()+" by "+c.Was.By+" → "+c.New.String()+" by "+c.Now.By+": "+c.Packets)
	}
	want := []string{
		"allow by icmp-errors → deny by block: in icmp/3, icmp/11-12 from 203.0.113.0/24 and not banned",
		"allow by web → deny by block: in tcp/80 from 203.0.113.0/24 and not banned",
		"allow by ssh → deny by default: in tcp/22 from not office",
		"allow by mail → allow by mail: in tcp/25",
		"deny by default → allow by web: in tcp/443",
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("missing: %s", w)
		}
	}
	if t.Failed() {
		t.Log(strings.Join(got, "\n"))
	}
	for _, c := range o.Cases {
		if c.Now.By == "mail" && c.Old == c.New && (c.Rule == nil || c.Rule.Action.Limit == nil) {
			t.Errorf("the case of a new limit has no rule with a limit: %+v", c)
		}
	}
	if len(o.Notes) > 0 {
		t.Errorf("notes: %q", o.Notes)
	}
}

func TestDifferRefusesAndNotes(t *testing.T) {
	p := load(t, "version: 1\nsets: {gone: [192.0.2.0/24]}\nblock: [gone]\nin: [{id: a, allow: ssh, limit: 3/minute}]\n")
	q := load(t, "version: 1\nbase: {neighbour: false}\nin: [{id: a, allow: ssh}, {id: b, allow: tcp/80, expires: 2030-01-01}]\n")
	o, err := Differ(p, q, 1500, DiffWork)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"what `base: neighbour` decides otherwise", "transit that `block` refuses now", "what a limit refuses now"} {
		if !slices.ContainsFunc(o.Notes, func(n string) bool { return strings.HasPrefix(n, want) }) {
			t.Errorf("no note %q in %q", want, o.Notes)
		}
	}
	if o.Until != 1893456000 {
		t.Errorf("stale from %d on, want the day on which rule b expires", o.Until)
	}
	if _, err := Differ(p, q, 1500, 10); err == nil || !strings.Contains(err.Error(), "too different") {
		t.Errorf("with hardly any work: %v", err)
	}
}
