package host

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// conntrack writes entries of the kernel's connection table.
type conntrack struct {
	mu   sync.Mutex
	conn *netlink.Conn
}

func dialConntrack() (*conntrack, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open conntrack: %w", err)
	}
	return &conntrack{conn: c}, nil
}

func (c *conntrack) close() error { return c.conn.Close() }

// Attributes of a conntrack message, from include/uapi/linux/netfilter/nfnetlink_conntrack.h.
const (
	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaStatus     = 3
	ctaProtoInfo  = 4
	ctaTimeout    = 7

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3

	ctaProtoInfoTCP          = 1
	ctaProtoInfoTCPState     = 1
	ctaProtoInfoTCPFlagsOrig = 4
	ctaProtoInfoTCPFlagsRepl = 5
)

const (
	// Packets were seen both ways, the entry is not thrown out when the table is full, and it is in the table: the
	// kernel wants that last one said, and refuses a status without it.
	ctStatus = 1<<1 | 1<<2 | 1<<3

	ctTCPEstablished = 3

	// Nobody told conntrack by how much this connection's windows are scaled. Held against the unscaled numbers of
	// the headers, segments ahead of the window would be invalid.
	ctTCPLiberal = 0x08
)

// create enters a connection that is established. An error wraps fs.ErrExist where conntrack has one of these tuples.
func (c *conntrack) create(f flow) error {
	data, err := encodeFlow(f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err = c.conn.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_CTNETLINK << 8), // IPCTNL_MSG_CT_NEW is 0
			Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl,
		},
		Data: data,
	})
	return err
}

func encodeFlow(f flow) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Nested(ctaTupleOrig, encodeTuple(f.proto, f.src, f.dst))
	ae.Nested(ctaTupleReply, encodeTuple(f.proto, f.dst, f.src))
	ae.Bytes(ctaStatus, binary.BigEndian.AppendUint32(nil, ctStatus))
	ae.Bytes(ctaTimeout, binary.BigEndian.AppendUint32(nil, uint32(f.timeout.Seconds())))
	if f.proto == unix.IPPROTO_TCP {
		ae.Nested(ctaProtoInfo, encodeTCPState)
	}
	attrs, err := ae.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode conntrack entry: %w", err)
	}
	family := byte(unix.AF_INET)
	if f.src.Addr().Is6() {
		family = unix.AF_INET6
	}
	header := []byte{family, unix.NFNETLINK_V0, 0, 0}
	return append(header, attrs...), nil
}

// encodeTCPState says that a TCP connection is established.
func encodeTCPState(ae *netlink.AttributeEncoder) error {
	ae.Nested(ctaProtoInfoTCP, func(ae *netlink.AttributeEncoder) error {
		ae.Uint8(ctaProtoInfoTCPState, ctTCPEstablished)
		flagAndMask := []byte{ctTCPLiberal, ctTCPLiberal}
		ae.Bytes(ctaProtoInfoTCPFlagsOrig, flagAndMask)
		ae.Bytes(ctaProtoInfoTCPFlagsRepl, flagAndMask)
		return nil
	})
	return nil
}

func encodeTuple(proto uint8, src, dst netip.AddrPort) func(*netlink.AttributeEncoder) error {
	srcAttr, dstAttr := uint16(ctaIPv4Src), uint16(ctaIPv4Dst)
	if src.Addr().Is6() {
		srcAttr, dstAttr = ctaIPv6Src, ctaIPv6Dst
	}
	return func(ae *netlink.AttributeEncoder) error {
		ae.Nested(ctaTupleIP, func(ae *netlink.AttributeEncoder) error {
			ae.Bytes(srcAttr, src.Addr().AsSlice())
			ae.Bytes(dstAttr, dst.Addr().AsSlice())
			return nil
		})
		ae.Nested(ctaTupleProto, func(ae *netlink.AttributeEncoder) error {
			ae.Uint8(ctaProtoNum, proto)
			ae.Bytes(ctaProtoSrcPort, binary.BigEndian.AppendUint16(nil, src.Port()))
			ae.Bytes(ctaProtoDstPort, binary.BigEndian.AppendUint16(nil, dst.Port()))
			return nil
		})
		return nil
	}
}
