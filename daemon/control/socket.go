package control

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Group is the group whose members may read from the daemon, where the host has it.
const Group = "ringwall"

// ErrInUse tells that another daemon has the socket.
var ErrInUse = errors.New("another daemon listens there")

// socket is the place where a Server listens.
type socket struct {
	path     string
	listener net.Listener
	lock     *os.File // held while the path is ours
	group    uint32   // whose members may read
	hasGroup bool
}

// Listen takes the socket at a path, whose directory is made where it is missing; a socket that a dead daemon left is
// replaced. lookup finds the number of Group. The error wraps ErrInUse where another daemon is alive.
func Listen(path string, lookup func(name string) (uint32, bool), log *slog.Logger) (*Server, error) {
	s, err := listen(path, lookup, log)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	return &Server{socket: s, log: log, http: &http.Server{
		ConnContext:       withPeer,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,

		DisableGeneralOptionsHandler: true, // it would answer before the entrance
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}, nil
}

func listen(path string, lookup func(name string) (uint32, bool), log *slog.Logger) (s *socket, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	// Made under another name and moved into place, so that the socket never stands with the wrong rights, and one
	// that was left behind is replaced at once.
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	s = &socket{path: path, listener: l, lock: lock}
	mode := os.FileMode(0o600)
	if gid, ok := lookup(Group); ok {
		if err := os.Chown(fresh, -1, int(gid)); errors.Is(err, fs.ErrPermission) {
			log.Info("the control socket is given to its group by the service manager, or not at all", "group", Group)
		} else if err != nil {
			l.Close()
			os.Remove(fresh)
			return nil, err
		}
		s.group, s.hasGroup, mode = gid, true, 0o660
	}
	if err := errors.Join(os.Chmod(fresh, mode), os.Rename(fresh, path)); err != nil {
		l.Close()
		os.Remove(fresh)
		return nil, err
	}
	return s, nil
}

// close removes the socket and gives the path back. The lock's file stays: removing it would let two daemons hold
// locks of the same name.
func (s *socket) close() error {
	s.listener.Close() // is closed already where the server ran
	err := os.Remove(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, s.lock.Close())
}
