package source

import (
	"crypto/sha256"
	"sync"
)

// Recorder is an FS that remembers all it was asked for, and what came of it: what one load read, as a Bundle. What
// was read once is not read again. It is for one goroutine at a time.
type Recorder struct {
	from   FS
	record Bundle
	limits map[string]int64                    // what each file was read with, by name
	sums   map[string]func() [sha256.Size]byte // of long files, by name
}

var _ FS = (*Recorder)(nil)

// long is from how many bytes on a file is summed up beside its reader.
const long = 1 << 20

// NewRecorder returns a Recorder that reads from another FS.
func NewRecorder(from FS) *Recorder {
	return &Recorder{from: from, limits: map[string]int64{}, sums: map[string]func() [sha256.Size]byte{}, record: Bundle{
		Files: map[string]Content{},
		Globs: map[string]Matches{},
		Names: map[string]Identity{},
	}}
}

// ReadFile reads a file, or hands out what was read of it before.
func (r *Recorder) ReadFile(name string, limit int64) ([]byte, error) {
	if c, ok := r.record.Files[name]; !ok || c.Failure.is(TooLarge) && limit > r.limits[name] {
		data, err := r.from.ReadFile(name, limit)
		r.limits[name] = limit
		r.record.Files[name] = Content{Data: data, Failure: failureOf(err)}
		if len(data) >= long {
			r.sums[name] = summing(data)
		}
		return data, err
	}
	return r.record.ReadFile(name, limit)
}

// Glob lists what matches a pattern, or what did before.
func (r *Recorder) Glob(pattern string) ([]string, error) {
	if _, ok := r.record.Globs[pattern]; ok {
		return r.record.Glob(pattern)
	}
	names, err := r.from.Glob(pattern)
	r.record.Globs[pattern] = Matches{Names: names, Failure: failureOf(err)}
	return names, err
}

// Canonical resolves a name, or hands out what came of it before.
func (r *Recorder) Canonical(name string) (string, error) {
	if _, ok := r.record.Names[name]; ok {
		return r.record.Canonical(name)
	}
	canonical, err := r.from.Canonical(name)
	r.record.Names[name] = Identity{Canonical: canonical, Failure: failureOf(err)}
	return canonical, err
}

// Bundle is what was recorded so far. It is the record itself and grows with it.
func (r *Recorder) Bundle() *Bundle { return &r.record }

// Digest is the bundle's digest, which takes less time here: long files are summed up while their reader takes them in.
func (r *Recorder) Digest() string { return r.record.digest(r.sums) }

// summing begins to sum data up beside the caller.
func summing(data []byte) func() [sha256.Size]byte {
	done := make(chan [sha256.Size]byte, 1)
	go func() { done <- sha256.Sum256(data) }()
	return sync.OnceValue(func() [sha256.Size]byte { return <-done })
}

// Watched is the paths whose change could change what was read.
func (r *Recorder) Watched() Watched { return r.record.Watched() }
