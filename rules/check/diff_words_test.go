package check

import (
	"strings"
	"testing"
)

const diffBase = `version: 1
failsafe: {ssh: 10.0.0.0/8}
interfaces: {lan: "lan*"}
sets:
  office: [203.0.113.0/24, 2001:db8:1::/48, 198.51.100.7]
  banned: {dynamic: true, timeout: 1h}
block: banned
in:
  - {allow: ssh, id: ssh, from: office, limit: 10/minute}
  - {allow: [http, https], id: web}
  - {allow: icmp/echo-request, id: ping}
  - {allow: tcp/9100, id: metrics, iface: lan}
  - {allow: tcp/8443, id: tmp, expires: 2030-01-01}
out:
  - {allow: tcp/25, id: mail, user: postfix}
  - {reject: tcp/25, id: no-mail}
`

// TestDiffWords: each edit of a policy, and the lines that it comes to.
func TestDiffWords(t *testing.T) {
	tests := map[string]struct {
		replace []string
		want    string
	}{
		"nothing":               {nil, ``},
		"notes and places":      {[]string{"{allow: ssh,", "\n    {note: of old, allow: ssh,"}, ``},
		"another order":         {[]string{"  - {allow: [http, https], id: web}\n", "", "\nout:", "\n  - {allow: [http, https], id: web}\nout:"}, ``},
		"a rule split":          {[]string{"{allow: [http, https], id: web}", "{allow: http, id: a}\n  - {allow: https, id: b}"}, ``},
		"a rule that is idle":   {[]string{"in:\n", "in:\n  - {deny: tcp/23}\n  - {allow: icmp/3}\n"}, ``},
		"a rule of the blocked": {[]string{"in:\n", "in:\n  - {allow: tcp/23, from: banned}\n"}, ``},
		"a limit written out":   {[]string{"10/minute", "10/minute burst 10"}, ``},
		"a rule gone": {[]string{"  - {allow: ssh, id: ssh, from: office, limit: 10/minute}\n", ""},
			`in tcp/22 from office: allow → deny, was rule ssh, now default`},
		"an address more": {[]string{"198.51.100.7]", "198.51.100.7, 198.51.100.8]"},
			`in tcp/22 from 198.51.100.8: deny → allow, was default, now rule ssh`},
		"another verdict": {[]string{"{allow: [http, https]", "{reject: [http, https]"},
			`in tcp/80, tcp/443: allow → reject, by rule web`},
		"a narrower rule": {[]string{"icmp/echo-request, id: ping", "icmp/echo-request, id: ping, from: not office"},
			`in icmp/echo-request from office: allow → deny, was rule ping, now default`},
		"a rule before others": {[]string{"in:\n", "in:\n  - {deny: any, id: bad, from: 198.51.100.0/24}\n"}, `
in tcp/22 from 198.51.100.7: allow → deny, was rule ssh, now rule bad
in tcp/80, tcp/443, icmp/8 from 198.51.100.0/24: allow → deny, was rules web, ping, now rule bad
in tcp/9100 from 198.51.100.0/24, iface lan*: allow → deny, was rule metrics, now rule bad
in tcp/8443 from 198.51.100.0/24, until 2030-01-01: allow → deny, was rule tmp, now rule bad`},
		"another order that tells": {[]string{"  - {reject: tcp/25, id: no-mail}\n", "", "out:\n", "out:\n  - {reject: tcp/25, id: no-mail}\n"},
			`out tcp/25, user postfix: allow → reject, was rule mail, now rule no-mail`},
		"a later end": {[]string{"2030-01-01", "2031-01-01"},
			`in tcp/8443, from 2030-01-01 until 2031-01-01: deny → allow, was default, now rule tmp`},
		"no end": {[]string{", expires: 2030-01-01", ""},
			`in tcp/8443, from 2030-01-01 on: deny → allow, was default, now rule tmp`},
		"an interface more": {[]string{"lan: \"lan*\"", "lan: [\"lan*\", eth1]"},
			`in tcp/9100, iface eth1: deny → allow, was default, now rule metrics`},
		"one interface": {[]string{"iface: lan}", "iface: [lan, not lan0]}"},
			`in tcp/9100, iface lan0: allow → deny, was rule metrics, now default`},
		"one family": {[]string{"[http, https], id: web", "[http, https], id: web, from: 0.0.0.0/0"},
			`in IPv6 tcp/80, tcp/443: allow → deny, was rule web, now default`},
		"a user more": {[]string{"user: postfix", "user: [postfix, root]"},
			`out tcp/25, user root: reject → allow, was rule no-mail, now rule mail`},
		"a dynamic set": {[]string{"{allow: [http, https], id: web}", "{allow: [http, https], id: web, from: not guests}", "  banned:", "  guests: {dynamic: true}\n  banned:"},
			`in tcp/80, tcp/443 from guests: allow → deny, was rule web, now default`},
		"a mark": {[]string{"{allow: [http, https], id: web}", "{allow: [http, https], id: web, mark: not 0x1/0xff}"},
			`in tcp/80, tcp/443, mark 0x1/0xff: allow → deny, was rule web, now default`},
		"a default": {[]string{"version: 1", "version: 1\ndefaults: {out: deny}"},
			`out any but tcp/25: allow → deny, by default`},
		"a verdict of the default": {[]string{"version: 1", "version: 1\ndefaults: {in: reject}"}, `
in any but tcp/22, tcp/80, tcp/443, tcp/8443, tcp/9100, icmp/echo-request: deny → reject, by default
in tcp/22 from not office: deny → reject, by default
in tcp/8443, from 2030-01-01 on: deny → reject, by default
in tcp/9100, iface not lan*: deny → reject, by default`},
		"transit": {[]string{"version: 1", "version: 1\ndefaults: {forward: deny}\nbase: {invalid: false}"}, `
in tcp/22 from office and not banned, invalid: deny → allow, was invalid, now rule ssh
in tcp/80, tcp/443, tcp/8443, tcp/9100, icmp/echo-request, invalid, what goes from invalid to rules web, ping, metrics, tmp: deny → allow
forward any: allow → deny, was unjudged, now default`},
		"an address blocked": {[]string{"block: banned", "block: [banned, 192.0.2.7]"}, `
in any from 192.0.2.7, what goes from established, multicast, icmp-errors, dhcp-client, rules web, ping, metrics, tmp to block: allow → deny
out any to 192.0.2.7, what goes from established, multicast, icmp-errors, dhcp-client, default, rule mail to block: allow → deny
out tcp/25 to 192.0.2.7, what goes from rule no-mail to block: reject → deny
forward any to 192.0.2.7, what goes from unjudged to block: allow → deny
forward any from 192.0.2.7, what goes from unjudged to block: allow → deny`},
		"failsafe": {[]string{"{ssh: 10.0.0.0/8}", "{ssh: 10.0.0.0/8, tcp/9090: 192.0.2.0/24}"}, `
in tcp/9090 from 192.0.2.0/24, what goes from block, invalid, default to failsafe: deny → allow
out tcp to 192.0.2.0/24 and banned, sport 9090, established: deny → allow, was block, now failsafe
out tcp to 192.0.2.0/24 and banned, sport 9090, what goes from block to established, default, rule mail: deny → allow
out tcp/25 to 192.0.2.0/24 and banned, sport 9090, what goes from block to rule no-mail: deny → reject`},
		"no block": {[]string{"block: banned\nin:\n", "in:\n  - {deny: any, from: banned}\n"}, `
in any from banned, what goes from block to established, neighbour, multicast, icmp-errors, dhcp-client: deny → allow
out any to banned, what goes from block to established, neighbour, multicast, icmp-errors, dhcp-client, default, rule mail: deny → allow
out tcp/25 to banned, what goes from block to rule no-mail: deny → reject
forward any to banned, what goes from block to unjudged: deny → allow
forward any from banned, what goes from block to unjudged: deny → allow`},
		"a limit": {[]string{"10/minute", "20/minute per source"},
			`in tcp/22 from office: allow as before, limit 10/minute → 20/minute per source, by rule ssh`},
		"a limit and a log": {[]string{"limit: 10/minute", "log: true"},
			`in tcp/22 from office: allow as before, limit 10/minute, log off → limit none, log on, by rule ssh`},
		"from one rule to another": {[]string{"in:\n", "in:\n  - {allow: tcp/22, id: lab, from: 203.0.113.0/25, connections: 5}\n"}, `
in tcp/22 from 203.0.113.0/25: allow as before, limit 10/minute, connections none → limit none, connections 5, was rule ssh, now rule lab`},
		"a setting": {[]string{"timeout: 1h", "timeout: 90m, max: 100"}, `set banned: timeout 1h → 90m, max 65536 → 100`},
	}
	p := load(t, diffBase)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			q := load(t, strings.NewReplacer(tt.replace...).Replace(diffBase))
			d := Diff(p, q, DiffOptions{Now: now, Work: DiffWork})
			want := strings.TrimPrefix(tt.want, "\n")
			if got := strings.Join(d.Lines(), "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if d.None() != (want == "") {
				t.Errorf("none: %v", d.None())
			}
			if back := Diff(q, p, DiffOptions{Now: now, Work: DiffWork}); back.None() != d.None() {
				t.Errorf("the other way round:\n%s", strings.Join(back.Lines(), "\n"))
			}
		})
	}
}
