package configs_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"ringwall/rules/check"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// examples is the entry files of this directory.
func examples(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d example policies: %v", len(files), err)
	}
	return files
}

// example loads a policy of this directory, which must have no finding at all.
func example(t *testing.T, file string) *policy.Policy {
	t.Helper()
	p, diags := policy.Load(source.OS{}, file, policy.Options{})
	if p == nil || len(diags) > 0 {
		t.Fatalf("%s: %v", file, diags)
	}
	return p
}

// TestExamplesAreStrict: no error, no warning and no failing test in any shipped policy.
func TestExamplesAreStrict(t *testing.T) {
	for _, file := range examples(t) {
		p := example(t, file)
		if diags := check.Lint(p, time.Now().Unix()); len(diags) > 0 {
			t.Errorf("%s: %v", file, diags)
		}
		if diags := check.TestDiagnostics(check.Tests(p)); len(diags) > 0 {
			t.Errorf("%s: %v", file, diags)
		}
		if len(p.Tests) == 0 && file != "starter.yaml" {
			t.Errorf("%s has no tests", file)
		}
	}
}

// TestTourShowsEveryKey: a key that is built stands in the tour, or in a file that it includes. Keys of rules need stand in one
// list only.
func TestTourShowsEveryKey(t *testing.T) {
	seen := map[string]map[string]bool{} // by mapping
	note := func(mapping string, keys any) {
		if seen[mapping] == nil {
			seen[mapping] = map[string]bool{}
		}
		if m, ok := keys.(map[string]any); ok {
			for key := range m {
				seen[mapping][key] = true
			}
		}
	}
	for _, file := range example(t, "tour.yaml").Files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		root := tree(t, file, string(text)).(map[string]any)
		note("policy", root)
		note("defaults", root["defaults"])
		note("base", root["base"])
		if sets, ok := root["sets"].(map[string]any); ok {
			for set := range maps.Values(sets) {
				note("set", set)
			}
		}
		for list, mapping := range map[string]string{"in": "rule", "out": "rule", "forward": "rule", "tests": "test"} {
			items, _ := root[list].([]any)
			for _, item := range items {
				note(mapping, item)
			}
		}
	}
	for _, m := range policy.Mappings() {
		shown := seen[m.Name]
		switch m.Name {
		case "in", "out", "forward":
			shown = seen["rule"]
		}
		for _, f := range m.Fields {
			if f.Built && !shown[f.Name] {
				t.Errorf("the tour does not show %s.%s", m.Name, f.Name)
			}
		}
	}
}

// TestExamplesNoticeMutations takes one part out of an example at a time, or turns a default round: the example's tests must
// tell. A mutant that survives is a rule that could go missing without anybody noticing.
func TestExamplesNoticeMutations(t *testing.T) {
	for _, file := range examples(t) {
		p := example(t, file)
		if len(p.Tests) == 0 {
			continue
		}
		try := func(what string, mutant policy.Policy) {
			if len(check.TestDiagnostics(check.Tests(&mutant))) == 0 {
				t.Errorf("%s: no test misses %s", file, what)
			}
		}
		for dir, list := range p.Lists {
			for i, r := range list {
				m := *p
				m.Lists[dir] = slices.Delete(slices.Clone(list), i, i+1)
				try("rule "+r.ID, m)
			}
		}
		for i, f := range p.Failsafe {
			m := *p
			m.Failsafe = slices.Delete(slices.Clone(p.Failsafe), i, i+1)
			try("failsafe "+f.Text, m)
		}
		if len(p.Block.Terms) > 0 {
			m := *p
			m.Block = policy.Addrs{}
			try("block", m)
		}
		for _, dir := range policy.Dirs {
			if dir == policy.Forward && !p.Transit || slices.ContainsFunc(p.Lists[dir], takesAll) {
				continue
			}
			m := *p
			m.Defaults[dir] = policy.Allow
			if p.Defaults[dir] == policy.Allow {
				m.Defaults[dir] = policy.Deny
			}
			try("the default of "+dir.String(), m)
		}
	}
}

// takesAll tells whether a rule leaves nothing to the default.
func takesAll(r *policy.Rule) bool {
	m := &r.Match
	return r.Expires == 0 && m.What.IsAny() && m.From.IsAny() && m.To.IsAny() && m.IIf.IsAny() && m.OIf.IsAny() &&
		m.MAC.IsAny() && m.Mark.IsAny() && m.User.IsAny() && m.Group.IsAny()
}
