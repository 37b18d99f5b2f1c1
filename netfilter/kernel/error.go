package kernel

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrStale tells that someone changed a table, of whatever name, after the change was planned. Nothing was done.
var ErrStale = errors.New("the kernel's rule sets have changed since the change was planned")

// ErrNoTable tells that the table does not exist.
var ErrNoTable = errors.New("table inet ringwall does not exist")

// ErrNoSet tells that there is no such set, or none that holds addresses put there by AddElements.
var ErrNoSet = errors.New("no such dynamic set")

// ErrLost tells that the kernel's answer did not fit the socket's buffer, or the kernel had no memory for it: whether the change was
// carried out is not known. Who plans anew finds out.
var ErrLost = errors.New("the kernel's answer was lost")

// OwnedError tells that another socket owns the table.
type OwnedError struct {
	Port    uint32 // netlink port of the socket
	PID     int    // of the process that holds the socket; 0 where it cannot be found
	Process string // its name
}

func (e *OwnedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("table inet ringwall is owned by another process (netlink port %d)", e.Port)
	}
	return fmt.Sprintf("table inet ringwall is owned by %s (pid %d)", e.Process, e.PID)
}

// OpError is the kernel's objection to one operation.
type OpError struct {
	Op     string     // what was to be done: "add rule"
	Object string     // to what: `3 of chain in.ssh (ssh policy.yaml:12)`
	Err    unix.Errno // the kernel's reason
	Reason string     // the kernel's text, where it gave one
	Offset uint32     // of the attribute it objects to, from the message's begin; 0 for none
}

func (e *OpError) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Object != "" {
		b.WriteByte(' ')
		b.WriteString(e.Object)
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	if hint := hint(e.Err); hint != "" {
		fmt.Fprintf(&b, " (%s)", hint)
	}
	return b.String()
}

// Unwrap gives the errno, so that errors.Is(err, unix.EPERM) works.
func (e *OpError) Unwrap() error { return e.Err }

// hint says what an error number means when nf_tables uses it.
func hint(errno unix.Errno) string {
	switch errno {
	case unix.EPERM:
		return "changing nf_tables needs CAP_NET_ADMIN, and a table that has an owner only its owner may change"
	case unix.ENOENT:
		return "it refers to something that does not exist, or to an expression the kernel has no module for"
	case unix.EBUSY:
		return "something still refers to it"
	case unix.EOPNOTSUPP:
		return "this kernel cannot do that"
	case unix.ENFILE:
		return "the set is full"
	case unix.EMLINK:
		return "the chain jumps nest too deeply"
	case unix.ELOOP:
		return "the chains jump in a circle"
	case unix.ENOTEMPTY:
		return "it overlaps an element that is there"
	}
	return ""
}
