package compile

import (
	"os"
	"testing"

	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// load reads a policy from its text.
func load(t testing.TB, text string) *policy.Policy {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("policy.yaml", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, diags := policy.Load(source.OS{}, "policy.yaml", policy.Options{Now: 1_700_000_000})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}
