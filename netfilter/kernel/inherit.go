package kernel

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// CheckSocket tells whether a socket of another process, inherited through a service manager, can be Options.Socket: one of
// netfilter, in the network namespace of the calling thread. The error says why not.
func CheckSocket(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var wrong error
	err = conn.Control(func(fd uintptr) { wrong = checkSocket(int(fd)) })
	if err != nil {
		return err
	}
	return wrong
}

func checkSocket(fd int) error {
	for _, want := range []struct{ option, value int }{
		{unix.SO_DOMAIN, unix.AF_NETLINK},
		{unix.SO_PROTOCOL, unix.NETLINK_NETFILTER},
	} {
		if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, want.option); err != nil || got != want.value {
			return fmt.Errorf("it is no netfilter socket")
		}
	}
	theirs, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return fmt.Errorf("its network namespace can't be told: %w", os.NewSyscallError("getsockopt", err))
	}
	own, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(own)
	if ours, err := unix.GetsockoptUint64(own, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err != nil || ours != theirs {
		return fmt.Errorf("it belongs to another network namespace")
	}
	return nil
}

// inheritSocket goes on with a socket that CheckSocket found good, in the place of its file, which is closed: it keeps its netlink port,
// by which the kernel knows the owner of a table.
func inheritSocket(about string, f *os.File, timeout time.Duration) (*socket, error) {
	defer f.Close()
	s := &socket{about: about, timeout: timeout, buf: make([]byte, readBuffer)}
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("inherit a netfilter socket: %w", err)
	}
	// A file that was made of a blocking descriptor can't be waited for with a deadline.
	var wrong error
	err = conn.Control(func(fd uintptr) {
		if s.fd, wrong = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); wrong == nil {
			wrong = unix.SetNonblock(s.fd, true)
		}
	})
	if err = errors.Join(err, wrong); err != nil {
		return nil, fmt.Errorf("inherit a netfilter socket: %w", err)
	}
	s.file = os.NewFile(uintptr(s.fd), "netfilter socket")
	if err := s.setUp(); err != nil {
		return nil, errors.Join(fmt.Errorf("inherit a netfilter socket: %w", err), s.close())
	}
	s.drain() // answers that nobody read
	return s, nil
}

// Socket is what owns the table, for a service manager to keep while no process runs: a copy of it in another process keeps the
// table owned. It stays the Conn's.
func (c *Conn) Socket() *os.File { return c.write.file }

// Seize makes the table owned from the next change on, though it does not outlive its owner on this kernel: where somebody else
// changes the table again and again. With false it is given back. It is without effect where owned tables outlive their
// owner.
//
// Be aware: such a table is gone once every copy of the owning socket is closed. Give it back before the Conn is closed.
func (c *Conn) Seize(own bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seized != own {
		c.seized, c.known = own, nil
	}
}

// Seized tells whether the table is, or will be, owned though it does not outlive its owner.
func (c *Conn) Seized() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seized && !c.features.Persist
}

// owning tells whether this Conn's table has an owner.
func (c *Conn) owning() bool { return c.features.Persist || c.seized || c.opt.Vanish }
