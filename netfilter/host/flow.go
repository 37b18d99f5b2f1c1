package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Flow is a connection in the kernel's table.
type Flow struct {
	Proto uint8
	Orig  Tuple // of its first packet, as it arrived: before any NAT
	Reply Tuple // of the answers as they arrive: the other way round, but for NAT
	// Type and Code are those of the first packet of ICMP and ICMPv6.
	Type, Code uint8
	Expected   bool // another connection announced it
	// Label is the connection's label, from bit 0 on; without connection labels it is zero.
	Label [2]uint64

	room        bool   // the entry has room for a label
	id, zone    []byte // attributes as the kernel gave them
	orig, reply []byte
}

// Tuple is the two ends of a connection in one direction. Protocols without ports have zeros there.
type Tuple struct{ Src, Dst netip.AddrPort }

// String is the flow's first packet: "tcp 192.0.2.1:40112 -> 203.0.113.9:25".
func (f *Flow) String() string {
	proto, ok := map[uint8]string{unix.IPPROTO_TCP: "tcp", unix.IPPROTO_UDP: "udp", unix.IPPROTO_ICMP: "icmp", unix.IPPROTO_ICMPV6: "icmpv6",
		unix.IPPROTO_SCTP: "sctp", unix.IPPROTO_GRE: "gre"}[f.Proto]
	if !ok {
		proto = fmt.Sprint("proto ", f.Proto)
	}
	if f.Orig.Dst.Port() == 0 {
		return fmt.Sprintf("%s %s -> %s", proto, f.Orig.Src.Addr(), f.Orig.Dst.Addr())
	}
	return fmt.Sprintf("%s %s -> %s", proto, f.Orig.Src, f.Orig.Dst)
}

// More of a conntrack message, from include/uapi/linux/netfilter/nfnetlink_conntrack.h.
const (
	ctNew, ctGet, ctDelete = 0, 1, 2

	ctaID         = 12
	ctaZone       = 18
	ctaLabels     = 22
	ctaLabelsMask = 23

	ctaProtoICMPType, ctaProtoICMPCode     = 5, 6
	ctaProtoICMPv6Type, ctaProtoICMPv6Code = 8, 9

	ctExpected = 1 << 0 // of the status
)

// Flows lists the connections that the kernel tracks in this namespace. CAP_NET_ADMIN is needed: the error wraps
// fs.ErrPermission without. A hundred thousand take some 50 MB for as long as they are held.
func (h *Host) Flows() ([]Flow, error) {
	var msgs []netlink.Message
	var err error
	if unbound(func() { msgs, err = h.ct.ask(ctGet, netlink.Request|netlink.Dump, unix.AF_UNSPEC, nil) }); err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	out := make([]Flow, 0, len(msgs))
	for _, m := range msgs {
		if len(m.Data) < 4 {
			continue
		}
		if f, ok := parseFlow(m.Data[4:]); ok {
			out = append(out, f)
		}
	}
	return out, nil
}

// DeleteFlow takes a connection out of the kernel's table: that very one. Its next packet is judged as new. The error
// wraps fs.ErrNotExist where it is gone already.
func (h *Host) DeleteFlow(f *Flow) error {
	if _, err := h.ct.ask(ctDelete, netlink.Request|netlink.Acknowledge, f.family(), f.named(true)); err != nil {
		return fmt.Errorf("forget connection %s: %w", f, err)
	}
	return nil
}

// LabelFlow sets bits of a connection's label and keeps the others. Where the kernel made no room for a label, since
// no rule set any when the connection began, the entry is replaced by one that has; some rule must set labels by now. The error
// wraps fs.ErrNotExist where the connection is gone.
func (h *Host) LabelFlow(f *Flow, label [2]uint64) error {
	bits := binary.NativeEndian.AppendUint64(binary.NativeEndian.AppendUint64(nil, label[0]), label[1])
	var err error
	if f.room {
		data := f.named(false)
		data = appendAttr(data, ctaLabels, bits)
		data = appendAttr(data, ctaLabelsMask, bits)
		_, err = h.ct.ask(ctNew, netlink.Request|netlink.Acknowledge, f.family(), data)
	} else {
		// The kernel would say yes, and forget the label.
		err = h.relabel(f, bits)
	}
	if err != nil {
		return fmt.Errorf("label connection %s: %w", f, err)
	}
	return nil
}

// relabel puts an entry with a label in the place of one that has no room for it.
func (h *Host) relabel(f *Flow, bits []byte) error {
	if err := h.DeleteFlow(f); err != nil {
		return err
	}
	ae := netlink.NewAttributeEncoder()
	ae.Bytes(ctaStatus, binary.BigEndian.AppendUint32(nil, ctStatus))
	timeout := udpTimeout
	if f.Proto == unix.IPPROTO_TCP {
		timeout = tcpTimeout
		ae.Nested(ctaProtoInfo, encodeTCPState)
	}
	ae.Bytes(ctaTimeout, binary.BigEndian.AppendUint32(nil, uint32(timeout/time.Second)))
	rest, err := ae.Encode()
	if err != nil {
		return err
	}
	data := appendAttr(nil, ctaTupleOrig|unix.NLA_F_NESTED, f.orig)
	data = appendAttr(data, ctaTupleReply|unix.NLA_F_NESTED, f.reply)
	if f.zone != nil {
		data = appendAttr(data, ctaZone, f.zone)
	}
	data = append(data, rest...)
	data = appendAttr(data, ctaLabels, bits)
	_, err = h.ct.ask(ctNew, netlink.Request|netlink.Acknowledge|netlink.Create|netlink.Excl, f.family(), data)
	if errors.Is(err, fs.ErrExist) {
		return nil // a packet came in between, and was judged
	}
	return err
}

// named is what names a flow in a request.
func (f *Flow) named(byID bool) []byte {
	data := appendAttr(nil, ctaTupleOrig|unix.NLA_F_NESTED, f.orig)
	if f.zone != nil {
		data = appendAttr(data, ctaZone, f.zone)
	}
	if byID && f.id != nil {
		data = appendAttr(data, ctaID, f.id)
	}
	return data
}

func (f *Flow) family() byte {
	if f.Orig.Src.Addr().Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// ask sends a request about connections, and returns the answers.
func (c *conntrack) ask(kind uint16, flags netlink.HeaderFlags, family byte, attrs []byte) ([]netlink.Message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn.Execute(netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_CTNETLINK<<8 | kind), Flags: flags},
		Data:   append([]byte{family, unix.NFNETLINK_V0, 0, 0}, attrs...),
	})
}

// parseFlow reads the attributes of an entry. It is false for one that has no addresses.
func parseFlow(b []byte) (f Flow, ok bool) {
	eachAttr(b, func(kind uint16, v []byte) {
		switch kind {
		case ctaTupleOrig:
			f.orig = v
			f.Orig = f.parseTuple(v, true)
		case ctaTupleReply:
			f.reply = v
			f.Reply = f.parseTuple(v, false)
		case ctaStatus:
			f.Expected = len(v) == 4 && binary.BigEndian.Uint32(v)&ctExpected != 0
		case ctaID:
			f.id = v
		case ctaZone:
			f.zone = v
		case ctaLabels:
			if f.room = len(v) == 16; f.room {
				f.Label = [2]uint64{binary.NativeEndian.Uint64(v), binary.NativeEndian.Uint64(v[8:])}
			}
		}
	})
	return f, f.Orig.Src.IsValid() && f.Orig.Dst.IsValid() && f.Reply.Src.IsValid() && f.Reply.Dst.IsValid()
}

// parseTuple reads one direction. What belongs to the protocol is of interest in the original one.
func (f *Flow) parseTuple(b []byte, original bool) Tuple {
	var src, dst netip.Addr
	var sport, dport uint16
	eachAttr(b, func(kind uint16, v []byte) {
		switch kind {
		case ctaTupleIP:
			eachAttr(v, func(kind uint16, v []byte) {
				switch kind {
				case ctaIPv4Src, ctaIPv6Src:
					src, _ = netip.AddrFromSlice(v)
				case ctaIPv4Dst, ctaIPv6Dst:
					dst, _ = netip.AddrFromSlice(v)
				}
			})
		case ctaTupleProto:
			eachAttr(v, func(kind uint16, v []byte) {
				switch {
				case len(v) == 2 && kind == ctaProtoSrcPort:
					sport = binary.BigEndian.Uint16(v)
				case len(v) == 2 && kind == ctaProtoDstPort:
					dport = binary.BigEndian.Uint16(v)
				case len(v) != 1 || !original:
				case kind == ctaProtoNum:
					f.Proto = v[0]
				case kind == ctaProtoICMPType, kind == ctaProtoICMPv6Type:
					f.Type = v[0]
				case kind == ctaProtoICMPCode, kind == ctaProtoICMPv6Code:
					f.Code = v[0]
				}
			})
		}
	})
	return Tuple{netip.AddrPortFrom(src, sport), netip.AddrPortFrom(dst, dport)}
}

// appendAttr adds an attribute to a message.
func appendAttr(b []byte, kind uint16, v []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.NLA_HDRLEN+len(v)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, v...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}
