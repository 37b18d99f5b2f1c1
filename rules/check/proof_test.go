package check_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/check"
	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
)

// TestProofsAgainstPackets: no packet contradicts a test that is proved, and every counterexample is one.
func TestProofsAgainstPackets(t *testing.T) {
	ok, failed := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p := policytest.Policy(t, 5)
		for range 4 {
			p.Tests = append(p.Tests, policytest.Test(t, p))
		}
		for _, r := range check.Tests(p) {
			judge := p.With(r.Test.Given)
			wrong := func(pkt *policy.Packet) bool {
				d := judge.Decide(pkt)
				return d.Verdict != r.Test.Expect || r.Test.By != "" && r.Test.By != d.By
			}
			switch r.Code {
			case "":
				ok++
				for range 30 {
					pkt := packet(t, r.Test)
					if describes(p, r.Test, &pkt) && wrong(&pkt) {
						t.Fatalf("%+v is proved, but %s is %+v", r.Test, pkt, judge.Decide(&pkt))
					}
				}
			case check.TestFailed, check.TestClock:
				failed++
				pkt := r.Counterexample
				if !describes(p, r.Test, pkt) {
					t.Fatalf("%+v does not describe %s", r.Test, pkt)
				}
				if !wrong(pkt) || r.Decision != judge.Decide(pkt) {
					t.Fatalf("%s is no counterexample of %+v: %+v", pkt, r.Test, r.Decision)
				}
				if r.Code == check.TestClock && r.Test.Time != 0 {
					t.Fatalf("%+v has a time", r.Test)
				}
			case check.TestEmpty:
				for range 30 {
					pkt := packet(t, r.Test)
					if describes(p, r.Test, &pkt) {
						t.Fatalf("%+v describes %s", r.Test, pkt)
					}
				}
			default:
				t.Fatalf("%+v: %s", r.Test, r.Message)
			}
		}
	})
	if ok < 20 || failed < 20 {
		t.Errorf("%d proved and %d refuted: too few of one to have tested much", ok, failed)
	}
}

// packet draws a packet at the time of a test.
func packet(t *rapid.T, test *policy.Test) policy.Packet {
	pkt := policytest.Packet(t, test.List)
	if test.Time != 0 {
		pkt.Time = test.Time
	}
	return pkt
}

// describes tells whether a test speaks of a packet, by the words of check.Tests and the policy's own matching.
func describes(p *policy.Policy, test *policy.Test, pkt *policy.Packet) bool {
	m := test.Match
	m.What = test.What
	only := &policy.Policy{Transit: true, Given: test.Given, Defaults: [3]policy.Verdict{policy.Deny, policy.Deny, policy.Deny}}
	for _, dir := range policy.Dirs {
		only.Lists[dir] = []*policy.Rule{{ID: "it", Match: m}}
	}
	if only.Decide(pkt).By != "it" {
		return false
	}
	state, spoofed := policy.New, test.By == policy.ByReversePath
	switch test.By {
	case policy.ByEstablished:
		state = policy.Established
	case policy.ByInvalid:
		state = policy.Invalid
	}
	if pkt.State != state || pkt.Spoofed != spoofed {
		return false
	}
	if test.Time != 0 && pkt.Time != test.Time {
		return false
	}
	if p.Base.Loopback || test.List == policy.Forward {
		if pkt.IIf == "lo" && len(m.IIf.Yes) == 0 || pkt.OIf == "lo" && len(m.OIf.Yes) == 0 {
			return false
		}
	}
	if pkt.Is6() && pkt.Proto == policy.ProtoICMPv6 && pkt.Type >= 133 && pkt.Type <= 137 && pkt.HopLimit != 255 {
		return false
	}
	if test.Any {
		switch by := p.With(test.Given).Decide(pkt).By; by {
		case policy.ByNeighbour, policy.ByMulticast, policy.ByICMPErrors, policy.ByDHCPClient:
			return by == test.By
		}
	}
	return true
}

// dir is a file system of the test's own.
type dir struct{ fstest.MapFS }

func (d dir) ReadFile(name string, _ int64) ([]byte, error) { return d.MapFS.ReadFile(name) }
func (d dir) Canonical(name string) (string, error)         { return name, nil }

func load(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, diags := policy.Load(dir{fstest.MapFS{"p.yaml": {Data: []byte(text)}}}, "p.yaml", policy.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

const host = `version: 1
failsafe: {ssh: 10.0.0.0/8}
sets:
  bad: [192.0.2.0/24, "2001:db8:bad::/48"]
  banned: {dynamic: true}
  office: [203.0.113.0/24, "2001:db8:1::/48"]
block: [bad, banned]
in:
  - {allow: ssh, id: ssh-admins, from: [203.0.113.0/25, "2001:db8:1::/48"]}
  - {allow: tcp/9100, id: metrics, iface: [lan0, "br-*"]}
  - {allow: tcp/8080, id: until, expires: 2030-01-01}
  - {reject: tcp/25, id: no-mail, from: not office}
  - {allow: icmp/echo-request, id: ping}
  - {allow: tcp/7000, id: half-one, from: [0.0.0.0/1, "::/1"]}
  - {allow: tcp/7000, id: half-two, from: [128.0.0.0/1, "8000::/1"]}
  - {allow: tcp/7001, id: marked, mark: 0x10/0xf0}
  - {allow: tcp/7001, id: unmarked, mark: not 0x10/0xf0}
out:
  - {allow: smtp, id: mail, user: postfix}
  - {reject: smtp, id: no-spam}
  - {allow: tcp/7002, id: some, user: postfix}
  - {allow: tcp/7002, id: others, user: not postfix}
forward:
  - {allow: https, id: web, iif: lan0, oif: eth0}
defaults: {in: deny, out: allow, forward: reject}
`

func TestTests(t *testing.T) {
	tests := []struct{ test, want string }{ // want: a code and a part of the message, or nothing
		{"{in: ssh, from: 203.0.113.9, expect: allow, by: ssh-admins}", ""},
		{"{in: ssh, from: office, expect: allow}", "test-failed expected allow, but in tcp/22 from 203.0.113.128 to 198.51.100.1 sport 40000 iface eth1"},
		{"{in: ssh, from: 203.0.113.200, expect: deny, by: default}", ""},
		{"{in: ssh, from: 203.0.113.200, expect: deny, by: ssh-admins}", "is denied by default"},
		{"{in: ssh, expect: deny}", "test-failed expected deny, but in tcp/22 from 10.0.0.1 to 198.51.100.1 sport 40000 iface eth1 is allowed by failsafe (p.yaml:2)"},
		{"{in: ssh, from: 10.0.0.0/8, expect: allow, by: failsafe}", ""},
		{"{in: tcp/9100, from: 198.51.100.1, expect: deny}", "iface br-"},
		{"{in: tcp/9100, from: 198.51.100.1, iface: [br-7, br-x, lan0], expect: allow, by: metrics}", ""},
		{"{in: tcp/9100, from: 198.51.100.1, iface: 'br-*', expect: allow, by: metrics}", ""},
		{"{in: tcp/9100, from: 198.51.100.1, iface: 'b*', expect: allow, by: metrics}", "is denied by default"},
		{"{in: tcp/9100, from: 198.51.100.1, iface: [not lan0, 'not br-*'], expect: deny, by: default}", ""},
		{"{in: tcp/8080, from: 198.51.100.1, expect: allow}", "test-clock the outcome depends on the clock: rule until expires"},
		{"{in: tcp/8080, from: 198.51.100.1, at: 2029-12-31, expect: allow}", ""},
		{"{in: tcp/8080, from: 198.51.100.1, at: 2030-01-01, expect: deny}", ""},
		{"{in: tcp/8080, from: 198.51.100.1, at: 2030-01-01, expect: allow}", "at 2030-01-01T00:00:00Z is denied by default"},
		{"{in: tcp/8080, from: 198.51.100.1, expect: reject}", "test-failed"},
		{"{in: smtp, from: 198.51.100.1, expect: reject, by: no-mail}", ""},
		{"{in: smtp, from: 203.0.113.1, expect: reject}", "is denied by default"},
		{"{in: any, from: 198.51.100.1, expect: deny}", "is allowed by"},
		{"{in: any, from: 192.0.2.66, expect: deny, by: block}", ""},
		{"{in: any, from: 'fe80::1', expect: deny, by: default}", "is allowed by"},
		{"{in: any, from: 198.51.100.1, given: {banned: 198.51.100.0/24}, expect: deny, by: block}", ""},
		{"{in: any, from: 10.0.0.1, given: {banned: 10.0.0.0/24}, expect: deny, by: block}", "in tcp/22 from 10.0.0.1 to 198.51.100.1 sport 40000 iface eth1 is allowed by failsafe"},
		{"{in: tcp/7000, expect: allow}", "is denied by block"},
		{"{in: tcp/7000, from: not bad, expect: allow}", ""},
		{"{in: tcp/7000, from: [not bad, not 128.0.0.0/1, 'not 8000::/1'], expect: allow, by: half-one}", ""},
		{"{in: tcp/7001, from: not bad, expect: allow}", ""},
		{"{in: tcp/7001, from: not bad, mark: 0x11, expect: allow, by: marked}", ""},
		{"{in: tcp/7001, from: not bad, mark: 0x11/0xff, expect: allow, by: unmarked}", "mark 0x11"},
		{"{in: icmp/echo-request, from: 203.0.113.1, expect: allow, by: ping}", ""},
		{"{in: icmp, from: 203.0.113.1, expect: allow}", "is denied by default"},
		{"{in: icmpv6/neighbour-solicitation, from: 'fe80::/10', expect: allow, by: neighbour}", ""},
		{"{in: tcp/1, iface: lo, expect: allow, by: loopback}", ""},
		{"{in: tcp/1, iface: not eth0, from: not bad, expect: deny, by: default}", ""},
		{"{in: tcp/443, from: 203.0.113.1, expect: allow, by: established}", ""},
		{"{in: tcp/443, from: 203.0.113.1, expect: deny, by: invalid}", ""},
		{"{out: smtp, to: 203.0.113.1, user: postfix, expect: allow, by: mail}", ""},
		{"{out: smtp, to: 203.0.113.1, user: root, expect: reject, by: no-spam}", ""},
		{"{out: smtp, to: 203.0.113.1, expect: reject}", "user postfix"},
		{"{out: tcp/7002, to: 203.0.113.1, user: [postfix, not root], expect: allow, by: some}", ""},
		{"{out: tcp/7002, to: 203.0.113.1, user: not postfix, expect: allow, by: others}", ""},
		{"{out: tcp/7002, to: 203.0.113.1, expect: deny}", "is allowed by some"},
		{"{out: tcp/443, to: 192.0.2.1, expect: deny, by: block}", ""},
		{"{forward: https, from: 10.0.0.1, to: 203.0.113.1, iif: lan0, oif: eth0, expect: allow, by: web}", ""},
		{"{forward: https, from: 10.0.0.1, to: 203.0.113.1, iif: lan0, expect: allow, by: web}", "is rejected by default"},
		{"{forward: https, from: 10.0.0.1, to: 192.0.2.1, expect: deny, by: block}", ""},
		{"{in: icmpv6/135, from: 10.0.0.1, expect: deny}", "test-empty the test describes no packet"},
	}
	for _, tt := range tests {
		t.Run(tt.test, func(t *testing.T) {
			p := load(t, host+"tests:\n  - "+tt.test+"\n")
			r := check.Tests(p)[0]
			got := strings.TrimSpace(r.Code + " " + r.Message)
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if diags := check.TestDiagnostics([]check.Result{r}); diags.HasErrors() == r.OK {
				t.Errorf("OK is %v, but the diagnostics are %v", r.OK, diags)
			}
		})
	}
}

// TestUnjudgedTransit: where transit is not judged, only block concerns it.
func TestUnjudgedTransit(t *testing.T) {
	p := load(t, `version: 1
block: 192.0.2.0/24
in: [{allow: ssh}]
tests:
  - {forward: any, from: 203.0.113.1, to: 203.0.113.2, expect: allow}
  - {forward: any, from: 192.0.2.1, expect: deny, by: block}
  - {forward: any, from: 203.0.113.1, expect: allow}
`)
	for i, want := range []bool{true, true, false} {
		if r := check.Tests(p)[i]; r.OK != want {
			t.Errorf("test %d: %v %s", i, r.OK, r.Message)
		}
	}
}

// large is a policy of n rules with as many tests.
func large(n int) *policy.Policy {
	p := &policy.Policy{Base: policy.DefaultBase(), Defaults: [3]policy.Verdict{policy.Deny, policy.Allow, policy.Deny}}
	for i := range n {
		key := addrset.One(policy.Key(policy.ProtoTCP, uint16(i%50+1)))
		net := addrset.OfPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24-i%9))
		m := policy.Match{What: policy.What{V4: key, V6: key}, From: policy.Addrs{Terms: []policy.Term{{Static: net}}},
			To: policy.AnyAddrs(), Sport: addrset.All[addrset.U16]()}
		r := &policy.Rule{ID: fmt.Sprint("r", i), Match: m}
		if i%3 == 0 {
			r.Action.Verdict = policy.Deny
		}
		p.Lists[policy.In] = append(p.Lists[policy.In], r)
		p.Tests = append(p.Tests, &policy.Test{What: m.What, Match: m, Expect: policy.Verdict(i % 2)})
	}
	return p
}

// TestThousand: a thousand tests on a thousand rules take no time worth waiting for.
func TestThousand(t *testing.T) {
	start := time.Now()
	for _, r := range check.Tests(large(1000)) {
		if r.Code == check.TestUndecided {
			t.Fatal(r.Message)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

func BenchmarkThousandTests(b *testing.B) {
	p := large(1000)
	for b.Loop() {
		check.Tests(p)
	}
}
