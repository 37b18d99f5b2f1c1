package source_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/source"
)

// tree makes files in a directory, and makes that the working directory. A text that begins with "-> " is a symlink.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		if target, ok := strings.CutPrefix(text, "-> "); ok {
			err = os.Symlink(target, name)
		} else {
			err = os.WriteFile(name, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// within fails the test if f takes longer than a stuck open would.
func within(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("it hangs")
	}
}

func TestReadFile(t *testing.T) {
	dir := tree(t, map[string]string{
		"a": "text", "sub/b": "", "link": "-> a", "loop": "-> loop", "dangling": "-> nowhere", "odd name\n": "x",
	})
	if err := syscall.Mkfifo("pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()

	for who, from := range readers() {
		for name, want := range map[string]string{"a": "text", "./a": "text", "sub/b": "", "sub/../a": "text", "link": "text", dir + "/a": "text", "odd name\n": "x"} {
			got, err := from.ReadFile(name, 4)
			if err != nil || string(got) != want {
				t.Errorf("%s %s: %q, %v", who, name, got, err)
			}
		}
		for name, want := range map[string]error{
			"missing": fs.ErrNotExist, "dangling": fs.ErrNotExist, "": fs.ErrNotExist, "sub": source.ErrNotRegular, "pipe": source.ErrNotRegular,
			"socket": source.ErrNotRegular, "/dev/null": source.ErrNotRegular, "/dev/zero": source.ErrNotRegular, "loop": syscall.ELOOP, "a/b": syscall.ENOTDIR,
		} {
			within(t, func() {
				_, err := from.ReadFile(name, 1<<20)
				if !errors.Is(err, want) {
					t.Errorf("%s %s: %v, want %v", who, name, err, want)
				}
				if pe := (*fs.PathError)(nil); !errors.As(err, &pe) || pe.Path != name {
					t.Errorf("%s %s: %v does not name it", who, name, err)
				}
			})
		}
		if _, err := from.ReadFile("a", 3); !errors.Is(err, source.ErrTooLarge) {
			t.Errorf("%s beyond the limit: %v", who, err)
		}
		// A file of /proc has no size, and is longer than it says.
		if _, err := from.ReadFile("/proc/self/status", 16); !errors.Is(err, source.ErrTooLarge) {
			t.Errorf("%s file without a size, beyond the limit: %v", who, err)
		}
	}
}

// readers is the files of the host, for who trusts everybody and for who trusts root and the user alone.
func readers() map[string]source.OS {
	return map[string]source.OS{"anybody's": {}, "the owners'": {Owners: source.Owners{uint32(os.Geteuid()), 0}}}
}

func TestForbidden(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	tree(t, map[string]string{"a": "x", "dir/b": "x"})
	for name, mode := range map[string]os.FileMode{"a": 0, "dir": 0} {
		if err := os.Chmod(name, mode); err != nil {
			t.Fatal(err)
		}
	}
	defer os.Chmod("dir", 0o755)
	if _, err := (source.OS{}).ReadFile("a", 9); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a file: %v", err)
	}
	if _, err := (source.OS{}).Glob("dir/*"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("a directory: %v", err)
	}
}

func TestCanonical(t *testing.T) {
	dir := tree(t, map[string]string{"a": "", "link": "-> a", "sub/up": "-> ../a", "dir": "-> sub", "loop": "-> loop", "dangling": "-> nowhere"})
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "./a", "link", "sub/up", "dir/up", "sub/../a", dir + "/link"} {
		if got, err := (source.OS{}).Canonical(name); got != dir+"/a" || err != nil {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for name, want := range map[string]error{"missing": fs.ErrNotExist, "dangling": fs.ErrNotExist, "loop": syscall.ELOOP} {
		if _, err := (source.OS{}).Canonical(name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestGlob(t *testing.T) {
	files := map[string]string{
		"b.yaml": "", "a.yaml": "", "c.txt": "", ".hidden.yaml": "", "d/1/x.yaml": "", "d/2/x.yaml": "", "d/2/y.yaml": "", "d/.3/x.yaml": "",
		"[x]/a.yaml": "", "e.yaml/z": "",
	}
	dir := tree(t, files)
	if err := syscall.Mkfifo("pipe", 0o644); err != nil {
		t.Fatal(err)
	}
	memory := source.Memory{}
	for name, text := range files {
		memory[name] = text
	}
	for pattern, want := range map[string][]string{
		"*.yaml":           {"a.yaml", "b.yaml", "e.yaml"},
		"./*.yaml":         {"./a.yaml", "./b.yaml", "./e.yaml"},
		"d/../*.yaml":      {"d/../a.yaml", "d/../b.yaml", "d/../e.yaml"},
		".*.yaml":          {".hidden.yaml"},
		"d/*/x.yaml":       {"d/1/x.yaml", "d/2/x.yaml"},
		"d/*/?.yaml":       {"d/1/x.yaml", "d/2/x.yaml", "d/2/y.yaml"},
		"d/[2-9]/*":        {"d/2/x.yaml", "d/2/y.yaml"},
		"d/*/missing":      nil,
		"d/*/x.yaml/*":     nil,
		"missing/*.yaml":   nil,
		"a.yaml/*":         nil,
		"a.yaml":           {"a.yaml"},
		"missing":          nil,
		`\[x\]/*.yaml`:     {"[x]/a.yaml"},
		`\a.yaml`:          {"a.yaml"},
		"*.toml":           nil,
		dir + "/[ab].yaml": {dir + "/a.yaml", dir + "/b.yaml"},
	} {
		for who, from := range readers() {
			within(t, func() {
				got, err := from.Glob(pattern)
				if diff := cmp.Diff(want, got, sameEmpty()); diff != "" || err != nil {
					t.Errorf("%s %s: %v\n%s", who, pattern, err, diff)
				}
			})
		}
		if strings.HasPrefix(pattern, "/") {
			continue
		}
		got, err := memory.Glob(pattern)
		if diff := cmp.Diff(want, got, sameEmpty()); diff != "" || err != nil {
			t.Errorf("%s in memory: %v\n%s", pattern, err, diff)
		}
	}
	for who, from := range readers() {
		within(t, func() {
			if got, err := from.Glob("pipe/*"); len(got) > 0 || err != nil {
				t.Errorf("%s pattern in a pipe: %v, %v", who, got, err)
			}
		})
	}
	for _, pattern := range []string{"[", "a/[b", `a\`, "d/**/x.yaml"} {
		if _, err := (source.OS{}).Glob(pattern); err == nil {
			t.Errorf("%s was taken for a pattern", pattern)
		}
	}
	if err := os.WriteFile("d/\xff.yaml", nil, 0o644); err != nil {
		t.Skip("the file system takes no such names: ", err)
	}
	if _, err := (source.OS{}).Glob("d/*"); err == nil {
		t.Error("a name that is no UTF-8 was taken")
	}
}

// TestGlobBounds holds that a pattern that takes long is refused, wherever the names lie.
func TestGlobBounds(t *testing.T) {
	files := map[string]string{}
	for i := range 101 {
		for j := range 100 {
			files[fmt.Sprintf("d/%d/%d", i, j)] = ""
		}
	}
	tree(t, files)
	memory := source.Memory(files)
	for _, fsys := range []source.FS{source.OS{}, memory} {
		if got, err := fsys.Glob("d/1*/*"); err != nil || len(got) != 1200 {
			t.Errorf("a part: %d names, %v", len(got), err)
		}
		if got, err := fsys.Glob("d/*/*"); !errors.Is(err, source.ErrTooMany) {
			t.Errorf("all: %d names, %v", len(got), err)
		}
		if _, err := fsys.Glob(strings.Repeat("*", 5000)); !errors.Is(err, path.ErrBadPattern) {
			t.Errorf("a long pattern: %v", err)
		}
	}
}

// sameEmpty makes nil and empty lists equal.
func sameEmpty() cmp.Option {
	return cmp.Transformer("list", func(l []string) string { return strings.Join(l, "\x00") })
}

func TestMemory(t *testing.T) {
	m := source.Memory{"a": "text", "d/b": "x"}
	if got, err := m.ReadFile("d/../a", 4); string(got) != "text" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for name, want := range map[string]error{"missing": fs.ErrNotExist, "d": source.ErrNotRegular, "a": source.ErrTooLarge} {
		if _, err := m.ReadFile(name, 3); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if _, err := m.Canonical("missing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing name: %v", err)
	}
}
