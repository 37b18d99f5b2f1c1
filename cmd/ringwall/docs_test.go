package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ringwall/rules/check"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

var updateDocs = flag.Bool("update-docs", false, "write the generated parts of docs/")

// TestDocumentedServices keeps the reference's table of built-in services true.
func TestDocumentedServices(t *testing.T) {
	const begin, end = "<!-- services: begin -->\n", "<!-- services: end -->\n"
	path := filepath.Join("..", "..", "docs", "language.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the services", path)
	}
	var table strings.Builder
	table.WriteString("| name | means |\n|---|---|\n")
	for _, s := range policy.BuiltinServices() {
		fmt.Fprintf(&table, "| `%s` | %s |\n", s.Name, s.Text)
	}
	want := head + begin + table.String() + end + tail
	if string(text) == want {
		return
	}
	if !*updateDocs {
		t.Fatalf("%s does not list the built-in services as they are; go test ./cmd/ringwall -run Docum -update-docs", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestDocumentedLints asks for a paragraph of docs/lints.md on every lint, and for no other.
func TestDocumentedLints(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "lints.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for line := range strings.Lines(string(text)) {
		if code, ok := strings.CutPrefix(line, "## "); ok {
			documented = append(documented, strings.TrimSpace(code))
		}
	}
	built := policy.LintCodes()
	slices.Sort(built)
	if !slices.Equal(documented, built) {
		t.Errorf("docs/lints.md has %v, built are %v", documented, built)
	}
}

// TestDocumentedPolicies loads every whole policy of the documentation and proves its tests.
func TestDocumentedPolicies(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, filepath.Join("..", "..", "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		rest := string(text)
		for {
			var block string
			var ok bool
			if _, rest, ok = strings.Cut(rest, "```yaml\n"); !ok {
				break
			}
			block, rest, _ = strings.Cut(rest, "```")
			if !strings.HasPrefix(block, "version: 1") {
				continue
			}
			seen++
			files := source.Memory{"/policy.yaml": block}
			p, diags := policy.Load(files, "/policy.yaml", policy.Options{})
			if p != nil {
				diags = append(diags, check.TestDiagnostics(check.Tests(p))...)
			}
			if diags.HasErrors() {
				t.Errorf("a policy of %s: %v", page, diags)
			}
		}
	}
	if seen < 2 {
		t.Errorf("only %d policies found in the documentation", seen)
	}
}
