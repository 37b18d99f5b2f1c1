package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Seeded counts what SeedConnections did.
type Seeded struct {
	Created int // connections that conntrack knows now
	Known   int // connections that it knew already
	Failed  int // connections that it would not take
}

// SeedConnections tells conntrack about every connection that a socket of this namespace has: TCP connections that
// are past their handshake and connected UDP sockets. It is for the first rule set of a host that tracked nothing:
// without it the next packet of a peer is new to conntrack, or invalid, and a connection on which the host only receives
// dies. CAP_NET_ADMIN is needed.
//
// What conntrack knows already is left alone, so it may run again at any time. Unconnected UDP sockets have no peer to
// write down. A connection that can't be entered is counted and does not stop the rest; the error is about the first of
// them, or about a listing that failed.
func (h *Host) SeedConnections(ctx context.Context) (Seeded, error) {
	flows, err := h.flows()
	var s Seeded
	errs := []error{err}
	for _, f := range flows {
		if err := ctx.Err(); err != nil {
			return s, fmt.Errorf("seed connections: %w", err)
		}
		switch err := h.ct.create(f); {
		case err == nil:
			s.Created++
		case errors.Is(err, fs.ErrExist):
			s.Known++
		default:
			if s.Failed == 0 {
				errs = append(errs, fmt.Errorf("seed connection %s: %w", f, err))
			}
			s.Failed++
		}
	}
	return s, errors.Join(errs...)
}

// flow is a connection as conntrack sees it: from the end that opened it.
type flow struct {
	proto    uint8
	src, dst netip.AddrPort
	timeout  time.Duration // how long conntrack waits for the next packet
}

func (f flow) String() string {
	name := map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp"}[f.proto]
	return fmt.Sprintf("%s %s -> %s", name, f.src, f.dst)
}

// How long an entry lives without a packet, as the kernel's own defaults have it. The first packet puts the
// namespace's own setting in the place of these.
const (
	tcpTimeout     = 5 * 24 * time.Hour
	tcpHalfTimeout = 2 * time.Minute // where one side has closed
	udpTimeout     = 2 * time.Minute
)

// Socket states, from include/net/tcp_states.h. A connected UDP socket is established too.
const (
	stateEstablished = 1
	stateFinWait1    = 4
	stateFinWait2    = 5
	stateClose       = 7 // of UDP: without a peer
	stateCloseWait   = 8
	stateLastAck     = 9
	stateListen      = 10
	stateClosing     = 11
)

// flows lists the connections of this namespace. What could be listed is returned with an error too.
func (h *Host) flows() ([]flow, error) {
	var flows []flow
	var errs []error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		tcp, err := dump(func() ([]*netlink.Socket, error) { return h.nl.SocketDiagTCP(family) })
		if err != nil {
			errs = append(errs, fmt.Errorf("list tcp sockets: %w", err))
		}
		udp, err := dump(func() ([]*netlink.Socket, error) { return h.nl.SocketDiagUDP(family) })
		if err != nil {
			errs = append(errs, fmt.Errorf("list udp sockets: %w", err))
		}
		flows = append(flows, tcpFlows(tcp)...)
		flows = append(flows, udpFlows(udp)...)
	}
	return flows, errors.Join(errs...)
}

func tcpFlows(socks []*netlink.Socket) []flow {
	served := map[uint16]bool{}
	for _, s := range socks {
		if s.State == stateListen {
			served[s.ID.SourcePort] = true
		}
	}
	var flows []flow
	for _, s := range socks {
		var timeout time.Duration
		switch s.State {
		case stateEstablished:
			timeout = tcpTimeout
		case stateFinWait1, stateFinWait2, stateCloseWait, stateLastAck, stateClosing:
			timeout = tcpHalfTimeout
		default:
			continue
		}
		if f, ok := newFlow(unix.IPPROTO_TCP, s, timeout); ok {
			if served[s.ID.SourcePort] {
				f.src, f.dst = f.dst, f.src
			}
			flows = append(flows, f)
		}
	}
	return flows
}

func udpFlows(socks []*netlink.Socket) []flow {
	var flows []flow
	for _, s := range socks {
		if s.State != stateEstablished {
			continue
		}
		if f, ok := newFlow(unix.IPPROTO_UDP, s, udpTimeout); ok {
			flows = append(flows, f)
		}
	}
	return flows
}

// newFlow takes the host's end as the one that opened the connection. IPv4 on an IPv6 socket is IPv4.
func newFlow(proto uint8, s *netlink.Socket, timeout time.Duration) (flow, bool) {
	src, ok1 := netip.AddrFromSlice(s.ID.Source)
	dst, ok2 := netip.AddrFromSlice(s.ID.Destination)
	src, dst = src.Unmap(), dst.Unmap()
	if !ok1 || !ok2 || src.Is4() != dst.Is4() || dst.IsUnspecified() || s.ID.DestinationPort == 0 {
		return flow{}, false
	}
	return flow{
		proto:   proto,
		src:     netip.AddrPortFrom(src, s.ID.SourcePort),
		dst:     netip.AddrPortFrom(dst, s.ID.DestinationPort),
		timeout: timeout,
	}, true
}

// Track enters one TCP connection into the connection table, as if it had been seen from its first packet on.
func (h *Host) Track(t Tuple) error {
	return h.ct.create(flow{proto: unix.IPPROTO_TCP, src: t.Src, dst: t.Dst, timeout: tcpTimeout})
}
