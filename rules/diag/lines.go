package diag

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// lines finds places in a text. It knows where every so many bytes of the text lie, so that each place is found from
// near by, in whatever order places are asked for and however long the lines are.
type lines struct {
	text  []byte
	known []landmark
}

// landmark is a byte of a text with its place.
type landmark struct{ offset, line, col int }

// stride is how many bytes lie between two landmarks.
const stride = 16 << 10

func newLines(text []byte) *lines {
	f := &lines{text: bytes.TrimPrefix(text, []byte("\ufeff"))}
	m := landmark{line: 1, col: 1}
	for {
		f.known = append(f.known, m)
		next := m.offset + stride
		for n := 1; n < utf8.UTFMax && next < len(f.text) && !utf8.RuneStart(f.text[next]); n++ {
			next++
		}
		if next >= len(f.text) {
			return f
		}
		between := f.text[m.offset:next]
		if i := bytes.LastIndexByte(between, '\n'); i >= 0 {
			m.line += bytes.Count(between, []byte("\n"))
			m.col, between = 1, between[i+1:]
		}
		m.col += utf8.RuneCount(between)
		m.offset = next
	}
}

// before is the last landmark at or before a place.
func (f *lines) before(line, col int) landmark {
	i, found := slices.BinarySearchFunc(f.known, Pos{Line: line, Col: col}, func(m landmark, at Pos) int {
		return Pos{Line: m.line, Col: m.col}.Compare(at)
	})
	if !found {
		i--
	}
	return f.known[max(0, i)]
}

// line is where a line begins, false where there is none of that number.
func (f *lines) line(number int) (offset int, ok bool) {
	if number < 1 {
		return 0, false
	}
	m := f.before(number, 1)
	for ; m.line < number; m.line++ {
		i := bytes.IndexByte(f.text[m.offset:], '\n')
		if i < 0 {
			return 0, false
		}
		m.offset += i + 1
	}
	return m.offset, true
}

// ends tells whether a line ends at an offset, before its carriage return where it has one.
func (f *lines) ends(offset int) bool {
	rest := f.text[offset:]
	return len(rest) == 0 || rest[0] == '\n' || rest[0] == '\r' && (len(rest) == 1 || rest[1] == '\n')
}

// column is the offset of a column of the line that begins at start, or of the line's end where it is shorter.
func (f *lines) column(start, number, col int) int {
	m := f.before(number, col)
	if m.line < number || m.offset < start {
		m = landmark{start, number, 1}
	}
	for ; m.col < col && !f.ends(m.offset); m.col++ {
		_, size := utf8.DecodeRune(f.text[m.offset:])
		m.offset += size
	}
	return m.offset
}

// How much of a line is shown: columns, and characters, of which many may share a column.
const (
	maxColumns    = 160
	maxCharacters = 4 * maxColumns
)

// window makes the part of a line around a place fit for a terminal: what is shown, how many columns of it stand
// before the place, and how many the place takes. The line begins at start.
func (f *lines) window(start int, at Span) (shown string, before, width int) {
	from := f.column(start, at.Line, at.Col)
	begin := from
	for n := 0; begin > start && n < maxColumns*2/3; n++ {
		_, size := utf8.DecodeLastRune(f.text[start:begin])
		begin -= size
	}
	if begin > start && at.Col <= maxColumns/2 {
		begin = start
	}
	var b strings.Builder
	column := 0
	if begin > start {
		b.WriteString("...")
		column = 3
	}
	first := column
	for i, n, marked := begin, 0, 0; !f.ends(i); n++ {
		if column-first >= maxColumns || n >= maxCharacters {
			b.WriteString("...")
			break
		}
		r, size := utf8.DecodeRune(f.text[i:])
		text, w := cell(r, size, f.text[i], column)
		if i < from {
			before += w
		} else if marked < at.Len {
			width += w
			marked++
		}
		b.WriteString(text)
		column += w
		i += size
	}
	return strings.TrimRight(b.String(), " "), before + first, width
}
