package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ringwall/daemon/control"
	"ringwall/netfilter/nstest"
)

// follows waits until the daemon enforces so many rules of its files.
func (w *wall) follows(t *testing.T, what string, rules int) {
	t.Helper()
	w.reaches(t, what, func(s *control.Status) bool { return s.Enforced && !s.Stale() && s.Rules == rules })
}

// write makes a file with the directories that it needs.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// including is webText with what else stands in a directory.
var including = strings.Replace(webText, "in:\n", "include: [rules.d/*.yaml]\nin:\n", 1)

// fragment is a file to include, with n rules.
func fragment(n int) string {
	var b strings.Builder
	b.WriteString("in:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {allow: tcp/%d, from: 192.0.2.0/24, id: more%d}\n", 1000+i, i)
	}
	return b.String()
}

func TestFollowsALateDirectory(t *testing.T) {
	w := build(t, including)
	w.start(t)
	w.follows(t, "the policy alone", 1)
	dir := filepath.Join(filepath.Dir(w.cfg.Policy), "rules.d")
	write(t, filepath.Join(dir, "a.yaml"), fragment(2))
	w.follows(t, "a directory that appears", 3)
	write(t, filepath.Join(dir, "b.yaml"), strings.ReplaceAll(fragment(1), "more", "other"))
	w.follows(t, "another file", 4)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	w.follows(t, "the directory is gone", 1)
	write(t, filepath.Join(dir, "a.yaml"), fragment(5))
	w.follows(t, "and back", 6)
}

// TestFollowsAConfigMap swaps the symlink of a mounted ConfigMap, as the kubelet does.
func TestFollowsAConfigMap(t *testing.T) {
	w := build(t, "")
	etc := filepath.Dir(w.cfg.Policy)
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(etc, name)); err != nil {
			t.Fatal(err)
		}
	}
	swap := func(version string, rules int) {
		t.Helper()
		write(t, filepath.Join(etc, version, "policy.yaml"), including)
		write(t, filepath.Join(etc, version, "more.yaml"), fragment(rules))
		link(version, "..data_tmp")
		if err := os.Rename(filepath.Join(etc, "..data_tmp"), filepath.Join(etc, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", 2)
	link("..data/policy.yaml", "policy.yaml")
	if err := os.Mkdir(filepath.Join(etc, "rules.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	link("../..data/more.yaml", "rules.d/more.yaml")
	w.start(t)
	w.follows(t, "the first version", 3)
	swap("..2", 4)
	w.follows(t, "the second version", 5)
	if err := os.RemoveAll(filepath.Join(etc, "..1")); err != nil {
		t.Fatal(err)
	}
	swap("..3", 1)
	w.follows(t, "the third version", 2)
}

// TestFollowsGit checks revisions of many files out.
func TestFollowsGit(t *testing.T) {
	w := build(t, including)
	etc := filepath.Dir(w.cfg.Policy)
	git := func(args ...string) {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", etc, "-c", "user.name=a", "-c", "user.email=a@example.org"}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	if _, err := exec.LookPath("git"); err != nil {
		nstest.Missing(t, "%v", err)
	}
	const files = 50
	commit := func(branch string, rules int) {
		t.Helper()
		git("checkout", "-q", "-b", branch)
		for i := range files {
			text := strings.ReplaceAll(fragment(rules), "more", fmt.Sprintf("f%d-", i))
			write(t, filepath.Join(etc, "rules.d", fmt.Sprintf("%d.yaml", i)), text)
		}
		git("add", ".")
		git("commit", "-qm", branch)
	}
	git("init", "-q")
	git("add", ".")
	git("commit", "-qm", "root")
	commit("one", 1)
	commit("two", 2)
	w.start(t)
	w.follows(t, "two", 1+2*files)
	for _, c := range []struct {
		branch string
		rules  int
	}{{"one", 1 + files}, {"two", 1 + 2*files}, {"one~1", 1}, {"one", 1 + files}} {
		git("checkout", "-q", c.branch)
		w.follows(t, c.branch, c.rules)
	}
	if s := w.status(t); s.Reload.Bad != 0 {
		t.Errorf("a checkout was taken half done: %d times", s.Reload.Bad)
	}
}
