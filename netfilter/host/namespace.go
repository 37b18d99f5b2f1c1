package host

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Namespace is the identity of a network namespace: equal values are the same namespace, as long as it lives. A
// namespace made later may get the inode of one that is gone, but never its cookie.
type Namespace struct {
	Dev    uint64 `json:"dev"`
	Inode  uint64 `json:"inode"`
	Cookie uint64 `json:"cookie,omitempty"` // 0 before Linux 5.14
}

// CurrentNamespace is the network namespace of the calling thread.
func CurrentNamespace() (Namespace, error) {
	const path = "/proc/thread-self/ns/net"
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Namespace{}, fmt.Errorf("network namespace: stat %s: %w", path, err)
	}
	return Namespace{Dev: uint64(st.Dev), Inode: st.Ino, Cookie: cookie()}, nil
}

// cookie asks a socket for the cookie of its namespace.
func cookie() uint64 {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if err != nil {
		return 0
	}
	return c
}

// Boot names the present run of the kernel; empty where it can't be told.
func Boot() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// String is the form that /proc and lsns print.
func (n Namespace) String() string { return fmt.Sprintf("net:[%d]", n.Inode) }
