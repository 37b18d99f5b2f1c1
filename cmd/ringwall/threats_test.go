package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThreatModelNamesTests holds that each test and each group of the system test that docs/threat-model.md leans on is there.
func TestThreatModelNamesTests(t *testing.T) {
	root := filepath.Join("..", "..")
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page := read(filepath.Join(root, "docs", "threat-model.md"))

	var tests, groups strings.Builder
	err := filepath.WalkDir(root, func(name string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, "_test.go") {
			tests.WriteString(read(name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	scripts, err := filepath.Glob(filepath.Join(root, "scripts", "system-test*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range append(scripts, filepath.Join(root, "scripts", "system-test")) {
		groups.WriteString(read(script))
	}

	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`").FindAllStringSubmatch(page, -1)
	if len(names) < 30 {
		t.Errorf("only %d tests are named", len(names))
	}
	for _, name := range names {
		if !strings.Contains(tests.String(), "\nfunc "+name[1]+"(") {
			t.Errorf("there is no %s", name[1])
		}
	}
	for _, group := range regexp.MustCompile(`system test, ((?:\*[^*]+\*(?:, )?)+)`).FindAllStringSubmatch(page, -1) {
		for name := range strings.SplitSeq(group[1], ",") {
			name = strings.TrimSuffix(strings.Trim(strings.Join(strings.Fields(name), " "), "*"), " …")
			if !strings.Contains(groups.String(), name) {
				t.Errorf("the system test has no %q", name)
			}
		}
	}
}
