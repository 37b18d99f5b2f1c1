package policy

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ringwall/rules/source"
)

// A host's directory in a clone, under another name: what its policy names relative to itself is found in the clone,
// and so is what those files name in turn. Where no symlink is on the way, names stay short.
func TestBesideSymlink(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"clone/hosts/web1/ringwall.yaml": "version: 1\ninclude: [../../roles/web.yaml, ../../extra/*.yaml]\n",
		"clone/roles/web.yaml":           "include: ../lists/sets.yaml\nin:\n  - {allow: http, from: office}\n",
		"clone/lists/sets.yaml":          "sets:\n  office: {file: ../lists/office.txt}\n",
		"clone/lists/office.txt":         "192.0.2.0/24\n",
		"clone/extra/ssh.yaml":           "in:\n  - {allow: ssh, from: office}\n",
	} {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../clone/hosts/web1", filepath.Join(root, "etc/ringwall")); err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]string{
		{"etc/ringwall/ringwall.yaml", "etc/ringwall/../../extra/ssh.yaml", "etc/ringwall/../../roles/../lists/sets.yaml", "etc/ringwall/../../roles/web.yaml"},
		{"clone/hosts/web1/ringwall.yaml", "clone/extra/ssh.yaml", "clone/lists/sets.yaml", "clone/roles/web.yaml"},
	} {
		for i := range want {
			want[i] = root + "/" + want[i]
		}
		rec := source.NewRecorder(source.OS{})
		p, diags := Load(rec, want[0], Options{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		if !slices.Equal(p.Files, want) || len(p.Lists[In]) != 2 {
			t.Errorf("files %q, want %q; %d rules", p.Files, want, len(p.Lists[In]))
		}
		if _, diags := Load(rec.Bundle(), want[0], Options{}); diags.HasErrors() {
			t.Errorf("%s, replayed: %v", want[0], diags)
		}
	}
}
