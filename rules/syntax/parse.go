package syntax

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"gopkg.in/yaml.v3"

	"ringwall/rules/diag"
)

// The limits of one file. A policy comes nowhere near them; they keep what is no policy from using up the machine.
const (
	maxBytes   = 16 << 20
	maxDepth   = 32        // lists and mappings within each other
	maxItems   = 1_000_000 // line breaks and commas
	maxAliased = 100_000   // values that aliases stand for
)

// Parse reads one file. The tree is nil where the text is no YAML; otherwise it holds what could be made out, which
// means something only where the list has no errors. A file of comments alone is an empty mapping.
func Parse(file string, src []byte) (*Node, diag.List) {
	var diags diag.List
	if len(src) > maxBytes {
		diags.Errorf(top(file), "too-large", "the file has %d MB, at most %d are allowed", len(src)>>20, maxBytes>>20)
		return nil, diags
	}
	t := newText(file, bytes.TrimPrefix(src, []byte(bom)))
	if checkCharacters(t, &diags); diags.HasErrors() {
		return nil, diags
	}
	if len(bytes.TrimSpace(t.src)) == 0 {
		diags.Errorf(top(file), "empty-file", "the file is empty").
			WithHint("write `{}`, or a comment, where it is meant to say nothing")
		return nil, diags
	}
	if checkSize(t, &diags); diags.HasErrors() {
		return nil, diags
	}
	docs, err := documents(bytes.NewReader(t.src))
	second, found := top(file), false
	if len(docs) > 0 && (err != nil || len(docs) > 1) {
		second, found = secondDocument(t)
	}
	if err != nil && !found {
		explain(t, err, &diags)
		return nil, diags
	}
	b := builder{t: t, diags: &diags, anchors: map[*yaml.Node]*anchored{}}
	root := b.document(docs[0])
	if len(docs) > 1 || err != nil {
		b.errorf(second, "second-document", "a second document begins here").
			WithHint("write one document a file, and take the `---` out")
	}
	return root, diags
}

// top is the beginning of a file.
func top(file string) diag.Span { return diag.Span{Pos: diag.Pos{File: file, Line: 1, Col: 1}, Len: 1} }

// checkSize refuses what has too many items, or is nested too deeply, before the library makes a tree of it.
func checkSize(t *text, diags *diag.List) {
	if n := len(t.lines) + bytes.Count(t.src, []byte(",")); n > maxItems {
		diags.Errorf(top(t.file), "too-large", "the file has %d lines and commas, at most %d are allowed", n, maxItems).
			WithHint("keep long lists of addresses in files of their own: `{file: PATH}`")
		return
	}
	l := newLexer(t)
	for tok := l.next(); tok.kind != tokEnd; tok = l.next() {
		if tok.depth+tok.blocks > maxDepth {
			tooDeep(t.span(tok.start, tok.start), diags)
			return
		}
	}
}

func tooDeep(at diag.Span, diags *diag.List) {
	diags.Errorf(at, "too-large", "lists and mappings lie more than %d deep in each other here", maxDepth)
}

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
