package compile

import (
	"os"
	"slices"
	"strconv"
	"testing"

	"ringwall/netfilter/ruleset"
)

// rounds is how often a random test runs: a number for each run of the tests, more by ROUNDS in the environment.
func rounds(t *testing.T, n int) int {
	if more, err := strconv.Atoi(os.Getenv("ROUNDS")); err == nil {
		return more
	}
	if testing.Short() {
		return n / 10
	}
	return n
}

// TestDecideIsEval is the proof of the compiler: random policies, and packets at their corners.
func TestDecideIsEval(t *testing.T) {
	decided := map[string]int{}
	for seed := range uint64(rounds(t, 3000)) {
		g := newGenerator(seed)
		p := g.policy()
		rs, err := Compile(p, Options{LogGroup: 5, NoLabels: g.chance(8)})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		m, err := ruleset.NewMachine(rs, Contents(p))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		s := newSampler(p, seed)
		pr := newProof(p, nil)
		pr.ask(rs, m, m.Indexed())
		pr.slowly = 1
		j := pr.newJudge()
		for i := range 120 {
			pkt := s.draw(i, 120)
			d, err := j.hold(&pkt)
			if err != nil {
				t.Fatalf("seed %d, packet %d: %v\n%s", seed, i, err, text(t, rs))
			}
			by := d.By
			if d.Rule != nil {
				by = "a rule"
			}
			decided[pkt.Dir.String()+" "+by]++
		}
	}
	// A test that never reaches something says nothing about it.
	for _, want := range []string{
		"in a rule", "in default", "in block", "in loopback", "in failsafe", "in established", "in neighbour", "in multicast",
		"in icmp-errors", "in dhcp-client", "in invalid", "in reverse-path",
		"out a rule", "out default", "out block", "out loopback", "out failsafe", "out established", "out neighbour",
		"out multicast", "out icmp-errors", "out dhcp-client",
		"forward a rule", "forward default", "forward block", "forward established", "forward icmp-errors", "forward invalid",
		"forward reverse-path", "forward unjudged",
	} {
		if decided[want] < 10 {
			t.Errorf("%q decided %d packets", want, decided[want])
		}
	}
	t.Log(decided)
}

// TestVerifyMissesNoRule shows that Verify is no rubber stamp: of a policy whose every line matters, the compiled form passes,
// and without any one of its rules does not.
func TestVerifyMissesNoRule(t *testing.T) {
	p := load(t, `
version: 1
defaults: {in: deny, out: allow, forward: reject}
base: {reverse-path: true}
failsafe: {ssh: [10.0.0.0/8, "2001:db8::/48"]}
sets:
  banned: {dynamic: true}
block: [10.0.0.0/24, "2001:db8::/64", banned]
in:
  - {deny: tcp/22, from: [192.0.2.1, "2001:db8:1::1"]}
  - {allow: [tcp/22, udp/53], iface: [eth0, "wan*"]}
  - {reject: icmp/echo-request, mark: [1, 0x10/0xf0]}
  - {allow: icmp/echo-request, log: true}
out:
  - {reject: tcp/25, user: [not 0]}
  - {deny: udp/123, to: [not 192.0.2.0/24], expires: 2027-01-01}
forward:
  - {allow: any, iif: eth0, oif: eth1, mac: "02:00:00:00:00:05"}
`)
	rs, err := Compile(p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(p, rs); err != nil {
		t.Fatal(err)
	}
	for _, ch := range rs.Chains {
		for i, r := range ch.Rules {
			text, err := r.Text()
			if err != nil {
				t.Fatal(err)
			}
			ch.Rules = slices.Delete(slices.Clone(ch.Rules), i, i+1)
			_, err = Verify(p, rs)
			caught := err != nil
			ch.Rules = slices.Insert(slices.Clone(ch.Rules), i, r)
			if !caught {
				t.Errorf("Verify passes without the rule %q of chain %s", text, ch.Name)
			}
		}
	}
}
