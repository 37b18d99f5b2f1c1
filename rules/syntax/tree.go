package syntax

import (
	"bytes"
	"strings"
	"unicode"

	"gopkg.in/yaml.v3"

	"ringwall/rules/diag"
)

// builder makes a tree of what the library has read, and reports what does not mean what it looks like.
type builder struct {
	r       *Reader
	t       *text
	diags   *diag.List
	anchors map[*yaml.Node]*anchored
	full    bool // aliases stand for too much
}

// anchored is a node with an anchor.
type anchored struct {
	node   *Node // nil while its inside is being read
	size   int   // values in it, those of aliases included; a long text counts for several
	height int   // how deep they are nested
}

// part is a node with its measures.
type part struct {
	*Node
	size, height int
}

// errorf reports an error, up to a number in one file.
func (b *builder) errorf(at diag.Span, code, format string, args ...any) *diag.Diagnostic {
	switch n := len(*b.diags); {
	case n > maxFindings:
		return &diag.Diagnostic{}
	case n == maxFindings:
		return b.diags.Errorf(at, "too-many", "this file has more mistakes than the %d before this one", maxFindings)
	}
	return b.diags.Errorf(at, code, format, args...)
}

// warnf reports a warning, up to a number in one file.
func (b *builder) warnf(at diag.Span, code, format string, args ...any) *diag.Diagnostic {
	if len(*b.diags) >= maxFindings {
		return &diag.Diagnostic{}
	}
	return b.diags.Warnf(at, code, format, args...)
}

// document makes the tree of a document.
func (b *builder) document(n *yaml.Node) *Node {
	root := &Node{Kind: Map, At: top(b.t.file)}
	if len(n.Content) == 0 {
		return root
	}
	made := b.node(n.Content[0], nil, 1).Node
	if made.Kind == Null {
		return root
	}
	if made.Kind == Scalar && !made.Quoted {
		if glued := b.gluedColon(made.Text, made.At); glued != nil {
			root.At, root.Pairs = made.At, []Pair{*glued}
			return root
		}
	}
	return made
}

// node makes a node. The owner is what lacks a value where there is none: the key, or nil.
func (b *builder) node(n *yaml.Node, owner *Node, depth int) part {
	if n.Kind == yaml.AliasNode {
		return b.alias(n, depth)
	}
	start := b.t.find(n.Line, n.Column)
	var known *anchored
	if n.Anchor != "" {
		known = &anchored{}
		b.anchors[n] = known
	}
	nowhere := start
	tag, start := b.properties(start)
	p := part{Node: &Node{}, size: 1, height: 1}
	if depth > maxDepth {
		b.errorf(b.t.span(start, start), "too-large", tooDeep, maxDepth)
		return p
	}
	switch n.Kind {
	case yaml.SequenceNode:
		p.Kind, p.At, p.size = List, b.t.span(start, start), 2
		p.Items = make([]*Node, 0, len(n.Content))
		for i, c := range n.Content {
			n.Content[i] = nil // the library's tree takes more memory than this one
			item := b.node(c, nil, depth+1)
			p.Items = append(p.Items, item.Node)
			p.add(item)
		}
	case yaml.MappingNode:
		p.Kind, p.At, p.size = Map, b.t.span(start, start), 2
		b.pairs(&p, n, depth)
	default:
		if n.Value == "" && n.Style&^yaml.TaggedStyle == 0 {
			p.At = b.nothing(owner, nowhere)
		} else {
			b.scalar(p.Node, n, start)
			p.size += len(n.Value) / bytesPerValue
		}
	}
	if p.Kind == Map {
		b.addressKey(p.Node)
	}
	if tag != "" {
		b.tag(p.Node, tag, n, start)
	}
	if known != nil {
		known.node, known.size, known.height = p.Node, p.size, p.height
	}
	n.Content = nil
	return p
}

// add counts a part of p.
func (p *part) add(inner part) {
	p.size = min(p.size+inner.size, MaxBytes) // more than any policy may have
	p.height = max(p.height, inner.height+1)
}

// alias returns the node of an anchor.
func (b *builder) alias(n *yaml.Node, depth int) part {
	start := b.t.find(n.Line, n.Column)
	at := b.t.span(start, start+1+len(n.Value))
	nothing := part{Node: &Node{Kind: Scalar, At: at, Text: n.Value}, size: 1, height: 1}
	to := b.anchors[n.Alias]
	switch {
	case b.full:
		return nothing
	case to == nil || to.node == nil:
		b.errorf(at, "bad-alias", "the alias stands within what it stands for")
		return nothing
	case depth+to.height-1 > maxDepth:
		b.errorf(at, "too-large", tooDeep, maxDepth)
		return nothing
	}
	if b.r.values += to.size; b.r.values > b.r.allowed() {
		b.full = true
		b.r.tooMany(at, b.diags)
		return nothing
	}
	return part{Node: to.node, size: to.size, height: to.height}
}

// pairs makes the pairs of a mapping.
func (b *builder) pairs(p *part, n *yaml.Node, depth int) {
	var first keys
	p.Pairs = make([]Pair, 0, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := b.node(n.Content[i], nil, depth+1).Node
		if n.Content[i].Kind == yaml.AliasNode || key.Kind != Scalar {
			b.badKey(key, n.Content[i])
			b.node(n.Content[i+1], key, depth+1)
			continue
		}
		if strings.HasPrefix(key.Text, "-") && !key.Quoted {
			b.errorf(key.At, "needs-blank", "a blank is missing after the dash").
				WithHint("write `- %s: ...`", shown(strings.TrimLeft(key.Text, "-")))
			continue
		}
		if i == 0 && n.Style&yaml.FlowStyle == 0 {
			p.At = key.At
		}
		value := b.node(n.Content[i+1], key, depth+1)
		p.add(value)
		if key.Text == "<<" && !key.Quoted {
			b.errorf(key.At, "merge-key", "`<<` merges nothing here").
				WithHint("write the keys out; an alias may stand for a whole value: `from: *NAME`")
			continue
		}
		if earlier := first.add(key); earlier != nil {
			hint := "several values are a list: `" + shown(key.Text) + ": [A, B]`"
			if value.Kind != Scalar {
				hint = "write what stands under both under one"
			}
			b.errorf(key.At, "duplicate-key", "the key `%s` stands twice in one mapping", shown(key.Text)).
				WithHint("%s", hint).
				Also(earlier.At, "first here")
			continue
		}
		if value.Kind == Null && n.Style&yaml.FlowStyle != 0 && !key.Quoted {
			if glued := b.gluedColon(key.Text, key.At); glued != nil {
				p.Pairs = append(p.Pairs, *glued)
				continue
			}
		}
		p.Pairs = append(p.Pairs, Pair{Key: key, Value: value.Node})
	}
	if depth > 1 {
		b.cutTexts(n)
	}
}

// keys is the keys of a mapping. Most have few, of which none is worth a map.
type keys struct {
	few  []*Node
	many map[string]*Node
}

// add takes a key up, unless there is an equal one already, which it returns.
func (k *keys) add(key *Node) *Node {
	const most = 8
	if k.many != nil {
		if earlier := k.many[key.Text]; earlier != nil {
			return earlier
		}
		k.many[key.Text] = key
		return nil
	}
	for _, earlier := range k.few {
		if earlier.Text == key.Text {
			return earlier
		}
	}
	if k.few = append(k.few, key); len(k.few) > most {
		k.many = make(map[string]*Node, 4*most)
		for _, key := range k.few {
			k.many[key.Text] = key
		}
	}
	return nil
}

// badKey reports a key that is none.
func (b *builder) badKey(key *Node, n *yaml.Node) {
	switch {
	case n.Kind == yaml.AliasNode:
		start := b.t.find(n.Line, n.Column)
		b.errorf(b.t.span(start, start+1+len(n.Value)), "bad-key", "an alias is no key").WithHint("write the key out")
	case key.Kind == Null:
		b.errorf(key.At, "bad-key", "a key is missing before the colon")
	default:
		b.errorf(key.At, "bad-key", "%s is no key", key.Kind).WithHint("a key is one word")
	}
}

// scalar fills a node in for a value.
func (b *builder) scalar(node *Node, n *yaml.Node, start int) {
	node.Kind, node.Text, node.Quoted = Scalar, n.Value, n.Style&^yaml.TaggedStyle != 0
	end := b.scalarEnd(n, start)
	node.At = b.t.span(start, end)
	b.checkText(node, start, end)
}

// nothing is the place of a value that is not there: its key, or its dash.
func (b *builder) nothing(owner *Node, start int) diag.Span {
	if owner != nil {
		return owner.At
	}
	if start > 0 && start <= len(b.t.src) && b.t.src[start-1] == '-' {
		start--
	}
	return b.t.span(start, start)
}

// scalarEnd is where a scalar's token ends on the line that it begins on.
func (b *builder) scalarEnd(n *yaml.Node, start int) int {
	src, end := b.t.src, b.t.lineEnd(start)
	if start >= end {
		return start
	}
	switch c := src[start]; {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return start + len(firstWord(src[start:end]))
	case n.Style&yaml.DoubleQuotedStyle != 0, n.Style&yaml.SingleQuotedStyle != 0:
		for i := start + 1; i < end; i++ {
			switch {
			case c == '"' && src[i] == '\\':
				i++
			case c == '\'' && src[i] == '\'' && i+1 < end && src[i+1] == '\'':
				i++
			case src[i] == c:
				return i + 1
			}
		}
		return end
	}
	return min(end, b.plainEnd(n.Value, start))
}

// plainEnd is where a plain scalar ends, maybe lines below. Only blanks and line breaks can lie between its words.
func (b *builder) plainEnd(value string, start int) int {
	end := start
	for word := range strings.FieldsSeq(value) {
		i := bytes.Index(b.t.src[end:], []byte(word))
		if i < 0 {
			break
		}
		end += i + len(word)
	}
	return end
}

// firstWord is what stands before the first blank.
func firstWord(s []byte) []byte {
	if i := bytes.IndexAny(s, " \t\r\n"); i >= 0 {
		return s[:i]
	}
	return s
}

// shown makes a text of the file fit for a message of one line.
func shown(s string) string {
	const most = 60
	if r := []rune(s[:min(len(s), 4*most+4)]); len(r) > most {
		s = string(r[:most]) + "..."
	}
	s = strings.Join(strings.Fields(s), " ")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
