package source

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// OS is the files of the host. Relative names are relative to the working directory.
type OS struct {
	Owners Owners // who may own what is read; nil for anybody
}

var _ FS = OS{}

// ReadFile reads a regular file. Nothing else is ever opened: opening a pipe can wait for ever, and opening a device
// can do things. Where there are Owners, an error may wrap ErrUntrusted.
func (o OS) ReadFile(name string, limit int64) ([]byte, error) {
	f, size, err := o.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, &fs.PathError{Op: "read", Path: name, Err: tooLarge(limit)}
	}
	// The size is no promise: a file may grow, and those of /proc have none.
	data := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	n, err := data.ReadFrom(io.LimitReader(f, limit+1))
	if err == nil && n > limit {
		err = &fs.PathError{Op: "read", Path: name, Err: tooLarge(limit)}
	}
	if err != nil {
		return nil, err
	}
	return data.Bytes(), nil
}

// sum is the sum of what ReadFile returns, false where this does not return just so many bytes.
func (o OS) sum(name string, size int64) (sum [sha256.Size]byte, ok bool) {
	f, said, err := o.open(name)
	if err != nil {
		return sum, false
	}
	defer f.Close()
	if said != size && said != 0 { // of files in /proc it says nothing
		return sum, false
	}
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{io.LimitReader(f, size+1)}, make([]byte, 64<<10))
	return [sha256.Size]byte(h.Sum(nil)), err == nil && n == size
}

// open opens a regular file and tells its size.
func (o OS) open(name string) (f *os.File, size int64, err error) {
	if o.Owners != nil {
		f, err = o.Owners.open(name, false)
	} else {
		f, err = openFile(name)
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: name, Err: notRegular(info.Mode())}
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// openFile opens a file of anybody's, if it is a regular one.
func openFile(name string) (*os.File, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: notRegular(info.Mode())}
	}
	// What Stat saw may have been replaced since: O_NONBLOCK opens a pipe without waiting for its other end.
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC|syscall.O_NOCTTY, 0)
}

// Glob lists what matches a pattern.
func (o OS) Glob(pattern string) ([]string, error) { return glob(o, pattern) }

// Canonical is the absolute path without symlinks.
func (OS) Canonical(name string) (string, error) {
	resolved, err := filepath.EvalSymlinks(name)
	if err == nil {
		resolved, err = filepath.Abs(resolved)
	}
	if err == nil {
		return resolved, nil
	}
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return "", err
	}
	if _, e := os.Stat(name); e != nil { // "too many links" comes without a path and a number
		return "", e
	}
	return "", &fs.PathError{Op: "resolve", Path: name, Err: err}
}

// readDir lists at most so many names in a directory.
func (o OS) readDir(name string, most int) ([]string, error) {
	f, err := o.openDir(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(most)
	if err == io.EOF { // there is none
		err = nil
	}
	return names, err
}

// openDir opens a directory.
func (o OS) openDir(name string) (*os.File, error) {
	if o.Owners != nil {
		return o.Owners.open(name, true)
	}
	// O_DIRECTORY keeps pipes and devices from being opened.
	return os.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
}

// lookup returns an error where a name is none of a file or directory.
func (OS) lookup(name string) error {
	_, err := os.Lstat(name)
	return err
}

// notRegular names what a file is instead.
func notRegular(mode fs.FileMode) error {
	kind := "a special file"
	switch mode.Type() {
	case fs.ModeDir:
		kind = "a directory"
	case fs.ModeNamedPipe:
		kind = "a pipe"
	case fs.ModeSocket:
		kind = "a socket"
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		kind = "a device"
	case fs.ModeSymlink:
		kind = "a symlink"
	}
	return fmt.Errorf("%w but %s", ErrNotRegular, kind)
}

// tooLarge names the limit.
func tooLarge(limit int64) error {
	if limit >= 1<<20 {
		return fmt.Errorf("%w: at most %d MB", ErrTooLarge, limit>>20)
	}
	return fmt.Errorf("%w: at most %d bytes", ErrTooLarge, limit)
}
