package check

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// now is the time of these tests.
var now = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC).Unix()

// lint loads a policy and returns what Lint finds, a line each.
func lint(t *testing.T, text string) string {
	t.Helper()
	p, diags := policy.Load(source.Memory{"p": text}, "p", policy.Options{})
	if len(diags) > 0 {
		t.Fatalf("%v\n%s", diags, text)
	}
	var b strings.Builder
	for _, d := range Lint(p, now) {
		fmt.Fprintf(&b, "%d:%d %s [%s]", d.At.Line, d.At.Col, d.Message, d.Code)
		for _, n := range d.Related {
			fmt.Fprintf(&b, " (%d: %s)", n.At.Line, n.Message)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestLint(t *testing.T) {
	const head = "version: 1\nfailsafe: {ssh: 10.0.0.0/8}\n"
	tests := map[string]struct{ text, want string }{
		"clean": {head + "in:\n- {allow: [http, https]}\n", ""},
		"unused": {head + "sets: {a: 10.0.0.1, b: a}\nservices: {s: tcp/1}\ninterfaces: {lan: eth0}\n",
			"3:21 set \"b\" is not used [unused]\n4:12 service \"s\" is not used [unused]\n5:14 interface group \"lan\" is not used [unused]\n"},
		"used": {head + "sets: {a: 10.0.0.1, d: {dynamic: true}}\nservices: {s: tcp/1}\ninterfaces: {lan: eth0}\nblock: d\n" +
			"in:\n- {allow: s, from: a, iface: lan}\n", ""},
		"used in a test":                {head + "sets: {a: 10.0.0.1}\ntests: [{in: tcp/1, from: a, expect: deny, by: default}]\n", ""},
		"no ssh":                        {"version: 1\nin:\n- {allow: http}\n", "1:1 neither `failsafe` nor a rule admits SSH [no-ssh]\n"},
		"ssh by a rule":                 {"version: 1\nin:\n- {allow: tcp/20-30, from: 10.0.0.1}\n", ""},
		"ssh denied":                    {"version: 1\nin:\n- {deny: ssh, log: true}\n", "1:1 neither `failsafe` nor a rule admits SSH [no-ssh]\n"},
		"a failsafe for something else": {"version: 1\nfailsafe: {tcp/9100: 10.9.0.7}\nin:\n- {allow: http}\n", "1:1 neither `failsafe` nor a rule admits SSH [no-ssh]\n"},
		"a failsafe for ports":          {"version: 1\nservices: {doors: [http, tcp/20-30]}\nfailsafe: {doors: 10.9.0.7}\nin:\n- {allow: http}\n", ""},
		"a failsafe for all":            {"version: 1\nfailsafe: {any: '2001:db8::7'}\n", ""},
		"ssh elsewhere":                 {"version: 1\nfailsafe: {tcp/2222: 10.9.0.7}\n", "1:1 neither `failsafe` nor a rule admits SSH [no-ssh]\n"},
		"ssh elsewhere by its name":     {"version: 1\nservices: {admin-SSH: tcp/2222}\nfailsafe: {admin-SSH: 10.9.0.7}\n", ""},
		"ssh elsewhere by a rule":       {"version: 1\nservices: {my-ssh: tcp/2222}\nin:\n- {allow: my-ssh, from: 10.9.0.7}\n", ""},
		"only mosh beside ssh":          {"version: 1\nservices: {ssh-mosh: [tcp/2222, udp/60000-61000]}\nin:\n- {allow: udp/60000, from: 10.9.0.7}\nout:\n- {reject: ssh-mosh, log: true}\n", "1:1 neither `failsafe` nor a rule admits SSH [no-ssh]\n"},
		"defaults": {head + "defaults: {in: allow, out: deny, forward: allow}\n",
			"3:16 what no rule matches may come in [default-allow]\n3:43 what no rule matches may pass through [default-allow]\n"},
		"blocks own": {head + "sets: {d: {dynamic: true}}\nblock: [172.16.0.0/12, 192.0.2.0/24, 127.0.0.1, d]\n",
			"4:1 `block` holds loopback addresses [blocks-own]\n4:1 `block` holds private addresses [blocks-own]\n"},
		"blocks all but": {head + "sets: {d: {dynamic: true}}\nblock: [d, not private]\n", ""},
		"expired": {head + "in:\n- {allow: http, id: a, expires: 2026-06-15}\n- {allow: https, id: b, expires: 2026-06-29}\n- {allow: smtp, id: c, expires: 2026-06-30}\n" +
			"- {allow: smtps, expires: 2026-06-15, ignore: [expired]}\n",
			"4:4 rule \"a\" expired on 2026-06-15 [expired]\n5:4 rule \"b\" expires on 2026-06-29 [expires-soon]\n"},
		"deny expires": {head + "in:\n- {reject: http, id: a, expires: 2030-01-01}\n- {reject: https, id: b, expires: 2030-01-01, ignore: deny-expires}\n",
			"4:4 rule \"a\" refuses until 2030-01-01, and then no longer [deny-expires]\n"},
		"admin ports": {head + "in:\n- {allow: [postgres, ssh, http], id: a}\n- {allow: redis, from: any}\n- {allow: rdp, iface: lan0}\n- {allow: tcp/2000-3999, id: b}\n- {allow: vnc, ignore: open-admin-port}\n",
			"4:4 rule \"a\" admits postgres, ssh from anywhere [open-admin-port]\n7:4 rule \"b\" admits docker, etcd, iscsi, more from anywhere [open-admin-port]\n"},
		"source port": {head + "in:\n- {allow: udp, from: 192.0.2.1, sport: 53, id: a}\n- {allow: udp/123, sport: 123}\nout:\n- {allow: udp, sport: 53, log: true}\n",
			"4:4 rule \"a\" opens many ports to anything that sends from a port of its choice [source-port]\n"},
		"one family": {head + "in:\n- {allow: http, from: 0.0.0.0/0, id: a}\n- {allow: smtp, from: '::/0', id: b}\n- {allow: https, from: 0.0.0.0/0}\n- {deny: https, from: '::/0', log: true}\n- {allow: icmp/echo-request, from: 0.0.0.0/0}\n",
			"4:4 rule \"a\" opens to all of IPv4 what is closed in IPv6 [one-family]\n5:4 rule \"b\" opens to all of IPv6 what is closed in IPv4 [one-family]\n"},
		"one family by order": {head + "in:\n- {deny: smtp, from: 0.0.0.0/0, log: true}\n- {allow: smtp, id: a}\n", "5:4 rule \"a\" opens to all of IPv6 what is closed in IPv4 [one-family]\n"},
		"one family each":     {head + "sets: {a: [10.0.0.0/8, '2001:db8::/32']}\nin:\n- {deny: any, from: a, log: true}\n- {allow: http, from: [0.0.0.0/0, not a]}\n- {allow: http, from: ['::/0', not a]}\n- {allow: smtp, from: 192.0.2.1}\n", ""},
		"covered": {head + "sets: {d: {dynamic: true}}\nin:\n" +
			"- {allow: [http, https], from: [192.0.2.0/24, 198.51.100.0/24], id: wide}\n" +
			"- {deny: http, from: 192.0.2.7, id: late}\n" +
			"- {allow: http, from: 192.0.2.0/23, id: wider}\n" +
			"- {allow: http, from: [d, 203.0.113.1], id: ban}\n" +
			"- {allow: http, from: d, iface: eth0, id: narrow}\n",
			"5:4 rule \"wide\" admits all that \"late\" would refuse [defeats-deny] (6: deny http from 192.0.2.7)\n" +
				"6:4 rule \"late\" never matches: \"wide\" decides all that it would [never-matches] (5: allow [http, https] from [192.0.2.0/24, 198.51.100.0/24])\n" +
				"9:4 rule \"narrow\" never matches: \"ban\" decides all that it would (seen while \"d\" holds 203.0.113.1) [never-matches] (8: allow http from [d, 203.0.113.1])\n"},
		"covered until": {head + "in:\n- {allow: http, from: any, expires: 2030-01-01, log: true}\n- {allow: http, from: any, id: later}\n- {allow: http, from: 192.0.2.1, id: gone}\n", "6:4 rule \"gone\" never matches: \"later\" decides all that it would [never-matches] (5: allow http from any)\n"},
		"covered by keys": {head + "in:\n" +
			"- {allow: http, iface: ['eth*', not eth9], mark: 0x10/0x10, from: any, id: a, log: true}\n" +
			"- {allow: http, iface: [eth1, eth2], mark: 0x30/0xf0, from: any, id: no9}\n" +
			"- {allow: http, iface: [eth1, not eth9], mark: 0x30/0xf0, from: any, id: b}\n" +
			"- {allow: http, iface: 'eth*', mark: 0x30, from: any, id: c, log: true}\n" +
			"- {allow: http, mark: 0x10/0x10, from: any, id: d}\n",
			"5:4 rule \"no9\" never matches: \"a\" decides all that it would [never-matches] (4: allow http from any iface [eth*, not eth9] mark 0x10/0x10 log)\n" +
				"6:4 rule \"b\" never matches: \"a\" decides all that it would [never-matches] (4: allow http from any iface [eth*, not eth9] mark 0x10/0x10 log)\n"},
		"covered by failsafe": {head + "in:\n- {allow: ssh, from: 10.0.0.0/9, log: true, id: dead}\n- {allow: ssh, from: [10.0.0.0/9, 192.0.2.1], id: alive}\nout:\n- {allow: ssh, to: 10.0.0.0/8, log: true}\n",
			"4:4 rule \"dead\" never matches: \"failsafe\" decides all that it would [never-matches] (2: failsafe ssh)\n"},
		"no family": {head + "in:\n- {allow: icmpv6, from: 192.0.2.1, id: a}\n- {allow: http, from: 192.0.2.1, to: '2001:db8::1', id: b, ignore: never-matches}\n",
			"4:4 rule \"a\" never matches: its addresses and protocols share no family [never-matches]\n"},
		"undecided test": {head + "in:\n- {allow: http, from: 192.0.2.0/24, expires: 2030-01-01}\ntests:\n" +
			"- {in: http, from: 192.0.2.1, expect: allow, at: 2029-01-01}\n" +
			"- {in: http, from: 192.0.2.1, expect: deny, at: 2031-01-01}\n" +
			"- {in: http, from: 192.0.3.1, expect: deny}\n" +
			"- {in: http, from: 192.0.3.1, expect: deny, by: default}\n" +
			"- {in: ssh, from: 10.0.0.1, expect: allow}\n" +
			"- {forward: ssh, from: 10.0.0.1, expect: allow}\n",
			"7:4 no rule decides this test [undecided-test]\n8:4 no rule decides this test [undecided-test]\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, lint(t, tt.text)); d != "" {
				t.Errorf("-want +got:\n%s\n%s", d, tt.text)
			}
		})
	}
}

// TestLintExample holds the complete example of the language, as far as it is built, free of findings.
func TestLintExample(t *testing.T) {
	text := `version: 1
defaults: {in: deny, out: allow, forward: deny}
failsafe:
  ssh: [10.0.0.0/8, 2001:db8::/48]
interfaces:
  lan: [eth1, "br-*"]
sets:
  office: [203.0.113.0/24, 2001:db8:1::/48]
  admins: [office, 198.51.100.7]
  bogons: [0.0.0.0/8, 10.0.0.0/8]
  banned: {dynamic: true, timeout: 1h, max: 65536}
services:
  web: [tcp/80, tcp+udp/443]
block: [banned, not office]
in:
  - allow: ssh
    id: ssh-admins
    from: admins
    limit: 10/minute per source
    log: true
  - deny: any
    from: [bogons, not 10.1.0.0/16]
  - allow: web
    connections: 50 per source
  - allow: icmp/echo-request
    limit: 20/second burst 40
  - allow: tcp/9100
    iface: lan
    expires: 2027-01-31
    note: OPS-123
out:
  - allow: tcp/25
    user: postfix
  - allow: [http, https]
    user: _apt
  - reject: any
    user: _apt
  - reject: tcp/25
    log: true
forward:
  - allow: any
    iif: lan
    oif: eth0
tests:
  - {in: tcp/22, from: 203.0.113.9, expect: allow, by: ssh-admins}
  - {in: tcp/22, from: 198.51.100.200, expect: deny, by: default}
  - {in: any, from: 192.0.2.66, given: {banned: [192.0.2.66]}, expect: deny, by: block}
  - {out: tcp/25, to: 192.0.2.1, user: root, expect: reject}
`
	if got := lint(t, text); got != "" {
		t.Error(got)
	}
}

// TestLintConfigs holds the policies that are shipped free of findings.
func TestLintConfigs(t *testing.T) {
	paths, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		p, diags := policy.Load(source.OS{}, path, policy.Options{})
		if p == nil || len(diags) > 0 {
			t.Fatalf("%s: %v", path, diags)
		}
		for _, d := range Lint(p, now) {
			t.Error(d)
		}
	}
}
