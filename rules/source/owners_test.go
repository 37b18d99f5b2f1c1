package source_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/rules/source"
)

// Two users that no file of the host belongs to.
const owner, stranger = 4711, 4712

// asRoot skips a test that gives files away.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("takes root, to give files away")
	}
}

// TestOwners changes one thing at a time on the way to a file that all read by the name now/roles/web, now being a symlink.
func TestOwners(t *testing.T) {
	asRoot(t)
	for name, c := range map[string]struct {
		change func(dir string) error
		want   string // in the error; empty for none
	}{
		"as it is":                     {func(string) error { return nil }, ""},
		"the owner's file":             {func(d string) error { return os.Chown(d+"/v1/roles/web", owner, owner) }, ""},
		"the owner's clone":            {func(d string) error { return chownAll(d+"/v1", owner) }, ""},
		"the owner's symlink":          {func(d string) error { return os.Lchown(d+"/now", owner, owner) }, ""},
		"a group that reads":           {func(d string) error { return os.Chown(d+"/v1/roles/web", 0, stranger) }, ""},
		"a file of a stranger's":       {func(d string) error { return os.Chown(d+"/v1/roles/web", stranger, 0) }, "DIR/v1/roles/web belongs to user 4712: chown 4711 DIR/v1/roles/web"},
		"a directory of a stranger's":  {func(d string) error { return os.Chown(d+"/v1/roles", stranger, 0) }, "DIR/v1/roles belongs to user 4712: chown 4711 DIR/v1/roles"},
		"its parent":                   {func(d string) error { return os.Chown(d+"/v1", stranger, 0) }, "DIR/v1 belongs to user 4712"},
		"a symlink of a stranger's":    {func(d string) error { return os.Lchown(d+"/now", stranger, 0) }, "DIR/now belongs to user 4712: chown -h 4711 DIR/now"},
		"where the symlink lies":       {func(d string) error { return os.Chown(d, stranger, 0) }, "DIR belongs to user 4712"},
		"a file that a group writes":   {func(d string) error { return os.Chmod(d+"/v1/roles/web", 0o664) }, "the group of DIR/v1/roles/web can write it: chmod g-w DIR/v1/roles/web"},
		"a file that everybody writes": {func(d string) error { return os.Chmod(d+"/v1/roles/web", 0o646) }, "everybody can write DIR/v1/roles/web: chmod go-w DIR/v1/roles/web"},
		"a directory a group writes":   {func(d string) error { return os.Chmod(d+"/v1/roles", 0o775) }, "the group of DIR/v1/roles can write it"},
		"a directory all write":        {func(d string) error { return os.Chmod(d+"/v1", 0o757) }, "everybody can write DIR/v1"},
		"... with the sticky bit":      {func(d string) error { return os.Chmod(d+"/v1", 0o777|fs.ModeSticky) }, ""},
		"... of a stranger's": {func(d string) error {
			return errors.Join(os.Chown(d+"/v1", stranger, 0), os.Chmod(d+"/v1", 0o777|fs.ModeSticky))
		}, "DIR/v1 belongs to user 4712"},
		"a file with the sticky bit": {func(d string) error { return os.Chmod(d+"/v1/roles/web", 0o666|fs.ModeSticky) }, "everybody can write DIR/v1/roles/web"},
		"a detour through a stranger's": {func(d string) error {
			return errors.Join(os.Mkdir(d+"/evil", 0o755), os.Chown(d+"/evil", stranger, 0), os.Remove(d+"/now"), os.Symlink(d+"/evil/../v1", d+"/now"))
		}, "DIR/evil belongs to user 4712"},
		"a symlink out of it": {func(d string) error {
			return errors.Join(os.WriteFile(d+"/evil", nil, 0o644), os.Chown(d+"/evil", stranger, 0), os.Remove(d+"/v1/roles/web"), os.Symlink("../../evil", d+"/v1/roles/web"))
		}, "DIR/evil belongs to user 4712"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]string{"v1/roles/web": "text", "now": "-> v1"})
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			from := source.OS{Owners: source.Owners{owner, 0}}
			refused := func(what string, err error) {
				t.Helper()
				if got := errors.Is(err, source.ErrUntrusted); got != (c.want != "") || got && !strings.Contains(err.Error(), strings.ReplaceAll(c.want, "DIR", dir)) {
					t.Errorf("%s: %v, want %q", what, err, c.want)
				}
			}
			for _, file := range []string{"now/roles/web", dir + "/now/roles/web", "now/../now/./roles//web"} {
				data, err := from.ReadFile(file, 9)
				refused(file, err)
				if err == nil && string(data) != "text" {
					t.Errorf("%s: %q", file, data)
				}
			}
		})
	}
}

// TestOwnersOfDirectories holds that no pattern looks into a directory whose names others could change.
func TestOwnersOfDirectories(t *testing.T) {
	dir := tree(t, map[string]string{"d/a": "", "d/b": ""})
	from := source.OS{Owners: source.Owners{uint32(os.Geteuid()), 0}}
	if names, err := from.Glob(dir + "/d/*"); err != nil || len(names) != 2 {
		t.Errorf("%q, %v", names, err)
	}
	if err := os.Chmod("d", 0o770); err != nil {
		t.Fatal(err)
	}
	if names, err := from.Glob("d/*"); !errors.Is(err, source.ErrUntrusted) || len(names) != 0 {
		t.Errorf("%q, %v", names, err)
	}
	if names, err := (source.OS{}).Glob("d/*"); err != nil || len(names) != 2 {
		t.Errorf("trusting everybody: %q, %v", names, err)
	}
}

// TestOwnersReplayed holds that a recording refuses what was refused.
func TestOwnersReplayed(t *testing.T) {
	tree(t, map[string]string{"a file": ""})
	if err := os.Chmod("a file", 0o622); err != nil {
		t.Fatal(err)
	}
	rec := source.NewRecorder(source.OS{Owners: source.Owners{uint32(os.Geteuid()), 0}})
	_, want := rec.ReadFile("a file", 9)
	data, err := json.Marshal(rec.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	var b source.Bundle
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatal(err)
	}
	_, got := b.ReadFile("a file", 9)
	if !errors.Is(got, source.ErrUntrusted) || got.Error() != want.Error() || !strings.HasSuffix(got.Error(), "/a file'") {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestOwnersRace swaps a directory of the owner's with one of a stranger's, and a file with a symlink to a stranger's, over and over:
// what is read is never the stranger's.
func TestOwnersRace(t *testing.T) {
	asRoot(t)
	for name, files := range map[string]map[string]string{
		"directory": {"it/f": "good", "other/f": "evil"},
		"symlink":   {"it/f": "good", "evil/f": "evil", "other": "-> evil"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, files)
			for file, text := range files {
				if text == "evil" {
					if err := chownAll(filepath.Dir(file), stranger); err != nil {
						t.Fatal(err)
					}
				}
			}
			stop, swapped := make(chan struct{}), make(chan error, 1)
			go func() {
				for {
					select {
					case <-stop:
						swapped <- nil
						return
					default:
					}
					if err := unix.Renameat2(unix.AT_FDCWD, dir+"/it", unix.AT_FDCWD, dir+"/other", unix.RENAME_EXCHANGE); err != nil {
						swapped <- err
						return
					}
				}
			}()
			from := source.OS{Owners: source.Owners{0}}
			read, refused := 0, 0
			for end := time.Now().Add(10 * time.Second); (read < 500 || refused < 500) && time.Now().Before(end); {
				switch data, err := from.ReadFile(dir+"/it/f", 9); {
				case err == nil && string(data) == "good":
					read++
				case errors.Is(err, source.ErrUntrusted):
					refused++
				default:
					t.Fatalf("%q, %v", data, err)
				}
			}
			close(stop)
			if err := <-swapped; err != nil {
				t.Fatal(err)
			}
			if read == 0 || refused == 0 {
				t.Errorf("%d times read, %d times refused: nothing was swapped", read, refused)
			}
		})
	}
}

// chownAll gives a tree away.
func chownAll(dir string, uid int) error {
	return filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error { return errors.Join(err, os.Lchown(name, uid, uid)) })
}
