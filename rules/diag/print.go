package diag

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Sources hands out the text of the files that a list names, false where it has none: then places are printed without
// their line.
type Sources interface {
	Text(file string) ([]byte, bool)
}

// Style is how a list is printed.
type Style struct {
	Color bool // with the escape codes of terminals
}

// Print writes a list for people: each finding as "file:line:col: severity: message [code]", then the line of the
// source with a mark under what is meant, the hint, and the other places that it concerns. Characters that a terminal
// would act on are written as escapes, wherever they come from. The sources may be nil.
func Print(w io.Writer, l List, from Sources, style Style) error {
	p := &printer{from: from, style: style, files: map[string]*lines{}}
	for _, d := range l {
		p.diagnostic(d)
	}
	_, err := w.Write(p.out.Bytes())
	return err
}

// Summary counts a list in words: "2 errors, 1 warning"; empty where there is nothing.
func (l List) Summary() string {
	counts := [3]int{}
	for _, d := range l {
		counts[min(d.Severity, Remark)]++
	}
	var parts []string
	for severity, n := range counts {
		switch {
		case n == 1:
			parts = append(parts, "1 "+Severity(severity).String())
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %ss", n, Severity(severity)))
		}
	}
	return strings.Join(parts, ", ")
}

// printer is one Print under way.
type printer struct {
	from  Sources
	style Style
	files map[string]*lines
	out   bytes.Buffer
}

// The colours, as terminals name them.
const (
	bold   = "\x1b[1m"
	red    = "\x1b[1;31m"
	yellow = "\x1b[1;33m"
	blue   = "\x1b[34m"
	plain  = "\x1b[0m"
)

// paint is a text in a colour.
func (p *printer) paint(color, s string) string {
	if !p.style.Color || s == "" {
		return s
	}
	return color + s + plain
}

func (p *printer) diagnostic(d Diagnostic) {
	color := red
	switch d.Severity {
	case Warning:
		color = yellow
	case Remark:
		color = blue
	}
	if place := d.At.Pos.String(); place != "" {
		p.out.WriteString(p.paint(bold, Visible(place)+":") + " ")
	}
	p.out.WriteString(p.paint(color, d.Severity.String()+":") + " " + p.paint(bold, Visible(d.Message)))
	if d.Code != "" {
		p.out.WriteString(" [" + Visible(d.Code) + "]")
	}
	p.out.WriteByte('\n')
	p.excerpt(d.At, color)
	if d.Hint != "" {
		p.out.WriteString(p.paint(blue, "      = ") + "hint: " + Visible(d.Hint) + "\n")
	}
	if d.Packet != "" {
		p.out.WriteString(p.paint(blue, "      = ") + "see: ringwall explain " + Visible(d.Packet) + "\n")
	}
	for _, n := range d.Related {
		p.out.WriteString("  " + Visible(n.At.Pos.String()) + ": " + Visible(n.Message) + "\n")
		p.excerpt(n.At, blue)
	}
}

// excerpt writes a line with a mark under a place in it.
func (p *printer) excerpt(at Span, color string) {
	f := p.file(at.Pos)
	if f == nil {
		return
	}
	start, ok := f.line(at.Line)
	if !ok {
		return
	}
	shown, before, width := f.window(start, at)
	p.out.WriteString(p.paint(blue, fmt.Sprintf("%5d | ", at.Line)) + shown + "\n")
	if at.Col > 0 {
		mark := "^" + strings.Repeat("~", max(1, width)-1)
		p.out.WriteString(p.paint(blue, "      | ") + strings.Repeat(" ", before) + p.paint(color, mark) + "\n")
	}
}

// file returns the file of a place, nil where its text is not to be had or the place is no line of it.
func (p *printer) file(at Pos) *lines {
	if p.from == nil || at.Line == 0 {
		return nil
	}
	f, ok := p.files[at.File]
	if !ok {
		if text, ok := p.from.Text(at.File); ok {
			f = newLines(text)
		}
		p.files[at.File] = f
	}
	return f
}
