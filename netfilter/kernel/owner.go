package kernel

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ownedError says who owns the table, as far as that can be read: finding the process of a socket needs the right to look into
// other processes.
func ownedError(port uint32) *OwnedError {
	e := &OwnedError{Port: port}
	inode, ok := socketInode(port)
	if !ok {
		return e
	}
	want := fmt.Sprintf("socket:[%s]", inode)
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return e
	}
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err != nil || target != want {
			continue
		}
		dir := filepath.Dir(filepath.Dir(fd))
		if e.PID, err = strconv.Atoi(filepath.Base(dir)); err != nil {
			return e
		}
		name, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err == nil {
			e.Process = strings.TrimSpace(string(name))
		}
		return e
	}
	return e
}

// socketInode is the inode number of the netfilter socket with a port, in the thread's network namespace.
func socketInode(port uint32) (inode string, ok bool) {
	f, err := os.Open("/proc/thread-self/net/netlink")
	if err != nil {
		return "", false
	}
	defer f.Close()
	// sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
	for lines := bufio.NewScanner(f); lines.Scan(); {
		col := strings.Fields(lines.Text())
		if len(col) == 10 && col[1] == strconv.Itoa(unix.NETLINK_NETFILTER) && col[2] == strconv.FormatUint(uint64(port), 10) {
			return col[9], true
		}
	}
	return "", false
}
