package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Why no SSH connection is found.
var (
	ErrNoSession   = errors.New("this does not run in an SSH session")
	ErrMultiplexer = errors.New("this runs in tmux or screen, which outlives SSH connections")
)

// FindSession finds the SSH connection that this process runs in, from its own environment or, since sudo and su take
// the variable out of that, from the nearest ancestor's that has it. The error is ErrNoSession or ErrMultiplexer.
func FindSession(getenv func(string) string) (Session, error) {
	return findSession(getenv, "/proc", os.Getppid())
}

func findSession(getenv func(string) string, proc string, parent int) (Session, error) {
	for {
		if getenv("TMUX") != "" || getenv("STY") != "" {
			return Session{}, ErrMultiplexer
		}
		if s, ok := SSHSession(getenv); ok {
			return s, nil
		}
		if parent <= 1 {
			return Session{}, ErrNoSession
		}
		dir := filepath.Join(proc, strconv.Itoa(parent))
		getenv = environOf(dir)
		var err error
		if parent, err = parentOf(dir); err != nil {
			return Session{}, ErrNoSession // it ended meanwhile
		}
	}
}

// environOf looks variables up that a process began with. One whose environment can't be read has none.
func environOf(dir string) func(string) string {
	env, _ := os.ReadFile(filepath.Join(dir, "environ"))
	return func(name string) string {
		for v := range bytes.SplitSeq(env, []byte{0}) {
			if value, ok := strings.CutPrefix(string(v), name+"="); ok {
				return value
			}
		}
		return ""
	}
}

// parentOf is the parent of a process.
func parentOf(dir string) (int, error) {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "PPid:"); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, fmt.Errorf("%s/status has no parent", dir)
}
