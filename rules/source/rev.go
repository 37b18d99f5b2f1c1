package source

import (
	"strings"
	"unicode"
)

// ParseRev splits "REV:path", a file of a git revision. An empty REV is git's index. Arguments that begin as paths do
// are paths, a colon in them or not.
func ParseRev(arg string) (rev, path string, ok bool) {
	if strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, "./") || strings.HasPrefix(arg, "../") {
		return "", "", false
	}
	depth := 0 // in braces, as in HEAD@{2026-01-31 12:00}
	for i, r := range arg {
		switch r {
		case '{':
			depth++
		case '}':
			depth--
		case ':':
			if depth == 0 {
				rev, path = arg[:i], arg[i+1:]
				return rev, path, path != "" && validRev(rev)
			}
		}
	}
	return "", "", false
}

// validRev tells whether a text may be handed to git as a revision: it can't be an option, nor name more than one.
func validRev(rev string) bool {
	return !strings.HasPrefix(rev, "-") && !strings.HasPrefix(rev, "^") && !strings.Contains(rev, "..") &&
		!strings.ContainsFunc(rev, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar })
}
