package source

import (
	"crypto/sha256"
	"slices"
)

// Fingerprint is by what a load's bundle is known again, without the contents of its files.
type Fingerprint struct {
	files map[string]print
	rest  Bundle // without files
}

// print is the length and the sum of a file, or why there is none.
type print struct {
	size    int64
	sum     [sha256.Size]byte
	failure *Failure
}

// Fingerprint is that of the bundle.
func (b *Bundle) Fingerprint() *Fingerprint { return b.fingerprint(nil) }

// Fingerprint is that of what was recorded so far.
func (r *Recorder) Fingerprint() *Fingerprint { return r.record.fingerprint(r.sums) }

// fingerprint is Fingerprint, where the sums of some files are known already.
func (b *Bundle) fingerprint(sums map[string]func() [sha256.Size]byte) *Fingerprint {
	f := &Fingerprint{files: make(map[string]print, len(b.Files)), rest: Bundle{Globs: b.Globs, Names: b.Names}}
	for name, c := range b.Files {
		f.files[name] = print{int64(len(c.Data)), c.sum(sums[name]), c.Failure}
	}
	return f
}

// sum is the sum of a file's contents, which may be known.
func (c Content) sum(known func() [sha256.Size]byte) [sha256.Size]byte {
	if known != nil {
		return known()
	}
	return sha256.Sum256(c.Data)
}

// summer is an FS that need not have a whole file in memory to tell its sum.
type summer interface {
	// sum is that of what ReadFile returns, false where this does not return just so many bytes.
	sum(name string, size int64) ([sha256.Size]byte, bool)
}

// Holds tells whether a load from an FS would read just what the one did that the fingerprint is of. It is quicker than that load;
// where it is in doubt, it says no.
func (f *Fingerprint) Holds(from FS) bool {
	for name, p := range f.files {
		if !p.matches(from, name) {
			return false
		}
	}
	for pattern, m := range f.rest.Globs {
		names, err := from.Glob(pattern)
		if !m.Failure.same(failureOf(err)) || !slices.Equal(names, m.Names) {
			return false
		}
	}
	for name, id := range f.rest.Names {
		canonical, err := from.Canonical(name)
		if !id.Failure.same(failureOf(err)) || canonical != id.Canonical {
			return false
		}
	}
	return true
}

func (p print) matches(from FS, name string) bool {
	if p.failure.is(TooLarge) {
		return false
	}
	if s, ok := from.(summer); ok && p.failure == nil {
		sum, ok := s.sum(name, p.size)
		return ok && sum == p.sum
	}
	data, err := from.ReadFile(name, p.size)
	return p.failure.same(failureOf(err)) && int64(len(data)) == p.size && sha256.Sum256(data) == p.sum
}
