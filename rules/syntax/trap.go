package syntax

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"ringwall/rules/diag"
)

// properties goes over the tag and the anchor before a value, and returns the tag as it is written and where the
// value itself begins, maybe lines below; after a tag, where that stands.
func (b *builder) properties(start int) (tag string, value int) {
	src := b.t.src
	at := start
	for at < len(src) {
		i := at
		switch src[i] {
		case '!':
			return string(firstWord(src[i:])), i
		case '&':
			for i++; i < len(src) && isName(src[i]); i++ {
			}
		default:
			return "", at
		}
		for i < len(src) && (isBreak(src[i]) || src[i] == '#') {
			if src[i] == '#' {
				i = b.t.lineEnd(i)
			} else {
				i++
			}
		}
		at = i
	}
	return "", at
}

// isName tells whether a byte may be in the name of an anchor, as the library has it.
func isName(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '-'
}

// tag reports a tag. In `from: ! office` and `from: !office` it was meant to be a `not`, and every parser takes it for
// nothing at all; what follows is read as it was meant.
func (b *builder) tag(node *Node, tag string, n *yaml.Node, start int) {
	end := b.t.lineEnd(start)
	if n.Kind == yaml.ScalarNode && !strings.HasPrefix(tag, "!!") && !strings.HasPrefix(tag, "!<") {
		name := strings.TrimSpace(strings.TrimPrefix(tag, "!") + " " + node.Text)
		end = min(end, b.plainEnd(node.Text, start+len(tag)))
		if i := strings.IndexAny(name, ",]}"); i >= 0 {
			name = name[:i] // the library takes these for a part of the tag
			end = b.plainEnd(name, start)
		}
		at := b.t.span(start, end)
		d := b.errorf(at, "bad-not", "`!` does not negate: YAML takes it for a tag, and drops it")
		if name = strings.TrimPrefix(name, "not "); name == "" {
			d.WithHint("write `not NAME`")
			*node = Node{Kind: Scalar, At: at, Text: "any"}
			return
		}
		d.WithHint("write `not %s`", shown(name))
		*node = Node{Kind: Scalar, At: at, Text: "not " + name}
		return
	}
	b.errorf(b.t.span(start, start+len(tag)), "tag", "the tag `%s` has no place in a policy", shown(tag)).
		WithHint("write the value alone, in quotes where it needs them")
	if node.Kind == Null {
		node.Kind, node.Text = Scalar, tag
	}
}

// addressKey makes a value of a mapping that was meant to be one: YAML reads `- fe80::` as the key `fe80:`.
func (b *builder) addressKey(node *Node) {
	if len(node.Pairs) != 1 || node.Pairs[0].Key.Quoted || node.Pairs[0].Value.Kind != Null {
		return
	}
	text := node.Pairs[0].Key.Text + ":"
	negated := strings.TrimPrefix(text, "not ")
	if _, err := netip.ParseAddr(strings.TrimSpace(negated)); err != nil {
		return
	}
	at := node.Pairs[0].Key.At
	at.Len++
	b.needsQuotes(at, text)
	*node = Node{Kind: Scalar, At: at, Text: text}
}

// needsQuotes reports a value that begins or ends with a colon.
func (b *builder) needsQuotes(at diag.Span, text string) {
	d := b.errorf(at, "needs-quotes", "YAML takes the colon at the end of `%s` for that of a key", shown(text))
	d.WithHint("write `%q`: values that begin or end with a colon need quotes", text)
}

// gluedColon reports `key:value`, which is one word, and returns the pair that was meant; nil where it is no such thing.
func (b *builder) gluedColon(word string, at diag.Span) *Pair {
	key, value, ok := strings.Cut(word, ":")
	if !ok || key == "" || value == "" || strings.Contains(value, "::") || !isKey(key) {
		return nil
	}
	if _, err := netip.ParseAddr(word); err == nil {
		return nil
	}
	b.errorf(at, "needs-blank", "a blank is missing after the colon").WithHint("write `%s: %s`", key, shown(value))
	p := &Pair{Key: &Node{Kind: Scalar, Text: key, At: at}, Value: &Node{Kind: Scalar, Text: value, At: at}}
	before := utf8.RuneCountInString(key)
	p.Key.At.Len = before
	if at.Len == utf8.RuneCountInString(word) {
		p.Value.At.Col += before + 1
		p.Value.At.Len -= before + 1
	}
	return p
}

// isKey tells whether a text could be a key: letters, and between them hyphens, dots or digits.
func isKey(s string) bool {
	return s != "" && unicode.IsLetter(rune(s[0])) &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+/") == ""
}

// checkText reports characters in a value that can't be seen, or look like a blank and are none.
func (b *builder) checkText(node *Node, start, end int) {
	for _, r := range node.Text {
		if unicode.IsPrint(r) || r == '\t' || r == '\n' {
			continue
		}
		at := node.At
		if i := strings.IndexRune(string(b.t.src[start:end]), r); i >= 0 {
			at = b.t.span(start+i, start+i)
		}
		if unicode.IsSpace(r) {
			b.errorf(at, "invisible-character", "the character %U looks like a blank and is none", r).WithHint("write a plain blank")
		} else {
			b.errorf(at, "invisible-character", "the character %U can't be seen", r).WithHint("take it out")
		}
		return
	}
}

// cutTexts reports texts for people that end before a comment which looks like a part of them. A comment after two
// blanks, or after `true`, is taken for what it is.
func (b *builder) cutTexts(n *yaml.Node) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Value != "note" && key.Value != "log" || value.Kind != yaml.ScalarNode || value.Value == "" {
			continue
		}
		if value.Style != 0 || key.Value == "log" && (value.Value == "true" || value.Value == "false") {
			continue
		}
		text := b.plainEnd(value.Value, b.t.find(value.Line, value.Column))
		end := b.t.lineEnd(text)
		hash := text
		for hash < end && isBlank(b.t.src[hash]) {
			hash++
		}
		if hash == text || hash == end || b.t.src[hash] != '#' {
			continue
		}
		at := b.t.span(hash, end)
		comment := b.t.src[hash+1 : end]
		const say = "the text ends before the `#`: YAML takes the rest of the line for a comment"
		hint := "put the text into quotes, or the comment on a line of its own"
		switch {
		case len(comment) > 0 && comment[0] != ' ' && comment[0] != '\t' && comment[0] != '#':
			b.errorf(at, "cut-text", say).WithHint("%s", hint)
		case hash-text == 1:
			b.warnf(at, "cut-text", say).WithHint("%s", hint)
		}
	}
}
