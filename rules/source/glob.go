package source

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"
)

// lister is what a pattern is matched against.
type lister interface {
	readDir(name string, most int) ([]string, error) // at most so many names, above zero
	lookup(name string) error                        // nil where name is that of a file or directory
}

// The limits of a pattern: its own bytes, and the names that are looked at for it in all directories.
const (
	maxPattern = 4095
	maxLooked  = 10_000
)

// glob lists what matches pattern. Unlike filepath.Glob it reports directories that it can't read: a file that is
// left out of a policy for that reason must not go unnoticed.
func glob(l lister, pattern string) ([]string, error) {
	if len(pattern) > maxPattern {
		return nil, fmt.Errorf("%w: it has %d bytes, at most %d are allowed", path.ErrBadPattern, len(pattern), maxPattern)
	}
	elems := strings.Split(pattern, "/")
	for _, e := range elems {
		if strings.Contains(e, "**") {
			return nil, fmt.Errorf("%w: `**` is not known, write a `*` for each directory", path.ErrBadPattern)
		}
		if _, err := path.Match(e, ""); err != nil {
			return nil, err
		}
	}
	found := []string{""}
	looked := 0
	plain := 0 // elements since the last wildcard, of which nobody knows yet whether they exist
	for i, e := range elems {
		if name, ok := unquote(e); ok {
			for j := range found {
				found[j] = beneath(found[j], name, i)
			}
			plain++
			continue
		}
		var next []string
		for _, dir := range found {
			names, err := match(l, dir, e, i, &looked)
			if err != nil {
				return nil, err
			}
			next = append(next, names...)
		}
		found, plain = next, 0
	}
	if plain > 0 {
		var missing error
		found = slices.DeleteFunc(found, func(name string) bool {
			err := l.lookup(name)
			if err != nil && !isMissing(err) {
				missing = err
			}
			return err != nil
		})
		if missing != nil {
			return nil, missing
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// match lists what matches one element of a pattern, the i-th, in a directory. Looked counts the names that were looked
// at, for an empty directory one.
func match(l lister, dir, pattern string, i int, looked *int) ([]string, error) {
	at := dir
	switch {
	case i == 0:
		at = "."
	case dir == "":
		at = "/"
	}
	names, err := l.readDir(at, maxLooked+1-*looked)
	if *looked += max(1, len(names)); *looked > maxLooked {
		return nil, fmt.Errorf("%w to look at: at most %d", ErrTooMany, maxLooked)
	}
	if err != nil {
		if isMissing(err) {
			err = nil
		}
		return nil, err
	}
	var found []string
	for _, name := range names {
		if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") {
			continue
		}
		if ok, _ := path.Match(pattern, name); !ok {
			continue
		}
		if !utf8.ValidString(name) {
			return nil, &fs.PathError{Op: "glob", Path: beneath(dir, name, i), Err: errors.New("the name is not UTF-8")}
		}
		found = append(found, beneath(dir, name, i))
	}
	return found, nil
}

// beneath is the i-th element of a path after those before it.
func beneath(dir, name string, i int) string {
	if i == 0 {
		return name
	}
	return dir + "/" + name
}

// unquote is the one name that a pattern stands for, false where it has wildcards.
func unquote(pattern string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '*', '?', '[':
			return "", false
		case '\\':
			i++ // never the last: path.Match has refused that
		}
		b.WriteByte(pattern[i])
	}
	return b.String(), true
}

// isMissing tells whether a name is not there.
func isMissing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}
