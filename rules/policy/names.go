package policy

import (
	"slices"
	"strings"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// isName tells whether a text has the form of a name: a letter, then letters, digits, `-_.`.
func isName(text string) bool {
	for i, r := range []byte(text) {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !(r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')) {
			return false
		}
	}
	return text != ""
}

// isReserved tells whether a name means something by itself wherever it stands.
func isReserved(name string) bool {
	switch name {
	case "any", "not", ByDefault, ByBlock, ByFailsafe, ByUnjudged:
		return true
	}
	return slices.Contains(baseKeys(), name)
}

// name checks the name that a definition or rule bears; builtin is what the language itself names so. "loopback" is
// both a base key and a built-in set.
func (l *loader) name(n *syntax.Node, builtin func(string) bool, kind string) bool {
	text := n.Text
	switch {
	case builtin != nil && builtin(text):
		l.errorf(n.At, "builtin-name", "%s is a built-in %s", quote(text), kind).WithHint("choose another name")
	case isReserved(text):
		l.errorf(n.At, "reserved-name", "%s is reserved", quote(text)).WithHint("choose another name")
	case len(text) > maxName:
		l.errorf(n.At, "bad-name", "the name has %d characters, at most %d are allowed", len(text), maxName)
	case !isName(text):
		l.errorf(n.At, "bad-name", "%s is no name", quote(text)).
			WithHint("a name is a letter, then letters, digits, `-`, `_` and `.`")
	default:
		return true
	}
	return false
}

// twice reports a second definition of a name.
func (l *loader) twice(n *syntax.Node, kind string, first diag.Span) {
	l.errorf(n.At, "redefined", "%s %s is defined twice", kind, quote(n.Text)).Also(first, "first defined here")
}

// suggest adds the nearest candidate to a diagnostic as its hint, where one is near. After a hundred it stops: a file
// that is wrong all over should not take minutes to say so.
func (l *loader) suggest(d *diag.Diagnostic, word string, candidates func() []string) {
	const most = 100
	if l.suggested++; l.suggested > most {
		return
	}
	names := candidates()
	if !l.seek(len(names)) {
		return
	}
	if best := nearest(word, names); best != "" {
		d.WithHint("did you mean %q?", best)
	}
}

// seek tells whether so many names may be looked through for one that is like another: where a policy has thousands of
// names it must do without hints before long.
func (l *loader) seek(names int) bool {
	const most = 200_000
	l.sought += names
	return l.sought <= most
}

// nearest is the candidate that a word was probably meant to be, empty where none is near. A single letter is like
// any other, so that nothing is near it.
func nearest(word string, candidates []string) string {
	if len(word) < 2 || len(word) > maxName {
		return ""
	}
	best, least := "", 1+max(1, min(3, len(word)/3))
	lower := strings.ToLower(word)
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(lower, strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with their neighbour that make b of a.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	for j := range rows[1] {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, above, row := rows[0], rows[1], rows[2]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		rows = [3][]int{above, row, before}
	}
	return rows[1][len(b)]
}
