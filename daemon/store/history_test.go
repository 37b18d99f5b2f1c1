package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ringwall/daemon/store"
)

// keep stores a policy of so many bytes as the last good one, and in the history.
func keep(t *testing.T, d store.Dir, digest string, size int) {
	t.Helper()
	g := aPolicy()
	g.Digest = digest
	g.Bundle, _ = json.Marshal(strings.Repeat("x", size))
	if err := errors.Join(d.SaveLastGood(g), d.AddGood(store.Good{Digest: digest, Entry: g.Entry, Applied: g.Applied, Commit: "c" + digest})); err != nil {
		t.Fatal(err)
	}
}

// digests is the history's, the newest first.
func digests(t *testing.T, d store.Dir) (list []string) {
	t.Helper()
	all, err := d.History()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range all {
		list = append(list, g.Digest)
	}
	return list
}

func TestHistoryKeepsTen(t *testing.T) {
	d := newDir(t)
	if _, err := d.History(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("at first: %v", err)
	}
	const long = 300_000
	for i := range 12 {
		keep(t, d, fmt.Sprintf("a%x", i), long+i)
	}
	want := []string{"ab", "aa", "a9", "a8", "a7", "a6", "a5", "a4", "a3", "a2"}
	if diff := cmp.Diff(want, digests(t, d)); diff != "" {
		t.Fatalf("after twelve (-want +got):\n%s", diff)
	}
	for i, digest := range want {
		g, err := d.GoodPolicy(digest)
		var text string
		if err == nil {
			err = json.Unmarshal(g.Bundle, &text)
		}
		if err != nil || g.Digest != digest || len(text) != long+11-i {
			t.Errorf("policy %s: %s with %d bytes, %v", digest, g.Digest, len(text), err)
		}
	}
	for _, gone := range []string{"a0", "a1"} {
		if _, err := d.GoodPolicy(gone); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("policy %s is still there: %v", gone, err)
		}
	}

	// The newest is stored once, those before it take little room.
	last, err1 := os.Stat(filepath.Join(d.Path(), "last-good"))
	newest, err2 := os.Stat(filepath.Join(d.Path(), "policies", "ab"))
	if err1 != nil || err2 != nil || !os.SameFile(last, newest) {
		t.Errorf("the newest is stored twice: %v, %v", err1, err2)
	}
	if st, err := os.Stat(filepath.Join(d.Path(), "policies", "aa")); err != nil || st.Size() > long/10 {
		t.Errorf("the one before takes %d bytes, %v", st.Size(), err)
	}
}

func TestHistoryHoldsAPolicyOnce(t *testing.T) {
	d := newDir(t)
	for _, digest := range []string{"a1", "b2", "b2", "a1", "c3", "b2"} {
		keep(t, d, digest, 10)
	}
	if diff := cmp.Diff([]string{"b2", "c3", "a1"}, digests(t, d)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := d.AddGood(store.Good{Digest: "b2", Who: "another", Applied: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if all, err := d.History(); err != nil || len(all) != 3 || all[0].Who != "" || all[0].Commit != "cb2" {
		t.Errorf("applied again: %+v, %v", all, err)
	}
	entries, err := os.ReadDir(filepath.Join(d.Path(), "policies"))
	if err != nil || len(entries) != 3 {
		t.Errorf("files %v, %v", entries, err)
	}
}

func TestDamagedHistory(t *testing.T) {
	d := newDir(t)
	keep(t, d, "a1", 100_000)
	keep(t, d, "b2", 100_000)
	damage := func(name string, at int64) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(d.Path(), name), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte{0xff}, at); err != nil {
			t.Fatal(err)
		}
	}
	var corrupt *store.CorruptError
	damage("policies/a1", 40)
	if _, err := d.GoodPolicy("a1"); !errors.As(err, &corrupt) {
		t.Errorf("a damaged policy: %v", err)
	}
	damage("history", 100)
	if _, err := d.History(); !errors.As(err, &corrupt) {
		t.Errorf("a damaged index: %v", err)
	}
	keep(t, d, "c3", 10)
	if diff := cmp.Diff([]string{"c3"}, digests(t, d)); diff != "" {
		t.Errorf("begun anew (-want +got):\n%s", diff)
	}
	if err := d.AddGood(store.Good{Digest: "../last-good"}); err == nil {
		t.Error("a path was taken for a digest")
	}
	if _, err := d.GoodPolicy("../last-good"); err == nil {
		t.Error("a path was taken for a digest")
	}
}

func TestPendingComesBack(t *testing.T) {
	d := newDir(t)
	if _, err := d.Pending(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("at first: %v", err)
	}
	opened := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := store.Pending{
		Digest: "d1", Entry: "/p.yaml", Source: "files", Who: "root", Back: "d0", Files: "d1", Window: time.Minute, Opened: opened,
		Deadline: opened.Add(time.Minute), Boot: "b", Until: 12345 * time.Second, Old: []uint64{1, 1<<64 - 1}, Listed: true,
	}
	if err := errors.Join(d.SavePending(want), d.SaveUnconfirmed(aPolicy())); err != nil {
		t.Fatal(err)
	}
	got, err := d.Pending()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-saved +read):\n%s", err, diff)
	}
	if g, err := d.Unconfirmed(); err != nil || g.Digest != "d1" {
		t.Errorf("%+v, %v", g, err)
	}
	if _, err := d.LastGood(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not confirmed counts as good: %v", err)
	}
	for range 2 {
		if err := d.RemovePending(); err != nil {
			t.Fatal(err)
		}
	}
	_, err1 := d.Pending()
	_, err2 := d.Unconfirmed()
	if !errors.Is(err1, fs.ErrNotExist) || !errors.Is(err2, fs.ErrNotExist) {
		t.Errorf("removed: %v, %v", err1, err2)
	}
}
