package source

import (
	"errors"
	"io/fs"
	"path"
)

// Failure is an error that was recorded: its text, what errors.Is finds in it, and the parts of its fs.PathError
// where it was one.
type Failure struct {
	Kind FailureKind `json:"kind,omitempty"`
	Op   string      `json:"op,omitempty"`
	Path string      `json:"path,omitempty"`
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
	TooMany    FailureKind = "too-many"    // ErrTooMany
	BadPattern FailureKind = "bad-pattern" // path.ErrBadPattern
	Untrusted  FailureKind = "untrusted"   // ErrUntrusted
)

// err is the error that a kind of failure stands for.
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
	case TooMany:
		return ErrTooMany
	case BadPattern:
		return path.ErrBadPattern
	case Untrusted:
		return ErrUntrusted
	}
	return nil
}

// failureOf records an error, nil where there is none.
func failureOf(err error) *Failure {
	if err == nil {
		return nil
	}
	f := &Failure{}
	for _, k := range []FailureKind{Missing, Forbidden, NotRegular, TooLarge, TooMany, BadPattern, Untrusted} {
		if errors.Is(err, k.err()) {
			f.Kind = k
			break
		}
	}
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		f.Op, f.Path, err = pe.Op, pe.Path, pe.Err
	}
	f.Text = err.Error()
	return f
}

// err is the error as it was.
func (f *Failure) err() error {
	if f.Op == "" && f.Path == "" {
		return (*replayed)(f)
	}
	return &fs.PathError{Op: f.Op, Path: f.Path, Err: (*replayed)(f)}
}

// is tells whether a failure is of a kind; none is of any.
func (f *Failure) is(k FailureKind) bool { return f != nil && f.Kind == k }

// same tells whether two failures are one, or neither is any.
func (f *Failure) same(o *Failure) bool { return f == o || f != nil && o != nil && *f == *o }

// replayed is a Failure as an error.
type replayed Failure

// Error is the text that was recorded.
func (r *replayed) Error() string { return r.Text }

// Unwrap is what errors.Is finds.
func (r *replayed) Unwrap() error { return r.Kind.err() }
