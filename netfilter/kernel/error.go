package kernel

import (
	"errors"
	"syscall"
)

// ErrStale tells that someone changed a table, of whatever name, after the change was planned. Nothing was done.
var ErrStale = errors.New("the kernel's rule sets have changed since")

// ErrNoTable tells that the table does not exist.
var ErrNoTable = errors.New("table inet ringwall does not exist")

// ErrNoSet tells that the set does not exist, or is none of addresses.
var ErrNoSet = errors.New("no such set")

// OwnedError tells that another socket owns the table.
type OwnedError struct {
	Port    uint32 // netlink port of the socket
	PID     int    // of the process that holds the socket; 0 where it cannot be found
	Process string // its name
}

func (e *OwnedError) Error() string { panic("being written") }

// OpError is the kernel's objection to one operation.
type OpError struct {
	Op     string        // what was to be done: "add rule"
	Object string        // to what: `in.ssh rule 3 "ssh policy.yaml:12"`
	Err    syscall.Errno // the kernel's reason
	Reason string        // the kernel's text, where it gave one
	Offset uint32        // of the attribute it objects to, in the message; 0 for none
}

func (e *OpError) Error() string { panic("being written") }
func (e *OpError) Unwrap() error { return e.Err }
