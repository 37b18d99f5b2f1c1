package source

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// NeedGit ends a test where there is no git: it is skipped, or fails where the environment says CI=true.
func NeedGit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// gitIt runs git in a directory.
func gitIt(t *testing.T, dir string, args ...string) string {
	t.Helper()
	NeedGit(t)
	cmd := exec.Command("git", append([]string{"-C", dir, "-c", "user.name=a", "-c", "user.email=a@example.org"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// record is the bundle of some files of the host.
func record(t *testing.T, names ...string) *Bundle {
	t.Helper()
	r := NewRecorder(OS{})
	for _, name := range names {
		if _, err := r.ReadFile(name, 1<<20); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Canonical(name); err != nil {
			t.Fatal(err)
		}
	}
	return r.Bundle()
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCommitOfAPolicy(t *testing.T) {
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			repo := filepath.Join(dir, "repo")
			entry, more := filepath.Join(repo, "hosts", "p.yaml"), filepath.Join(repo, "list")
			put(t, entry, "one\n")
			put(t, more, "two\n")
			want := func(what, entry string, c Commit, known bool, files ...string) {
				t.Helper()
				if got, ok := record(t, append(files, entry)...).Commit(entry); got != c || ok != known {
					t.Errorf("%s: %+v, %v; want %+v, %v", what, got, ok, c, known)
				}
			}
			want("no repository", entry, Commit{}, false)
			gitIt(t, repo, "init", "-q", "--object-format="+format)
			want("nothing committed", entry, Commit{}, false)
			gitIt(t, repo, "add", ".")
			gitIt(t, repo, "commit", "-qm", "root")
			id := gitIt(t, repo, "rev-parse", "HEAD")
			want("committed", entry, Commit{ID: id}, true, more)

			put(t, more, "three\n")
			want("edited", entry, Commit{ID: id, Dirty: true}, true, more)
			want("edited elsewhere", entry, Commit{ID: id}, true)
			gitIt(t, repo, "checkout", "-q", "list")
			want("put back", entry, Commit{ID: id}, true, more)
			other := filepath.Join(repo, "new")
			put(t, other, "")
			want("a file that is not in it", entry, Commit{ID: id, Dirty: true}, true, other)

			gitIt(t, repo, "pack-refs", "--all")
			want("packed references", entry, Commit{ID: id}, true, more)
			gitIt(t, repo, "checkout", "-q", "--detach")
			want("a detached HEAD", entry, Commit{ID: id}, true, more)

			tree := filepath.Join(dir, "tree")
			gitIt(t, repo, "worktree", "add", "-q", tree)
			want("a linked work tree", filepath.Join(tree, "hosts", "p.yaml"), Commit{ID: id}, true)

			link := filepath.Join(dir, "link.yaml")
			if err := os.Symlink(entry, link); err != nil {
				t.Fatal(err)
			}
			want("a symlink into it", link, Commit{ID: id}, true)
		})
	}
}

func TestCommitOfAMalformedRepository(t *testing.T) {
	repo := t.TempDir()
	entry := filepath.Join(repo, "p.yaml")
	put(t, entry, "one\n")
	gitIt(t, repo, "init", "-q")
	gitIt(t, repo, "add", ".")
	gitIt(t, repo, "commit", "-qm", "root")
	whole, err := os.ReadFile(filepath.Join(repo, ".git", "index"))
	if err != nil {
		t.Fatal(err)
	}
	b := record(t, entry)
	for cut := range whole {
		put(t, filepath.Join(repo, ".git", "index"), string(whole[:cut]))
		if c, ok := b.Commit(entry); !ok || c.ID == "" {
			t.Fatalf("the index cut at %d hides the commit: %+v, %v", cut, c, ok)
		}
	}
	for _, head := range []string{"", "ref: refs/heads/none", "ref: ../../etc/passwd", "ref: refs/../../../etc/passwd", "0123", "ref: refs/heads/loop"} {
		put(t, filepath.Join(repo, ".git", "HEAD"), head)
		put(t, filepath.Join(repo, ".git", "refs", "heads", "loop"), "ref: refs/heads/loop")
		if c, ok := b.Commit(entry); ok {
			t.Errorf("HEAD %q: %+v", head, c)
		}
	}
}
