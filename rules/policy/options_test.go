package policy

import (
	"strings"
	"testing"

	"ringwall/rules/syntax"
)

// TestOwners shows how names of users and groups get their numbers.
func TestOwners(t *testing.T) {
	text := "version: 1\nout:\n" +
		"  - {allow: ssh, user: [alice, bob, root, 7], group: alice}\n" +
		"tests:\n  - {out: ssh, user: bob, expect: allow}\n"
	p, diags := Load(texts{"p": text}, "p", Options{})
	if p == nil {
		t.Fatal(diags)
	}
	if alice, bob := p.Users["alice"], p.Users["bob"]; alice < 1<<31 || bob < 1<<31 || alice == bob {
		t.Errorf("users %v", p.Users)
	}
	if p.Users["root"] != 0 || p.Tests[0].Match.User.Yes[0].ID != p.Users["bob"] {
		t.Errorf("users %v, test %v", p.Users, p.Tests[0].Match.User)
	}

	known := func(name string) (uint32, bool) { return 1000, name == "alice" || name == "root" }
	p, diags = Load(texts{"p": text}, "p", Options{User: known, Group: known})
	if p != nil || len(diags) != 2 || diags[0].Code != "unknown-user" || diags[0].Message != `this host has no user "bob"` || diags[0].At.Line != 3 || diags[1].At.Line != 5 {
		t.Errorf("%v", diags)
	}
	p, diags = Load(texts{"p": strings.ReplaceAll(text, "bob", "alice")}, "p", Options{User: known, Group: known})
	if p == nil || p.Users["alice"] != 1000 || p.Groups["alice"] != 1000 || p.Lists[Out][0].Match.User.Yes[0].ID != 1000 {
		t.Errorf("%v", diags)
	}
}

// TestLimits shows that each limit is stated where it is exceeded.
func TestLimits(t *testing.T) {
	chain := texts{}
	for i := range maxInclude + 1 {
		chain[strings.Repeat("x", i+1)] = "version: 1\ninclude: " + strings.Repeat("x", i+2) + "\n"
	}
	chain[strings.Repeat("x", maxInclude+2)] = ""
	tests := map[string]struct {
		files texts
		want  string
	}{
		"include": {chain, "files include each other at most 32 deep"},
		"rules":   {texts{"x": "version: 1\nin:\n" + strings.Repeat("- deny: any"+strings.Repeat(" ", 50)+"\n", maxRules+5)}, "a policy has at most 100000 rules"},
		"name":    {texts{"x": "version: 1\nsets: {" + strings.Repeat("n", 49) + ": 10.0.0.1}\n"}, "the name has 49 characters, at most 48 are allowed"},
		"file":    {texts{"x": "version: 1\n#" + strings.Repeat("#", syntax.MaxBytes)}, `"x" is too large: a policy has at most 16 MB in all its files`},
	}
	for name, tt := range tests {
		_, diags := Load(tt.files, "x", Options{})
		if len(diags) != 1 || diags[0].Message != tt.want {
			t.Errorf("%s: %v", name, diags[:min(len(diags), 3)])
		}
	}
}
