package diag_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/diag"
)

// FuzzPrint holds that what a terminal is given is text and nothing else, whatever stands in a finding or in the
// source: no control character but the line feed, nothing that turns or hides text, no byte that is no UTF-8. With
// colours the only escapes are those that set them. No line goes on for ever, and JSON holds what was found.
func FuzzPrint(f *testing.F) {
	f.Add("p.yaml", "unknown \x1b[2J", "write `a`", "see \u202e", "in:\n  - \x1b]0;x\x07\n", 2, 5, 3)
	f.Add("\x1b[31m\n", "\r\n", "\x00", "\u2028\u0085", "\xff\xfe\x80", 1, 2, 1)
	f.Add("a", "b", "", "", strings.Repeat("e\u0301", 1000), 1, 900, 9)
	f.Add("a", "b", "", "", strings.Repeat("\u0301", 2000), 1, 1, 9)
	f.Add("a", "b", "c", "d", "\t\t\t"+strings.Repeat("日", 300)+"\r\r\n", 1, 290, 1000)
	f.Add("a", "b", "c", "d", "\ufeff\ufeff\u200d\U000e0041\u00a0", -1, -5, -9)
	f.Fuzz(func(t *testing.T, file, message, hint, note, text string, line, col, length int) {
		var l diag.List
		at := diag.Span{Pos: diag.Pos{File: file, Line: line, Col: col}, Len: length}
		l.Errorf(at, "code"+hint, "%s", message).WithHint("%s", hint).Also(at, "%s", note)
		l.Warnf(diag.Span{Pos: diag.Pos{File: file, Line: col, Col: line}}, "x", "%s", note)
		for _, color := range []bool{false, true} {
			var b bytes.Buffer
			if err := diag.Print(&b, l, texts{file: text}, diag.Style{Color: color}); err != nil {
				t.Fatal(err)
			}
			out := b.String()
			if color {
				for _, code := range []string{"\x1b[1m", "\x1b[1;31m", "\x1b[1;33m", "\x1b[34m", "\x1b[0m"} {
					out = strings.ReplaceAll(out, code, "")
				}
			}
			if !utf8.ValidString(out) {
				t.Fatalf("%q is no UTF-8", out)
			}
			for i, r := range out {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Fatalf("%U is printed: %q", r, out[max(0, i-20):i])
				}
			}
			longest := 20_000 + 12*(len(file)+len(message)+len(hint)+len(note)) // of \U0010ffff for 4 bytes
			for row := range strings.Lines(out) {
				if len(row) > longest {
					t.Fatalf("a line of %d bytes", len(row))
				}
			}
		}
		data, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		var again diag.List
		if err := json.Unmarshal(data, &again); err != nil {
			t.Fatal(err)
		}
		if utf8.ValidString(strings.Join([]string{file, message, hint, note}, " ")) {
			if diff := cmp.Diff(l, again); diff != "" {
				t.Fatalf("JSON lost something: %s", diff)
			}
		}
	})
}
