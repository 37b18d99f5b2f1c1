// Package source is where a policy's text comes from: the host's files, a git revision, or a recording of either.
//
// Names are slash paths as the user knows them, relative or absolute; an implementation decides what relative
// means. A name read twice gives the same bytes for as long as one FS value is used by one load.
package source

import "errors"

// FS is what a policy is read from.
type FS interface {
	// ReadFile returns the whole of a regular file of at most limit bytes. Errors wrap fs.ErrNotExist,
	// fs.ErrPermission, ErrNotRegular or ErrTooLarge where they apply. Callers leave the bytes as they are.
	ReadFile(name string, limit int64) ([]byte, error)
	// Glob lists the files that match a shell pattern (path.Match syntax in every element, in which a wildcard at the
	// beginning takes no hidden name), sorted. Names begin as the pattern does. No match is an empty list and no
	// error, a directory that does not exist included; one that can't be read is an error. A pattern for which too
	// many names would have to be looked at gives ErrTooMany.
	Glob(pattern string) ([]string, error)
	// Canonical returns the identity of a file: two names of one file have one Canonical, symlinks resolved.
	Canonical(name string) (string, error)
}

// What a file can be that its kind or size keeps from being read, and what a pattern can ask too much of.
var (
	ErrTooMany    = errors.New("too many names")
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("file too large")
)
