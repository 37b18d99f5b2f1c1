package syntax_test

import (
	"strings"
	"testing"
	"time"

	"ringwall/rules/syntax"
)

// TestEncodings holds what is said of bytes that a text can't show.
func TestEncodings(t *testing.T) {
	for name, c := range map[string]struct {
		src  string
		want string // the first finding, as it is printed
	}{
		"latin1":      {"a: b\nnote: caf\xe9\n", "f:2:10: error: the file is not UTF-8: here stands the byte 0xe9 [bad-encoding]\n    2 | note: caf\\xe9\n      |          ^~~~\n"},
		"utf16le":     {"\xff\xfea\x00:\x00", "f:1:1: error: the file is not UTF-8 but UTF-16 or UTF-32 [bad-encoding]"},
		"utf16be":     {"\xfe\xff\x00a\x00:", "f:1:1: error: the file is not UTF-8 but UTF-16 or UTF-32 [bad-encoding]"},
		"utf16 bare":  {"a\x00:\x00 \x00b\x00", "f:1:1: error: the file is not UTF-8 but UTF-16 or UTF-32 [bad-encoding]"},
		"nul":         {"a: b\x00c\n", "f:1:5: error: the file has NUL characters: it is no text [control-character]\n    1 | a: b\\x00c\n      |     ^~~~\n"},
		"escape":      {"# \x1b[2J\na: b\n", "f:1:3: error: the control character U+001B [control-character]\n    1 | # \\x1b[2J\n      |   ^~~~\n"},
		"delete":      {"a: \x7f\n", "f:1:4: error: the control character U+007F [control-character]"},
		"lone return": {"# a\rin: b\n", "f:1:4: error: a carriage return without a line feed [control-character]"},
		"next line":   {"# a\u0085in: b\n", "f:1:4: error: the character U+0085: some programs end a line here, and others don't [control-character]"},
		"line sep":    {"# a\u2028in: b\n", "f:1:4: error: the character U+2028:"},
		"para sep":    {"# a\u2029in: b\n", "f:1:4: error: the character U+2029:"},
		"bidi":        {"# \u202e\na: b\n", "f:1:3: error: the character U+202E, which makes text show in another order than it stands [control-character]"},
		"inner bom":   {"a: b\ufeffc\n", "f:1:5: error: the character U+FEFF can't be seen [invisible-character]"},
		"empty":       {"", "f:1:1: error: the file is empty [empty-file]"},
		"blanks":      {" \r\n\n", "f:1:1: error: the file is empty [empty-file]"},
		"only bom":    {"\ufeff", "f:1:1: error: the file is empty [empty-file]"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, out := parse(t, "f", []byte(c.src)); !strings.HasPrefix(out, c.want) {
				t.Errorf("got:\n%swant:\n%s", out, c.want)
			}
		})
	}
}

// TestLineEnds holds that carriage returns and a byte order mark change neither texts nor places.
func TestLineEnds(t *testing.T) {
	const src = "a: b\nc:\n  - \"d\"\n  - e # f\ng: |\n  h\n  i\nj: k\n  l\n"
	want, out := parse(t, "f", []byte(src))
	if out != "" {
		t.Fatal(out)
	}
	for name, text := range map[string]string{
		"carriage returns": strings.ReplaceAll(src, "\n", "\r\n"),
		"byte order mark":  "\ufeff" + src,
		"no last line end": strings.TrimSuffix(src, "\n"),
	} {
		got, out := parse(t, "f", []byte(text))
		if out != "" {
			t.Errorf("%s: %s", name, out)
		}
		var a, b strings.Builder
		dump(&a, want, "", "")
		dump(&b, got, "", "")
		if a.String() != b.String() {
			t.Errorf("%s:\n%swant:\n%s", name, b.String(), a.String())
		}
	}
}

// TestLimits holds that no text uses the machine up, and that each limit is named in the error. What is refused is
// refused at once.
func TestLimits(t *testing.T) {
	r := strings.Repeat
	for name, c := range map[string]struct {
		src  string
		code string // empty: it is fine
	}{
		"brackets":                    {r("[", 1<<20), "too-large"},
		"brackets, closed":            {"a: " + r("[", 10_000) + r("]", 10_000), "too-large"},
		"brackets, many times":        {r("- "+r("[", 9000)+r("]", 9000)+"\n", 800), "too-large"},
		"braces":                      {r("{a: ", 10_000), "too-large"},
		"dashes":                      {r("- ", 10_000) + "a", "too-large"},
		"questions":                   {r("? ", 10_000) + "a", "too-large"},
		"indentation":                 {stairs(1000), "too-large"},
		"33 deep":                     {r("[", 33) + r("]", 33), "too-large"},
		"32 deep":                     {"# a list at the top is the policy's affair\n" + r("[", 31) + r("]", 31), ""},
		"brackets in a text":          {"note: \"" + r("[", 10_000) + "\"\nb: |\n  " + r("[", 10_000) + "\nc: a" + r("[", 10_000) + "\n", ""},
		"a long text":                 {"a: " + r("b", 8<<20) + "\n", ""},
		"a long quotation":            {"a: \"" + r("b ", 4<<20) + "\"\n", ""},
		"a long key":                  {r("k", 1<<20) + ": a\n", "too-large"},
		"items":                       {"a: [" + r("b,", 1_100_000) + "]\n", "too-large"},
		"lines":                       {r("- a\n", 1_100_000), "too-large"},
		"nothing":                     {"a: [" + r("{},", 200_000) + "]\n", "too-large"},
		"dashes without values":       {r("-\n", 200_000), "too-large"},
		"keys without values":         {"{" + r("a,", 200_000) + "}\n", "too-large"},
		"pairs":                       {"[" + r("a: ,", 200_000) + "]\n", "too-large"},
		"comments":                    {"a: b\n" + r("#\n", 200_000), "too-large"},
		"directives":                  {r("%TAG ! a\n", 10) + "---\na: b\n", "too-large"},
		"aliases of a long text":      {"a: &a " + r("b", 100_000) + "\nb: [" + r("*a,", 100) + "]\n", "too-large"},
		"size":                        {"#" + r("a", 16<<20) + "\n", "too-large"},
		"one line":                    {"a: [" + r("192.0.2.1, ", 500_000) + "c]\n", ""},
		"one line, blanks at its end": {"a: [" + r("b, ", 100_000) + "c]" + r(" ", 1<<20) + "\n", ""},
		"one line, tags":              {"a: [" + r("! b, ", 50_000) + "c]\n", "too-many"},
		"one line, no blanks":         {"a: [" + r("b\u00a0c, ", 100_000) + "c]\n", "too-many"},
		"one line, empty values":      {"a: [" + r("{b: }, ", 20_000) + "c]\n", ""},
		"one line, anchors":           {"a: [" + r("&a b, *a, ", 20_000) + "c]\n", ""},
		"duplicates":                  {"x: {" + r("a: b, ", 50_000) + "}\n", "too-many"},
		"aliases":                     {"a: &a " + "[" + r("x,", 1000) + "]\nb: [" + r("*a,", 200) + "]\n", "too-large"},
		"aliases, deep":               {aliasStairs(50), "too-large"},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			tree, diags := syntax.Parse("f", []byte(c.src))
			took := time.Since(start)
			if took > 30*time.Second {
				t.Errorf("took %v", took)
			}
			if c.code == "" {
				if tree == nil || len(diags) > 0 {
					t.Errorf("got %v", diags)
				}
				return
			}
			if !diags.HasErrors() {
				t.Fatal("no error")
			}
			found := false
			for _, d := range diags {
				found = found || d.Code == c.code
			}
			if !found {
				t.Errorf("no %s in %d findings, the first: %v", c.code, len(diags), diags[0])
			}
		})
	}
}

// stairs is mappings within each other, a line each.
func stairs(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// aliasStairs is lists that hold the one before, so that aliases make them deep.
func aliasStairs(n int) string {
	var b strings.Builder
	b.WriteString("- &a00 [x]\n")
	for i := range n {
		b.WriteString("- &a" + itoa(i+1) + " [*a" + itoa(i) + "]\n")
	}
	return b.String()
}

func itoa(n int) string { return string([]byte{byte('0' + n/10), byte('0' + n%10)}) }
