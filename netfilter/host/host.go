package host

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host answers questions about one network namespace. It is safe for concurrent use.
type Host struct {
	nl   *netlink.Handle
	ct   *conntrack
	diag *diag
}

// Open connects to the kernel in the network namespace of the calling thread. Nothing is asked yet and no privilege
// is needed.
func Open() (*Host, error) {
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	ct, err := dialConntrack()
	if err != nil {
		nl.Close()
		return nil, err
	}
	diag, err := dialDiag()
	if err != nil {
		nl.Close()
		return nil, errors.Join(err, ct.close())
	}
	return &Host{nl: nl, ct: ct, diag: diag}, nil
}

// Close lets the connections to the kernel go.
func (h *Host) Close() error {
	h.nl.Close()
	return errors.Join(h.ct.close(), h.diag.close())
}

// unbound does something on a goroutine of its own and waits. The caller's may be bound to its thread, as those are that serve a network
// namespace: then each read of a long listing would change threads twice, which takes longer than the listing.
func unbound(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// dumpTries bounds how often a listing is asked again because the kernel's tables changed under it.
const dumpTries = 5

// dump asks for a listing until it comes whole. A listing that never does is better than none: its last state is
// returned without error.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	var all []T
	var err error
	for range dumpTries {
		if all, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return all, err
		}
	}
	return all, nil
}
