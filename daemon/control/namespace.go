package control

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Namespace is the identity of the calling thread's network namespace: the same for two threads exactly where they
// are in the same one.
func Namespace() (string, error) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
		return "", fmt.Errorf("network namespace of this process: %w", err)
	}
	return fmt.Sprintf("net:%d:%d", st.Dev, st.Ino), nil
}

// NamespaceError tells that the daemon behind the socket serves another network namespace than the caller's: sockets
// are found by path, across namespaces.
type NamespaceError struct {
	Socket string
	PID    int // of the daemon
}

func (e *NamespaceError) Error() string {
	return fmt.Sprintf("%s: the daemon there (pid %d) serves another network namespace than this one: name another socket, or enter its namespace", e.Socket, e.PID)
}
