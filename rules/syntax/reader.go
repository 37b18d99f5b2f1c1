package syntax

import (
	"bytes"
	"sync"

	"gopkg.in/yaml.v3"

	"ringwall/rules/diag"
)

// Reader reads the files of one policy. What a policy may have at most counts for all of its files together. The zero
// Reader has read nothing.
type Reader struct {
	bytes  int // read so far
	values int // in them, those that aliases stand for included
}

// MaxBytes is how many bytes the files of a policy may have together.
const MaxBytes = 16 << 20

// The other limits of a policy. None comes near them; they keep what is no policy from using up the machine. The library
// takes some 400 bytes of memory for a value, and a policy that is large for good reasons has texts and addresses in
// it, which are longer than the shortest values: so the more bytes, the more values, up to what is read in time.
const (
	maxDepth      = 32 // lists and mappings within each other
	maxDirectives = 8  // lines that begin with %
	freeValues    = 110_000
	bytesPerValue = 10 // of those beyond
	mostValues    = 600_000
)

// Room is how many bytes the next file may have.
func (r *Reader) Room() int64 { return int64(MaxBytes - r.bytes) }

// allowed is how many values the files so far may have.
func (r *Reader) allowed() int { return min(freeValues+r.bytes/bytesPerValue, mostValues) }

// Parse reads one file. The tree is nil where the text is no YAML; otherwise it holds what could be made out, which
// means something only where the list has no errors. A file of comments alone is an empty mapping.
func (r *Reader) Parse(file string, src []byte) (*Node, diag.List) {
	var diags diag.List
	if len(src) > MaxBytes-r.bytes {
		diags.Errorf(top(file), "too-large", "a policy has at most %d MB in all its files, and with this one it has more", MaxBytes>>20)
		return nil, diags
	}
	r.bytes += len(src)
	t := newText(file, bytes.TrimPrefix(src, []byte(bom)))
	if checkCharacters(t, &diags); diags.HasErrors() {
		return nil, diags
	}
	if len(bytes.TrimSpace(t.src)) == 0 {
		diags.Errorf(top(file), "empty-file", "the file is empty").
			WithHint("write `{}`, or a comment, where it is meant to say nothing")
		return nil, diags
	}
	measured := make(chan int, len(t.src)/measuredBytes+1)
	var measuring sync.WaitGroup
	measuring.Go(func() {
		defer close(measured)
		r.measure(t, &diags, measured)
	})
	in := &meter{src: t.src, measured: measured}
	docs, err := documents(in)
	if measuring.Wait(); diags.HasErrors() {
		return nil, diags
	}
	second, found := top(file), false
	if len(docs) > 0 && (err != nil || len(docs) > 1) {
		second, found = secondDocument(t)
	}
	if err != nil && !found {
		explain(t, err, in.read, &diags)
		return nil, diags
	}
	b := builder{r: r, t: t, diags: &diags, anchors: map[*yaml.Node]*anchored{}}
	root := b.document(docs[0])
	if len(docs) > 1 || err != nil {
		b.errorf(second, "second-document", "a second document begins here").
			WithHint("write one document a file, and take the `---` out")
	}
	return root, diags
}

// Parse reads a file that is a policy by itself; see Reader.Parse.
func Parse(file string, src []byte) (*Node, diag.List) { return new(Reader).Parse(file, src) }

// measuredBytes is about how many bytes the library is given at once.
const measuredBytes = 64 << 10

// measure counts the values of a file, and refuses what has too many or is nested too deeply, before the library makes
// a tree of it: it tells up to where the text is measured, and nothing more once it is refused.
func (r *Reader) measure(t *text, diags *diag.List, measured chan<- int) {
	c := counter{lexer: newLexer(t)}
	told := 0
	for c.next() {
		if c.token.start-told >= measuredBytes {
			told = c.token.start
			measured <- told
		}
		switch tok := c.token; {
		case tok.depth+tok.blocks > maxDepth:
			diags.Errorf(t.span(tok.start, tok.start), "too-large", tooDeep, maxDepth)
			return
		case r.values+c.values() > r.allowed():
			r.tooMany(t.span(tok.start, tok.start), diags)
			return
		case c.directives > maxDirectives:
			diags.Errorf(t.span(tok.start, tok.end), "too-large", "the file has more than %d directives", maxDirectives).
				WithHint("take them out: a policy needs none")
			return
		}
	}
	if r.values += c.values(); r.values > r.allowed() { // comments at the end
		r.tooMany(t.span(c.token.start, c.token.start), diags)
		return
	}
	measured <- len(t.src)
}

// tooMany reports that a policy has more values than it may.
func (r *Reader) tooMany(at diag.Span, diags *diag.List) {
	diags.Errorf(at, "too-large", "here the policy has more than %d values and comments, lists and mappings counted twice and aliases as what they stand for; that is the most for %d bytes",
		r.allowed(), r.bytes).
		WithHint("keep long lists of addresses in files of their own: `{file: PATH}`")
}

const tooDeep = "lists and mappings lie more than %d deep in each other here"
