package host

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// The states of TCP connections that are not past their handshake.
const beginning = 1<<stateSynSent | 1<<stateSynRecv

const (
	stateSynSent = 2
	stateSynRecv = 3
)

// Connections lists the TCP connections that have a socket here, those that are being opened included.
func (h *Host) Connections() ([]Socket, error) {
	v4, err4 := h.diag.dump(unix.IPPROTO_TCP, unix.AF_INET, withPeer|beginning)
	v6, err6 := h.diag.dump(unix.IPPROTO_TCP, unix.AF_INET6, withPeer|beginning)
	return append(v4, v6...), errors.Join(err4, err6)
}

// Cookie is the socket's own: no other socket of this boot has it. It goes over to the connection from its handshake.
func (s Socket) Cookie() uint64 { return binary.NativeEndian.Uint64(s.raw[diagIDSize-8:]) }
