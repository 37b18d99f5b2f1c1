package syntax_test

import (
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// FuzzParse holds for any bytes: no panic, a tree or an error, places that exist, and plain texts that stand where
// the tree says.
func FuzzParse(f *testing.F) {
	archives, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range archives {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, in := range a.Files {
			if strings.HasSuffix(in.Name, ".yaml") {
				f.Add(in.Data)
			}
		}
	}
	for _, s := range []string{"\xff\xfea\x00", "a: b\x00", "\ufeffa: b\r\n", "# \u2028", "*", "&", "!", "|", "- |\n", "[", "{", "\"", "'", "%", "? ", "---", "..."} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		tree, diags := syntax.Parse("f", src)
		if tree == nil && !diags.HasErrors() {
			t.Fatal("neither a tree nor an error")
		}
		if err := diag.Print(io.Discard, diags, one(src), diag.Style{}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(bytes.TrimPrefix(src, []byte("\ufeff"))), "\n")
		exists := func(at diag.Span) string {
			if at.Line < 1 || at.Line > len(lines) || at.Col < 1 || at.Len < 1 {
				t.Fatalf("%v+%d: no such place", at.Pos, at.Len)
			}
			line := []rune(lines[at.Line-1])
			if at.Col > len(line)+1 {
				t.Fatalf("%v: beyond the line %q", at.Pos, string(line))
			}
			return string(line[at.Col-1 : min(len(line), at.Col-1+at.Len)])
		}
		for _, d := range diags {
			exists(d.At)
			for _, n := range d.Related {
				exists(n.At)
			}
			if strings.ContainsAny(d.Message+d.Hint, "\n\x1b") || !utf8.ValidString(d.Message+d.Hint) {
				t.Fatalf("%q %q: not fit to print", d.Message, d.Hint)
			}
		}
		if tree == nil || diags.HasErrors() {
			return
		}
		seen := map[*syntax.Node]bool{}
		var walk func(n *syntax.Node)
		walk = func(n *syntax.Node) {
			if seen[n] {
				return
			}
			seen[n] = true
			there := exists(n.At)
			if n.Kind == syntax.Scalar && !n.Quoted && there != n.Text && !strings.ContainsAny(n.Text, " \n") {
				t.Fatalf("%v: %q is said to stand where %q stands", n.At.Pos, n.Text, there)
			}
			for _, item := range n.Items {
				walk(item)
			}
			for _, p := range n.Pairs {
				if p.Key.Kind != syntax.Scalar {
					t.Fatalf("%v: a key that is no scalar", p.Key.At.Pos)
				}
				walk(p.Key)
				walk(p.Value)
			}
		}
		walk(tree)
	})
}
