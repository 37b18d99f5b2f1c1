package store_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ringwall/daemon/store"
)

func newDir(t *testing.T) store.Dir {
	t.Helper()
	d := store.At(filepath.Join(t.TempDir(), "lib", "ringwall"))
	if err := d.Create(); err != nil {
		t.Fatal(err)
	}
	return d
}

func aPolicy() store.LastGood {
	return store.LastGood{
		Entry:   "/etc/ringwall/ringwall.yaml",
		Digest:  "d1",
		Source:  "files",
		Who:     "root",
		Applied: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		Bundle:  json.RawMessage(`{"files":{"a":"in: <&>\n"}}`),
	}
}

func TestEverythingComesBack(t *testing.T) {
	d := newDir(t)
	want := aPolicy()
	if err := d.SaveLastGood(want); err != nil {
		t.Fatal(err)
	}
	got, err := d.LastGood()
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(want.Bundle, &a), json.Unmarshal(got.Bundle, &b)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("bundle (-saved +read):\n%s", diff)
	}
	want.Bundle, got.Bundle = nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("last good (-saved +read):\n%s", diff)
	}

	const text = "version: 1\nfailsafe:\n  - {allow: ssh, from: 192.0.2.1}\n"
	if err := d.SaveEmergency(text); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Emergency(); err != nil || got != text {
		t.Errorf("emergency: %q, %v", got, err)
	}

	bans := []store.Ban{
		{Set: "banned", Prefix: netip.MustParsePrefix("203.0.113.0/24"), Until: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)},
		{Set: "banned", Prefix: netip.MustParsePrefix("2001:db8::1/128")},
	}
	if err := d.SaveBans(bans); err != nil {
		t.Fatal(err)
	}
	gotBans, err := d.Bans()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bans, gotBans, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("bans (-saved +read):\n%s", diff)
	}
}

func TestNothingForOthers(t *testing.T) {
	d := newDir(t)
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	if err := errors.Join(d.SaveLastGood(aPolicy()), d.SaveEmergency("x"), d.SaveBans(nil)); err != nil {
		t.Fatal(err)
	}
	l, err := d.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	if st, err := os.Stat(d.Path()); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, %v", st.Mode(), err)
	}
	entries, err := os.ReadDir(d.Path())
	if err != nil || len(entries) != 4 {
		t.Fatalf("entries %v, %v", entries, err)
	}
	for _, e := range entries {
		if st, err := e.Info(); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", e.Name(), st.Mode(), err)
		}
	}
}

func TestNothingStored(t *testing.T) {
	d := newDir(t)
	_, err1 := d.LastGood()
	_, err2 := d.Emergency()
	_, err3 := d.Bans()
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v, want one that wraps fs.ErrNotExist", err)
		}
	}
	if err := d.SaveLastGood(store.LastGood{Entry: "x"}); err == nil {
		t.Error("a policy without contents was stored")
	}
}

// TestBundleIsCutOut holds that a policy whose bundle is not where it is written now, or whose other members look like it, comes back.
func TestBundleIsCutOut(t *testing.T) {
	d := newDir(t)
	path := filepath.Join(d.Path(), "last-good")
	for body, want := range map[string]store.LastGood{
		`{"entry":"a","bundle":{"files":{}}}`:          {Entry: "a", Bundle: json.RawMessage(`{"files":{}}`)},
		`{"bundle":{"files":{}},"entry":"a"}`:          {Entry: "a", Bundle: json.RawMessage(`{"files":{}}`)},
		`{"entry":"a","bundle":{"b":{}},"who":"c"}`:    {Entry: "a", Bundle: json.RawMessage(`{"b":{}}`), Who: "c"},
		`{"entry":"a","bundle":{"b":{}},"more":{}}`:    {Entry: "a", Bundle: json.RawMessage(`{"b":{}}`)},
		`{"entry":"a,\"bundle\":{}","bundle":{"b":1}}`: {Entry: `a,"bundle":{}`, Bundle: json.RawMessage(`{"b":1}`)},
		`{"entry":"a","bundle":"text"}`:                {Entry: "a", Bundle: json.RawMessage(`"text"`)},
		`{"bundle":{"x":{},"bundle":{}}}`:              {Bundle: json.RawMessage(`{"x":{},"bundle":{}}`)},
	} {
		sealed := fmt.Sprintf("ringwall last-good 1 sha256:%x\n%s", sha256.Sum256([]byte(body)), body)
		if err := os.WriteFile(path, []byte(sealed), 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := d.LastGood()
		if diff := cmp.Diff(want, g); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", body, err, diff)
		}
	}
}

// TestEveryDamageIsSeen flips each byte of a file and cuts it at each length.
func TestEveryDamageIsSeen(t *testing.T) {
	d := newDir(t)
	if err := d.SaveLastGood(aPolicy()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.Path(), "last-good")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, data []byte) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		g, err := d.LastGood()
		var corrupt *store.CorruptError
		if !errors.As(err, &corrupt) || corrupt.Path != path {
			t.Fatalf("%s: error %v, want a CorruptError about %s", what, err, path)
		}
		if diff := cmp.Diff(store.LastGood{}, g); diff != "" {
			t.Fatalf("%s: something was used:\n%s", what, diff)
		}
	}
	for i := range whole {
		bad := append([]byte(nil), whole...)
		bad[i] ^= 0x11
		check("byte "+strconv.Itoa(i), bad)
		check("cut at "+strconv.Itoa(i), whole[:i])
	}
	check("more at the end", append(append([]byte(nil), whole...), '\n'))

	// A file in the place of another is whole, and still wrong.
	if err := d.SaveBans(nil); err != nil {
		t.Fatal(err)
	}
	bans, err := os.ReadFile(filepath.Join(d.Path(), "bans"))
	if err != nil {
		t.Fatal(err)
	}
	check("bans as policy", bans)
	if _, err := d.Bans(); err != nil {
		t.Errorf("the bans suffered too: %v", err)
	}
}

func TestDirectoriesThatWillNotDo(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := store.At(open).Create(); err == nil || !strings.Contains(err.Error(), "others may write") {
		t.Errorf("a directory that others may write to: %v", err)
	}
	if st, _ := os.Stat(open); st.Mode().Perm() != 0o777 {
		t.Errorf("its mode was changed to %v", st.Mode())
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.At(file).Create(); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file: %v", err)
	}
	if os.Geteuid() == 0 {
		foreign := filepath.Join(t.TempDir(), "foreign")
		if err := errors.Join(os.Mkdir(foreign, 0o700), os.Chown(foreign, 4711, 0)); err != nil {
			t.Fatal(err)
		}
		if err := store.At(foreign).Create(); err == nil || !strings.Contains(err.Error(), "4711") {
			t.Errorf("another user's directory: %v", err)
		}
	}
}

func TestVanishedDirectory(t *testing.T) {
	d := newDir(t)
	if err := os.RemoveAll(d.Path()); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveLastGood(aPolicy()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("save: %v", err)
	}
	if _, err := d.Lock(context.Background()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("lock: %v", err)
	}
}

// TestFullAndReadOnly mounts a small file system of its own, in a mount namespace that ends with the thread.
func TestFullAndReadOnly(t *testing.T) {
	base := t.TempDir()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		runtime.LockOSThread() // never unlocked: the thread is spoilt
		err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("tmpfs", base, "tmpfs", 0, "size=64k,mode=700")
		}
		if err != nil {
			if os.Getenv("CI") == "true" {
				t.Errorf("no mount namespace: %v", err)
			} else {
				t.Logf("not tested: no mount namespace: %v", err)
			}
			return
		}
		d := store.At(base)
		if err := d.SaveLastGood(aPolicy()); err != nil {
			t.Error(err)
		}
		big := aPolicy()
		big.Bundle, _ = json.Marshal(strings.Repeat("x", 1<<20))
		if err := d.SaveLastGood(big); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "full") {
			t.Errorf("a full directory: %v", err)
		}
		if g, err := d.LastGood(); err != nil || g.Digest != "d1" {
			t.Errorf("the policy before it: %+v, %v", g, err)
		}
		if entries, _ := os.ReadDir(base); len(entries) != 1 {
			t.Errorf("left behind: %v", entries)
		}
		if err := unix.Mount("", base, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Error(err)
		}
		if err := d.SaveLastGood(aPolicy()); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("a read-only directory: %v", err)
		}
		if g, err := d.LastGood(); err != nil || g.Digest != "d1" {
			t.Errorf("reading it: %+v, %v", g, err)
		}
	}()
	<-finished
}

func TestLockNamesItsHolder(t *testing.T) {
	d := newDir(t)
	l, err := d.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	once, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = d.Lock(once)
	var held *store.HeldError
	if !errors.As(err, &held) || held.PID != os.Getpid() || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("error %v, want a HeldError that names process %d", err, os.Getpid())
	}
	got := make(chan error)
	go func() {
		l, err := d.Lock(context.Background())
		if err == nil {
			err = l.Unlock()
		}
		got <- err
	}()
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Errorf("waiting for the lock: %v", err)
	}
}

// TestLockEndsWithItsProcess has another process take the lock, and kills it.
func TestLockEndsWithItsProcess(t *testing.T) {
	if dir := os.Getenv("STORE_TEST_LOCK"); dir != "" {
		if _, err := store.At(dir).Lock(context.Background()); err != nil {
			os.Exit(1)
		}
		os.Stdout.WriteString("locked\n")
		select {}
	}
	d := newDir(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	cmd.Env = append(os.Environ(), "STORE_TEST_LOCK="+d.Path())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	if _, err := out.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	once, cancel := context.WithCancel(context.Background())
	cancel()
	var held *store.HeldError
	if _, err := d.Lock(once); !errors.As(err, &held) || held.PID != cmd.Process.Pid {
		t.Fatalf("error %v, want a HeldError that names process %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l, err := d.Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l.Unlock()
}

func TestLockSweepsWhatACrashLeft(t *testing.T) {
	d := newDir(t)
	l, err := d.Lock(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	for _, name := range []string{".last-good123", ".bans9", "notes", ".last-good.yaml"} {
		if err := os.WriteFile(filepath.Join(d.Path(), name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l.Unlock()
	if l, err = d.Lock(context.Background()); err != nil {
		t.Fatal(err)
	}
	defer l.Unlock()
	var names []string
	entries, _ := os.ReadDir(d.Path())
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{".last-good.yaml", "lock", "notes"}, names); diff != "" {
		t.Errorf("after a crash (-want +got):\n%s", diff)
	}
}

func TestRefusedComesBack(t *testing.T) {
	d := newDir(t)
	if _, err := d.Refused(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("at first: %v", err)
	}
	want := []store.Refusal{{Digest: "d1", Why: "not confirmed", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	if err := d.SaveRefused(want); err != nil {
		t.Fatal(err)
	}
	got, err := d.Refused()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-saved +read):\n%s", err, diff)
	}
}
