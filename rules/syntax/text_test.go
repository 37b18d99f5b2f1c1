package syntax

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestPlaces holds that offsets and places find each other, in whatever order they are asked for, on lines of any
// length.
func TestPlaces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "ab ", "\n", " \r\n", "é", "日本", "😀", "\t"}
	for range 10 {
		var b strings.Builder
		for b.Len() < 3*stride {
			p := pieces[rnd.IntN(len(pieces))]
			if strings.HasSuffix(p, "\n") && rnd.IntN(10_000) > 0 {
				continue
			}
			b.WriteString(p)
		}
		src := []byte(b.String())
		text := newText("f", src)
		for range 500 {
			offset := rnd.IntN(len(src) + 1)
			for offset < len(src) && !utf8.RuneStart(src[offset]) {
				offset++
			}
			start := 1 + bytes.LastIndexByte(src[:offset], '\n')
			line, col := 1+bytes.Count(src[:offset], []byte("\n")), 1+utf8.RuneCount(src[start:offset])
			if got := text.pos(offset); got.Line != line || got.Col != col {
				t.Fatalf("%d is at %v, want %d:%d", offset, got, line, col)
			}
			text.pos(start)
			if got := text.find(line, col); got != offset {
				t.Fatalf("%d:%d is %d, want %d", line, col, got, offset)
			}
			rest, _, _ := bytes.Cut(src[offset:], []byte("\n"))
			if got, want := text.lineEnd(offset), offset+len(bytes.TrimRight(rest, " \t\r")); got != want {
				t.Fatalf("the line of %d ends at %d, want %d", offset, got, want)
			}
		}
	}
}
