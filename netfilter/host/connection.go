package host

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Connection is a TCP connection of a socket of this namespace.
type Connection struct {
	Local, Peer netip.AddrPort // IPv4 as IPv4, without a zone
	Cookie      uint64         // the socket's own: no other socket of this boot has it
}

// Connections lists the TCP connections that have a socket here, those that are being opened included.
func (h *Host) Connections() ([]Connection, error) {
	var list []Connection
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		socks, err := dump(func() ([]*netlink.Socket, error) { return h.nl.SocketDiagTCP(family) })
		if err != nil {
			return nil, fmt.Errorf("list tcp sockets: %w", err)
		}
		for _, s := range socks {
			if s.State == stateListen {
				continue
			}
			local, ok1 := netip.AddrFromSlice(s.ID.Source)
			peer, ok2 := netip.AddrFromSlice(s.ID.Destination)
			if ok1 && ok2 && s.ID.DestinationPort != 0 {
				list = append(list, Connection{
					Local:  netip.AddrPortFrom(local.Unmap(), s.ID.SourcePort),
					Peer:   netip.AddrPortFrom(peer.Unmap(), s.ID.DestinationPort),
					Cookie: uint64(s.ID.Cookie[1])<<32 | uint64(s.ID.Cookie[0]),
				})
			}
		}
	}
	return list, nil
}
