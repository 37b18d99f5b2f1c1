package control

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Peer is who stands at the other end of a connection, by the kernel's word.
type Peer struct {
	PID    int32
	UID    uint32
	Groups []uint32 // its own and the supplementary ones
}

// access is what a peer may do.
type access uint8

const (
	none access = iota
	reads
	writes
)

// accessOf decides what a peer may do: root and the daemon's own user everything, members of the socket's group read.
func (s *Server) accessOf(p Peer) access {
	if p.UID == 0 || p.UID == uint32(os.Geteuid()) {
		return writes
	}
	for _, g := range p.Groups {
		if s.hasGroup && g == s.group {
			return reads
		}
	}
	return none
}

// peerKey finds the Peer in a connection's context.
type peerKey struct{}

// PeerOf is who asked, in the context of a Service's method; false where nobody did.
func PeerOf(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}

// withPeer puts the peer of a new connection into its context. A connection whose peer the kernel will not name has
// none, and is refused everything.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	if p, err := peerOf(c); err == nil {
		return context.WithValue(ctx, peerKey{}, p)
	}
	return ctx
}

// peerOf asks the kernel who connected.
func peerOf(c net.Conn) (Peer, error) {
	u, ok := c.(syscall.Conn)
	if !ok {
		return Peer{}, fmt.Errorf("peer of a %T", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("peer of a connection: %w", err)
	}
	var p Peer
	var inner error
	err = raw.Control(func(fd uintptr) {
		cred, e := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if e != nil {
			inner = e
			return
		}
		p = Peer{PID: cred.Pid, UID: cred.Uid, Groups: append(peerGroups(int(fd)), cred.Gid)}
	})
	if err == nil {
		err = inner
	}
	if err != nil {
		return Peer{}, fmt.Errorf("peer of a connection: %w", err)
	}
	return p, nil
}

// peerGroups reads the supplementary groups that the peer had when it connected (SO_PEERGROUPS of socket(7)). Where
// the kernel does not say there are none: less access, never more.
func peerGroups(fd int) []uint32 {
	buf := make([]byte, 4*65536) // NGROUPS_MAX
	size := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 || int(size) > len(buf) {
		return nil
	}
	groups := make([]uint32, 0, size/4)
	for b := buf[:size]; len(b) >= 4; b = b[4:] {
		groups = append(groups, binary.NativeEndian.Uint32(b))
	}
	return groups
}
