package hostile_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// FuzzFiles holds for any bytes of a policy, of a file that it includes and of a list: no panic, a policy exactly where
// there is no error, places that exist, and nothing printed that a terminal would act on.
func FuzzFiles(f *testing.F) {
	for _, b := range small(f) {
		f.Add(b.Files["p.yaml"].Data, b.Files["q"].Data, b.Files["l"].Data)
	}
	f.Add([]byte("version: 1\ninclude: q\nsets: {a: {file: l}}\nblock: [a, not b]\n"), []byte("sets: {b: {add: 10.0.0.2}}\n"), []byte("10.0.0.1-10.0.0.9\n"))
	f.Fuzz(func(t *testing.T, entry, included, list []byte) {
		sound(t, source.Memory{"p.yaml": string(entry), "q": string(included), "d/q": string(included), "l": string(list)})
	})
}

// FuzzBundle holds the same for any bytes that claim to be a bundle, and that a bundle is one however often it is
// written and read.
func FuzzBundle(f *testing.F) {
	for _, b := range small(f) {
		data, err := json.Marshal(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, s := range []string{
		`{}`, `null`, `{"files":{"p.yaml":{"failure":{"kind":"missing","text":"\u001b[2J"}}},"names":{"p.yaml":{"canonical":"x"}}}`,
		`{"files":{"p.yaml":{"data":"dmVyc2lvbjogMQppbmNsdWRlOiAnKicK"}},"globs":{"*":{"names":["p.yaml","\u001b","",".."]}},"names":{"p.yaml":{"canonical":""},"\u001b":{"failure":{"op":"o","path":"p","text":"t"}}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b := new(source.Bundle)
		if json.Unmarshal(data, b) != nil {
			return
		}
		sound(t, b)
		again, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		c := new(source.Bundle)
		if err := json.Unmarshal(again, c); err != nil {
			t.Fatal(err)
		}
		if b.Digest() != c.Digest() {
			t.Fatal("it is another bundle when it is read again")
		}
	})
}

// sound loads p.yaml and fails the test where it is not treated as it should be.
func sound(t *testing.T, fsys source.FS) {
	t.Helper()
	rec := source.NewRecorder(fsys)
	p, found := policy.Load(rec, "p.yaml", policy.Options{})
	if (p != nil) == found.HasErrors() {
		t.Fatalf("a policy: %v, with findings %v", p != nil, found)
	}
	where := places{entry: "p.yaml", from: rec.Bundle(), files: map[string][]int{}}
	for _, d := range found {
		if wrong := where.misplaced(d); wrong != "" {
			t.Errorf("%s: %s", wrong, d)
		}
	}
	var out bytes.Buffer
	if err := diag.Print(&out, found, rec.Bundle(), diag.Style{}); err != nil {
		t.Fatal(err)
	}
	if i := bytes.IndexFunc(out.Bytes(), unfit); i >= 0 {
		t.Fatalf("the output has %q", out.Bytes()[max(0, i-20):min(out.Len(), i+20)])
	}
	// What was recorded says the same again.
	q, again := policy.Load(rec.Bundle(), "p.yaml", policy.Options{})
	if (p == nil) != (q == nil) {
		t.Fatal("the recording is accepted, or not, as the files are not")
	}
	if diff := cmp.Diff(found, again); diff != "" {
		t.Fatalf("the recording has other findings: %s", diff)
	}
}

// small is the corpus as far as it is small, recorded.
func small(f *testing.F) []*source.Bundle {
	var all []*source.Bundle
	for name, c := range corpus() {
		if name == "socket" {
			continue // it would need the test that it is part of
		}
		d := dir{f, f.TempDir()}
		c.make(d)
		f.Chdir(d.path)
		rec := source.NewRecorder(source.OS{})
		policy.Load(rec, "p.yaml", policy.Options{})
		size := 0
		for _, c := range rec.Bundle().Files {
			size += len(c.Data)
		}
		if size < 4096 {
			all = append(all, rec.Bundle())
		}
	}
	return all
}
