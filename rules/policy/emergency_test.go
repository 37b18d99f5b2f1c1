package policy

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/addrset"
)

// TestEmergencyText shows that the text loads by itself, without a finding, and means what Emergency does.
func TestEmergencyText(t *testing.T) {
	tests := map[string]struct{ policy, failsafe string }{
		"none": {"version: 1\n", ""},
		"some": {"version: 1\n" +
			"services: {admin: [tcp/2222, web]}\n" +
			"sets: {banned: {dynamic: true}, office: [10.0.0.0/8, 2001:db8::/32, not 10.1.0.0-10.1.0.9]}\n" +
			"failsafe: {admin: [office, not banned], ssh: 192.0.2.1, icmp/echo-request: banned}\n" +
			"include: more.yaml\n", ""},
		"dynamic": {"version: 1\nsets: {friends: {dynamic: true}}\nfailsafe: {ssh: friends}\n", ""},
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
			want := Emergency(p.Failsafe)
			if d := cmp.Diff(admitted(want), admitted(got), cmp.Comparer(addrset.Addrs.Equal)); d != "" {
				t.Errorf("-want +got:\n%s\n%s", d, text)
			}
			if got.Defaults != want.Defaults || got.Base != want.Base || got.Transit || want.Transit {
				t.Errorf("%+v\n%+v", got, want)
			}
			if name != "some" {
				r := got.Lists[In]
				if len(r) != 1 || r[0].ID != want.Lists[In][0].ID || dumpMatch(&r[0].Match) != dumpMatch(&want.Lists[In][0].Match) {
					t.Errorf("rules: %v", r)
				}
			} else if len(got.Lists[In]) > 0 || len(want.Lists[In]) > 0 {
				t.Error("rules beside failsafe")
			}
		})
	}
}

// admitted is what failsafe admits, word by word.
func admitted(p *Policy) map[string]addrset.Addrs {
	m := map[string]addrset.Addrs{}
	for _, f := range p.Failsafe {
		for _, w := range f.Builtin {
			m[w] = m[w].Union(f.From.Static())
		}
	}
	return m
}
