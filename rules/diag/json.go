package diag

import (
	"encoding/json"
	"fmt"
)

// wire is a Diagnostic or a Note as JSON. The names are a promise to programs.
type wire struct {
	Severity string `json:"severity,omitempty"`
	Code     string `json:"code,omitempty"`
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"`
	Packet   string `json:"packet,omitempty"` // as words for `ringwall explain`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`   // from 1 on; absent: the whole file
	Column   int    `json:"column,omitempty"` // from 1 on, in runes; absent: the whole line
	Length   int    `json:"length,omitempty"` // in runes
	Related  []wire `json:"related,omitempty"`
}

func (w *wire) place(at Span) { w.File, w.Line, w.Column, w.Length = at.File, at.Line, at.Col, at.Len }

func (w *wire) span() Span {
	return Span{Pos: Pos{File: w.File, Line: w.Line, Col: w.Column}, Len: w.Length}
}

// MarshalJSON writes a list as an array, empty where there is nothing.
func (l List) MarshalJSON() ([]byte, error) {
	if len(l) == 0 {
		return []byte("[]"), nil
	}
	return json.Marshal([]Diagnostic(l))
}

// MarshalJSON writes an object with the fields severity ("error", "warning" or "note"), code, message, hint, packet, file, line,
// column, length and related, an array of such objects with a message and a place.
func (d Diagnostic) MarshalJSON() ([]byte, error) {
	w := wire{Severity: d.Severity.String(), Code: d.Code, Message: d.Message, Hint: d.Hint, Packet: d.Packet}
	w.place(d.At)
	for _, n := range d.Related {
		r := wire{Message: n.Message}
		r.place(n.At)
		w.Related = append(w.Related, r)
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Diagnostic) UnmarshalJSON(data []byte) error {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	*d = Diagnostic{Code: w.Code, Message: w.Message, Hint: w.Hint, Packet: w.Packet, At: w.span()}
	switch w.Severity {
	case Error.String():
	case Warning.String():
		d.Severity = Warning
	case Remark.String():
		d.Severity = Remark
	default:
		return fmt.Errorf("diagnostic with the severity %q", w.Severity)
	}
	for _, r := range w.Related {
		d.Related = append(d.Related, Note{At: r.span(), Message: r.Message})
	}
	return nil
}
