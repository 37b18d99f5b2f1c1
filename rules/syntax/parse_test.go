package syntax_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

var update = flag.Bool("update", false, "write what comes out into the golden files")

// one is the text of a single file.
type one []byte

func (o one) Text(string) ([]byte, bool) { return o, true }

// parse returns what Parse reports, as it is printed.
func parse(t *testing.T, name string, src []byte) (*syntax.Node, string) {
	t.Helper()
	tree, diags := syntax.Parse(name, src)
	var out bytes.Buffer
	if err := diag.Print(&out, diags, one(src), diag.Style{}); err != nil {
		t.Fatal(err)
	}
	if tree == nil && !diags.HasErrors() {
		t.Fatalf("%s: neither a tree nor an error", name)
	}
	return tree, out.String()
}

// golden runs f on every NAME.yaml of the archives in a directory, and holds what it returns against NAME.txt.
func golden(t *testing.T, dir string, f func(t *testing.T, name string, src []byte) string) {
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no archives in %s: %v", dir, err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var out []txtar.File
		for _, in := range archive.Files {
			name, ok := strings.CutSuffix(in.Name, ".yaml")
			if !ok {
				continue
			}
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+name, func(t *testing.T) {
				got := f(t, in.Name, in.Data)
				out = append(out, in, txtar.File{Name: name + ".txt", Data: []byte(got)})
				if *update {
					return
				}
				i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == name+".txt" })
				if i < 0 {
					t.Fatalf("no %s.txt; got:\n%s", name, got)
				}
				if diff := cmp.Diff(string(archive.Files[i].Data), got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
		if *update {
			archive.Files = out
			if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestTraps holds every mistake against what is printed about it.
func TestTraps(t *testing.T) {
	golden(t, "traps", func(t *testing.T, name string, src []byte) string {
		_, out := parse(t, name, src)
		if out == "" {
			return "(nothing)\n"
		}
		return out
	})
}

// TestTrees holds the texts and places of all values.
func TestTrees(t *testing.T) {
	golden(t, "trees", func(t *testing.T, name string, src []byte) string {
		tree, out := parse(t, name, src)
		if out != "" {
			t.Errorf("unexpected:\n%s", out)
		}
		var b strings.Builder
		dump(&b, tree, "", "")
		return b.String()
	})
}

// dump writes a node and what is in it, a line each.
func dump(b *strings.Builder, n *syntax.Node, indent, label string) {
	fmt.Fprintf(b, "%-8s%s%s", fmt.Sprintf("%d:%d+%d", n.At.Line, n.At.Col, n.At.Len), indent, label)
	switch n.Kind {
	case syntax.Null:
		b.WriteString("nothing\n")
	case syntax.Scalar:
		quoted := ""
		if n.Quoted {
			quoted = " quoted"
		}
		fmt.Fprintf(b, "%q%s\n", n.Text, quoted)
	case syntax.List:
		b.WriteString("list\n")
		for _, item := range n.Items {
			dump(b, item, indent+"  ", "")
		}
	case syntax.Map:
		b.WriteString("mapping\n")
		for _, p := range n.Pairs {
			if p.Key.Kind != syntax.Scalar {
				b.WriteString("a key that is no scalar\n")
			}
			dump(b, p.Value, indent+"  ", fmt.Sprintf("%s (%d:%d+%d): ", p.Key.Text, p.Key.At.Line, p.Key.At.Col, p.Key.At.Len))
		}
	}
}
