package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestImportsPointDown holds the architecture: cmd → daemon → netfilter → rules, and the packages that alone may
// know a library.
func TestImportsPointDown(t *testing.T) {
	storeys := []string{"rules", "netfilter", "daemon", "cmd"} // from the ground up
	height := func(path string) int {
		for i, s := range storeys {
			if path == s || strings.HasPrefix(path, s+"/") {
				return i
			}
		}
		return -1
	}
	alone := map[string][]string{ // library prefix → the packages that may import it
		"gopkg.in/yaml.v3":           {"rules/syntax"},
		"github.com/google/nftables": {"netfilter/kernel"},
		"github.com/spf13/cobra":     {"cmd/ringwall"},
	}
	clock := map[string]bool{"Now": true, "Since": true, "Until": true, "Sleep": true, "After": true, "NewTimer": true, "NewTicker": true, "Tick": true}
	root := filepath.Join("..", "..")
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if strings.HasPrefix(pkg, "rules/") {
			ast.Inspect(file, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && clock[sel.Sel.Name] {
						t.Errorf("%s calls time.%s: rules has no clock", path, sel.Sel.Name)
					}
				}
				return true
			})
		}
		for _, spec := range file.Imports {
			target, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			seen++
			if inner, ok := strings.CutPrefix(target, "ringwall/"); ok && height(pkg) >= 0 && height(inner) > height(pkg) {
				t.Errorf("%s imports %s: arrows point downwards only", path, target)
			}
			if strings.HasPrefix(pkg, "rules/") {
				switch first, _, _ := strings.Cut(target, "/"); {
				case target == "net", target == "os/user", (target == "os" || target == "syscall") && pkg != "rules/source":
					t.Errorf("%s imports %s: rules has no network and no host", path, target)
				case first == "github.com":
					t.Errorf("%s imports %s: rules stands on the standard library and YAML alone", path, target)
				}
			}
			for library, users := range alone {
				if target != library && !strings.HasPrefix(target, library+"/") {
					continue
				}
				ok := false
				for _, u := range users {
					ok = ok || pkg == u
				}
				if !ok {
					t.Errorf("%s imports %s, which only %v may", path, target, users)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Fatalf("only %d imports seen: the walk is broken", seen)
	}
}
