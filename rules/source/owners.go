package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"unsafe"
)

// Owners is the users, by number, whom a reader of files trusts, the one who mends things first. Every directory, symlink and file on
// the way to what is read must belong to one of them, and none but its owner may be able to write it: whoever can write a directory can
// put another file in a file's place. A directory with the sticky bit may be written by others, since they can't touch there what is
// not theirs. Nil trusts everybody.
type Owners []uint32

// ErrUntrusted tells that others than the owners could change what was to be read.
var ErrUntrusted = errors.New("not in the hands of its owners")

// untrusted is an ErrUntrusted that says what is wrong, and what repairs it.
type untrusted string

func (u untrusted) Error() string { return string(u) }

// Unwrap makes it an ErrUntrusted.
func (untrusted) Unwrap() error { return ErrUntrusted }

// open opens a regular file, or with dir a directory, for reading. It goes from one directory to the next by descriptor, symlinks
// resolved by hand, and looks at what it has opened: nothing that is swapped meanwhile is read unseen.
func (o Owners) open(name string, dir bool) (*os.File, error) {
	w := walker{owners: o}
	defer w.stand(nil, "")
	f, err := w.walk(name, dir)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return f, nil
}

// check refuses what others than the owners could change.
func (o Owners) check(name string, info fs.FileInfo) error {
	mode := info.Mode()
	link := mode.Type() == fs.ModeSymlink
	special := !link && !mode.IsDir() && !mode.IsRegular() // is not read anyhow
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return untrusted(name + " has no owner")
	case !slices.Contains(o, st.Uid):
		chown := "chown"
		if link {
			chown = "chown -h"
		}
		return untrusted(fmt.Sprintf("%s belongs to user %d: %s %d %s", name, st.Uid, chown, o.first(), word(name)))
	case link, special, mode.IsDir() && mode&fs.ModeSticky != 0, mode.Perm()&0o022 == 0:
		return nil
	case mode.Perm()&0o002 != 0:
		return untrusted(fmt.Sprintf("everybody can write %s: chmod go-w %s", name, word(name)))
	}
	return untrusted(fmt.Sprintf("the group of %s can write it: chmod g-w %s", name, word(name)))
}

// first is the owner who mends things.
func (o Owners) first() uint32 {
	if len(o) == 0 {
		return 0
	}
	return o[0]
}

// walker goes from directory to directory.
type walker struct {
	owners Owners
	dir    *os.File // where it stands; nil before the first step
	at     string   // the path there, without symlinks
}

// How what is only looked at is opened, which may be anything, and what is read: a pipe makes nobody wait.
const (
	oPath   = 0x200000 // O_PATH of open(2), which package syscall does not name
	looking = oPath | syscall.O_NOFOLLOW | syscall.O_CLOEXEC
	reading = syscall.O_RDONLY | syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_NOCTTY | syscall.O_CLOEXEC
)

// walk opens what a name leads to, from the root.
func (w *walker) walk(name string, dir bool) (*os.File, error) {
	if name == "" {
		return nil, syscall.ENOENT
	}
	if !path.IsAbs(name) {
		wd, err := os.Getwd()
		if err != nil {
			return nil, err
		}
		name = wd + "/" + name
	}
	links := 0
	for elems := elements(name); len(elems) > 0; {
		elem := elems[0]
		elems = elems[1:]
		f, mode, err := w.open(elem, looking)
		switch {
		case err != nil:
			return nil, err
		case mode.IsDir():
			w.stand(f, elem)
		case mode.Type() == fs.ModeSymlink:
			target, err := readLink(f)
			f.Close()
			if err != nil {
				return nil, err
			}
			if links++; links > maxLinks {
				return nil, syscall.ELOOP
			}
			elems = append(elements(target), elems...)
		default:
			f.Close()
			if len(elems) > 0 || dir {
				return nil, syscall.ENOTDIR
			}
			if !mode.IsRegular() {
				return nil, notRegular(mode)
			}
			f, _, err = w.open(elem, reading)
			return f, err
		}
	}
	if !dir {
		return nil, notRegular(fs.ModeDir)
	}
	f, _, err := w.open(".", reading)
	return f, err
}

// open opens an element of a path, and refuses what others than the owners could change.
func (w *walker) open(elem string, flags int) (*os.File, fs.FileMode, error) {
	at := -1 // from the root it does not matter
	if w.dir != nil {
		at = int(w.dir.Fd())
	}
	fd, err := syscall.Openat(at, elem, flags, 0)
	for err == syscall.EINTR {
		fd, err = syscall.Openat(at, elem, flags, 0)
	}
	if err != nil {
		return nil, 0, err
	}
	name := w.beneath(elem)
	f := os.NewFile(uintptr(fd), name)
	info, err := f.Stat()
	if err == nil {
		err = w.owners.check(name, info)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Mode(), nil
}

// stand leaves the directory for another one, which is an element of it.
func (w *walker) stand(dir *os.File, elem string) {
	w.at = w.beneath(elem)
	w.dir.Close() // of none it is an error, and nothing else
	w.dir = dir
}

// beneath is the path of an element of the directory.
func (w *walker) beneath(elem string) string {
	if path.IsAbs(elem) {
		return elem
	}
	return path.Join(w.at, elem)
}

// elements splits a path at its slashes. The first element of an absolute one is "/".
func elements(name string) []string {
	var elems []string
	if path.IsAbs(name) {
		elems = append(elems, "/")
	}
	for elem := range strings.SplitSeq(name, "/") {
		if elem != "" {
			elems = append(elems, elem)
		}
	}
	return elems
}

// readLink is the target of a symlink that was opened itself.
func readLink(f *os.File) (string, error) {
	var empty byte // ends the empty path: the descriptor's own file
	target := make([]byte, syscall.PathMax)
	n, _, errno := syscall.Syscall6(syscall.SYS_READLINKAT, f.Fd(), uintptr(unsafe.Pointer(&empty)),
		uintptr(unsafe.Pointer(&target[0])), uintptr(len(target)), 0, 0)
	if errno != 0 {
		return "", errno
	}
	return string(target[:n]), nil
}

// word is a name as a shell takes it.
func word(name string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+@:,", r)
	}
	if !strings.ContainsFunc(name, func(r rune) bool { return !plain(r) }) {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
