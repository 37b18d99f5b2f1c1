// Package diag holds positions and diagnostics: what is wrong with a policy, and where.
//
// A user's mistake is a Diagnostic; a machine's failure is an error. Never the one for the other.
package diag

import (
	"cmp"
	"fmt"
	"slices"
)

// Pos is a place in a file. Line and Col count from 1; Col counts runes, not bytes.
// File is the name as the user knows it: relative where the entry file was given so.
// The zero Pos means "nowhere in particular".
type Pos struct {
	File string
	Line int
	Col  int
}

// String is "file:line:col", or "file:line" without a column, or "file" without a line.
func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Col == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// Short is "file:line", the form that comments, logs and pages use.
func (p Pos) Short() string {
	p.Col = 0
	return p.String()
}

// IsZero tells whether the position names nothing.
func (p Pos) IsZero() bool { return p == Pos{} }

// Compare orders positions by file, line and column.
func (p Pos) Compare(q Pos) int {
	return cmp.Or(cmp.Compare(p.File, q.File), cmp.Compare(p.Line, q.Line), cmp.Compare(p.Col, q.Col))
}

// Span is a run of Len runes on one line, from Pos on.
type Span struct {
	Pos
	Len int
}

// Severity says what a diagnostic does to a reload: an Error refuses it, a Warning does not. A Remark is no finding at
// all, but says how far one could look.
type Severity uint8

// The severities.
const (
	Error Severity = iota
	Warning
	Remark
)

func (s Severity) String() string {
	switch s {
	case Warning:
		return "warning"
	case Remark:
		return "note"
	}
	return "error"
}

// Note points at a second place that a diagnostic concerns.
type Note struct {
	At      Span
	Message string
}

// Diagnostic is one finding about a policy.
type Diagnostic struct {
	Severity Severity
	Code     string // stable, kebab-case: "unknown-service"
	Message  string // lowercase, one sentence without a full stop
	Hint     string // how to mend it; may be empty
	Packet   string // a packet that shows it, in words that `ringwall explain` reads; may be empty
	At       Span
	Related  []Note
}

// String is the one-line form, "file:line:col: severity: message [code]".
func (d Diagnostic) String() string {
	return fmt.Sprintf("%s: %s: %s [%s]", d.At.Pos, d.Severity, d.Message, d.Code)
}

// List is a number of diagnostics. The zero List is ready for use.
type List []Diagnostic

// Errorf adds an error.
func (l *List) Errorf(at Span, code, format string, args ...any) *Diagnostic {
	return l.add(Diagnostic{Severity: Error, Code: code, At: at, Message: fmt.Sprintf(format, args...)})
}

// Warnf adds a warning.
func (l *List) Warnf(at Span, code, format string, args ...any) *Diagnostic {
	return l.add(Diagnostic{Severity: Warning, Code: code, At: at, Message: fmt.Sprintf(format, args...)})
}

// Remarkf adds a remark.
func (l *List) Remarkf(at Span, code, format string, args ...any) *Diagnostic {
	return l.add(Diagnostic{Severity: Remark, Code: code, At: at, Message: fmt.Sprintf(format, args...)})
}

// add appends d. The pointer returned stays good until the next addition: it is there for WithHint and Also.
func (l *List) add(d Diagnostic) *Diagnostic {
	*l = append(*l, d)
	return &(*l)[len(*l)-1]
}

// WithHint says how to mend what d complains of.
func (d *Diagnostic) WithHint(format string, args ...any) *Diagnostic {
	d.Hint = fmt.Sprintf(format, args...)
	return d
}

// Also points at another place.
func (d *Diagnostic) Also(at Span, format string, args ...any) *Diagnostic {
	d.Related = append(d.Related, Note{At: at, Message: fmt.Sprintf(format, args...)})
	return d
}

// HasErrors tells whether any of l is an Error.
func (l List) HasErrors() bool {
	return slices.ContainsFunc(l, func(d Diagnostic) bool { return d.Severity == Error })
}

// Sort orders l by place, then severity, then message, so that the same policy always prints the same list.
func (l List) Sort() {
	slices.SortStableFunc(l, func(a, b Diagnostic) int {
		return cmp.Or(a.At.Compare(b.At.Pos), cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Message, b.Message))
	})
}
