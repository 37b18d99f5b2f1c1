package source_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/source"
)

// answers is all that an FS says to a list of questions, as text.
func answers(from source.FS) []string {
	var out []string
	say := func(err error) string {
		if err == nil {
			return ""
		}
		kinds := ""
		for _, e := range []error{fs.ErrNotExist, fs.ErrPermission, source.ErrNotRegular, source.ErrTooLarge, source.ErrTooMany, path.ErrBadPattern} {
			if errors.Is(err, e) {
				kinds += " " + e.Error()
			}
		}
		return " !" + err.Error() + " (" + kinds + ")"
	}
	for _, name := range []string{"a.yaml", "sub", "missing", "link", "big", "a.yaml"} {
		data, err := from.ReadFile(name, 10)
		out = append(out, name+" "+string(data)+say(err))
	}
	for _, pattern := range []string{"*.yaml", "none/*", "[", "*.yaml"} {
		names, err := from.Glob(pattern)
		for _, n := range names {
			pattern += " " + n
		}
		out = append(out, pattern+say(err))
	}
	for _, name := range []string{"a.yaml", "link", "missing", "loop"} {
		id, err := from.Canonical(name)
		out = append(out, name+" "+id+say(err))
	}
	return out
}

// TestReplay holds that a bundle answers as the files did, errors to the letter, over JSON and without the files.
func TestReplay(t *testing.T) {
	dir := tree(t, map[string]string{"a.yaml": "é\xff", "b.yaml": "", "sub/c": "", "link": "-> a.yaml", "loop": "-> loop", "big": "0123456789ab"})
	rec := source.NewRecorder(source.OS{})
	want := answers(rec)
	if diff := cmp.Diff(answers(source.OS{}), want); diff != "" {
		t.Errorf("a recorder says other than what it records (-files +recorder):\n%s", diff)
	}
	data, err := json.Marshal(rec.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, answers(rec)); diff != "" {
		t.Errorf("what was read once is read again:\n%s", diff)
	}
	var b source.Bundle
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, answers(&b)); diff != "" {
		t.Errorf("(-files +bundle):\n%s", diff)
	}
	if b.Digest() != rec.Bundle().Digest() {
		t.Error("the digest changes on the way")
	}
	again, err := json.Marshal(&b)
	if err != nil || string(again) != string(data) {
		t.Errorf("the JSON changes on the way: %v\n%s\n%s", err, data, again)
	}
	// A bundle of a replay is the same bundle.
	second := source.NewRecorder(&b)
	answers(second)
	if second.Bundle().Digest() != b.Digest() {
		t.Error("a recorded replay has another digest")
	}
	if _, err := b.ReadFile("never", 9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that was never read: %v", err)
	}
	if _, err := b.Canonical("never"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a name that was never resolved: %v", err)
	}
	if text, ok := b.Text("a.yaml"); !ok || string(text) != "é\xff" {
		t.Errorf("text: %q, %v", text, ok)
	}
	if _, ok := b.Text("missing"); ok {
		t.Error("a file that is not there has a text")
	}
}

// TestDigest holds what changes a digest, and what does not.
func TestDigest(t *testing.T) {
	load := func(m source.Memory, patterns ...string) string {
		rec := source.NewRecorder(m)
		for _, name := range []string{"a", "b"} {
			rec.Canonical(name)
			rec.ReadFile(name, 100)
		}
		for _, p := range patterns {
			rec.Glob(p)
		}
		return rec.Bundle().Digest()
	}
	base := load(source.Memory{"a": "xy", "b": "z"}, "*")
	if base != load(source.Memory{"b": "z", "a": "xy"}, "*") {
		t.Error("equal loads have different digests")
	}
	for name, other := range map[string]string{
		"a text":           load(source.Memory{"a": "xy", "b": "w"}, "*"),
		"texts that moved": load(source.Memory{"a": "x", "b": "yz"}, "*"),
		"a file less":      load(source.Memory{"a": "xy"}, "*"),
		"a match more":     load(source.Memory{"a": "xy", "b": "z", "c": ""}, "*"),
		"a pattern more":   load(source.Memory{"a": "xy", "b": "z"}, "*", "c*"),
	} {
		if base == other {
			t.Errorf("%s does not change the digest", name)
		}
	}
	empty := source.Bundle{}
	if len(base) != 64 || base == empty.Digest() {
		t.Errorf("digest %s", base)
	}
}

// TestDigestOfSwappedLinks holds that a symlink which leads to equal files elsewhere changes nothing, as when a
// directory is replaced as a whole, but that two names becoming one file do.
func TestDigestOfSwappedLinks(t *testing.T) {
	tree(t, map[string]string{"v1/a": "x", "v1/b": "x", "v2/a": "x", "v2/b": "-> a", "v3/a": "x", "v3/b": "x", "now": "-> v1"})
	load := func() (string, source.Watched) {
		rec := source.NewRecorder(source.OS{})
		for _, name := range []string{"now/a", "now/b"} {
			rec.Canonical(name)
			rec.ReadFile(name, 10)
		}
		rec.Canonical("now/missing")
		rec.Glob("now/*.yaml")
		return rec.Bundle().Digest(), rec.Watched()
	}
	swap := func(to string) {
		t.Helper()
		if err := os.Remove("now"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, "now"); err != nil {
			t.Fatal(err)
		}
	}
	first, watched := load()
	swap("v3")
	if d, _ := load(); d != first {
		t.Error("equal files elsewhere have another digest")
	}
	swap("v2")
	if d, _ := load(); d == first {
		t.Error("two names of one file have the digest of two files")
	}
	wd, err := source.OS{}.Canonical(".")
	if err != nil {
		t.Fatal(err)
	}
	want := source.Watched{
		Files: []string{wd + "/v1/a", wd + "/v1/b", "now/a", "now/b", "now/missing"},
		Globs: []string{"now/*.yaml"},
	}
	if diff := cmp.Diff(want, watched); diff != "" {
		t.Errorf("watched (-want +got):\n%s", diff)
	}
}

// TestRecorderLargerLimit holds that a file refused for its size is read again where more is allowed.
func TestRecorderLargerLimit(t *testing.T) {
	rec := source.NewRecorder(source.Memory{"a": "12345"})
	if _, err := rec.ReadFile("a", 3); !errors.Is(err, source.ErrTooLarge) {
		t.Fatal(err)
	}
	if data, err := rec.ReadFile("a", 9); string(data) != "12345" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := rec.ReadFile("a", 3); !errors.Is(err, source.ErrTooLarge) {
		t.Errorf("under the small limit again: %v", err)
	}
}

// TestForeignBundle holds that no JSON makes a bundle that panics.
func TestForeignBundle(t *testing.T) {
	for _, text := range []string{
		`{}`, `null`, `{"files":null,"globs":{"*":{}},"names":{"a":{}}}`, `{"files":{"a.yaml":{}}}`,
		`{"files":{"a.yaml":{"failure":{}}},"globs":{"*.yaml":{"failure":{"kind":"x"}}},"names":{"link":{"failure":{"op":"a"}}}}`,
	} {
		var b source.Bundle
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		answers(&b)
		b.Digest()
		b.Watched()
	}
}

// TestWriteJSON holds the JSON that is written piece by piece against that of the library.
func TestWriteJSON(t *testing.T) {
	odd := "\x00\xff<&>\u2028\"\\"
	for name, b := range map[string]*source.Bundle{
		"nothing": {},
		"names":   {Globs: map[string]source.Matches{"*": {Names: []string{odd}}}, Names: map[string]source.Identity{odd: {Canonical: "/x"}}},
		"files": {Files: map[string]source.Content{
			"empty": {}, odd: {Data: []byte(odd)}, "gone": {Failure: &source.Failure{Kind: "missing", Text: odd}},
			"both": {Data: []byte("x"), Failure: &source.Failure{Kind: "too-large", Text: odd}},
		}},
		"all": {Files: map[string]source.Content{"a": {Data: bytes.Repeat([]byte("ab"), 5000)}}, Names: map[string]source.Identity{"a": {Canonical: "b"}}},
	} {
		want, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		if err := b.WriteJSON(&got); err != nil || got.String() != string(want) {
			t.Errorf("%s: %v\n got %.300s\nwant %.300s", name, err, &got, want)
		}
	}
}

// TestRecorderDigest: what is summed up while it is read has the digest of the bundle.
func TestRecorderDigest(t *testing.T) {
	rec := source.NewRecorder(source.Memory{"short": "a", "long": strings.Repeat("10.0.0.1\n", 200_000)})
	for _, name := range []string{"short", "long", "long", "missing"} {
		_, _ = rec.ReadFile(name, 1<<30)
	}
	if rec.Digest() != rec.Bundle().Digest() {
		t.Errorf("%s and %s", rec.Digest(), rec.Bundle().Digest())
	}
}

// TestHolds holds that a fingerprint notices whatever a load from its files would.
func TestHolds(t *testing.T) {
	for name, change := range map[string]func() error{
		"nothing":             func() error { return nil },
		"the same again":      func() error { return os.WriteFile("a.yaml", []byte("é"), 0o600) },
		"a file not asked of": func() error { return os.WriteFile("other", nil, 0o600) },
		"a byte":              func() error { return os.WriteFile("a.yaml", []byte("è"), 0o600) },
		"a shorter one":       func() error { return os.WriteFile("a.yaml", []byte("e"), 0o600) },
		"longer":              func() error { return os.WriteFile("a.yaml", []byte("éé"), 0o600) },
		"empty":               func() error { return os.WriteFile("a.yaml", nil, 0o600) },
		"gone":                func() error { return os.Remove("a.yaml") },
		"come":                func() error { return os.WriteFile("missing", nil, 0o600) },
		"a match":             func() error { return os.WriteFile("c.yaml", nil, 0o600) },
		"a link":              func() error { return errors.Join(os.Remove("link"), os.Symlink("b.yaml", "link")) },
	} {
		tree(t, map[string]string{"a.yaml": "é", "b.yaml": "", "sub/c": "", "link": "-> a.yaml", "loop": "-> loop", "big": "0123456789"})
		rec := source.NewRecorder(source.OS{})
		answers(rec)
		if err := change(); err != nil {
			t.Fatal(err)
		}
		want := cmp.Diff(answers(rec), answers(source.OS{})) == ""
		for of, f := range map[string]*source.Fingerprint{"recorder": rec.Fingerprint(), "bundle": rec.Bundle().Fingerprint()} {
			// An FS that only reads goes the other way.
			if got, read := f.Holds(source.OS{}), f.Holds(struct{ source.FS }{source.OS{}}); got != want || read != want {
				t.Errorf("%s: of the %s: %v and %v, want %v", name, of, got, read, want)
			}
		}
	}
}
