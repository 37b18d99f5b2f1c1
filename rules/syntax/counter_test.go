package syntax

import (
	"bytes"
	"testing"

	"gopkg.in/yaml.v3"

	"ringwall/rules/diag"
)

// FuzzCount holds that the library never makes more nodes of a text than were counted before it was asked: the limit on
// values is one on memory.
func FuzzCount(f *testing.F) {
	for _, s := range []string{
		"a", "a: b", "- a\n- b", "[a, b]", "{a: b, c}", "[a: b, : , ? c]", "{[], []}", "{? a : b, ? c}", "- -\n-\n", "a:\nb:\n", "? \n: \n", "- - - a\n  -\n",
		"- a # x\n# y\n", "a: |\n b\nc: 'd'\n", "&a b: *a", "!a b: ! c", "a: b\n---\nc: d", "[\"a\":b]", "{\"a\":}", "- ? a\n  : b\n", "a\n b\n c: d", "[a\n b, c]",
		"a:\n- b\nc:\n  - d\n", "- a: b\n  c: d\n-\n  e: f\n", "[[a], {b: [c]}]", "{a: , b: }", "{,}", "[,]", "%YAML 1.1\n---\na", "--- a", "--- |\n a", "&0:", "0: \n---", "[?0]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		text := newText("f", []byte(src))
		var diags diag.List
		if checkCharacters(text, &diags); len(diags) > 0 {
			return
		}
		c := counter{lexer: newLexer(text)}
		for c.next() {
			if c.token.depth+c.token.blocks > maxDepth || c.directives > maxDirectives {
				return
			}
		}
		docs, err := documents(bytes.NewReader(text.src))
		if err != nil {
			return
		}
		nodes := 0
		var walk func(n *yaml.Node)
		walk = func(n *yaml.Node) {
			nodes++
			for _, inner := range n.Content {
				walk(inner)
			}
		}
		for _, d := range docs {
			for _, n := range d.Content {
				walk(n)
			}
		}
		if nodes > c.values() {
			t.Fatalf("%d nodes, and %d were counted", nodes, c.values())
		}
	})
}
