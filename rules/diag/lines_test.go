package diag

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// TestLines holds that places are found where counting from the beginning finds them, in whatever order.
func TestLines(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "ab ", "\n", "\r\n", "é", "日本", "\x80", "\xe6\x97", "\xf0\x9f\x98\x80", "\x80\x80\x80\x80\x80"}
	for range 20 {
		var b bytes.Buffer
		long := rnd.IntN(2) == 0 // lines of several strides
		for b.Len() < 3*stride {
			p := pieces[rnd.IntN(len(pieces))]
			if p == "\n" && long && rnd.IntN(20_000) > 0 {
				continue
			}
			b.WriteString(p)
		}
		text := b.Bytes()
		f := newLines(text)
		rows := bytes.Split(text, []byte("\n"))
		starts := make([]int, len(rows))
		for i := 1; i < len(rows); i++ {
			starts[i] = starts[i-1] + len(rows[i-1]) + 1
		}
		for range 2000 {
			row := rnd.IntN(len(rows))
			line := bytes.TrimSuffix(rows[row], []byte("\r"))
			start, ok := f.line(row + 1)
			if !ok || start != starts[row] {
				t.Fatalf("line %d begins at %d, %v; want %d", row+1, start, ok, starts[row])
			}
			col := 1 + rnd.IntN(utf8.RuneCount(line)+3)
			want := 0
			for range col - 1 {
				_, size := utf8.DecodeRune(line[want:])
				want += size
			}
			if got := f.column(start, row+1, col); got != start+want {
				t.Fatalf("%d:%d is at %d, want %d", row+1, col, got, start+want)
			}
		}
		for _, number := range []int{-1, 0, len(rows) + 1, len(rows) + 1000} {
			if at, ok := f.line(number); ok {
				t.Fatalf("line %d of %d is at %d", number, len(rows), at)
			}
		}
	}
}

// TestLinesEmpty holds that an empty text has one line with nothing in it.
func TestLinesEmpty(t *testing.T) {
	f := newLines(nil)
	if start, ok := f.line(1); start != 0 || !ok {
		t.Errorf("line 1 is at %d, %v", start, ok)
	}
	if got := f.column(0, 1, 5); got != 0 {
		t.Errorf("column 5 is at %d", got)
	}
}
