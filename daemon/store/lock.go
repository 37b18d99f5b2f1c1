package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Lock is the right to change what the state directory stands for: its files and the kernel's table. One process
// has it at a time; it ends with the process, however that ends.
type Lock struct{ file *os.File }

// HeldError tells that another process has the lock.
type HeldError struct {
	Path string // of the state directory
	PID  int    // of the holder; 0 where it has not yet said
}

func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("state directory %s is in use by another process", e.Path)
	}
	return fmt.Sprintf("state directory %s is in use by process %d", e.Path, e.PID)
}

// lockPoll is how often a lock that is held is tried again. The kernel has no wait that a context could end.
const lockPoll = 20 * time.Millisecond

// Lock takes the lock, waiting for its holder until ctx ends; with a context that has ended it tries once. The error is then
// a *HeldError. What a crash has left half written is removed.
func (d Dir) Lock(ctx context.Context) (*Lock, error) {
	for {
		l, err := d.tryLock()
		if held := (*HeldError)(nil); !errors.As(err, &held) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(lockPoll):
		}
	}
}

func (d Dir) tryLock() (*Lock, error) {
	path := filepath.Join(d.path, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return d.lockDirectory()
	}
	if err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		defer f.Close()
		return nil, &HeldError{Path: d.path, PID: readPID(f)}
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	l := &Lock{f}
	if !l.isAt(path) {
		// Someone removed the file between the opening and the locking: another process would lock another file.
		l.Unlock()
		return d.tryLock()
	}
	if err := l.sign(); err != nil {
		l.Unlock()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	d.sweep()
	return l, nil
}

// lockDirectory locks the directory itself, where it has no room for a file to lock, or is read-only. Nobody signs.
func (d Dir) lockDirectory() (*Lock, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, fmt.Errorf("lock the state directory: %w", err)
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		f.Close()
		return nil, &HeldError{Path: d.path}
	case err != nil:
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", d.path, err)
	}
	return &Lock{f}, nil
}

// Unlock gives the lock back. The zero Lock is none.
func (l *Lock) Unlock() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// isAt tells whether the locked file is the one at a path.
func (l *Lock) isAt(path string) bool {
	a, err1 := l.file.Stat()
	b, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// sign writes down who has the lock. A full disk does not matter: only the name would be missing.
func (l *Lock) sign() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil
	}
	return err
}

func readPID(f *os.File) int {
	buf := make([]byte, 32)
	n, _ := f.ReadAt(buf, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
	return pid
}

// sweep removes the temporary files of writes that a crash has cut short. The caller has the lock, so none is in use.
func (d Dir) sweep() {
	leftover := regexp.MustCompile(`^\.(` + strings.Join(replaced, "|") + `)[0-9]+$`)
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return // the next write says what is wrong
	}
	for _, e := range entries {
		if leftover.MatchString(e.Name()) && e.Type().IsRegular() {
			os.Remove(filepath.Join(d.path, e.Name()))
		}
	}
}
