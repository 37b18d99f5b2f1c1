package syntax

import (
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"

	"ringwall/rules/diag"
)

// top is the beginning of a file.
func top(file string) diag.Span { return diag.Span{Pos: diag.Pos{File: file, Line: 1, Col: 1}, Len: 1} }

// documents reads the first document and, of what follows, as much as tells whether there is a second. The library
// panics on some input; that is an error like others.
func documents(r io.Reader) (docs []*yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	dec := yaml.NewDecoder(r)
	for len(docs) < 2 {
		n := new(yaml.Node)
		switch err := dec.Decode(n); {
		case err == io.EOF && len(docs) == 0:
			return []*yaml.Node{n}, nil
		case err == io.EOF:
			return docs, nil
		case err != nil:
			return docs, err
		}
		docs = append(docs, n)
	}
	return docs, nil
}

// secondDocument is where a document after the first begins; the top where there is none.
func secondDocument(t *text) (at diag.Span, found bool) {
	l := newLexer(t)
	content, ended := false, false
	for tok := l.next(); tok.kind != tokEnd; tok = l.next() {
		begins := tok.kind == tokMarker && t.src[tok.start] == '-'
		if ended || content && begins {
			return t.span(tok.start, tok.end), true
		}
		ended = tok.kind == tokMarker && !begins
		content = content || t.src[tok.start] != '%'
	}
	return top(t.file), false
}

// message is what the library says, without what it says first each time.
func message(err error) string { return strings.TrimPrefix(err.Error(), "yaml: ") }
