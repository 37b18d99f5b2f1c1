package host

import (
	"net/netip"
	"strconv"
	"strings"
)

// Session is the SSH connection that a command runs in.
type Session struct {
	Peer, Local netip.AddrPort // IPv4 as IPv4, without a zone
}

// SSHSession reads the session from the variables that sshd sets. There is none where they are missing, malformed or
// taken away, as sudo does: then ok is false and the caller has to ask.
func SSHSession(getenv func(string) string) (s Session, ok bool) {
	f := strings.Fields(getenv("SSH_CONNECTION")) // peer address, peer port, local address, local port
	if len(f) != 4 {
		return Session{}, false
	}
	peer, ok1 := addrPort(f[0], f[1])
	local, ok2 := addrPort(f[2], f[3])
	return Session{Peer: peer, Local: local}, ok1 && ok2
}

func addrPort(addr, port string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}, false
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || p == 0 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a.Unmap().WithZone(""), uint16(p)), true
}
