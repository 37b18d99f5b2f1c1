package cost

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"ringwall/rules/policy"
)

// TestFrames reads frames back, and sums them up as a receiver does.
func TestFrames(t *testing.T) {
	mac := net.HardwareAddr{2, 4, 6, 8, 10, 12}
	for _, addrs := range [][2]string{{"192.0.2.7", "198.51.100.1"}, {"2001:db8::7", "2001:db8:1::1"}} {
		for _, proto := range []uint8{policy.ProtoTCP, policy.ProtoUDP, policy.ProtoICMP, policy.ProtoICMPv6} {
			p := policy.Packet{Src: netip.MustParseAddr(addrs[0]), Dst: netip.MustParseAddr(addrs[1]), Proto: proto, HopLimit: 9}
			if policy.HasPorts(proto) {
				p.Sport, p.Dport = 40000, 443
			} else {
				p.Type, p.Code = 8, 1
			}
			b := make([]byte, frameBytes)
			b[20] = 0xff // what was there before does not shine through
			if err := putFrame(b, mac, &p, 77); err != nil {
				t.Fatal(err)
			}
			if string(b[:6]) != string(mac) {
				t.Errorf("to %x", b[:6])
			}
			got, pseudo, body := policy.Packet{}, uint32(0), []byte(nil)
			switch ip := b[etherHeader:]; binary.BigEndian.Uint16(b[12:]) {
			case 0x0800:
				if checksum(0, ip[:20]) != 0 || int(binary.BigEndian.Uint16(ip[2:])) != packetBytes {
					t.Errorf("the header's checksum or length is wrong: % x", ip[:20])
				}
				got.Src, _ = netip.AddrFromSlice(ip[12:16])
				got.Dst, _ = netip.AddrFromSlice(ip[16:20])
				got.HopLimit, got.Proto, body, pseudo = ip[8], ip[9], ip[20:], partial(ip[12:20])
			case 0x86dd:
				if int(binary.BigEndian.Uint16(ip[4:])) != packetBytes-40 {
					t.Errorf("the length is wrong: % x", ip[:40])
				}
				got.Src, _ = netip.AddrFromSlice(ip[8:24])
				got.Dst, _ = netip.AddrFromSlice(ip[24:40])
				got.HopLimit, got.Proto, body, pseudo = ip[7], ip[6], ip[40:], partial(ip[8:40])
			}
			if pseudo += uint32(proto) + uint32(len(body)); proto == policy.ProtoICMP {
				pseudo = 0
			}
			if checksum(pseudo, body) != 0 {
				t.Errorf("protocol %d from %s: the checksum is wrong", proto, p.Src)
			}
			if policy.HasPorts(proto) {
				got.Sport, got.Dport = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
			} else {
				got.Type, got.Code = body[0], body[1]
			}
			if got != p {
				t.Errorf("%+v became %+v", p, got)
			}
			if tag := binary.BigEndian.Uint32(b[etherHeader+tagAt:]); tag != 77 {
				t.Errorf("tag %d", tag)
			}
		}
	}
	for _, p := range []policy.Packet{
		{Src: netip.MustParseAddr("192.0.2.7"), Dst: netip.MustParseAddr("2001:db8::1"), Proto: policy.ProtoTCP},
		{Src: netip.MustParseAddr("192.0.2.7"), Dst: netip.MustParseAddr("192.0.2.8"), Proto: 47},
	} {
		if err := putFrame(make([]byte, frameBytes), mac, &p, 0); err == nil {
			t.Errorf("a frame of %+v", p)
		}
	}
}
