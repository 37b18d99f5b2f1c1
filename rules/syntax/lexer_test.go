package syntax

import "testing"

// FuzzTags holds that no tag passes unreported: the lexer, which knows nothing of the library, finds no other.
func FuzzTags(f *testing.F) {
	for _, s := range []string{
		"a: ! b", "a: !b", "[! a, !b]", "- ! a", "a: &x ! b", "&x\n! b", "a b\n  ! c", "a: |\n ! b", "'! a'", "a ! b", "? ! a\n: b", "{a: ! b}",
		"a:\n  ! b: c", "! a: b", "- - ! a", "# ! a\nb: c ! d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, src string) {
		if _, diags := Parse("f", []byte(src)); diags.HasErrors() {
			return
		}
		l := newLexer(newText("f", []byte(src)))
		for tok := l.next(); tok.kind != tokEnd; tok = l.next() {
			if tok.kind == tokTag {
				t.Fatalf("%d: the tag %q was not reported", tok.line, src[tok.start:tok.end])
			}
		}
	})
}
