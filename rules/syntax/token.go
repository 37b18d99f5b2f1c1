package syntax

import (
	"bytes"
)

// token is one lexical unit of YAML as far as it matters here: for bounds on nesting before the library recurses, and
// to explain what the library refuses. A plain text of several lines is one token a line.
type token struct {
	kind       tokenKind
	start, end int  // offsets
	line       int  // number of the line it begins on
	first      bool // nothing but dashes stands before it on its line
	continued  bool // plain: it goes on with the text of a line before
	depth      int  // of brackets around it; of an opening bracket, with it
	blocks     int  // of block collections around it, roughly: indentations
}

type tokenKind uint8

const (
	tokEnd      tokenKind = iota
	tokDash               // - of a list
	tokQuestion           // ? of a key
	tokColon              // : after a key
	tokOpen               // [ or {
	tokClose              // ] or }
	tokComma
	tokPlain
	tokQuoted
	tokUnclosed // a quoted text that goes on to the end of the file
	tokBlock    // | or > with what follows
	tokTag      // ! with what follows
	tokAnchor   // & with its name
	tokAlias    // * with its name
	tokMarker   // --- or ...
	tokReserved // text that begins with a character that none may
)

// lexer splits a text into tokens. It takes whatever comes: what is no YAML becomes tokens too.
type lexer struct {
	t      *text
	i      int // offset of what comes next
	line   int
	open   []int // offsets of the brackets that are open
	levels []level
	parent int  // column of the last key or dash, -1 at the top: what is indented more belongs to it
	head   int  // column of what stands first on this line, dashes left out
	first  bool // nothing but dashes has come on this line
	plain  bool // the last token is plain and ended with its line: a line that belongs to it goes on with it
	last   token

	collections int // block collections that have begun
	comments    int
}

func newLexer(t *text) *lexer { return &lexer{t: t, line: 1, first: true, parent: -1} }

// next returns the next token; the last is tokEnd.
func (l *lexer) next() token {
	l.skip()
	src := l.t.src
	tok := token{start: l.i, line: l.line, first: l.first, depth: len(l.open)}
	if l.i == len(src) {
		tok.kind, tok.end = tokEnd, l.i
		return tok
	}
	column := l.i - l.t.lines[l.line-1]
	if l.first {
		l.head = column
		if len(l.open) == 0 {
			l.indent(column)
		}
	}
	tok.blocks = len(l.levels)
	if continued := l.plain && (len(l.open) > 0 || l.first && column > l.parent); continued && !l.punctuation() {
		tok.continued = true
		l.scanPlain(&tok)
	} else {
		l.scan(&tok, column)
	}
	l.first = l.first && tok.kind == tokDash
	if tok.kind != tokPlain {
		l.plain = false
	}
	tok.end = l.i
	l.last = tok
	return tok
}

// skip goes over blanks, line breaks and comments.
func (l *lexer) skip() {
	src := l.t.src
	for l.i < len(src) {
		switch b := src[l.i]; {
		case b == '\n':
			l.i++
			l.line++
			l.first = true
		case isBlank(b):
			l.i++
		case b == '#' && (l.i == 0 || isBreak(src[l.i-1])):
			l.plain = false
			l.comments++
			l.toLineEnd()
		default:
			return
		}
	}
}

// toLineEnd goes to the end of the line.
func (l *lexer) toLineEnd() {
	if n := bytes.IndexByte(l.t.src[l.i:], '\n'); n >= 0 {
		l.i += n
	} else {
		l.i = len(l.t.src)
	}
}

// level is an indentation with what stands in it.
type level struct {
	column int // bytes from the line's beginning; increasing from level to level
	list   bool
	keys   bool
}

// indent ends the levels that are indented more than a column, and returns the level of that column.
func (l *lexer) indent(column int) *level {
	for len(l.levels) > 0 && l.levels[len(l.levels)-1].column > column {
		l.levels = l.levels[:len(l.levels)-1]
	}
	if len(l.levels) == 0 || l.levels[len(l.levels)-1].column < column {
		l.levels = append(l.levels, level{column: column})
	}
	return &l.levels[len(l.levels)-1]
}

// item notes an item of a block list.
func (l *lexer) item(column int) {
	l.parent = column
	if at := l.indent(column); !at.list {
		at.list = true
		l.collections++
	}
}

// key notes a key of a block mapping.
func (l *lexer) key(column int) {
	l.parent = column
	at := l.indent(column)
	if !at.keys {
		at.keys = true
		l.collections++
	}
	at.list = false // of the key before, where it stands in the same column
}

// punctuation tells whether what comes ends a plain text that goes on over lines.
func (l *lexer) punctuation() bool {
	if len(l.open) == 0 {
		return l.marker()
	}
	return bytes.IndexByte([]byte(",[]{}"), l.t.src[l.i]) >= 0 || l.colon(l.i)
}

// marker tells whether a document begins or ends here.
func (l *lexer) marker() bool {
	src := l.t.src
	if l.i != l.t.lines[l.line-1] || l.i+3 > len(src) {
		return false
	}
	s := string(src[l.i : l.i+3])
	return (s == "---" || s == "...") && (l.i+3 == len(src) || isBreak(src[l.i+3]))
}

// colon tells whether the byte at i is a colon that ends a plain key.
func (l *lexer) colon(i int) bool {
	src := l.t.src
	if src[i] != ':' {
		return false
	}
	return l.separated(i+1) || len(l.open) > 0 && bytes.IndexByte([]byte(",?[]{}"), src[i+1]) >= 0
}

// separated tells whether a blank, a line's end or the text's is at i.
func (l *lexer) separated(i int) bool { return i >= len(l.t.src) || isBreak(l.t.src[i]) }

// scan reads the token that begins here.
func (l *lexer) scan(tok *token, column int) {
	src := l.t.src
	flow := len(l.open) > 0
	b := src[l.i]
	if l.marker() {
		tok.kind = tokMarker
		l.i += 3
		l.open, l.levels, l.parent = nil, nil, -1
		return
	}
	switch {
	case b == '-' && !flow && l.separated(l.i+1):
		tok.kind = tokDash
		l.item(column)
		l.i++
	case b == '?' && (flow || l.separated(l.i+1)):
		tok.kind = tokQuestion
		if !flow {
			l.key(column)
		}
		l.i++
	case b == ':' && (flow || l.separated(l.i+1)):
		tok.kind = tokColon
		if !flow {
			at := l.head
			if (l.last.kind == tokPlain || l.last.kind == tokQuoted) && l.last.line == l.line {
				at = l.last.start - l.t.lines[l.line-1]
			}
			l.key(at)
		}
		l.i++
	case b == '[' || b == '{':
		tok.kind = tokOpen
		l.open = append(l.open, l.i)
		tok.depth++
		l.i++
	case flow && (b == ']' || b == '}'):
		tok.kind = tokClose
		l.open = l.open[:len(l.open)-1]
		l.i++
	case flow && b == ',':
		tok.kind = tokComma
		l.i++
	case b == '"' || b == '\'':
		l.scanQuoted(tok, b)
	case !flow && (b == '|' || b == '>'):
		l.scanBlock(tok)
	case b == '!':
		tok.kind = tokTag
		l.scanWord(flow)
	case b == '*':
		tok.kind = tokAlias
		l.scanWord(flow)
	case b == '&':
		tok.kind = tokAnchor
		for l.i++; l.i < len(src) && isName(src[l.i]); l.i++ {
		}
	case bytes.IndexByte([]byte("@`%,]}|>"), b) >= 0:
		tok.kind = tokReserved
		l.scanWord(flow)
	default:
		l.scanPlain(tok)
	}
}

// scanWord goes to the next blank, or in brackets to the next bracket or comma.
func (l *lexer) scanWord(flow bool) {
	for l.i++; !l.separated(l.i); l.i++ {
		if flow && bytes.IndexByte([]byte(",[]{}"), l.t.src[l.i]) >= 0 || l.colon(l.i) {
			return
		}
	}
}

// scanPlain reads what stands without quotes on one line.
func (l *lexer) scanPlain(tok *token) {
	src := l.t.src
	tok.kind = tokPlain
	end := l.i
	for ; l.i < len(src) && src[l.i] != '\n'; l.i++ {
		b := src[l.i]
		if l.colon(l.i) || b == '#' && isBlank(src[l.i-1]) || len(l.open) > 0 && bytes.IndexByte([]byte(",[]{}"), b) >= 0 {
			break
		}
		if !isBlank(b) {
			end = l.i + 1
		}
	}
	l.plain = l.i == len(src) || src[l.i] == '\n'
	l.i = max(end, tok.start+1)
}

// scanQuoted reads what stands in quotes, over lines.
func (l *lexer) scanQuoted(tok *token, quote byte) {
	src := l.t.src
	tok.kind = tokUnclosed
	for l.i++; l.i < len(src); l.i++ {
		switch {
		case src[l.i] == '\n':
			l.line++
		case quote == '"' && src[l.i] == '\\' && l.i+1 < len(src) && src[l.i+1] != '\n':
			l.i++
		case src[l.i] == quote && quote == '\'' && l.i+1 < len(src) && src[l.i+1] == quote:
			l.i++
		case src[l.i] == quote:
			l.i++
			tok.kind = tokQuoted
			return
		}
	}
}

// scanBlock reads a block scalar: the lines after this one that are empty or indented more than the key or dash.
func (l *lexer) scanBlock(tok *token) {
	src := l.t.src
	tok.kind = tokBlock
	l.toLineEnd()
	for l.i < len(src) {
		start := l.i + 1
		i := start
		for i < len(src) && src[i] == ' ' {
			i++
		}
		if i < len(src) && src[i] != '\n' && src[i] != '\r' && i-start <= l.parent {
			return
		}
		if l.i = start; start == len(src) {
			return
		}
		l.line++
		l.toLineEnd()
	}
}
