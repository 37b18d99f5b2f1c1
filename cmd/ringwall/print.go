package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// writeJSON answers with one JSON document.
func (f *front) writeJSON(v any) error {
	enc := json.NewEncoder(f.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// isTerminal tells whether what is written to w is read on a screen.
func isTerminal(w any) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(file.Fd()), unix.TCGETS)
	return err == nil
}

// coloured tells whether w takes colours: a terminal that is not dumb, of a user who has not set NO_COLOR.
func (f *front) coloured(w io.Writer) bool {
	return f.getenv("NO_COLOR") == "" && f.getenv("TERM") != "dumb" && isTerminal(w)
}

// ink is the colours of one stream; the zero ink is none.
type ink bool

func (f *front) ink(w io.Writer) ink { return ink(f.coloured(w)) }

func (i ink) paint(code, s string) string {
	if !i || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (i ink) bold(s string) string   { return i.paint("1", s) }
func (i ink) faint(s string) string  { return i.paint("2", s) }
func (i ink) red(s string) string    { return i.paint("31", s) }
func (i ink) green(s string) string  { return i.paint("32", s) }
func (i ink) yellow(s string) string { return i.paint("33", s) }

// verdict gives a verdict its colour.
func (i ink) verdict(v string) string {
	if v == "allow" {
		return i.green(v)
	}
	return i.red(v)
}

// pad fills s with blanks on its right, to n runes.
func pad(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}

// padLeft fills s with blanks on its left, to n runes.
func padLeft(s string, n int) string {
	return strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s))) + s
}

// width is the longest of some texts, in runes, but at most limit.
func width(limit int, texts func(yield func(string) bool)) int {
	n := 0
	texts(func(s string) bool {
		n = max(n, utf8.RuneCountInString(s))
		return n < limit
	})
	return min(n, limit)
}

// count is a number with its noun: "1 rule", "12 rules", "2 addresses".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "s") {
		noun += "e"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// bytes is an amount of bytes in four or five characters: "840 B", "1.2 K", "31 G".
func bytes(n uint64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	unit := -1
	for v >= 999.5 && unit < 5 {
		v /= 1024
		unit++
	}
	if v < 9.95 {
		return fmt.Sprintf("%.1f %c", v, "KMGTPE"[unit])
	}
	return fmt.Sprintf("%.0f %c", v, "KMGTPE"[unit])
}

// span is a stretch of time in its two largest units: "3d4h", "5m", "12s".
func span(d time.Duration) string {
	if d < time.Second {
		return "0s"
	}
	s := int64(d / time.Second)
	switch {
	case s >= 86400:
		return two(s/86400, "d", s%86400/3600, "h")
	case s >= 3600:
		return two(s/3600, "h", s%3600/60, "m")
	case s >= 60:
		return two(s/60, "m", s%60, "s")
	}
	return fmt.Sprintf("%ds", s)
}

func two(a int64, unitA string, b int64, unitB string) string {
	if b == 0 {
		return fmt.Sprintf("%d%s", a, unitA)
	}
	return fmt.Sprintf("%d%s%d%s", a, unitA, b, unitB)
}

// since is a moment with how long ago it was.
func since(t, now time.Time) string {
	return fmt.Sprintf("%s (%s ago)", t.Local().Format("2006-01-02 15:04:05"), span(now.Sub(t)))
}

// short is the first digits of a digest.
func short(digest string) string { return digest[:min(12, len(digest))] }
