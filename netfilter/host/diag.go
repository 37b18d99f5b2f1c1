package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Socket is a TCP or UDP socket of this namespace.
type Socket struct {
	Proto       uint8          // unix.IPPROTO_TCP or unix.IPPROTO_UDP
	Local, Peer netip.AddrPort // IPv4 as IPv4; Peer is zero where there is none; Local may have the unspecified address
	// Listens: a TCP socket that takes connections, or a UDP socket without a peer.
	Listens bool
	Closing bool // a side of the connection has closed it
	// Dual: an unspecified Local stands for both families, as far as is known: the kernel tells of IPV6_V6ONLY.
	Dual   bool
	Device int    // the index of the interface that it is bound to, 0 for none
	UID    uint32 // its owner
	Cgroup uint64 // the id of its cgroup, see CgroupID; 0 where the kernel does not tell

	raw [diagIDSize]byte // as the kernel names it
	six bool             // the family that it was made for
}

// diag asks the kernel for sockets, and destroys them.
type diag struct {
	mu   sync.Mutex
	conn *netlink.Conn
}

func dialDiag() (*diag, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag: %w", err)
	}
	return &diag{conn: c}, nil
}

func (d *diag) close() error { return d.conn.Close() }

// Messages of sock_diag, from include/uapi/linux/{sock_diag,inet_diag}.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21

	diagIDSize  = 48 // struct inet_diag_sockid: ports, addresses, interface, cookie
	diagReqSize = 8 + diagIDSize
	diagMsgSize = 4 + diagIDSize + 20

	inetDiagSKV6Only = 11
	inetDiagCgroupID = 21
)

// The states of sockets that are asked for, as bits.
const (
	withPeer    = 1<<stateEstablished | 1<<stateFinWait1 | 1<<stateFinWait2 | 1<<stateCloseWait | 1<<stateLastAck | 1<<stateClosing
	withoutPeer = 1<<stateListen | 1<<stateClose
)

// Connected lists TCP connections past their handshake, and UDP sockets with a peer.
func (h *Host) Connected() ([]Socket, error) { return h.diag.list(withPeer) }

// Listeners lists TCP sockets that listen, and UDP sockets without a peer.
func (h *Host) Listeners() ([]Socket, error) { return h.diag.list(withoutPeer) }

// list lists the sockets of both protocols and families in some states. What could be listed is returned with an error too.
func (d *diag) list(states uint32) (out []Socket, err error) {
	unbound(func() { out, err = d.listHere(states) })
	return out, err
}

func (d *diag) listHere(states uint32) (out []Socket, err error) {
	var errs []error
	for _, proto := range []uint8{unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
			some, err := d.dump(proto, family, states)
			if err != nil {
				errs = append(errs, fmt.Errorf("list sockets of protocol %d: %w", proto, err))
			}
			out = append(out, some...)
		}
	}
	return out, errors.Join(errs...)
}

func (d *diag) dump(proto, family uint8, states uint32) (out []Socket, err error) {
	msgs, err := d.ask(sockDiagByFamily, netlink.Request|netlink.Dump, diagRequest(proto, family, states, nil))
	for _, m := range msgs {
		if s, ok := parseSocket(proto, m.Data); ok {
			out = append(out, s)
		}
	}
	return out, err
}

func (d *diag) ask(kind netlink.HeaderType, flags netlink.HeaderFlags, data []byte) ([]netlink.Message, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn.Execute(netlink.Message{Header: netlink.Header{Type: kind, Flags: flags}, Data: data})
}

// diagRequest is a struct inet_diag_req_v2.
func diagRequest(proto, family uint8, states uint32, id []byte) []byte {
	b := make([]byte, diagReqSize)
	b[0], b[1] = family, proto
	binary.NativeEndian.PutUint32(b[4:], states)
	copy(b[8:], id)
	return b
}

// parseSocket reads a struct inet_diag_msg and what follows it.
func parseSocket(proto uint8, b []byte) (s Socket, ok bool) {
	if len(b) < diagMsgSize {
		return s, false
	}
	id := b[4 : 4+diagIDSize]
	s = Socket{Proto: proto, six: b[0] == unix.AF_INET6, UID: binary.NativeEndian.Uint32(b[4+diagIDSize+12:])}
	copy(s.raw[:], id)
	s.Listens = proto == unix.IPPROTO_TCP && b[1] == stateListen || proto == unix.IPPROTO_UDP && b[1] == stateClose
	s.Closing = !s.Listens && b[1] != stateEstablished
	size := 4
	if s.six {
		size = 16
	}
	local, _ := netip.AddrFromSlice(id[4 : 4+size])
	peer, _ := netip.AddrFromSlice(id[20 : 20+size])
	s.Local = netip.AddrPortFrom(local.Unmap(), binary.BigEndian.Uint16(id))
	if port := binary.BigEndian.Uint16(id[2:]); port != 0 && !s.Listens {
		s.Peer = netip.AddrPortFrom(peer.Unmap(), port)
	}
	s.Device = int(binary.NativeEndian.Uint32(id[36:]))
	s.Dual = s.six && local == netip.IPv6Unspecified()
	eachAttr(b[diagMsgSize:], func(kind uint16, v []byte) {
		switch {
		case kind == inetDiagCgroupID && len(v) == 8:
			s.Cgroup = binary.NativeEndian.Uint64(v)
		case kind == inetDiagSKV6Only && len(v) == 1 && v[0] != 0:
			s.Dual = false
		}
	})
	return s, s.Local.Port() != 0 && s.Listens != s.Peer.IsValid()
}

// Destroy ends a socket of Connected: the process that has it gets an error, and the peer of a TCP connection a reset.
// CAP_NET_ADMIN is needed. It is that very socket or none: the error wraps fs.ErrNotExist where it is gone.
func (h *Host) Destroy(s Socket) error {
	family := uint8(unix.AF_INET)
	if s.six {
		family = unix.AF_INET6
	}
	_, err := h.diag.ask(sockDestroy, netlink.Request|netlink.Acknowledge, diagRequest(s.Proto, family, 0, s.raw[:]))
	if errors.Is(err, unix.ESTALE) {
		err = unix.ENOENT
	}
	if err != nil {
		return fmt.Errorf("end socket %s to %s: %w", s.Local, s.Peer, err)
	}
	return nil
}

// CgroupID is the id that the kernel gives a cgroup of the unified hierarchy, by its path below that: "system.slice/ssh.service".
// The error wraps fs.ErrNotExist where there is none.
func CgroupID(path string) (uint64, error) {
	var err error
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		var st unix.Stat_t
		if err = unix.Statfs(root, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		if err = unix.Stat(filepath.Join(root, path), &st); err == nil {
			return st.Ino, nil
		}
	}
	if err == nil {
		err = unix.ENOENT
	}
	return 0, &os.PathError{Op: "stat cgroup", Path: path, Err: err}
}

// eachAttr calls f for each attribute of a message, by its type without flags.
func eachAttr(b []byte, f func(kind uint16, v []byte)) {
	for len(b) >= unix.NLA_HDRLEN {
		n := int(binary.NativeEndian.Uint16(b))
		if n < unix.NLA_HDRLEN || n > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), b[unix.NLA_HDRLEN:n])
		b = b[min(len(b), (n+3)&^3):]
	}
}

// Units is the names of the systemd units, or what else cgroups are called by, whose processes made sockets: by the ids of their cgroups.
// Where the hierarchy can't be read it is empty.
func Units() map[uint64]string {
	out := map[uint64]string{}
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var fs unix.Statfs_t
		if err := unix.Statfs(root, &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		filepath.WalkDir(root, func(path string, d iofs.DirEntry, err error) error {
			var st unix.Stat_t
			switch {
			case err != nil || !d.IsDir() || path == root:
			case unix.Stat(path, &st) == nil:
				out[st.Ino] = unitOf(path)
			}
			return nil
		})
	}
	return out
}

// unitOf is the innermost unit that a cgroup is in, else the cgroup's own name.
func unitOf(path string) string {
	for p := path; p != "/"; p = filepath.Dir(p) {
		switch name := filepath.Base(p); filepath.Ext(name) {
		case ".service", ".scope", ".socket":
			return name
		}
	}
	return filepath.Base(path)
}
