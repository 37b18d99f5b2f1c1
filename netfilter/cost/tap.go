package cost

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Tap sees the packets of a Source that a rule logs to a group of nflog.
type Tap struct {
	fd  int
	buf []byte
}

// nfnetlink_log's numbers (linux/netfilter/nfnetlink_log.h).
const (
	logPacket = unix.NFNL_SUBSYS_ULOG << 8
	logConfig = unix.NFNL_SUBSYS_ULOG<<8 | 1

	configCommand   = 1
	configMode      = 2
	configThreshold = 5

	bind       = 1
	copyPacket = 2

	attrPayload = 9
)

// OpenTap binds a group, in the network namespace of the calling thread.
func OpenTap(group uint16) (*Tap, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	t := &Tap{fd, make([]byte, 1<<16)}
	const room = 16 << 20 // for what a run of packets brings at once
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, room)
	for _, attr := range [][]byte{
		{5, 0, configCommand, 0, bind, 0, 0, 0},
		{10, 0, configMode, 0, 0, 0, 0xff, 0xff, copyPacket, 0, 0, 0},
		{8, 0, configThreshold, 0, 0, 0, 0, 1}, // each packet at once
	} {
		if err == nil {
			err = t.configure(group, attr)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("log group %d: %w", group, err), t.Close())
	}
	return t, nil
}

// configure sends one setting and waits for the answer, which the kernel gives at once.
func (t *Tap) configure(group uint16, attr []byte) error {
	msg := binary.NativeEndian.AppendUint32(nil, uint32(20+len(attr)))
	msg = binary.NativeEndian.AppendUint16(msg, logConfig)
	msg = binary.NativeEndian.AppendUint16(msg, unix.NLM_F_REQUEST|unix.NLM_F_ACK)
	msg = append(msg, make([]byte, 8)...)
	msg = append(msg, unix.AF_UNSPEC, 0)
	msg = binary.BigEndian.AppendUint16(msg, group)
	// Attribute headers are in the machine's order.
	msg = binary.NativeEndian.AppendUint16(msg, uint16(attr[0]))
	msg = binary.NativeEndian.AppendUint16(msg, uint16(attr[2]))
	msg = append(msg, attr[4:]...)
	if err := unix.Sendto(t.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	n, _, err := unix.Recvfrom(t.fd, t.buf, 0)
	if err != nil {
		return err
	}
	if n >= 20 && binary.NativeEndian.Uint16(t.buf[4:]) == unix.NLMSG_ERROR {
		if errno := -int32(binary.NativeEndian.Uint32(t.buf[16:])); errno != 0 {
			return unix.Errno(errno)
		}
	}
	return nil
}

// Close ends it.
func (t *Tap) Close() error { return unix.Close(t.fd) }

// Take returns the indices of the packets that were logged since it was last called.
func (t *Tap) Take() (indices []int, err error) {
	for {
		n, _, err := unix.Recvfrom(t.fd, t.buf, 0)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return indices, nil
		case err != nil:
			return nil, fmt.Errorf("logged packets: %w", err)
		}
		for msg := t.buf[:n]; len(msg) >= 20; {
			size := int(binary.NativeEndian.Uint32(msg))
			if size < 20 || size > len(msg) {
				return nil, fmt.Errorf("a message of %d bytes in %d", size, len(msg))
			}
			if binary.NativeEndian.Uint16(msg[4:]) == logPacket {
				if p := attribute(msg[20:size], attrPayload); len(p) >= packetBytes {
					indices = append(indices, int(binary.BigEndian.Uint32(p[tagAt:])))
				}
			}
			msg = msg[min((size+3)&^3, len(msg)):]
		}
	}
}

// attribute is the value of a netlink attribute, nil where it is missing.
func attribute(b []byte, kind uint16) []byte {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:]) == kind {
			return b[4:size]
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	return nil
}

// Delivered has every packet of the source come in once, and tells of each whether the tap saw it.
func Delivered(s *Source, t *Tap) ([]bool, error) {
	const step = 256
	out := make([]bool, s.frames)
	for from := 0; from < s.frames; from += step {
		to := min(from+step, s.frames)
		s.Window(from, to)
		if _, err := s.Send(to - from); err != nil {
			return nil, err
		}
		seen, err := t.Take()
		if err != nil {
			return nil, err
		}
		for _, i := range seen {
			if i < from || i >= to {
				return nil, fmt.Errorf("packet %d came through while %d to %d were sent", i, from, to-1)
			}
			out[i] = true
		}
	}
	s.Window(0, s.frames)
	return out, nil
}
