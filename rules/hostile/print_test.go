package hostile_test

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"ringwall/rules/diag"
)

// unfit tells whether a terminal would act on a character, or not show it.
func unfit(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

// places knows which places there are in the files that were read.
type places struct {
	entry string
	from  diag.Sources
	files map[string][]int // of each the length of its lines, in characters
}

// misplaced is what is wrong with the places of a finding; empty where nothing is.
func (p *places) misplaced(d diag.Diagnostic) string {
	// Of an entry file that can't be read there is no more to say than its name.
	if _, read := p.from.Text(d.At.File); !read && d.At.File == p.entry && d.At.Line == 0 {
		return ""
	}
	if wrong := p.wrong(d.At); wrong != "" {
		return wrong
	}
	for _, n := range d.Related {
		if wrong := p.wrong(n.At); wrong != "" {
			return "a place beside it: " + wrong
		}
	}
	return ""
}

func (p *places) wrong(at diag.Span) string {
	if at.File == "" {
		return "no file"
	}
	lines, ok := p.files[at.File]
	if !ok {
		text, read := p.from.Text(at.File)
		if !read {
			return "a file that was not read"
		}
		for line := range bytes.SplitSeq(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\n")) {
			lines = append(lines, utf8.RuneCount(line))
		}
		p.files[at.File] = lines
	}
	switch {
	case at.Line < 1 || at.Line > len(lines):
		return "no such line"
	case at.Col < 1 || at.Col > lines[at.Line-1]+1:
		return "no such column"
	case at.Len < 1:
		return "no length"
	}
	return ""
}
