package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Event tells of a transaction that someone else committed, to any table.
type Event struct {
	Generation uint32 // after it
	PID        int    // of the thread that committed it, in the initial PID namespace; of most programs the process
	Process    string // its name, at most 15 bytes
	// Lost tells that events were lost, this one's content among them: the table must be observed.
	Lost bool
}

// eventGroup is NFNLGRP_NFTABLES.
const eventGroup = 7

// quietFrom is how large a batch is, in bytes, before the listening rests while it is committed.
const quietFrom = 64 << 10

// Watch reports what others commit to nf_tables, in the network namespace of the calling thread, until the context ends; the
// channel is closed then. What this Conn commits is left out. A receiver that is slow loses events, and is told.
//
// Be aware: where anybody listens, the kernel makes a message of every object of every transaction, whether it is wanted or
// not, which makes commits up to ten times slower. A table that is owned needs no watching. For the time of large
// commits of its own the Conn does not listen: who is interested looks at the generation besides. Elements of sets that a rule
// adds, or that expire, are no transactions.
func (c *Conn) Watch(ctx context.Context) (<-chan Event, error) {
	s, err := openSocket(c.opt.Table, 0)
	if err != nil {
		return nil, err
	}
	if err := listen(s, c.opt.EventBuffer); err != nil {
		return nil, errors.Join(fmt.Errorf("watch nf_tables: %w", err), s.close())
	}
	c.mu.Lock()
	c.events = s
	c.mu.Unlock()
	events := make(chan Event)
	go func() {
		defer close(events)
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.events == s {
				c.events = nil
			}
			s.close()
		}()
		for {
			e, err := nextEvent(ctx, s, c.write.port)
			if err != nil {
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, nil
}

// listen makes a socket one that gets the kernel's events, of which the end of each transaction is enough. With a buffer of so many
// bytes; 0 for the socket's own.
func listen(s *socket, buffer int) error {
	if buffer != 0 {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	// A filter's loads are big-endian, netlink's numbers native: the type is compared as its bytes stand.
	kind := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, nftType(unix.NFT_MSG_NEWGEN)))
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: 4}, // the message's type
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(kind), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	filter := &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.SetsockoptSockFprog(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, filter); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return s.join(true)
}

// join begins or ends the listening.
func (s *socket) join(on bool) error {
	option := unix.NETLINK_DROP_MEMBERSHIP
	if on {
		option = unix.NETLINK_ADD_MEMBERSHIP
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, option, eventGroup))
}

// nextEvent waits for a transaction that another socket than own committed.
func nextEvent(ctx context.Context, s *socket, own uint32) (e Event, err error) {
	for found := false; !found; {
		err := s.receive(ctx, true, func(m message) error {
			if m.typ != nftType(unix.NFT_MSG_NEWGEN) || m.port == own {
				return nil
			}
			found = true
			for a := range attrs(m.body) {
				switch a.typ {
				case unix.NFTA_GEN_ID:
					e.Generation = uint32(a.num())
				case unix.NFTA_GEN_PROC_PID:
					e.PID = int(a.num())
				case unix.NFTA_GEN_PROC_NAME:
					e.Process = a.str()
				}
			}
			return nil
		})
		if errors.Is(err, unix.ENOBUFS) {
			s.drain() // the kernel tells of nothing more until all is read that waits
			return Event{Lost: true}, nil
		}
		if err != nil {
			return e, err
		}
	}
	return e, nil
}
