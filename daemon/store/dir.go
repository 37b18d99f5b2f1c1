package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// Dir is a state directory, by its path. Making one touches nothing.
type Dir struct {
	path string
	lost error // why nothing is read or written; nil where it is
}

// At is the state directory at a path. It need not exist before Create.
func At(path string) Dir { return Dir{path: path} }

// Lost is a directory in its place that holds nothing, as far as anyone can tell, and to which nothing can be written, for the reason err.
func (d Dir) Lost(err error) Dir { return Dir{d.path, err} }

// Path is where the directory is.
func (d Dir) Path() string { return d.path }

// The files of a state directory.
const (
	lastGoodFile    = "last-good"
	unconfirmedFile = "unconfirmed"
	pendingFile     = "pending"
	historyFile     = "history"
	emergencyFile   = "emergency"
	bansFile        = "bans"
	placeFile       = "place"
	refusedFile     = "refused"
	observationFile = "observation"
	lockFile        = "lock"
)

// replaced is the files that are replaced whole, each by way of a temporary one.
var replaced = []string{lastGoodFile, unconfirmedFile, pendingFile, historyFile, emergencyFile, bansFile, placeFile, refusedFile, observationFile}

// Create makes the directory, for its owner alone, where there is none. Whoever can write to it can open the host: one
// that others may write to, or that belongs to another user than this process or root, is refused and not changed.
func (d Dir) Create() error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	st, err := os.Stat(d.path)
	if err != nil {
		return fmt.Errorf("state directory: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("state directory %s: not a directory", d.path)
	}
	if mode := st.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("state directory %s: others may write to it (mode %#o): chmod 0700 it, or choose another", d.path, mode)
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok && sys.Uid != 0 && int(sys.Uid) != os.Geteuid() {
		return fmt.Errorf("state directory %s: it belongs to user %d, neither root nor this process's", d.path, sys.Uid)
	}
	return nil
}

// write replaces a file so that a reader, or a boot after the power went, finds either the old or the new one whole.
func (d Dir) write(name string, content func(io.Writer) error) error {
	if d.lost != nil {
		return fmt.Errorf("write %s: %w", name, d.lost)
	}
	path := filepath.Join(d.path, name)
	if err := d.replace(path, content); err != nil {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("write %s: the state directory is gone: %w", path, err)
		case errors.Is(err, syscall.EROFS):
			return fmt.Errorf("write %s: the state directory is read-only: %w", path, err)
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
			return fmt.Errorf("write %s: the state directory is full: %w", path, err)
		}
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (d Dir) replace(path string, content func(io.Writer) error) error {
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(d.path), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	w := bufio.NewWriterSize(f, 64<<10)
	if err := content(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return err
	}
	return d.sync() // the rename itself is on disk only now
}

// remove forgets files; those that are not there are none of its concern. They are gone from the disk when it returns.
func (d Dir) remove(names ...string) error {
	removed := false
	for _, name := range names {
		err := os.Remove(filepath.Join(d.path, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("state directory: %w", err)
		}
		removed = removed || err == nil
	}
	if !removed {
		return nil
	}
	return d.sync()
}

// sync has what was named, renamed and removed in the directory on disk.
func (d Dir) sync() error {
	dir, err := os.Open(d.path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// read returns a file's whole content. The error wraps fs.ErrNotExist where nothing was ever written.
func (d Dir) read(name string) ([]byte, error) {
	if d.lost != nil {
		return nil, fmt.Errorf("read %s: %w (%w)", name, fs.ErrNotExist, d.lost)
	}
	data, err := os.ReadFile(filepath.Join(d.path, name))
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	return data, nil
}
