package diag_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/diag"
)

// texts is sources by name.
type texts map[string]string

func (t texts) Text(file string) ([]byte, bool) {
	s, ok := t[file]
	return []byte(s), ok
}

// at is a place in the file "f".
func at(line, col, length int) diag.Span {
	return diag.Span{Pos: diag.Pos{File: "f", Line: line, Col: col}, Len: length}
}

// printed is what Print writes.
func printed(t *testing.T, l diag.List, from diag.Sources, style diag.Style) string {
	t.Helper()
	var out bytes.Buffer
	if err := diag.Print(&out, l, from, style); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestPrint(t *testing.T) {
	var l diag.List
	l.Errorf(at(2, 12, 5), "unknown-service", "unknown service %q", "htttp").WithHint("did you mean %q?", "http").
		Also(diag.Span{Pos: diag.Pos{File: "g", Line: 1, Col: 1}, Len: 3}, "first here").
		Also(diag.Span{Pos: diag.Pos{File: "h", Line: 7, Col: 3}, Len: 3}, "and here")
	l.Warnf(at(9, 1, 1), "beyond", "a line that is not there")
	l.Warnf(at(3, 0, 0), "whole-line", "a line without a column")
	l.Warnf(diag.Span{Pos: diag.Pos{File: "f"}}, "whole-file", "a file without a line")
	l.Errorf(diag.Span{}, "nowhere", "no place")
	l.Remarkf(diag.Span{}, "not-decided", "too much").Packet = "in tcp/22 from 192.0.2.1"
	const want = `f:2:12: error: unknown service "htttp" [unknown-service]
    2 |   - allow: htttp  # x
      |            ^~~~~
      = hint: did you mean "http"?
  g:1:1: first here
    1 | abc
      | ^~~
  h:7:3: and here
f:9:1: warning: a line that is not there [beyond]
f:3: warning: a line without a column [whole-line]
    3 |     from: a
f: warning: a file without a line [whole-file]
error: no place [nowhere]
note: too much [not-decided]
      = see: ringwall explain in tcp/22 from 192.0.2.1
`
	from := texts{"f": "in:\n  - allow: htttp  # x\n    from: a\n", "g": "abc\r\n"}
	if diff := cmp.Diff(want, printed(t, l, from, diag.Style{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, want := l.Summary(), "2 errors, 3 warnings, 1 note"; got != want {
		t.Errorf("summary %q, want %q", got, want)
	}
	if got := printed(t, l[:1], nil, diag.Style{}); strings.Contains(got, "|") {
		t.Errorf("without sources:\n%s", got)
	}
}

func TestSummaryOfOne(t *testing.T) {
	var l diag.List
	if got := l.Summary(); got != "" {
		t.Errorf("of nothing: %q", got)
	}
	l.Warnf(diag.Span{}, "a", "b")
	if got := l.Summary(); got != "1 warning" {
		t.Errorf("got %q", got)
	}
}

// TestMark holds that the mark stands under what is meant, whatever is before it.
func TestMark(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		at   diag.Span
		want string // the line and the mark
	}{
		"first":          {"abc", at(1, 1, 1), "abc\n^"},
		"last":           {"abc", at(1, 3, 1), "abc\n  ^"},
		"after the end":  {"abc", at(1, 4, 1), "abc\n   ^"},
		"too long":       {"abc", at(1, 2, 99), "abc\n ^~"},
		"no length":      {"abc", at(1, 2, 0), "abc\n ^"},
		"tab":            {"\ta:\tb", at(1, 5, 1), "    a:  b\n        ^"},
		"tab itself":     {"\ta", at(1, 1, 1), "    a\n^~~~"},
		"wide":           {"日本: 語a", at(1, 5, 2), "日本: 語a\n      ^~~"},
		"combining":      {"e\u0301: x", at(1, 5, 1), "e\u0301: x\n   ^"},
		"control before": {"a\x1b[2Jb: x", at(1, 9, 1), "a\\x1b[2Jb: x\n           ^"},
		"control itself": {"a\x1bb", at(1, 2, 1), "a\\x1bb\n ^~~~"},
		"invalid":        {"a\xffb", at(1, 3, 1), "a\\xffb\n     ^"},
		"bidi":           {"a\u202eb", at(1, 3, 1), "a\\u202eb\n       ^"},
		"pictograph":     {"😀x", at(1, 2, 1), "😀x\n  ^"},
		"tag character":  {"\U000e0041x", at(1, 2, 1), "\\U000e0041x\n          ^"},
		"mark of order":  {"\ufeffabc", at(1, 2, 1), "abc\n ^"},
	} {
		t.Run(name, func(t *testing.T) {
			var l diag.List
			l.Errorf(c.at, "x", "y")
			out := printed(t, l, texts{"f": c.line}, diag.Style{})
			rows := strings.Split(out, "\n")
			got := strings.TrimPrefix(rows[1], "    1 | ") + "\n" + strings.TrimPrefix(rows[2], "      | ")
			if got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

// TestLongLine holds that of a long line the part around the mark is shown.
func TestLongLine(t *testing.T) {
	line := strings.Repeat("a", 1<<20) + "HERE" + strings.Repeat("b", 1<<20)
	var l diag.List
	l.Errorf(at(1, 1<<20+1, 4), "x", "y")
	rows := strings.Split(printed(t, l, texts{"f": line}, diag.Style{}), "\n")
	if len(rows[1]) > 200 || len(rows[1]) < 100 {
		t.Errorf("%d columns are shown", len(rows[1]))
	}
	if i := strings.Index(rows[2], "^~~~"); i < 0 || !strings.HasPrefix(rows[1][i:], "HERE") {
		t.Errorf("the mark is elsewhere:\n%s\n%s", rows[1], rows[2])
	}
}

// TestTerminal holds that no text reaches the terminal as a command, from wherever it comes.
func TestTerminal(t *testing.T) {
	const evil = "\x1b]0;x\x07\r\n\u009b2J\u2028\u202e\xff"
	l := diag.List{{
		Code: evil, Message: evil, Hint: evil, At: diag.Span{Pos: diag.Pos{File: evil, Line: 1, Col: 1}, Len: 1},
		Related: []diag.Note{{At: diag.Span{Pos: diag.Pos{File: evil, Line: 1}}, Message: evil}},
	}}
	out := printed(t, l, texts{evil: evil}, diag.Style{})
	for _, r := range out {
		if r != '\n' && (r < ' ' || r >= 0x7f) {
			t.Fatalf("%U in\n%q", r, out)
		}
	}
	if n := strings.Count(out, "\n"); n != 6 {
		t.Errorf("%d lines:\n%s", n, out)
	}
}

func TestColor(t *testing.T) {
	var l diag.List
	l.Errorf(at(1, 1, 1), "x", "y")
	l.Warnf(at(1, 1, 1), "x", "y")
	plain := printed(t, l, texts{"f": "a"}, diag.Style{})
	if strings.Contains(plain, "\x1b") {
		t.Errorf("colour without being asked: %q", plain)
	}
	color := printed(t, l, texts{"f": "a"}, diag.Style{Color: true})
	for _, want := range []string{"\x1b[1;31merror:\x1b[0m", "\x1b[1;33mwarning:\x1b[0m", "\x1b[1;31m^\x1b[0m"} {
		if !strings.Contains(color, want) {
			t.Errorf("no %q in %q", want, color)
		}
	}
}

// TestJSON holds the names of the fields, and that a list comes back whole.
func TestJSON(t *testing.T) {
	var l diag.List
	l.Errorf(at(2, 3, 4), "code", "message").WithHint("hint").Also(at(5, 6, 7), "note")
	l.Warnf(diag.Span{Pos: diag.Pos{File: "f"}}, "w", "of the whole file").Packet = "in any"
	l.Remarkf(diag.Span{}, "r", "remark")
	data, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"severity":"error","code":"code","message":"message","hint":"hint","file":"f","line":2,"column":3,"length":4,` +
		`"related":[{"message":"note","file":"f","line":5,"column":6,"length":7}]},` +
		`{"severity":"warning","code":"w","message":"of the whole file","packet":"in any","file":"f"},` +
		`{"severity":"note","code":"r","message":"remark"}]`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var back diag.List
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(l, back); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if data, _ := json.Marshal(struct{ D diag.List }{}); string(data) != `{"D":[]}` {
		t.Errorf("an empty list is %s", data)
	}
	if err := json.Unmarshal([]byte(`[{"severity":"fatal","message":"x"}]`), &back); err == nil {
		t.Error("an unknown severity was taken")
	}
}

func TestSort(t *testing.T) {
	var l diag.List
	l.Warnf(at(2, 1, 1), "x", "d")
	l.Errorf(at(2, 1, 1), "x", "c")
	l.Errorf(at(1, 9, 1), "x", "b")
	l.Errorf(diag.Span{Pos: diag.Pos{File: "e", Line: 7}}, "x", "a")
	l.Sort()
	var got strings.Builder
	for _, d := range l {
		got.WriteString(d.Message)
	}
	if got.String() != "abcd" {
		t.Errorf("sorted: %s", got.String())
	}
}
