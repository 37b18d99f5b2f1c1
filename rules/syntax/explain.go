package syntax

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"ringwall/rules/diag"
)

// mistake is what the library refuses, and what lies around the place. The library names a line at best, often the one
// where the list or mapping begins that the mistake is in.
type mistake struct {
	t       *text
	message string // the library's
	read    int    // bytes that the library has read before it stopped
	line    int    // the one that is wrong, as far as can be told
	last    int    // the last that the library has looked at

	all     []token // of these lines and those just before them
	on      []token // of the line
	unended []token // brackets that are open at the end of the file
	quote   *token  // a quotation that is
}

// explain reports the one mistake in the YAML that the library stopped at.
func explain(t *text, err error, read int, diags *diag.List) {
	m := &mistake{t: t, message: message(err), read: read}
	m.find()
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

// What is looked at around a mistake: so many lines before it, and so many bytes.
const (
	lookBack  = 8
	lookWidth = 64 << 10
)

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
		if tok.line >= m.line-lookBack && tok.line <= m.last && tok.end >= m.read-lookWidth && tok.start <= m.read+lookWidth {
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
	return shown(withoutLine(m.message))
}

// find looks for the first line with which the library refuses the text as it refuses the whole, and the last that it
// has looked at.
func (m *mistake) find() {
	t := m.t
	src, before := t.src, 0 // what is tried, and the lines before it
	if m.read > lookWidth {
		src, before = m.near()
	}
	if src == nil { // to try the whole again and again takes long; the library knows the line of something
		m.last = t.lineOf(m.read)
		m.line = m.last
		if _, err := fmt.Sscanf(m.message, "line %d:", &m.line); err == nil {
			m.line = max(1, min(m.line, m.last))
		}
	} else {
		m.tryLines(src, before)
	}
	for m.line > 1 && t.lineEnd(t.lines[m.line-1]) == t.lines[m.line-1] {
		m.line--
	}
}

// tryLines looks in a part of the text.
func (m *mistake) tryLines(src []byte, before int) {
	t, start := m.t, m.t.lines[before]
	// What it has asked for when it stops bounds the line from above; it looks ahead a line or two.
	r := &byteReader{src: src}
	_, err := documents(r)
	m.read = min(start+r.read, len(t.src))
	m.last = t.lineOf(m.read)
	m.line = m.last
	for first := max(before+1, m.last-lookBack); m.line > first; m.line-- {
		_, e := documents(bytes.NewReader(src[:t.lines[m.line-1]-start]))
		if e == nil || err == nil || e.Error() != err.Error() {
			break
		}
	}
}

// near is a part of a long text that stands on its own and that the library refuses as it refuses the whole, and how
// many lines are before it; nil where there is none.
func (m *mistake) near() (src []byte, before int) {
	t := m.t
	first, least := 0, 0 // a line that is indented as little as any
	for line := t.lineOf(m.read) - lookBack; line > 0 && t.lines[line-1] > m.read-2*lookWidth; line-- {
		start := t.lines[line-1]
		i := start
		for i < len(t.src) && t.src[i] == ' ' {
			i++
		}
		if i == len(t.src) || isBreak(t.src[i]) || t.src[i] == '#' {
			continue
		}
		if indent := i - start; first == 0 || indent < least {
			first, least = line, indent
		}
	}
	if first == 0 {
		return nil, 0
	}
	src = t.src[t.lines[first-1]:min(len(t.src), m.read+lookWidth)]
	if _, err := documents(bytes.NewReader(src)); err == nil || withoutLine(message(err)) != withoutLine(m.message) {
		return nil, 0
	}
	return src, first - 1
}

// withoutLine is the library's message without the number of a line.
func withoutLine(s string) string {
	if rest, ok := strings.CutPrefix(s, "line "); ok {
		if _, after, ok := strings.Cut(rest, ": "); ok {
			return after
		}
	}
	return s
}

// meter hands a text out, and knows how far it was read.
type meter struct {
	src  []byte
	read int
	// measured says up to where the text may be read, each time that is more; closed before all may be, the rest may not. Where it is nil,
	// all may be.
	measured <-chan int
	most     int
}

func (r *meter) Read(p []byte) (int, error) {
	if r.read == len(r.src) {
		return 0, io.EOF
	}
	if r.measured == nil {
		r.most = len(r.src)
	}
	for r.read == r.most {
		most, ok := <-r.measured
		if !ok {
			return 0, io.ErrUnexpectedEOF
		}
		r.most = most
	}
	n := copy(p, r.src[r.read:r.most])
	r.read += n
	return n, nil
}

// byteReader is a meter that hands out one byte at a time.
type byteReader meter

func (r *byteReader) Read(p []byte) (int, error) { return (*meter)(r).Read(p[:1]) }
