package source

import (
	"errors"
	"io/fs"
	"path"
)

// Failure is an error that was recorded: its text, and what errors.Is finds in it.
type Failure struct {
	Kind FailureKind `json:"kind,omitempty"`
	Text string      `json:"text"`
}

// FailureKind is the part of an error that programs ask for.
type FailureKind string

// The kinds of failure; one of no kind is empty.
const (
	Missing    FailureKind = "missing"     // fs.ErrNotExist
	Forbidden  FailureKind = "forbidden"   // fs.ErrPermission
	NotRegular FailureKind = "not-regular" // ErrNotRegular
	TooLarge   FailureKind = "too-large"   // ErrTooLarge
	BadPattern FailureKind = "bad-pattern" // path.ErrBadPattern
)

// kind is the error that a kind of failure stands for.
func (k FailureKind) err() error {
	switch k {
	case Missing:
		return fs.ErrNotExist
	case Forbidden:
		return fs.ErrPermission
	case NotRegular:
		return ErrNotRegular
	case TooLarge:
		return ErrTooLarge
	case BadPattern:
		return path.ErrBadPattern
	}
	return nil
}

// failureOf records an error, nil where there is none. The path is left out: who replays the failure knows it.
func failureOf(err error) *Failure {
	if err == nil {
		return nil
	}
	f := &Failure{}
	for _, k := range []FailureKind{Missing, Forbidden, NotRegular, TooLarge, BadPattern} {
		if errors.Is(err, k.err()) {
			f.Kind = k
			break
		}
	}
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		err = pe.Err
	}
	f.Text = err.Error()
	return f
}

// Error is the text of the error that was recorded.
func (f *Failure) Error() string { return f.Text }

// Unwrap is what errors.Is finds.
func (f *Failure) Unwrap() error { return f.Kind.err() }

// is tells whether a failure is of the kind of err; no failure is of any.
func (f *Failure) is(err error) bool { return f != nil && f.Kind.err() == err }
