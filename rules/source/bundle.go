package source

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"maps"
	"slices"
)

// Bundle is the recording of a load: every answer that an FS gave. Loading from it again gives the same policy without
// the files. What was not asked then does not exist. It is also JSON, to be handed over a socket or stored.
type Bundle struct {
	Reads map[string]Read     `json:"reads"`
	Found map[string][]string `json:"found,omitempty"` // by pattern
	Names map[string]string   `json:"names,omitempty"` // canonical name by name; of names that have one
}

// Read is what reading a file gave: its content, or why not.
type Read struct {
	Content []byte `json:"content,omitempty"`
	Failure string `json:"failure,omitempty"` // one of the failures below, or the text of another error
}

var _ FS = (*Bundle)(nil)

// failures are the errors that come back as themselves from a Bundle.
var failures = map[string]error{
	"missing":     fs.ErrNotExist,
	"permission":  fs.ErrPermission,
	"not-regular": ErrNotRegular,
	"too-large":   ErrTooLarge,
}

// err is why the file could not be read.
func (r Read) err() error {
	switch known, ok := failures[r.Failure]; {
	case ok:
		return known
	case r.Failure != "":
		return errors.New(r.Failure)
	}
	return fs.ErrNotExist
}

// failureOf names an error for a Read.
func failureOf(err error) string {
	for name, known := range failures {
		if errors.Is(err, known) {
			return name
		}
	}
	return err.Error()
}

// ReadFile returns what reading the file gave when the bundle was recorded.
func (b *Bundle) ReadFile(name string, limit int64) ([]byte, error) {
	r, ok := b.Reads[name]
	if !ok || r.Failure != "" {
		return nil, &fs.PathError{Op: "read", Path: name, Err: r.err()}
	}
	if int64(len(r.Content)) > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: ErrTooLarge}
	}
	return r.Content, nil
}

// Glob returns what matched when the bundle was recorded.
func (b *Bundle) Glob(pattern string) ([]string, error) { return b.Found[pattern], nil }

// Canonical returns the identity that the name had when the bundle was recorded.
func (b *Bundle) Canonical(name string) (string, error) {
	if canonical, ok := b.Names[name]; ok {
		return canonical, nil
	}
	return "", &fs.PathError{Op: "resolve", Path: name, Err: b.Reads[name].err()}
}

// Source returns the text of a file, for diagnostics that show the line.
func (b *Bundle) Source(name string) ([]byte, bool) {
	r, ok := b.Reads[name]
	return r.Content, ok && r.Failure == ""
}

// Files is every name that the load read or tried to, sorted: as it was named, and where symlinks led.
func (b *Bundle) Files() []string {
	names := map[string]bool{}
	for name := range b.Reads {
		names[name] = true
	}
	for name, canonical := range b.Names {
		names[name], names[canonical] = true, true
	}
	return slices.Sorted(maps.Keys(names))
}

// Globs is every pattern that the load looked for, sorted.
func (b *Bundle) Globs() []string { return slices.Sorted(maps.Keys(b.Found)) }

// Digest is the SHA-256 of all contents that a load saw under the names that it used, in hexadecimal. Where symlinks led is
// no part of it, so that another link to the same contents is no change.
func (b *Bundle) Digest() string {
	h := sha256.New()
	part := func(s []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
		h.Write(s)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Reads)) {
		r := b.Reads[name]
		part([]byte(name))
		part(r.Content)
		part([]byte(r.Failure))
	}
	part([]byte("patterns"))
	for _, pattern := range b.Globs() {
		part([]byte(pattern))
		for _, name := range b.Found[pattern] {
			part([]byte(name))
		}
		part(nil)
	}
	return hex.EncodeToString(h.Sum(nil))
}
