package source

import (
	"maps"
	"slices"
)

// Recorder passes questions on to an FS and keeps the answers. A file is read once: the same name gives the same
// bytes, whatever happens to the file meanwhile. It is not safe for concurrent use.
type Recorder struct {
	fsys FS
	rec  Bundle
}

var _ FS = (*Recorder)(nil)

// Record makes a Recorder.
func Record(fsys FS) *Recorder {
	return &Recorder{fsys, Bundle{Reads: map[string]Read{}, Found: map[string][]string{}, Names: map[string]string{}}}
}

// ReadFile reads a file, or gives what reading it gave before.
func (r *Recorder) ReadFile(name string, limit int64) ([]byte, error) {
	if _, ok := r.rec.Reads[name]; ok {
		return r.rec.ReadFile(name, limit)
	}
	data, err := r.fsys.ReadFile(name, limit)
	if err != nil {
		r.rec.Reads[name] = Read{Failure: failureOf(err)}
		return nil, err
	}
	r.rec.Reads[name] = Read{Content: data}
	return data, nil
}

// Glob lists what matches a pattern.
func (r *Recorder) Glob(pattern string) ([]string, error) {
	if names, ok := r.rec.Found[pattern]; ok {
		return names, nil
	}
	names, err := r.fsys.Glob(pattern)
	if err != nil {
		return nil, err
	}
	r.rec.Found[pattern] = names
	return names, nil
}

// Canonical resolves a name. One that can't be resolved is recorded as a failed read, so that it is watched for.
func (r *Recorder) Canonical(name string) (string, error) {
	if canonical, ok := r.rec.Names[name]; ok {
		return canonical, nil
	}
	canonical, err := r.fsys.Canonical(name)
	if err != nil {
		if _, ok := r.rec.Reads[name]; !ok {
			r.rec.Reads[name] = Read{Failure: failureOf(err)}
		}
		return "", err
	}
	r.rec.Names[name] = canonical
	return canonical, nil
}

// Bundle is what was recorded so far. It does not change with further questions.
func (r *Recorder) Bundle() *Bundle {
	found := make(map[string][]string, len(r.rec.Found))
	for pattern, names := range r.rec.Found {
		found[pattern] = slices.Clone(names)
	}
	return &Bundle{Reads: maps.Clone(r.rec.Reads), Found: found, Names: maps.Clone(r.rec.Names)}
}
