package control

import "fmt"

// NamespaceError tells that the daemon behind the socket serves another network namespace than the caller's: sockets
// are found by path, across namespaces.
type NamespaceError struct {
	Socket string
	PID    int // of the daemon
}

func (e *NamespaceError) Error() string {
	return fmt.Sprintf("%s: the daemon there (pid %d) serves another network namespace than this one: name another socket, or enter its namespace", e.Socket, e.PID)
}
