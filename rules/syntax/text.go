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

	// The last place that was looked up. Places come in the order of the text, so that the next is found from here
	// and not from the beginning of what may be a line of megabytes.
	line, col, offset int
	// The last line whose end was looked up, from an offset in it on.
	from, end int
}

func newText(file string, src []byte) *text {
	t := &text{file: file, src: src, lines: make([]int, 1, 1+bytes.Count(src, []byte("\n")))}
	for i, b := range src {
		if b == '\n' {
			t.lines = append(t.lines, i+1)
		}
	}
	t.line, t.col, t.end = 1, 1, -1
	return t
}

// find returns the offset of a line and column, both from 1 on. What lies beyond the text is its end.
func (t *text) find(line, col int) int {
	if line > len(t.lines) {
		return len(t.src)
	}
	if line != t.line || col < t.col {
		t.line, t.col, t.offset = line, 1, t.lines[line-1]
	}
	for t.col < col && t.offset < len(t.src) && t.src[t.offset] != '\n' {
		_, size := utf8.DecodeRune(t.src[t.offset:])
		t.offset += size
		t.col++
	}
	return t.offset
}

// pos is the place of an offset.
func (t *text) pos(offset int) diag.Pos {
	i, found := slices.BinarySearch(t.lines, offset)
	if found {
		i++
	}
	// i is now the number of the line.
	if i != t.line || offset < t.offset {
		t.line, t.col, t.offset = i, 1, t.lines[i-1]
	}
	t.col += utf8.RuneCount(t.src[t.offset:offset])
	t.offset = offset
	return diag.Pos{File: t.file, Line: i, Col: t.col}
}

// span is the place from one offset to another on the same line, at least one rune long.
func (t *text) span(from, to int) diag.Span {
	return diag.Span{Pos: t.pos(from), Len: max(1, utf8.RuneCount(t.src[from:max(from, to)]))}
}

// lineEnd is the offset of the end of the line that an offset lies on, blanks and carriage return left out.
func (t *text) lineEnd(offset int) int {
	if offset >= t.from && offset <= t.end {
		return t.end
	}
	end := len(t.src)
	if i := bytes.IndexByte(t.src[offset:], '\n'); i >= 0 {
		end = offset + i
	}
	for end > offset && isBlank(t.src[end-1]) {
		end--
	}
	t.from, t.end = offset, end
	return end
}

// isBlank tells whether a byte separates tokens of one line.
func isBlank(b byte) bool { return b == ' ' || b == '\t' || b == '\r' }

// isBreak tells whether a byte separates tokens.
func isBreak(b byte) bool { return isBlank(b) || b == '\n' }
