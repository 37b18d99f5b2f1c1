package source_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/source"
)

// git runs git in the working directory, without the settings of whoever runs the tests.
func git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// repository makes a repository of one commit in the working directory.
func repository(t *testing.T, files map[string]string) string {
	t.Helper()
	source.NeedGit(t)
	for _, name := range []string{"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"} {
		if old, ok := os.LookupEnv(name); ok { // set where the tests run from a hook
			os.Unsetenv(name)
			t.Cleanup(func() { os.Setenv(name, old) })
		}
	}
	dir := tree(t, files)
	git(t, "init", "-q")
	git(t, "add", "-A")
	git(t, "commit", "-qm", "first")
	return dir
}

// openGit opens a revision for the length of a test.
func openGit(t *testing.T, dir, rev string) *source.Git {
	t.Helper()
	g, err := source.OpenGit(dir, rev)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func TestGit(t *testing.T) {
	dir := repository(t, map[string]string{
		"hosts/web/r.yaml": "web", "roles/a.yaml": "A", "roles/b.yaml": "B", "roles/.c.yaml": "", "link": "-> roles", "hosts/web/role": "-> ../../link/a.yaml",
		"loop": "-> loop", "out": "-> /etc/passwd", "above": "-> ../x", "empty": "", "odd \"name\"\n": "odd",
	})
	// What lies about is not what was committed.
	if err := os.WriteFile("roles/a.yaml", []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("roles/new.yaml", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, "branch", "topic/one")
	for _, rev := range []string{"HEAD", "topic/one", "main~0", "HEAD@{0}"} {
		g := openGit(t, dir, rev)
		name, err := g.Name("hosts/web/r.yaml")
		if err != nil || name != rev+":/hosts/web/r.yaml" {
			t.Fatalf("%s, %v", name, err)
		}
		for name, want := range map[string]string{
			"hosts/web/r.yaml": "web", "roles/a.yaml": "A", "link/b.yaml": "B", "hosts/web/role": "A", "hosts/../roles/b.yaml": "B", "empty": "", "odd \"name\"\n": "odd",
		} {
			got, err := g.ReadFile(rev+":/"+name, 3)
			if string(got) != want || err != nil {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		if got, err := g.ReadFile(dir+"/roles/a.yaml", 9); string(got) != "A" || err != nil {
			t.Errorf("by its absolute path: %q, %v", got, err)
		}
		got, err := g.Glob(rev + ":/roles/*.yaml")
		if diff := cmp.Diff([]string{rev + ":/roles/a.yaml", rev + ":/roles/b.yaml"}, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
		got, err = g.Glob(rev + ":/h*/*/../../link/a*")
		if diff := cmp.Diff([]string{rev + ":/hosts/web/../../link/a.yaml"}, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
		if got, err := g.Glob(rev + ":/none/*"); len(got) > 0 || err != nil {
			t.Errorf("%v, %v", got, err)
		}
		for _, name := range []string{"hosts/web/role", "link/a.yaml", "roles/../roles/a.yaml"} {
			if got, err := g.Canonical(rev + ":/" + name); got != rev+":/roles/a.yaml" || err != nil {
				t.Errorf("%s: %s, %v", name, got, err)
			}
		}
	}
	g := openGit(t, dir, "HEAD")
	for name, want := range map[string]error{
		"HEAD:/missing": fs.ErrNotExist, "HEAD:/roles/new.yaml": fs.ErrNotExist, "HEAD:/roles": source.ErrNotRegular, "HEAD:/": source.ErrNotRegular,
		"HEAD:/hosts/web/r.yaml": source.ErrTooLarge, "HEAD:/empty/x": fs.ErrNotExist, "HEAD:/link": source.ErrNotRegular,
	} {
		if _, err := g.ReadFile(name, 2); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	for _, name := range []string{"HEAD:/loop", "HEAD:/out", "HEAD:/above", "HEAD:/../x", "roles/a.yaml", "/etc/passwd", "HEAD:roles/a.yaml"} {
		if data, err := g.ReadFile(name, 100); err == nil {
			t.Errorf("%s was read: %q", name, data)
		}
	}
	// After a refusal the next file is read as ever.
	if got, err := g.ReadFile("HEAD:/roles/b.yaml", 9); string(got) != "B" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestGitIndex holds that the empty revision is what is staged.
func TestGitIndex(t *testing.T) {
	dir := repository(t, map[string]string{"sub/a.yaml": "committed"})
	if err := os.WriteFile("sub/a.yaml", []byte("staged"), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, "add", "sub/a.yaml")
	if err := os.WriteFile("sub/a.yaml", []byte("lying about"), 0o644); err != nil {
		t.Fatal(err)
	}
	g := openGit(t, filepath.Join(dir, "sub"), "")
	for arg, want := range map[string]string{"sub/a.yaml": ":/sub/a.yaml", "./a.yaml": ":/sub/a.yaml", "../sub/a.yaml": ":/sub/a.yaml"} {
		if name, err := g.Name(arg); name != want || err != nil {
			t.Errorf("%s: %s, %v", arg, name, err)
		}
	}
	if name, err := g.Name("../../x"); err == nil {
		t.Errorf("a file outside: %s", name)
	}
	if got, err := g.ReadFile(":/sub/a.yaml", 99); string(got) != "staged" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestGitBare holds that a repository without a work tree does as well.
func TestGitBare(t *testing.T) {
	dir := repository(t, map[string]string{"a.yaml": "x"})
	git(t, "clone", "-q", "--bare", dir, "bare.git")
	g := openGit(t, filepath.Join(dir, "bare.git"), "main")
	if got, err := g.ReadFile("main:/a.yaml", 9); string(got) != "x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := source.OpenGit(filepath.Join(dir, "bare.git"), ""); err == nil {
		t.Error("a bare repository has an index")
	}
}

// TestGitRunsNothing holds that a repository can't make us run its programs.
func TestGitRunsNothing(t *testing.T) {
	dir := repository(t, map[string]string{"a.yaml": "x", ".gitattributes": "*.yaml diff=x filter=x\n"})
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\ntouch '"+dir+"/ran'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"core.fsmonitor", "core.pager", "diff.x.textconv", "diff.external", "filter.x.smudge", "core.editor", "core.askpass"} {
		git(t, "config", key, script)
	}
	t.Setenv("GIT_EXTERNAL_DIFF", script)
	t.Setenv("GIT_PAGER", script)
	for _, rev := range []string{"HEAD", ""} {
		g := openGit(t, dir, rev)
		if _, err := g.ReadFile(rev+":/a.yaml", 9); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat("ran"); err == nil {
		t.Error("a program of the repository ran")
	}
}

func TestGitErrors(t *testing.T) {
	dir := repository(t, map[string]string{"a": ""})
	for _, rev := range []string{"nosuch", "--output=x", "-h", "HEAD..HEAD", "^HEAD", "a\nb", "HEAD:a"} {
		if _, err := source.OpenGit(dir, rev); err == nil {
			t.Errorf("%q was taken for a revision", rev)
		}
	}
	if _, err := source.OpenGit(t.TempDir(), "HEAD"); err == nil || !strings.Contains(err.Error(), "not a git repository") {
		t.Errorf("no repository: %v", err)
	}
}

func TestParseRev(t *testing.T) {
	for arg, want := range map[string][2]string{
		"HEAD:a/b.yaml":                      {"HEAD", "a/b.yaml"},
		"origin/main:a.yaml":                 {"origin/main", "a.yaml"},
		":a.yaml":                            {"", "a.yaml"},
		"HEAD~2:./a.yaml":                    {"HEAD~2", "./a.yaml"},
		"HEAD@{2026-01-31 12:00:00}:a.yaml":  {"HEAD@{2026-01-31 12:00:00}", "a.yaml"},
		"HEAD^{/fix: it}:a:b.yaml":           {"HEAD^{/fix: it}", "a:b.yaml"},
		"0123456789abcdef0123456789abcdef:a": {"0123456789abcdef0123456789abcdef", "a"},
	} {
		rev, path, ok := source.ParseRev(arg)
		if rev != want[0] || path != want[1] || !ok {
			t.Errorf("%s: %q %q %v", arg, rev, path, ok)
		}
	}
	for _, arg := range []string{"", "a.yaml", "/a:b", "./a:b", "../a:b", "HEAD:", ":", "-x:a", "a..b:c", "a\x00:b"} {
		if rev, path, ok := source.ParseRev(arg); ok {
			t.Errorf("%q: %q %q", arg, rev, path)
		}
	}
}
