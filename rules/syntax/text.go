package syntax

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"ringwall/rules/diag"
)

// text is a file's source, with the means to tell places in it.
type text struct {
	file  string
	src   []byte
	lines []int // where each line begins

	// The last place that was looked up, and places before it on its line. The next is found from near by, and not
	// from the beginning of what may be a line of megabytes.
	line  int
	at    landmark
	known []landmark
	// The last line whose end was looked up.
	ended, end int
}

// landmark is an offset with its column.
type landmark struct{ col, offset int }

// stride is how many bytes lie between two landmarks at least.
const stride = 16 << 10

func newText(file string, src []byte) *text {
	t := &text{file: file, src: src, lines: make([]int, 1, 1+bytes.Count(src, []byte("\n")))}
	for i, b := range src {
		if b == '\n' {
			t.lines = append(t.lines, i+1)
		}
	}
	t.onLine(1)
	return t
}

// find returns the offset of a line and column, both from 1 on. What lies beyond the text is its end.
func (t *text) find(line, col int) int {
	if line > len(t.lines) {
		return len(t.src)
	}
	t.onLine(line)
	if col < t.at.col {
		i, _ := slices.BinarySearchFunc(t.known, col+1, func(m landmark, col int) int { return m.col - col })
		t.at = t.known[i-1]
	}
	for t.at.col < col && t.at.offset < len(t.src) && t.src[t.at.offset] != '\n' {
		_, size := utf8.DecodeRune(t.src[t.at.offset:])
		t.at.offset += size
		t.at.col++
		t.note()
	}
	return t.at.offset
}

// onLine goes to a line, and to its beginning unless it is there already.
func (t *text) onLine(line int) {
	if line == t.line {
		return
	}
	t.line, t.at = line, landmark{1, t.lines[line-1]}
	t.known = append(t.known[:0], t.at)
}

// note makes a landmark of the last place, where none is near.
func (t *text) note() {
	if t.at.offset >= t.known[len(t.known)-1].offset+stride {
		t.known = append(t.known, t.at)
	}
}

// pos is the place of an offset.
func (t *text) pos(offset int) diag.Pos {
	t.onLine(t.lineOf(offset))
	if offset < t.at.offset {
		i, _ := slices.BinarySearchFunc(t.known, offset+1, func(m landmark, offset int) int { return m.offset - offset })
		t.at = t.known[i-1]
	}
	for offset > t.at.offset {
		next := min(offset, t.at.offset+stride)
		for next < offset && !utf8.RuneStart(t.src[next]) {
			next++
		}
		t.at = landmark{t.at.col + utf8.RuneCount(t.src[t.at.offset:next]), next}
		t.note()
	}
	return diag.Pos{File: t.file, Line: t.line, Col: t.at.col}
}

// lineOf is the number of the line that an offset lies on.
func (t *text) lineOf(offset int) int {
	i, found := slices.BinarySearch(t.lines, offset)
	if found {
		i++
	}
	return i
}

// span is the place from one offset to another on the same line, at least one rune long.
func (t *text) span(from, to int) diag.Span {
	return diag.Span{Pos: t.pos(from), Len: max(1, utf8.RuneCount(t.src[from:max(from, to)]))}
}

// lineEnd is the offset of the end of the line that an offset lies on, blanks and carriage return left out.
func (t *text) lineEnd(offset int) int {
	if line := t.lineOf(offset); line != t.ended {
		t.ended, t.end = line, len(t.src)
		if line < len(t.lines) {
			t.end = t.lines[line] - 1
		}
		for t.end > t.lines[line-1] && isBlank(t.src[t.end-1]) {
			t.end--
		}
	}
	return max(offset, t.end)
}

// isBlank tells whether a byte separates tokens of one line.
func isBlank(b byte) bool { return b == ' ' || b == '\t' || b == '\r' }

// isBreak tells whether a byte separates tokens.
func isBreak(b byte) bool { return isBlank(b) || b == '\n' }
