package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"

	"ringwall/rules/diag"
)

// logger writes to stderr: lines of text, of JSON with --json, and what the journal understands where it reads.
func (f *front) logger() *slog.Logger {
	switch {
	case f.json:
		return slog.New(slog.NewJSONHandler(f.stderr, nil))
	case f.toJournal():
		return slog.New(newJournal(f.stderr))
	}
	return slog.New(slog.NewTextHandler(f.stderr, nil))
}

// brief writes what a verb that ends at once has to warn of.
func (f *front) brief() *slog.Logger {
	if f.toJournal() {
		return slog.New(newJournal(f.stderr))
	}
	return slog.New(plain{w: f.stderr})
}

// toJournal tells whether stderr is the journal's. JOURNAL_STREAM, "device:inode" of what the service manager has
// connected, is inherited by those who write elsewhere too: it has to name this very stderr.
func (f *front) toJournal() bool {
	file, ok := f.stderr.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && f.getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journal writes a line a record with the priority before it, as sd-daemon(3) has it. The time is the journal's.
type journal struct {
	mu    *sync.Mutex
	w     io.Writer
	text  slog.Handler // writes to line
	line  *strings.Builder
	bound slog.Level
}

var _ slog.Handler = (*journal)(nil)

func newJournal(w io.Writer) *journal {
	line := &strings.Builder{}
	text := slog.NewTextHandler(line, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	})
	return &journal{mu: &sync.Mutex{}, w: w, text: text, line: line, bound: slog.LevelInfo}
}

// Enabled tells whether records of a level are written.
func (j *journal) Enabled(_ context.Context, l slog.Level) bool { return l >= j.bound }

// Handle writes a record.
func (j *journal) Handle(ctx context.Context, r slog.Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.line.Reset()
	if err := j.text.Handle(ctx, r); err != nil {
		return err
	}
	_, err := fmt.Fprintf(j.w, "<%d>%s", priority(r.Level), strings.TrimPrefix(j.line.String(), "msg="))
	return err
}

// WithAttrs is a journal whose records have some attributes.
func (j *journal) WithAttrs(attrs []slog.Attr) slog.Handler { return j.with(j.text.WithAttrs(attrs)) }

// WithGroup is a journal whose records have their attributes in a group.
func (j *journal) WithGroup(name string) slog.Handler { return j.with(j.text.WithGroup(name)) }

func (j *journal) with(text slog.Handler) *journal {
	k := *j
	k.text = text
	return &k
}

// priority is the syslog priority of a level.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	case l >= slog.LevelInfo:
		return 6
	}
	return 7
}

// plain writes the warnings and errors of a verb that ends at once, as sentences.
type plain struct {
	w     io.Writer
	attrs string
}

var _ slog.Handler = plain{}

// Enabled tells whether records of a level are written.
func (plain) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle writes a record.
func (p plain) Handle(_ context.Context, r slog.Record) error {
	line := "warning: " + r.Message + p.attrs
	if r.Level >= slog.LevelError {
		line = "error: " + r.Message + p.attrs
	}
	r.Attrs(func(a slog.Attr) bool {
		line += attrText(a)
		return true
	})
	_, err := fmt.Fprintln(p.w, diag.Visible(line))
	return err
}

// WithAttrs is a handler whose records have some attributes.
func (p plain) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		p.attrs += attrText(a)
	}
	return p
}

// WithGroup is the same handler: sentences have no groups.
func (p plain) WithGroup(string) slog.Handler { return p }

func attrText(a slog.Attr) string { return ": " + a.Value.String() }
