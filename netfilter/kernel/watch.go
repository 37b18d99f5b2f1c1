package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Event tells of a transaction that someone else committed.
type Event struct {
	Generation uint32 // after it
	PID        int    // of the process that committed it
	Process    string // its name
	Table      bool   // it touched table inet ringwall
	// Lost tells that events were lost, this one's content among them: the table must be observed.
	Lost bool
}

// eventGroup is NFNLGRP_NFTABLES.
const eventGroup = 7

// Watch reports what others commit to nf_tables, in the network namespace of the calling thread, until the context ends; the
// channel is closed then. What this Conn commits is left out. A receiver that is slow loses events, and is told.
//
// Be aware: elements of sets that a rule adds, or that expire, are no transactions.
func (c *Conn) Watch(ctx context.Context) (<-chan Event, error) {
	s, err := openSocket(c.opt.Table, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, eventGroup); err != nil {
		return nil, errors.Join(fmt.Errorf("watch nf_tables: %w", os.NewSyscallError("setsockopt", err)), s.close())
	}
	events := make(chan Event)
	go func() {
		defer close(events)
		defer s.close()
		w := watcher{own: c.write.port, about: c.opt.Table}
		for {
			err := s.receive(ctx, true, w.take)
			switch {
			case errors.Is(err, unix.ENOBUFS):
				w = watcher{own: w.own, about: w.about, done: []Event{{Lost: true}}}
			case err != nil:
				return
			}
			for _, e := range w.done {
				select {
				case events <- e:
				case <-ctx.Done():
					return
				}
			}
			w.done = nil
		}
	}()
	return events, nil
}

// watcher gathers the messages of a transaction, which its new generation ends.
type watcher struct {
	own   uint32 // port whose transactions are left out
	about string // the table
	table bool   // the present transaction touches the table
	done  []Event
}

func (w *watcher) take(m message) error {
	if m.typ>>8 != unix.NFNL_SUBSYS_NFTABLES {
		return nil
	}
	if m.typ != nftType(unix.NFT_MSG_NEWGEN) {
		// In every kind of message the first attribute names the table.
		for a := range attrs(m.body) {
			w.table = w.table || a.typ == unix.NFTA_TABLE_NAME && a.str() == w.about && m.family == unix.NFPROTO_INET
		}
		return nil
	}
	e := Event{Table: w.table}
	w.table = false
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
	if m.port != w.own {
		w.done = append(w.done, e)
	}
	return nil
}
