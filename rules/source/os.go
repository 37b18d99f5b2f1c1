package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// OS reads the files of this host. Relative names are relative to the working directory.
type OS struct{}

var _ FS = OS{}

// What can be wrong with a file beside fs.ErrNotExist and fs.ErrPermission.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("file too large")
)

// ReadFile reads a regular file. It never waits: a FIFO or device is refused, not opened for reading.
func (OS) ReadFile(name string, limit int64) ([]byte, error) {
	// Looking before opening keeps devices that act on being opened alone; looking again after keeps it honest.
	if info, err := os.Stat(name); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: ErrNotRegular}
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: ErrNotRegular}
	}
	return readLimited(f, name, info.Size(), limit)
}

// readLimited reads all of r, whose size is at best a hint, up to a limit.
func readLimited(r io.Reader, name string, size, limit int64) ([]byte, error) {
	tooLarge := &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)}
	if size > limit {
		return nil, tooLarge
	}
	data := make([]byte, 0, max(size, 0)+1)
	for {
		if len(data) == cap(data) {
			data = slices.Grow(data, 4096)
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > limit:
			return nil, tooLarge
		case err == io.EOF:
			return data, nil
		case err != nil:
			return nil, err
		}
	}
}

// Glob lists what matches, directories and hidden names left out, as a shell does.
func (OS) Glob(pattern string) ([]string, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern %s: %w", pattern, err)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		if hidden(pattern, name) {
			return true
		}
		info, err := os.Stat(name)
		return err == nil && info.IsDir()
	})
	slices.Sort(names)
	return names, nil
}

// hidden tells whether an element of name begins with a dot that its pattern does not ask for.
func hidden(pattern, name string) bool {
	ps, ns := strings.Split(filepath.Clean(pattern), "/"), strings.Split(filepath.Clean(name), "/")
	for i, n := range ns {
		if strings.HasPrefix(n, ".") && i < len(ps) && !strings.HasPrefix(ps[i], ".") {
			return true
		}
	}
	return false
}

// Canonical is the absolute path without symlinks.
func (OS) Canonical(name string) (string, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}
