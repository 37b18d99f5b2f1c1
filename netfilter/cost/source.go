package cost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/rules/policy"
)

// Source is packets, ready to come in by an interface. It is used on threads in the interface's network namespace, by one
// goroutine at a time.
type Source struct {
	program, link, area int
	memory              []byte
	frames              int
	iface               int
	template            []byte
}

// Where things stand in the area that the program shares: its place in the table and the window that it goes round in.
const (
	atNext   = 0
	atFirst  = 4
	atEnd    = 8
	atFrames = 64
)

// Open makes packets ready for an interface, which must be one of a veth pair whose other end is silent: what came from there
// would become one of the packets.
func Open(iface string, packets []policy.Packet) (*Source, error) {
	link, err := net.InterfaceByName(iface)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", iface, err)
	}
	s := &Source{program: -1, link: -1, frames: len(packets), iface: link.Index, template: make([]byte, frameBytes)}
	if s.area, s.memory, err = newArea(atFrames + len(packets)*stride); err != nil {
		return nil, err
	}
	for i := range packets {
		if err := putFrame(s.memory[atFrames+i*stride:], link.HardwareAddr, &packets[i], uint32(i)); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	s.Window(0, len(packets))
	if s.program, err = writer(s.area, s.frames).load(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	// A veth has no receive queue that could be named before a program is attached; and the kernel waits for all processors at the
	// beginning and end of every run of a program that is attached nowhere.
	if s.link, err = attach(s.program, s.iface); err != nil {
		return nil, errors.Join(fmt.Errorf("attach to %s: %w", iface, err), s.Close())
	}
	return s, nil
}

// Close gives everything back.
func (s *Source) Close() error {
	errs := []error{unix.Munmap(s.memory)}
	for _, fd := range []int{s.link, s.program, s.area} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// Window has Send take the packets from an index up to before another, in turn, from the first on.
func (s *Source) Window(from, to int) {
	for at, v := range map[int]int{atNext: from, atFirst: from, atEnd: to} {
		binary.NativeEndian.PutUint32(s.memory[at:], uint32(v))
	}
}

// Send has so many packets come in, and returns the CPU time of all of them together. They have been through the rule set, and
// are with a socket or gone, when it returns.
func (s *Source) Send(count int) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// A signal would end the run early, and the Go scheduler sends one at will.
	var urgent, before unix.Sigset_t
	urgent.Val[0] = 1 << (unix.SIGURG - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &urgent, &before); err != nil {
		return 0, fmt.Errorf("block a signal: %w", err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	begun, err := threadTime()
	if err != nil {
		return 0, err
	}
	if err := run(s.program, s.template, s.iface, count); err != nil {
		return 0, fmt.Errorf("have %d packets come in: %w", count, err)
	}
	ended, err := threadTime()
	return ended - begun, err
}

// threadTime is the CPU time that the thread has used.
func threadTime() (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano()), err
}
