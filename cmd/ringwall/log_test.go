package main

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"testing"
)

// Priorities are for the journal alone: a shell that a service started has its JOURNAL_STREAM and another stderr.
func TestJournalStream(t *testing.T) {
	for _, c := range []struct {
		name         string
		shift        uint64 // what JOURNAL_STREAM's inode differs by
		run, oneShot string
	}{
		{"stderr is the journal", 0, "<3>broken policy=p.yaml\n", "<3>broken policy=p.yaml\n"},
		{"stderr is another file", 1, "", "error: broken: p.yaml\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			info, err := w.Stat()
			if err != nil {
				t.Fatal(err)
			}
			st := info.Sys().(*syscall.Stat_t)
			f := &front{stderr: w, getenv: func(name string) string {
				if name != "JOURNAL_STREAM" {
					return ""
				}
				return fmt.Sprintf("%d:%d", st.Dev, st.Ino+c.shift)
			}}
			if c.run != "" {
				f.logger().Error("broken", "policy", "p.yaml")
			}
			f.brief().Error("broken", "policy", "p.yaml")
			w.Close()
			got, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if want := c.run + c.oneShot; string(got) != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}
