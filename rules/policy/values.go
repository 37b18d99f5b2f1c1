package policy

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// value is one value of a key, or one item of its list.
type value struct {
	text   string // blanks folded, without `not`
	not    bool
	at     diag.Span // of text
	quoted bool
}

// String is the value as policies write it.
func (v value) String() string {
	if v.not {
		return "not " + v.text
	}
	return v.text
}

// values reads one value or a list of them, and reports what is neither.
func (l *loader) values(n *syntax.Node) []value {
	if n.Kind != syntax.List {
		if v, ok := l.value(n); ok {
			return []value{v}
		}
		return nil
	}
	if len(n.Items) == 0 {
		l.errorf(n.At, "empty-list", "the list is empty").WithHint("write a value, or leave the key out")
		return nil
	}
	vs := make([]value, 0, len(n.Items))
	for _, item := range n.Items {
		if v, ok := l.value(item); ok {
			vs = append(vs, v)
		}
	}
	return vs
}

// value reads one value.
func (l *loader) value(n *syntax.Node) (value, bool) {
	switch n.Kind {
	case syntax.List:
		l.errorf(n.At, "nested-list", "a list within a list").WithHint("write its items into the outer list")
		return value{}, false
	case syntax.Map:
		d := l.errorf(n.At, "not-a-value", "expected a value, got a mapping")
		if len(n.Pairs) > 0 && n.Pairs[0].Key.Text == "not" {
			d.WithHint("write `not X` without a colon")
		}
		return value{}, false
	}
	v := value{text: strings.Join(strings.Fields(n.Text), " "), at: n.At, quoted: n.Quoted}
	if n.Kind == syntax.Null || v.text == "" {
		l.errorf(n.At, "no-value", "a value is missing").WithHint("write one, or leave it out")
		return value{}, false
	}
	if rest, ok := strings.CutPrefix(v.text, "!"); ok {
		l.errorf(n.At, "bad-not", "`!` does not negate").WithHint("write `not %s`", printable(strings.TrimSpace(rest)))
		return value{}, false
	}
	if v.text == "not" {
		l.errorf(n.At, "bad-not", "`not` what?").WithHint("write `not X`")
		return value{}, false
	}
	if rest, ok := strings.CutPrefix(v.text, "not "); ok {
		v.not, v.text = true, rest
		v.at = within(n, strings.LastIndex(n.Text, rest), rest)
	}
	return v, l.checkNot(n, v)
}

// checkNot reports what `not` can't stand before, and other values that it stands in.
func (l *loader) checkNot(n *syntax.Node, v value) bool {
	switch {
	case v.not && (v.text == "not" || strings.HasPrefix(v.text, "not ")):
		l.errorf(n.At, "bad-not", "`not` stands twice")
	case v.not && !v.quoted && (v.text[0] == '"' || v.text[0] == '\''):
		l.errorf(v.at, "bad-not", "the quotes are a part of this value").
			WithHint("write `not %s`, or quotes around it all", printable(strings.Trim(v.text, `"'`)))
	case strings.Contains(v.text, " not "):
		l.errorf(n.At, "bad-not", "`not` stands within a value").WithHint("%s", asList(separate(v.String())))
	case v.not && isSeveral(v.text):
		items := separate(strings.Trim(v.text, "[]"))
		for i := range items {
			items[i] = value{text: items[i], not: true}.String()
		}
		l.errorf(n.At, "bad-not", "`not` stands before one value").WithHint("%s", asList(items))
	default:
		return true
	}
	return false
}

// isSeveral tells whether a text has commas, or blanks that are not those around the dash of a range.
func isSeveral(text string) bool {
	return strings.ContainsAny(strings.ReplaceAll(text, " - ", "-"), ", ")
}

// single reads exactly one value, which can't be negated.
func (l *loader) single(n *syntax.Node) (value, bool) {
	if n.Kind == syntax.List {
		l.errorf(n.At, "not-a-value", "expected one value, got a list")
		return value{}, false
	}
	v, ok := l.value(n)
	if ok && v.not {
		l.errorf(n.At, "bad-not", "`not` has no place here")
		return value{}, false
	}
	return v, ok
}

// words reads a text for people, in which `not` and `!` are words like others.
func (l *loader) words(n *syntax.Node, most int) (value, bool) {
	if n.Kind != syntax.Scalar {
		l.errorf(n.At, "not-a-value", "expected a text, got %s", n.Kind)
		return value{}, false
	}
	v := value{text: strings.Join(strings.Fields(n.Text), " "), at: n.At, quoted: n.Quoted}
	length := utf8.RuneCountInString(v.text)
	switch {
	case length == 0:
		l.errorf(n.At, "no-value", "the text is empty")
	case length > most:
		l.errorf(n.At, "too-large", "the text has %d characters, at most %d are allowed", length, most)
	case strings.ContainsFunc(v.text, func(r rune) bool { return !unicode.IsPrint(r) }):
		l.errorf(n.At, "bad-text", "the text has characters that can't be printed")
	default:
		return v, true
	}
	return v, false
}

// separate splits a text at commas and blanks, but for those after `not`.
func separate(text string) []string {
	var items []string
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' }) {
		if n := len(items); n > 0 && items[n-1] == "not" {
			items[n-1] = "not " + word
		} else {
			items = append(items, word)
		}
	}
	return items
}

// asList is the hint for values that stand in one.
func asList(items []string) string {
	return "write a list: `[" + printable(strings.Join(items, ", ")) + "]`"
}

// within is the place of a part of a scalar's text, offset counting bytes of the text. Where the source spells the
// text differently (escapes, folded lines) it is the whole scalar.
func within(n *syntax.Node, offset int, part string) diag.Span {
	at, length := n.At, utf8.RuneCountInString(n.Text)
	if n.Quoted {
		at.Col++
		at.Len -= 2
	}
	if offset < 0 || at.Len != length {
		return n.At
	}
	at.Col += utf8.RuneCountInString(n.Text[:offset])
	at.Len = utf8.RuneCountInString(part)
	return at
}

// boolean reads `true` or `false`, false for ok where it is neither.
func (l *loader) boolean(n *syntax.Node) (b, ok bool) {
	v, ok := l.single(n)
	if !ok {
		return false, false
	}
	switch v.text {
	case "true":
		return true, true
	case "false":
		return false, true
	}
	d := l.errorf(v.at, "bad-boolean", "%s is neither `true` nor `false`", quote(v.text))
	switch strings.ToLower(v.text) {
	case "yes", "on", "y", "1", "true":
		d.WithHint("write `true`")
	case "no", "off", "n", "0", "false":
		d.WithHint("write `false`")
	}
	return false, false
}

// number reads decimal digits up to limit. The complaint is empty where they are fine.
func number(text string, limit uint64) (n uint64, complaint string) {
	switch {
	case text == "":
		return 0, "a number is missing"
	case strings.Trim(text, "0123456789") != "":
		return 0, quote(text) + " is no number"
	case len(text) > 1 && text[0] == '0':
		return 0, quote(text) + " begins with a zero"
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > limit {
		return 0, printable(text) + " is too large: at most " + strconv.FormatUint(limit, 10)
	}
	return n, ""
}

// duration reads "90s", "1h30m", "7d": whole numbers with s, m, h, d or w. The complaint is empty where it is fine.
func duration(text string) (seconds int64, complaint string) {
	const most = 10 * 365 * 86400
	if text == "" {
		return 0, "a duration is missing"
	}
	for rest := text; rest != ""; {
		i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if i <= 0 {
			return 0, quote(text) + " is no duration"
		}
		n, complaint := number(rest[:i], most)
		if complaint != "" {
			return 0, complaint
		}
		unit := int64(0)
		switch rest[i] {
		case 's':
			unit = 1
		case 'm':
			unit = 60
		case 'h':
			unit = 3600
		case 'd':
			unit = 86400
		case 'w':
			unit = 7 * 86400
		default:
			return 0, quote(text) + " is no duration"
		}
		seconds += int64(n) * unit
		if seconds > most {
			return 0, quote(text) + " is too long: at most ten years"
		}
		rest = rest[i+1:]
	}
	if seconds == 0 {
		return 0, "the duration is zero"
	}
	return seconds, ""
}

// date reads a day from 1970 on as the Unix seconds of its first moment in UTC.
func date(text string) (int64, bool) {
	t, err := time.Parse(time.DateOnly, text)
	return t.Unix(), err == nil && t.Unix() > 0
}

// moment reads a day from 1970 on, or a day and a time of day, in UTC.
func moment(text string) (int64, bool) {
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", "2006-01-02 15:04:05", "2006-01-02T15:04Z", time.RFC3339} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.Unix(), t.Unix() > 0
		}
	}
	return 0, false
}

// describe names what a node is, for errors.
func describe(n *syntax.Node) string {
	if n.Kind == syntax.Scalar {
		return quote(n.Text)
	}
	return n.Kind.String()
}

// quote puts a text into quotes, cut where it is long.
func quote(text string) string { return `"` + printable(text) + `"` }

// printable makes any text fit for a message of one line.
func printable(text string) string {
	const most = 80
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > most {
			b.WriteString("...")
			break
		}
		if !unicode.IsPrint(r) {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}
