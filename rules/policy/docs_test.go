package policy

import (
	"os"
	"strings"
	"testing"

	"ringwall/rules/diag"
)

// reference is the page that describes the language.
func reference(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/language.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocumentedWords: the reference names every key that is built, and every word that needs no definition.
func TestDocumentedWords(t *testing.T) {
	page := reference(t)
	var words []string
	for _, m := range Mappings() {
		for _, f := range m.Fields {
			words = append(words, f.Name)
		}
	}
	for _, p := range protocolTable {
		words = append(words, p.name)
	}
	for _, n := range icmpTable {
		words = append(words, n.name)
	}
	words = append(words, builtinSets()...)
	for _, w := range words {
		if !strings.Contains(page, "`"+w+"`") && !strings.Contains(page, "`"+w+":") && !strings.Contains(page, "{"+w+":") {
			t.Errorf("docs/language.md does not name %s", w)
		}
	}
}

// sources is files with their text.
type sources map[string]string

func (s sources) Text(file string) ([]byte, bool) { return []byte(s[file]), true }

// TestDocumentedError: the finding that the reference shows is printed so.
func TestDocumentedError(t *testing.T) {
	page := reference(t)
	const file = "version: 1\nin:\n  - {allow: ssh, from: 192.0.2.0/24}\n  - {allow: [htttp, https]}\n"
	_, diags := Load(texts{"web.yaml": file}, "web.yaml", Options{})
	var b strings.Builder
	if err := diag.Print(&b, diags, sources{"web.yaml": file}, diag.Style{}); err != nil {
		t.Fatal(err)
	}
	if shown := "```text\n" + b.String() + "```\n"; !strings.Contains(page, shown) {
		t.Errorf("docs/language.md does not show\n%s", shown)
	}
}
