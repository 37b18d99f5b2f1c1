package syntax

import (
	"bytes"
	"io"
	"strings"

	"ringwall/rules/diag"
)

// mistake is what the library refuses, and what lies around the place. The library names a line at best, often the one
// where the list or mapping begins that the mistake is in.
type mistake struct {
	t       *text
	message string // the library's
	line    int    // the one that is wrong, as far as can be told
	last    int    // the last that the library has looked at

	all     []token // of these lines and those just before them
	on      []token // of the line
	unended []token // brackets that are open at the end of the file
	quote   *token  // a quotation that is
}

// explain reports the one mistake in the YAML that the library stopped at.
func explain(t *text, err error, diags *diag.List) {
	m := &mistake{t: t, message: message(err)}
	m.line, m.last = failingLine(t, err)
	m.look()
	for _, reason := range []func(*diag.List) bool{
		m.unclosedQuote, m.escape, m.tab, m.bang, m.address, m.closing, m.unclosedBracket, m.afterQuote, m.star,
		m.reserved, m.longKey, m.dash, m.twoKeys, m.noColon, m.noComma, m.noKey, m.indentation,
	} {
		if reason(diags) {
			return
		}
	}
	at := m.t.span(m.start(), m.t.lineEnd(m.start()))
	diags.Errorf(at, "yaml-syntax", "this is no YAML: %s", m.said())
}

// lookBack is how many lines before a mistake are looked at.
const lookBack = 8

// look collects the tokens.
func (m *mistake) look() {
	l := newLexer(m.t)
	var stack []token
	for {
		tok := l.next()
		switch tok.kind {
		case tokOpen:
			stack = append(stack, tok)
		case tokClose:
			stack = stack[:len(stack)-1]
		case tokMarker:
			if len(m.unended) == 0 {
				m.unended = stack
			}
			stack = nil
		case tokUnclosed:
			m.quote = &tok
		case tokEnd:
			if len(m.unended) == 0 {
				m.unended = stack
			}
			return
		}
		if tok.line >= m.line-lookBack && tok.line <= m.last {
			m.all = append(m.all, tok)
			if tok.line == m.line {
				m.on = append(m.on, tok)
			}
		}
	}
}

// start is where the line's text begins.
func (m *mistake) start() int {
	i, end := m.t.lines[m.line-1], m.t.lineEnd(m.t.lines[m.line-1])
	for i < end && isBlank(m.t.src[i]) {
		i++
	}
	return i
}

// source is the text of a token.
func (m *mistake) source(tok token) string { return string(m.t.src[tok.start:tok.end]) }

// span is the place of a token.
func (m *mistake) span(tok token) diag.Span {
	return m.t.span(tok.start, min(tok.end, m.t.lineEnd(tok.start)))
}

// said is the library's message without the line, which is another than the one reported.
func (m *mistake) said() string {
	s := m.message
	if rest, ok := strings.CutPrefix(s, "line "); ok {
		if _, after, ok := strings.Cut(rest, ": "); ok {
			s = after
		}
	}
	return shown(s)
}

// failingLine is the first line with which the library refuses the text as it refuses the whole, and the last that it
// looked at.
func failingLine(t *text, err error) (line, last int) {
	// What it has asked for when it stops bounds the line from above; it looks ahead a line or two.
	r := &runeReader{src: t.src}
	documents(r)
	last = t.pos(min(r.read, len(t.src))).Line
	line = last
	for first := max(1, last-lookBack); line > first; line-- {
		if _, e := documents(bytes.NewReader(t.src[:t.lines[line-1]])); e == nil || e.Error() != err.Error() {
			break
		}
	}
	for line > 1 && t.lineEnd(t.lines[line-1]) == t.lines[line-1] {
		line--
	}
	return line, last
}

// runeReader hands a text out a byte at a time, and so knows how far it was read.
type runeReader struct {
	src  []byte
	read int
}

func (r *runeReader) Read(p []byte) (int, error) {
	if r.read == len(r.src) {
		return 0, io.EOF
	}
	n := copy(p[:1], r.src[r.read:])
	r.read += n
	return n, nil
}
