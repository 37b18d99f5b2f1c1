package policy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzLoad shows that no text of two files makes Load panic, that a policy comes exactly where no error does, and that
// ids are unique and findings have a place.
func FuzzLoad(f *testing.F) {
	archives, _ := filepath.Glob("testdata/*/*.txtar")
	for _, name := range archives {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		ar := txtar.Parse(data)
		second := ""
		if len(ar.Files) > 1 {
			second = string(ar.Files[1].Data)
		}
		f.Add(string(ar.Files[0].Data), second)
	}
	f.Fuzz(func(t *testing.T, entry, second string) {
		files := texts{"p.yaml": entry, "a.yaml": second, "l.netset": second}
		p, diags := Load(files, "p.yaml", Options{})
		if (p == nil) != diags.HasErrors() {
			t.Fatalf("policy nil: %v, findings: %v", p == nil, diags)
		}
		for _, d := range diags {
			if d.Code == "" || d.Message == "" || d.At.File == "" || d.At.Len < 0 {
				t.Errorf("finding %+v", d)
			}
		}
		if p == nil {
			return
		}
		ids := map[string]bool{}
		for _, dir := range Dirs {
			for _, r := range p.Lists[dir] {
				if ids[r.ID] || r.ID == "" || r.Text == "" || r.At.Line == 0 || r.List != dir {
					t.Errorf("rule %+v", r)
				}
				ids[r.ID] = true
			}
		}
	})
}
