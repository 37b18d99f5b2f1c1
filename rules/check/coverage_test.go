package check

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
	"ringwall/rules/space"
)

func TestCover(t *testing.T) {
	p := load(t, `version: 1
sets: {banned: {dynamic: true}}
in:
  - {allow: ssh, id: ssh, from: 203.0.113.0/24}
  - {allow: [http, https], id: web}
  - {allow: http, id: never}
  - {deny: tcp/8080, id: half, from: 10.0.0.0/8}
  - {allow: tcp/8080-8081, id: rest}
  - {allow: tcp/9000, id: failing}
  - {deny: tcp/9100, id: given, from: banned}
out:
  - {reject: smtp, id: mail}
tests:
  - {in: tcp/22, from: 203.0.113.9, expect: allow}
  - {in: http, expect: allow}
  - {in: tcp/8080, from: 10.0.0.0/9, expect: deny}
  - {in: tcp/9000, expect: deny}
  - {in: tcp/9100, from: 192.0.2.1, given: {banned: 192.0.2.1}, expect: deny}
`)
	c := Cover(p, Tests(p))
	var got []string
	for _, r := range c.Untouched {
		got = append(got, r.ID)
	}
	if want := []string{"never", "rest", "failing", "mail"}; !slices.Equal(got, want) || c.Rules != 8 || c.Touched() != 4 {
		t.Errorf("untouched %v of %d, %d touched", got, c.Rules, c.Touched())
	}
}

// TestCoverAgreesWithDecide: a rule that decides about a packet which a test describes is touched.
func TestCoverAgreesWithDecide(t *testing.T) {
	seen := 0
	rapid.Check(t, func(t *rapid.T) {
		p := policytest.Policy(t, 5)
		for _, dir := range policy.Dirs {
			for _, r := range p.Lists[dir] {
				test := &policy.Test{List: dir, What: r.Match.What, Match: r.Match, Given: p.Given, Expect: r.Action.Verdict, Time: 500}
				if rapid.Bool().Draw(t, "narrower") {
					test.Match.From = policytest.Addrs(t)
				}
				p.Tests = append(p.Tests, test)
			}
		}
		results := Tests(p)
		c := Cover(p, results)
		sp, err := space.New(p)
		if err != nil {
			t.Fatal(err)
		}
		pr := prover{space: sp, policy: p}
		for _, r := range results {
			if !r.OK {
				continue
			}
			entries, err := pr.entries(r.Test.List, r.Test.Given)
			if err != nil {
				t.Fatal(err)
			}
			for _, box := range pr.described(r.Test) {
				for _, e := range entries {
					for i := range e.Boxes {
						part, ok := box.Intersect(&e.Boxes[i])
						if !ok {
							continue
						}
						pkt := sp.Packet(r.Test.List, &part)
						pkt.Time = r.Test.Time
						d := p.With(r.Test.Given).Decide(&pkt)
						if d.Rule == nil {
							continue
						}
						if seen++; slices.Contains(c.Untouched, d.Rule) {
							t.Fatalf("%s is described by %+v and decided by %s, which is called untouched", &pkt, r.Test, d.By)
						}
					}
				}
			}
		}
	})
	if seen < 100 {
		t.Errorf("only %d packets tested it", seen)
	}
}

// TestCoverOfAThousand keeps coverage as quick as the tests.
func TestCoverOfAThousand(t *testing.T) {
	p := load(t, policyOf(ruleList(1000, 1)))
	for _, r := range p.Lists[policy.In] {
		p.Tests = append(p.Tests, &policy.Test{List: policy.In, What: r.Match.What, Match: r.Match, Expect: r.Action.Verdict})
	}
	start := time.Now()
	results := Tests(p)
	c := Cover(p, results)
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	ok := 0
	for _, r := range results {
		if r.OK {
			ok++
		}
	}
	if c.Touched() < ok/2 || c.Touched() == 0 {
		t.Errorf("%d of %d tests hold, %d rules touched", ok, len(results), c.Touched())
	}
	t.Logf("%d of %d tests hold, %d rules touched, in %v", ok, len(results), c.Touched(), time.Since(start))
}
