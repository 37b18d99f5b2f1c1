package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/addrset"
)

// TestEmergencyText shows that the text loads by itself, without a finding, and admits what failsafe does or SSH.
func TestEmergencyText(t *testing.T) {
	const ssh = "emergency-ssh: allow ssh from any"
	tests := map[string]struct{ policy, rules string }{
		"none": {"version: 1\n", ssh},
		"some": {"version: 1\n" +
			"services: {admin: [tcp/2222, web]}\n" +
			"sets: {banned: {dynamic: true}, office: [10.0.0.0/8, 2001:db8::/32, not 10.1.0.0-10.1.0.9]}\n" +
			"failsafe: {admin: [office, not banned], ssh: 192.0.2.1, icmp/echo-request: banned}\n" +
			"include: more.yaml\n", ""},
		"dynamic": {"version: 1\nsets: {friends: {dynamic: true}}\nfailsafe: {ssh: friends}\n", ssh},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			files := texts{"p.yaml": tt.policy, "more.yaml": "services: {web: tcp/8443}\nfailsafe: {ssh: 198.51.100.0/24, any: 192.0.2.9}\n"}
			p, diags := Load(files, "p.yaml", Options{})
			if p == nil {
				t.Fatal(diags)
			}
			text := EmergencyText(p.Failsafe)
			got, diags := Load(texts{"e.yaml": text}, "e.yaml", Options{})
			if len(diags) > 0 {
				t.Fatalf("%v\n%s", diags, text)
			}
			if d := cmp.Diff(admitted(p), admitted(got), cmp.Comparer(addrset.Addrs.Equal)); d != "" {
				t.Errorf("-want +got:\n%s\n%s", d, text)
			}
			if got.Defaults != [3]Verdict{Deny, Allow, Deny} || got.Base != DefaultBase() || got.Transit {
				t.Errorf("%+v", got)
			}
			rules := ""
			for _, r := range got.Lists[In] {
				rules += r.ID + ": " + r.Text
			}
			if rules != tt.rules {
				t.Errorf("rules %q, want %q", rules, tt.rules)
			}
		})
	}
}

// admitted is what failsafe admits whatever dynamic sets hold, word by word.
func admitted(p *Policy) map[string]addrset.Addrs {
	m := map[string]addrset.Addrs{}
	for _, f := range p.Failsafe {
		if f.From.Static().IsEmpty() {
			continue
		}
		for _, w := range f.Builtin {
			m[w] = m[w].Union(f.From.Static())
		}
	}
	return m
}
