package check

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// linted is the findings of a policy.
func linted(t *testing.T, text string) (*policy.Policy, diag.List) {
	t.Helper()
	p, diags := policy.Load(source.Memory{"p": text}, "p", policy.Options{})
	if p == nil || len(diags) > 0 {
		t.Fatalf("%v\n%s", diags, text)
	}
	return p, Lint(p, now)
}

// TestLintTogether is about what rules do to each other. Each policy names its rules by a letter; each finding is
// "code at: the letters that its text names".
func TestLintTogether(t *testing.T) {
	const head = "version: 1\nfailsafe: {ssh: 10.0.0.0/8}\n"
	tests := map[string]struct{ text, want string }{
		"a union of ports": {`in:
- {allow: tcp/1-100, from: any, id: a}
- {allow: tcp/90-200, from: any, id: b}
- {allow: udp/1-200, from: any, id: c}
- {allow: tcp/50-150, from: 192.0.2.0/24, id: d}`, "d never-matches: a b"},
		"a union of addresses": {`in:
- {allow: http, from: 192.0.2.0/25, log: true, id: a}
- {allow: http, from: 192.0.2.128/25, log: true, id: b}
- {allow: http, from: [192.0.2.0/24], id: c}`, "c never-matches: a b"},
		"almost a union": {`in:
- {allow: http, from: 192.0.2.0/25, log: true, id: a}
- {allow: http, from: 192.0.2.129-192.0.2.255, log: true, id: b}
- {allow: http, from: [192.0.2.0/24], id: c}`, ""},
		"a union over two dimensions": {`in:
- {allow: http, from: 192.0.2.0/25, iface: eth0, log: true, id: a}
- {allow: http, iface: [not eth0], log: true, id: b}
- {allow: http, from: 192.0.2.128/25, log: true, id: c}
- {allow: http, from: 192.0.2.0/24, id: d}`, "d never-matches: a b c"},
		"a union with the base": {`failsafe: {ssh: 192.0.2.0/25}
in:
- {allow: ssh, from: 192.0.2.128/25, log: true, id: a}
- {allow: ssh, from: 192.0.2.0/24, id: b}`, "b never-matches: failsafe a"},
		"the base alone": {`in:
- {allow: any, iface: lo, id: a}
- {allow: igmp, from: 192.0.2.0/24, id: b}`, "a never-matches: loopback\nb never-matches: multicast"},
		"of the base, parts": {`in: [{allow: icmp/echo-request, id: a}]`, ""},
		"a dynamic set or not": {`sets: {d: {dynamic: true}}
in:
- {deny: http, from: d, log: true, id: a}
- {allow: http, from: not d, log: true, id: b}
- {allow: http, from: 192.0.2.1, id: c}`, "c never-matches: a b"},
		"a dynamic set alone": {`sets: {d: {dynamic: true}}
in:
- {allow: http, from: d, log: true, id: a}
- {allow: http, from: any, id: b}`, ""},
		"until": {`in:
- {allow: http, from: any, expires: 2030-01-01, log: true, id: a}
- {allow: http, from: 192.0.2.0/24, expires: 2029-01-01, id: b}
- {allow: http, from: 192.0.2.0/24, id: c}`, "b never-matches: a"},
		"blocked": {`block: [192.0.2.0/24]
in: [{allow: http, from: 192.0.2.9, id: a}]`, "a never-matches: block"},

		"the general rule does it": {`in:
- {allow: http, from: 192.0.2.0/24, id: a}
- {allow: [http, https], from: any, id: b}`, "a no-effect: b"},
		"two general rules do it": {`in:
- {allow: tcp/80-90, from: any, id: a}
- {allow: tcp/80-85, from: any, log: true, id: b}
- {allow: tcp/80-85, id: c}
- {allow: tcp/86-95, id: d}`, "b never-matches: a\nc never-matches: a"},
		"what it shields": {`in:
- {allow: http, from: 192.0.2.0/24, id: a}
- {deny: http, from: 192.0.0.0/16, log: true, id: b}
- {allow: http, from: any, id: c}`, ""},
		"what it shields from one that never matches": {`in:
- {allow: imaps, from: 192.0.2.1, id: a}
- {deny: imaps, from: 192.0.2.1, id: b}
- {allow: tcp/900-1000, from: any, id: c}`, "a defeats-deny: b\nb never-matches: a"},
		"one that never matches, and is like it": {`in:
- {allow: imaps, from: 192.0.2.1, id: a}
- {allow: imaps, from: 192.0.2.1, id: b}
- {allow: tcp/900-1000, from: any, id: c}`, "a no-effect: c\nb never-matches: a"},
		"one that never matches whatever goes": {`in:
- {deny: imaps, from: 192.0.2.0/24, log: true, id: a}
- {allow: imaps, from: 192.0.0.0/16, id: b}
- {deny: imaps, from: 192.0.2.1, id: c}
- {allow: imaps, from: any, id: x}`, "b no-effect: x\nc never-matches: a"},
		"it logs":      {"in:\n- {allow: http, from: 192.0.2.0/24, log: true, id: a}\n- {allow: http, id: b}", ""},
		"it limits":    {"in:\n- {allow: http, from: 192.0.2.0/24, limit: 1/second, id: a}\n- {allow: http, id: b}", ""},
		"it is silent": {"in:\n- {deny: udp, from: 192.0.2.0/24, id: a}\n- {deny: any, log: true, id: b}", ""},
		"it is free":   {"in:\n- {allow: http, from: 192.0.2.0/24, id: a}\n- {allow: http, limit: 1/second, id: b}", ""},
		"the default does it": {`in:
- {allow: http, id: a}
- {deny: any, id: b}`, "b no-effect: default"},
		"a last logging deny": {`in:
- {allow: http, id: a}
- {deny: any, log: true, id: b}`, ""},
		"reject is not deny": {"in:\n- {allow: http, id: a}\n- {reject: any, id: b}", ""},
		"not two at once": {`in:
- {allow: tcp/80-90, from: 192.0.2.0/24, id: a}
- {allow: tcp/85-95, from: 192.0.2.0/24, id: b}
- {allow: [tcp/80-84, tcp/91-100], from: 192.0.2.0/24, id: c}`, "a no-effect: b c"},
		"ignored": {`in:
- {allow: http, from: 192.0.2.0/24, id: a, ignore: no-effect}
- {allow: [http, https], from: any, id: b}`, ""},

		"too late": {`sets: {bogons: [198.18.0.0/15, 2001:db8::/32]}
in:
- {allow: [http, https], id: a}
- {deny: any, from: bogons, id: b}`, "a defeats-deny: b"},
		"in time": {`sets: {bogons: [198.18.0.0/15, 2001:db8::/32]}
in:
- {deny: any, from: bogons, id: b}
- {allow: [http, https], id: a}`, ""},
		"two too early": {`in:
- {allow: http, id: a}
- {allow: smtp, id: b}
- {reject: tcp, from: 198.18.0.0/15, id: c}`, "a defeats-deny: b c"},
		"nothing left": {`in:
- {allow: http, id: a}
- {deny: http, from: 198.18.0.0/15, id: b}`, "a defeats-deny: b\nb never-matches: a"},
		"a guest of the office": {`in:
- {allow: imaps, from: 203.0.113.0/24, id: a}
- {deny: any, from: 203.0.113.128/25, id: b}`, "a defeats-deny: b"},
		"a banned one": {`sets: {d: {dynamic: true}}
in:
- {allow: http, id: a}
- {deny: any, from: d, log: true, id: b}`, "a defeats-deny: b"},
		"trust first": {`in:
- {allow: any, from: 203.0.113.0/24, id: a}
- {deny: [smtp, tcp/135-139], log: true, id: b}`, ""},
		"an exception first": {`in:
- {allow: http, from: 203.0.113.7, id: a}
- {deny: http, from: 203.0.113.0/24, id: b}
- {allow: http, id: c}`, ""},
		"a destination": {`out:
- {allow: https, log: true, id: a}
- {deny: any, to: 198.18.0.0/15, id: b}`, "a defeats-deny: b"},
		"a user": {`out:
- {allow: https, log: true, id: a}
- {reject: any, user: sandbox, id: b}`, "a defeats-deny: b"},
		"meant by the allow": {`in:
- {allow: http, id: a, ignore: defeats-deny}
- {deny: any, from: 198.18.0.0/15, id: b, log: true}`, ""},
		"meant by the deny": {`in:
- {allow: http, id: a}
- {deny: any, from: 198.18.0.0/15, id: b, log: true, ignore: defeats-deny}`, ""},

		"the same address": {`in:
- {deny: any, from: [198.18.0.0/15, 192.0.2.0/24], id: a}
- {allow: imaps, from: [192.0.2.7, 203.0.113.0/24], id: b}`, "b contradiction: a"},
		"the same port": {`in:
- {allow: tcp/1000-2000, from: any, id: a}
- {deny: [tcp/1500, tcp/7000], log: true, id: b}`, "b contradiction: a"},
		"crossing ranges": {`in:
- {deny: tcp/1-1000, log: true, id: a}
- {allow: tcp/500-2000, from: 192.0.2.0/24, id: b}`, "b contradiction: a"},
		"deny and reject": {`in:
- {deny: tcp/1-1000, log: true, id: a}
- {reject: tcp/500-2000, log: true, id: b}`, "b contradiction: a"},
		"bogons first": {`in:
- {deny: any, from: [198.18.0.0/15, 192.0.2.0/24], id: a}
- {allow: imaps, from: any, id: b}
- {allow: pop3s, from: 192.0.0.0/16, id: c}`, ""},
		"an exception before the general": {`in:
- {deny: imaps, from: [192.0.2.0/24, 198.18.0.0/15], id: a}
- {allow: imaps, from: [192.0.0.0/16, 203.0.113.0/24], id: b}`, ""},
		"one of two families": {`in:
- {deny: imaps, from: 0.0.0.0/0, log: true, id: a}
- {allow: [imaps, pop3s], from: any, id: b, ignore: one-family}`, ""},
		"a named interface": {`in:
- {deny: any, iface: eth0, log: true, id: a}
- {allow: http, iface: [eth0, eth1], from: any, id: b}`, "b contradiction: a"},
		"all but one interface": {`in:
- {deny: any, iface: eth0, log: true, id: a}
- {allow: http, iface: 'eth*', from: any, id: b}`, ""},
		"decided before both": {`in:
- {allow: imaps, from: 192.0.2.7, log: true, id: x}
- {deny: any, from: [198.18.0.0/15, 192.0.2.0/24], log: true, id: a}
- {allow: imaps, from: [192.0.2.7, 203.0.113.0/24], id: b}`, ""},
		"the same verdict": {`in:
- {allow: tcp/1-1000, from: 192.0.2.0/24, id: a}
- {allow: tcp/500-2000, from: 192.0.2.0/24, id: b}`, ""},
		"contradiction ignored": {`in:
- {deny: any, from: [198.18.0.0/15, 192.0.2.0/24], id: a}
- {allow: imaps, from: [192.0.2.7, 203.0.113.0/24], id: b, ignore: contradiction}`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			text := head
			if strings.HasPrefix(tt.text, "failsafe") {
				text = "version: 1\n"
			}
			p, diags := linted(t, text+tt.text+"\n")
			var got []string
			for _, d := range diags {
				line := []string{}
				for word := range strings.FieldsSeq(strings.NewReplacer(",", " ", "(", " ").Replace(d.Message)) {
					if id := strings.Trim(word, `"`); id != word && (len(id) == 1 && id != "d" || id == "d" && strings.Contains(tt.text, "id: d") || len(id) > 2) {
						line = append(line, id)
					}
				}
				if strings.Contains(d.Message, "the default") {
					line = append(line, "default")
				}
				got = append(got, fmt.Sprintf("%s %s: %s", line[0], d.Code, strings.Join(line[1:], " ")))
				if d.Packet == "" {
					t.Errorf("%s has no packet", d)
				} else if _, err := policy.NewQuery(p, policy.Options{Now: now}).Words(strings.Fields(d.Packet)); err != nil {
					t.Errorf("%s: %s: %v", d, d.Packet, err)
				}
			}
			if d := cmp.Diff(tt.want, strings.Join(got, "\n")); d != "" {
				t.Errorf("-want +got:\n%s\n%s\n%v", d, tt.text, diags)
			}
		})
	}
}
