package source

import (
	"io/fs"
	"path"
	"strings"
)

// Memory is files by name, made up or held ready.
type Memory map[string]string

var _ FS = Memory{}

// ReadFile returns a file's text.
func (m Memory) ReadFile(name string, limit int64) ([]byte, error) {
	text, ok := m[path.Clean(name)]
	switch {
	case !ok && m.lookup(name) == nil:
		return nil, &fs.PathError{Op: "read", Path: name, Err: notRegular(fs.ModeDir)}
	case !ok:
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	case int64(len(text)) > limit:
		return nil, &fs.PathError{Op: "read", Path: name, Err: tooLarge(limit)}
	}
	return []byte(text), nil
}

// Glob lists what matches a pattern.
func (m Memory) Glob(pattern string) ([]string, error) { return glob(m, pattern) }

// Canonical is the clean name.
func (m Memory) Canonical(name string) (string, error) {
	if err := m.lookup(name); err != nil {
		return "", err
	}
	return path.Clean(name), nil
}

// readDir lists at most so many of what begins with a directory's name.
func (m Memory) readDir(name string, most int) ([]string, error) {
	var names []string
	seen := map[string]bool{}
	for file := range m {
		if rest, ok := under(file, path.Clean(name)); ok {
			first, _, _ := strings.Cut(rest, "/")
			if seen[first] {
				continue
			}
			seen[first] = true
			if names = append(names, first); len(names) == most {
				break
			}
		}
	}
	if len(names) == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return names, nil
}

// lookup tells whether a name is that of a file or of a directory with one in it.
func (m Memory) lookup(name string) error {
	if _, ok := m[path.Clean(name)]; ok {
		return nil
	}
	_, err := m.readDir(name, 1)
	return err
}

// under is what follows a directory in a file's clean name.
func under(file, dir string) (string, bool) {
	switch dir {
	case ".":
		return file, !path.IsAbs(file)
	case "/":
		return strings.CutPrefix(file, "/")
	}
	return strings.CutPrefix(file, dir+"/")
}
