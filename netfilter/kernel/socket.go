package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a NETLINK_NETFILTER socket. Its requests are answered before a send returns, except for dumps, whose parts are
// made while they are read: a batch therefore never has to be waited for.
type socket struct {
	fd      int
	file    *os.File // of fd, for waiting
	about   string   // the table that it is used for
	port    uint32   // netlink's address of the socket, unique within the network namespace
	seq     uint32
	timeout time.Duration // bounds the wait for an answer; 0 for no bound
	sndbuf  int           // what the send buffer was last set to hold
	buf     []byte
}

const (
	// A batch that is refused is answered message by message; the answers must fit.
	receiveBuffer = 16 << 20
	// The largest part of a dump that the kernel makes is 32 KiB.
	readBuffer = 128 << 10
	// dumpAttempts bounds how often a dump that changes disturbed is begun anew.
	dumpAttempts = 50
)

// errInterrupted tells that a dump is a mixture of two states.
var errInterrupted = errors.New("the dump was interrupted by changes")

// openSocket opens a socket that is used for a table.
func openSocket(about string, timeout time.Duration) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open a netfilter socket: %w", os.NewSyscallError("socket", err))
	}
	s := &socket{about: about, fd: fd, file: os.NewFile(uintptr(fd), "netfilter socket"), timeout: timeout, buf: make([]byte, readBuffer)}
	err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	if err == nil {
		err = s.setUp()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a netfilter socket: %w", err), s.close())
	}
	return s, nil
}

// setUp prepares a socket that is bound.
func (s *socket) setUp() error {
	name, err := unix.Getsockname(s.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	if nl, ok := name.(*unix.SockaddrNetlink); ok {
		s.port = nl.Pid
	}
	// Both are a comfort: texts with errors, and errors without a copy of the message.
	_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	_ = unix.SetsockoptInt(s.fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	return nil
}

func (s *socket) close() error { return s.file.Close() }

// nextSeq is a sequence number that was not used before, never 0.
func (s *socket) nextSeq() uint32 {
	s.seq++
	if s.seq == 0 {
		s.seq++
	}
	return s.seq
}

// send sends one datagram, however large.
func (s *socket) send(b []byte) error {
	// The kernel wants room for the datagram and its own bookkeeping.
	if need := len(b) + len(b)/8 + 4096; need > s.sndbuf {
		if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, need); err != nil {
			// Without CAP_NET_ADMIN in the initial user namespace: as much as the system allows.
			_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, need)
		}
		s.sndbuf = need
	}
	for {
		err := unix.Sendto(s.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		case unix.EMSGSIZE:
			return fmt.Errorf("send %d bytes to nf_tables: %w (the socket buffer may not be enlarged here: that needs CAP_NET_ADMIN in the initial user namespace, or a larger net.core.wmem_max)", len(b), err)
		}
		return fmt.Errorf("send to nf_tables: %w", err)
	}
}

// message is one answer of the kernel. Body is without the netlink and the nfnetlink header; it is overwritten by the next
// receive.
type message struct {
	typ    uint16 // of nf_tables, or a control type of netlink
	seq    uint32
	port   uint32 // of the socket that caused it
	family uint8
	intr   bool // part of a dump that is a mixture of two states
	body   []byte
	err    *kernelError // of an NLMSG_ERROR or NLMSG_DONE; its error number is 0 for an acknowledgement
}

// kernelError is the content of an NLMSG_ERROR.
type kernelError struct {
	errno  unix.Errno
	text   string
	offset uint32
}

// receive reads one datagram and calls each for every message in it. It waits for one if wait is set, until the timeout or the
// end of the context; else it returns unix.EAGAIN where there is none.
func (s *socket) receive(ctx context.Context, wait bool, each func(message) error) error {
	var n int
	var err error
	read := func(fd uintptr) (done bool) {
		for {
			if n, _, err = unix.Recvfrom(int(fd), s.buf, unix.MSG_DONTWAIT); err != unix.EINTR {
				return err != unix.EAGAIN
			}
		}
	}
	if !read(uintptr(s.fd)) && wait {
		if err := s.await(ctx, read); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return split(s.buf[:n], each)
}

// await calls read whenever there may be something, until it is done.
func (s *socket) await(ctx context.Context, read func(fd uintptr) bool) error {
	var deadline time.Time
	if s.timeout != 0 {
		deadline = time.Now().Add(s.timeout)
	}
	if err := s.file.SetReadDeadline(deadline); err != nil {
		return err
	}
	conn, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = s.file.SetReadDeadline(time.Unix(1, 0))
		close(woken)
	})
	err = conn.Read(read)
	if !stop() {
		<-woken // lest it ends the next wait
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("read from nf_tables: %w", err)
	}
	return nil
}

// split takes a datagram apart.
func split(b []byte, each func(message) error) error {
	for len(b) >= unix.NLMSG_HDRLEN {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.NLMSG_HDRLEN || n > len(b) {
			return errors.New("read from nf_tables: a message is cut short")
		}
		flags := binary.NativeEndian.Uint16(b[6:])
		m := message{
			typ:  binary.NativeEndian.Uint16(b[4:]),
			seq:  binary.NativeEndian.Uint32(b[8:]),
			port: binary.NativeEndian.Uint32(b[12:]),
			intr: flags&unix.NLM_F_DUMP_INTR != 0,
		}
		body := b[unix.NLMSG_HDRLEN:n]
		switch {
		case m.typ == unix.NLMSG_ERROR || m.typ == unix.NLMSG_DONE:
			m.err = parseError(body, flags)
		case len(body) >= nfgenLen:
			m.family, m.body = body[0], body[nfgenLen:]
		}
		if err := each(m); err != nil {
			return err
		}
		b = b[min(align(n), len(b)):]
	}
	return nil
}

// parseError reads the body of an NLMSG_ERROR, or of an NLMSG_DONE, which begins with an error number too.
func parseError(body []byte, flags uint16) *kernelError {
	e := new(kernelError)
	if len(body) < 4 {
		return e
	}
	if v := int32(binary.NativeEndian.Uint32(body)); v < 0 {
		e.errno = unix.Errno(-v)
	}
	if flags&unix.NLM_F_ACK_TLVS == 0 || len(body) < 4+unix.NLMSG_HDRLEN {
		return e
	}
	rest := body[4:]
	skip := unix.NLMSG_HDRLEN
	if flags&unix.NLM_F_CAPPED == 0 {
		skip = align(int(binary.NativeEndian.Uint32(rest)))
	}
	for a := range attrs(rest[min(skip, len(rest)):]) {
		switch a.typ {
		case unix.NLMSGERR_ATTR_MSG:
			e.text = a.str()
		case unix.NLMSGERR_ATTR_OFFS:
			if len(a.data) == 4 {
				e.offset = binary.NativeEndian.Uint32(a.data)
			}
		}
	}
	return e
}

// drain forgets answers that an earlier call left unread.
func (s *socket) drain() {
	for {
		err := s.receive(context.Background(), false, func(message) error { return nil })
		if err != nil && err != unix.ENOBUFS {
			return
		}
	}
}

// request sends one question and calls each for every message of its answer, until the answer is complete. An error of the
// kernel is returned as unix.Errno. A dump that was interrupted by changes is asked for again, after again was called: what
// each was given until then does not count.
func (s *socket) request(ctx context.Context, typ uint16, dump bool, fill func(*builder), again func(), each func(message) error) error {
	return s.requestOf(ctx, unix.NFPROTO_INET, typ, dump, fill, again, each)
}

// requestOf is request about tables of a family, or of all where it is unspec.
func (s *socket) requestOf(ctx context.Context, family uint8, typ uint16, dump bool, fill func(*builder), again func(), each func(message) error) error {
	for attempt := 0; ; attempt++ {
		err := s.requestOnce(ctx, family, typ, dump, fill, each)
		if !errors.Is(err, errInterrupted) || attempt == dumpAttempts {
			return err
		}
		again()
	}
}

func (s *socket) requestOnce(ctx context.Context, family uint8, typ uint16, dump bool, fill func(*builder), each func(message) error) error {
	s.drain()
	b := builder{table: s.about}
	seq := s.nextSeq()
	flags := uint16(unix.NLM_F_REQUEST)
	if dump {
		flags |= unix.NLM_F_DUMP
	}
	at := b.begin(nftType(typ), flags, seq, family, 0)
	if fill != nil {
		fill(&b)
	}
	b.end(at)
	if err := s.send(b.buf); err != nil {
		return err
	}
	done, interrupted := false, false
	for !done {
		err := s.receive(ctx, true, func(m message) error {
			if m.seq != seq || done {
				return nil
			}
			interrupted = interrupted || m.intr
			if m.err != nil {
				done = true
				if m.err.errno == unix.EINTR {
					interrupted = true
				} else if m.err.errno != 0 {
					return m.err.errno
				}
				return nil
			}
			if !dump {
				done = true
			}
			return each(m)
		})
		if err != nil {
			return err
		}
	}
	if interrupted {
		return errInterrupted
	}
	return nil
}
