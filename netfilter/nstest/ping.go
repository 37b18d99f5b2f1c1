package nstest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"testing"
	"time"
)

// Ping sends so many ICMP echo requests from the namespace, each after the answer to the one before or after the wait for it is
// over, and returns how many were answered.
func (ns *NS) Ping(t testing.TB, addr string, n int, wait time.Duration) (answered int) {
	t.Helper()
	network, request, reply := "ip4:icmp", byte(8), byte(0)
	if netip.MustParseAddr(addr).Is6() {
		network, request, reply = "ip6:ipv6-icmp", 128, 129
	}
	var conn *net.IPConn
	ns.Do(t, func() {
		var err error
		if conn, err = net.DialIP(network, nil, &net.IPAddr{IP: net.ParseIP(addr)}); err != nil {
			t.Fatalf("ping %s: %v", addr, err)
		}
	})
	defer conn.Close()
	for seq := range n {
		// type, code, checksum, identifier, sequence number
		msg := []byte{request, 0, 0, 0, 0x72, 0x77, 0, byte(seq)}
		binary.BigEndian.PutUint16(msg[2:], checksum(msg))
		if _, err := conn.Write(msg); err != nil {
			continue // refused by a rule of the sender
		}
		if err := conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 1500)
		for {
			got, _, err := conn.ReadFrom(buf) // Read would leave the IPv4 header
			if err != nil {
				break
			}
			if got >= 8 && buf[0] == reply && string(buf[4:8]) == string(msg[4:8]) {
				answered++
				break
			}
		}
	}
	return answered
}

// checksum is the Internet checksum (RFC 1071). Of ICMPv6 the kernel fills in its own.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
