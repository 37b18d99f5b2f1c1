package syntax

import (
	"bytes"
	"cmp"
	"net/netip"
	"strings"

	"ringwall/rules/diag"
)

// unclosedQuote finds a quotation that goes on to the end of the file.
func (m *mistake) unclosedQuote(diags *diag.List) bool {
	if m.quote == nil || m.quote.line > m.line {
		return false
	}
	diags.Errorf(m.span(*m.quote), "yaml-syntax", "the quotation that begins here never ends").
		WithHint("write a second `%c` where it ends", m.t.src[m.quote.start])
	return true
}

// escape finds the backslash that begins no escape.
func (m *mistake) escape(diags *diag.List) bool {
	if !strings.Contains(m.message, "escape") {
		return false
	}
	for _, tok := range m.all {
		if tok.kind != tokQuoted || m.t.src[tok.start] != '"' {
			continue
		}
		for i := tok.start + 1; i < tok.end-1; i++ {
			if m.t.src[i] != '\\' {
				continue
			}
			if i++; bytes.IndexByte([]byte("0abt\tnvfre \"/\\N_LPxuU\n\r"), m.t.src[i]) >= 0 {
				continue
			}
			diags.Errorf(m.t.span(i-1, i+1), "yaml-syntax", "in double quotes this begins an escape that is none").
				WithHint("write `\\\\` for a backslash, or use single quotes")
			return true
		}
	}
	return false
}

// tab finds a tab where blanks should stand.
func (m *mistake) tab(diags *diag.List) bool {
	line := m.t.src[m.t.lines[m.line-1]:m.start()]
	i := bytes.IndexByte(line, '\t')
	if i < 0 {
		return false
	}
	at := m.t.lines[m.line-1] + i
	diags.Errorf(m.t.span(at, m.start()), "tab", "a tab in the indentation").WithHint("indent with blanks: YAML takes no tabs there")
	return true
}

// bang finds the tag that swallowed a bracket or comma after it: `[!office]`.
func (m *mistake) bang(diags *diag.List) bool {
	for i, tok := range m.on {
		if tok.kind != tokTag {
			continue
		}
		name, at := strings.TrimPrefix(m.source(tok), "!"), m.span(tok)
		if strings.HasPrefix(name, "!") || strings.HasPrefix(name, "<") {
			diags.Errorf(at, "tag", "the tag `%s` has no place in a policy", shown("!"+name)).
				WithHint("write the value alone, in quotes where it needs them")
			return true
		}
		if name == "" && i+1 < len(m.on) && m.on[i+1].kind == tokPlain {
			name, at.Len = m.source(m.on[i+1]), at.Len+m.on[i+1].end-tok.end
		}
		diags.Errorf(at, "bad-not", "`!` does not negate: YAML takes it for a tag").
			WithHint("write `not %s`", shown(cmp.Or(name, "NAME")))
		return true
	}
	return false
}

// address finds an address whose colon at the beginning or end YAML takes for that of a key.
func (m *mistake) address(diags *diag.List) bool {
	const longest = 100 // bytes: no address has as many
	for i, tok := range m.on {
		if tok.kind != tokColon && tok.kind != tokPlain {
			continue
		}
		from, to := tok.start, tok.end
		for from > 0 && tok.end-from <= longest && !m.ends(from-1) {
			from--
		}
		for to < len(m.t.src) && to-from <= longest && !m.ends(to) {
			to++
		}
		word := string(m.t.src[from:to])
		if strings.HasPrefix(word, ":") == strings.HasSuffix(word, ":") && word != "::" && tok.depth == 0 {
			continue
		}
		if !strings.HasPrefix(word, ":") && !strings.HasSuffix(word, ":") || !isAddress6(word) {
			continue
		}
		if i > 0 && m.on[i-1].kind == tokPlain && m.source(m.on[i-1]) == "not" {
			from, word = m.on[i-1].start, "not "+word
		}
		if bytes.HasSuffix(m.t.src[:from], []byte("not ")) && !strings.HasPrefix(word, "not ") {
			from, word = from-len("not "), "not "+word
		}
		diags.Errorf(m.t.span(from, to), "needs-quotes", "YAML takes a colon of `%s` for that of a key", word).
			WithHint("write `%q`: values that begin or end with a colon need quotes", word)
		return true
	}
	return false
}

// ends tells whether the byte at i can't be part of an address.
func (m *mistake) ends(i int) bool {
	return isBreak(m.t.src[i]) || bytes.IndexByte([]byte(`,[]{}"'#`), m.t.src[i]) >= 0
}

// isAddress6 tells whether a word is an IPv6 address, a prefix or a range.
func isAddress6(word string) bool {
	from, to, ranged := strings.Cut(word, "-")
	if ranged && !isAddress6(to) {
		return false
	}
	from, _, _ = strings.Cut(from, "/")
	a, err := netip.ParseAddr(from)
	return err == nil && a.Is6()
}

// unclosedBracket finds a bracket that goes on to the end of the file or document.
func (m *mistake) unclosedBracket(diags *diag.List) bool {
	if len(m.unended) == 0 || m.unended[0].line > m.line {
		return false
	}
	tok := m.unended[0]
	diags.Errorf(m.span(tok), "yaml-syntax", "the `%s` that stands here is never closed", m.source(tok)).
		WithHint("write `%c` where it ends", closerOf(m.t.src[tok.start]))
	return true
}

// closerOf is the bracket that closes another.
func closerOf(open byte) byte {
	if open == '[' {
		return ']'
	}
	return '}'
}

// afterQuote finds text that follows a quotation on its line.
func (m *mistake) afterQuote(diags *diag.List) bool {
	for i, tok := range m.all {
		if i == 0 || m.all[i-1].kind != tokQuoted || tok.line < m.line-1 || tok.first && tok.line != m.line {
			continue
		}
		if tok.kind == tokPlain && bytes.IndexByte(m.t.src[m.all[i-1].end:tok.start], '\n') < 0 {
			diags.Errorf(m.span(tok), "yaml-syntax", "text after the end of a quotation").
				Also(m.span(m.all[i-1]), "the quotation").
				WithHint("put the whole value into quotes; a `'` in single quotes is written twice, a `\"` in double ones `\\\"`")
			return true
		}
	}
	return false
}

// star finds a `*` that was meant as a wildcard.
func (m *mistake) star(diags *diag.List) bool {
	for i := len(m.on) - 1; i >= 0; i-- {
		tok := m.on[i]
		if tok.kind != tokAlias || !strings.Contains(m.message, "unknown anchor") && !strings.Contains(m.message, "alphabetic") {
			continue
		}
		word := m.source(tok)
		d := diags.Errorf(m.span(tok), "bad-alias", "`%s` is an alias in YAML, and no anchor has this name", shown(word))
		if word == "*" {
			d.Message = "a `*` alone is no value"
			d.WithHint("write `any`")
		} else {
			d.WithHint("a wildcard at the beginning needs quotes: `%q`", word)
		}
		return true
	}
	return false
}

// reserved finds a character that no value begins with.
func (m *mistake) reserved(diags *diag.List) bool {
	for _, tok := range m.on {
		c := m.t.src[tok.start]
		switch tok.kind {
		case tokAnchor:
			if tok.end > tok.start+1 {
				continue
			}
		case tokReserved:
			if c == ']' || c == '}' || c == ',' && !tok.first {
				continue
			}
		case tokBlock:
			if !strings.Contains(m.message, "block scalar") && !strings.Contains(m.message, "comment or line break") {
				continue
			}
		default:
			continue
		}
		diags.Errorf(m.span(tok), "yaml-syntax", "no value begins with %q", c).WithHint("put the value into quotes")
		return true
	}
	return false
}

// longKey finds a key that the library does not look for the colon of.
func (m *mistake) longKey(diags *diag.List) bool {
	const most = 1024
	for i, tok := range m.on {
		if i > 0 && tok.kind == tokColon && m.on[i-1].end-m.on[i-1].start > most {
			diags.Errorf(m.t.span(m.on[i-1].start, m.on[i-1].start), "too-large", "a key has at most %d characters", most)
			return true
		}
	}
	return false
}

// dash finds a list that begins on the line of its key.
func (m *mistake) dash(diags *diag.List) bool {
	colon := false
	for _, tok := range m.on {
		if tok.kind == tokDash && tok.depth == 0 && colon {
			diags.Errorf(m.span(tok), "yaml-syntax", "a list begins on the line of its key").
				WithHint("write its items below the key, or the list in brackets")
			return true
		}
		colon = tok.kind == tokColon
	}
	return false
}

// twoKeys finds a second key on one line.
func (m *mistake) twoKeys(diags *diag.List) bool {
	var colons []int // indexes in m.on
	for i, tok := range m.on {
		if tok.kind == tokColon && tok.depth == 0 {
			colons = append(colons, i)
		}
	}
	if len(colons) < 2 || colons[1] == 0 {
		return false
	}
	second := m.on[colons[1]]
	before := m.on[colons[1]-1]
	value := m.source(before)
	if comma := strings.LastIndex(value, ", "); comma >= 0 {
		before.start += comma + 2
	}
	d := diags.Errorf(m.t.span(before.start, second.end), "two-keys", "a second key on one line")
	first := m.on[0]
	for _, tok := range m.on {
		if first = tok; tok.kind != tokDash {
			break
		}
	}
	if strings.Contains(string(m.t.src[first.start:second.start]), ",") {
		end := m.lastOn()
		d.WithHint("write a key a line, or braces: `{%s}`", shown(string(m.t.src[first.start:end])))
		return true
	}
	d.WithHint("write a key a line; a value with a colon and a blank in it needs quotes")
	return true
}

// lastOn is where the last token of the line ends.
func (m *mistake) lastOn() int {
	last := m.on[len(m.on)-1]
	return min(last.end, m.t.lineEnd(last.start))
}

// noColon finds a key without a colon, or without a blank after it: YAML has taken what follows for its text.
func (m *mistake) noColon(diags *diag.List) bool {
	for i := len(m.all) - 1; i >= 0; i-- {
		tok := m.all[i]
		if tok.kind != tokPlain || !tok.first || tok.depth > 0 || tok.line > m.line {
			continue
		}
		if i+1 < len(m.all) && m.all[i+1].kind == tokColon {
			if tok.continued || tok.line == m.line {
				continue
			}
			return false
		}
		word := m.source(tok)
		key, value, glued := strings.Cut(word, ":")
		switch {
		case glued && isKey(key):
			diags.Errorf(m.span(tok), "needs-blank", "a blank is missing after the colon").WithHint("write `%s: %s`", key, shown(value))
		case strings.HasPrefix(word, "-"):
			diags.Errorf(m.span(tok), "yaml-syntax", "a blank is missing after the dash").WithHint("write `- %s`", shown(strings.TrimLeft(word, "-")))
		default:
			key, value, _ := strings.Cut(word, " ")
			hint := strings.TrimSpace(key + ": " + value)
			diags.Errorf(m.span(tok), "yaml-syntax", "a colon is missing after a key").WithHint("write `%s`", shown(hint))
		}
		return true
	}
	return false
}

// noComma finds two pairs in braces, or two values in brackets, with nothing between them.
func (m *mistake) noComma(diags *diag.List) bool {
	colon := false
	for i, tok := range m.all {
		within := tok.depth > 1 || tok.depth == 1 && tok.kind != tokOpen
		switch {
		case within && i > 0 && ends(m.all[i-1].kind) && begins(tok.kind) && !tok.continued,
			within && tok.kind == tokColon && colon:
			if tok.kind == tokColon && i > 0 {
				tok = m.all[i-1]
			}
			diags.Errorf(m.span(tok), "yaml-syntax", "a comma is missing").WithHint("within brackets and braces commas separate: `{a: b, c: d}`")
			return true
		case tok.kind == tokComma || tok.kind == tokOpen || !within:
			colon = false
		case tok.kind == tokColon:
			colon = true
		}
	}
	return false
}

// ends tells whether a value can end with a token.
func ends(k tokenKind) bool { return k == tokClose || k == tokQuoted || k == tokPlain || k == tokAlias }

// begins tells whether a value can begin with a token.
func begins(k tokenKind) bool {
	return k == tokOpen || k == tokQuoted || k == tokPlain || k == tokAlias
}

// closing finds a bracket that closes what it did not open.
func (m *mistake) closing(diags *diag.List) bool {
	var stack []token
	for _, tok := range m.all {
		switch c := m.t.src[tok.start]; {
		case tok.kind == tokOpen:
			stack = append(stack, tok)
		case tok.kind == tokReserved && (c == ']' || c == '}'):
			diags.Errorf(m.t.span(tok.start, tok.start+1), "yaml-syntax", "the `%c` closes nothing", c)
			return true
		case tok.kind == tokClose && len(stack) > 0:
			open := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if want := closerOf(m.t.src[open.start]); c != want {
				diags.Errorf(m.span(tok), "yaml-syntax", "`%c` stands where `%c` should", c, want).Also(m.span(open), "opened here")
				return true
			}
		}
	}
	return false
}

// noKey finds a colon with nothing before it.
func (m *mistake) noKey(diags *diag.List) bool {
	for i, tok := range m.all {
		if tok.kind == tokColon && tok.line >= m.line && (tok.first || i > 0 && !ends(m.all[i-1].kind)) {
			diags.Errorf(m.span(tok), "bad-key", "a key is missing before the colon")
			return true
		}
	}
	return false
}

// indentation blames how far a line is indented.
func (m *mistake) indentation(diags *diag.List) bool {
	if len(m.on) == 0 || !strings.Contains(m.message, "expected key") && !strings.Contains(m.message, "'-' indicator") &&
		!strings.Contains(m.message, "document start") && !strings.Contains(m.message, "not allowed in this context") {
		return false
	}
	diags.Errorf(m.span(m.on[0]), "yaml-syntax", "this line is not indented like those that it belongs with").
		WithHint("keys of one mapping stand in one column, and so do the dashes of one list")
	return true
}
