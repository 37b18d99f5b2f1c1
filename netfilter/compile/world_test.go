package compile_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// world is a host that enforces policies, and a peer that knocks. The verdicts are the kernel's own, on real packets.
type world struct {
	nstest.Pair
	conn *kernel.Conn
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Pair: nstest.NewPair(t)}
	w.Host.Do(t, func() {
		var err error
		if w.conn, err = kernel.Dial(kernel.Options{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { w.conn.Close() })
	return w
}

// load reads a policy from its text.
func load(t testing.TB, text string) *policy.Policy {
	t.Helper()
	entry := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(entry, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	p, diags := policy.Load(source.OS{}, entry, policy.Options{Now: time.Now().Unix()})
	for _, d := range diags {
		if d.Severity == diag.Error {
			t.Fatal(d)
		}
	}
	return p
}

// enforce makes the host's kernel enforce a policy.
func (w *world) enforce(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p := load(t, text)
	rs, err := compile.Compile(p, compile.Options{LogGroup: 7, NoLabels: !w.conn.Features().Labels, EveryWay: !w.conn.Features().ValidatesOnce})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.conn.Apply(context.Background(), rs); err != nil {
		t.Fatal(err)
	}
	return p
}

// The outcomes of a probe.
const (
	arrives = "arrives"
	silence = "times out"
	refused = "is refused"
)

// patience is how long a probe waits for what should stay silent, and endurance for what should come: a loaded machine
// may take its time.
const (
	patience  = 250 * time.Millisecond
	endurance = 5 * time.Second
)

// probe knocks, waits no longer than it is told, and says what came of it.
type probe func(wait time.Duration) string

// outcome turns a probe's error into a word.
func outcome(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return arrives
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNRESET):
		return refused
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EPERM):
		return refused // administratively prohibited, as the socket sees it
	case errors.As(err, &timeout) && timeout.Timeout():
		return silence
	}
	return err.Error()
}

// serve answers TCP connections and echoes UDP packets on ports of a namespace, on both families.
func serve(t testing.TB, ns *nstest.NS, ports ...int) {
	t.Helper()
	for _, port := range ports {
		ns.Listen(t, ":"+strconv.Itoa(port), func(c net.Conn) { io.Copy(c, c) })
	}
	ns.Do(t, func() {
		for _, port := range ports {
			u, err := net.ListenPacket("udp", ":"+strconv.Itoa(port))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { u.Close() })
			go func() {
				buf := make([]byte, 2048)
				for {
					n, from, err := u.ReadFrom(buf)
					if err != nil {
						return
					}
					u.WriteTo(buf[:n], from)
				}
			}()
		}
	})
}

// dial opens a TCP connection from a namespace.
func dial(t testing.TB, ns *nstest.NS, raddr string, wait time.Duration) (conn net.Conn, err error) {
	t.Helper()
	d := net.Dialer{Timeout: wait}
	ns.Do(t, func() { conn, err = d.Dial("tcp", raddr) })
	return conn, err
}

// tcp tells what becomes of a TCP connection.
func tcp(t testing.TB, ns *nstest.NS, addr string, port int) probe {
	t.Helper()
	return func(wait time.Duration) string {
		c, err := dial(t, ns, net.JoinHostPort(addr, strconv.Itoa(port)), wait)
		if err == nil {
			c.Close()
		}
		return outcome(err)
	}
}

// udp tells what becomes of a UDP packet to an echo server.
func udp(t testing.TB, ns *nstest.NS, addr string, port int) probe {
	t.Helper()
	return func(wait time.Duration) string {
		var c net.Conn
		var err error
		ns.Do(t, func() { c, err = net.Dial("udp", net.JoinHostPort(addr, strconv.Itoa(port))) })
		if err != nil {
			return outcome(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("knock")); err != nil {
			return outcome(err)
		}
		c.SetReadDeadline(time.Now().Add(wait))
		_, err = c.Read(make([]byte, 64))
		return outcome(err)
	}
}

// ping tells what becomes of an echo request.
func ping(t testing.TB, ns *nstest.NS, addr string) probe {
	t.Helper()
	return func(wait time.Duration) string {
		network, request, reply := "ip4:icmp", byte(8), byte(0)
		if netip.MustParseAddr(addr).Is6() {
			network, request, reply = "ip6:ipv6-icmp", 128, 129
		}
		var c net.Conn
		var err error
		ns.Do(t, func() { c, err = net.Dial(network, addr) })
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		id := uint16(time.Now().UnixNano()) | 1
		msg := []byte{request, 0, 0, 0, byte(id >> 8), byte(id), 0, 1}
		if reply == 0 { // the kernel fills in ICMPv6's checksum only
			binary.BigEndian.PutUint16(msg[2:], ^fold(uint32(request)<<8+uint32(id)+1))
		}
		if _, err := c.Write(msg); err != nil {
			return outcome(err)
		}
		c.SetReadDeadline(time.Now().Add(wait))
		buf := make([]byte, 1500)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return outcome(err)
			}
			got := buf[:n]
			if reply == 0 && n > 20 && got[0]>>4 == 4 {
				got = got[int(got[0]&15)*4:]
			}
			if len(got) >= 8 && got[0] == reply && binary.BigEndian.Uint16(got[4:]) == id {
				return arrives
			}
		}
	}
}

// fold is the ones' complement sum of 16 bits.
func fold(sum uint32) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// swallow reads what TCP connections to a port of a namespace send, and says so with one byte when it has all.
func swallow(t testing.TB, ns *nstest.NS, port int) {
	t.Helper()
	ns.Listen(t, ":"+strconv.Itoa(port), func(c net.Conn) {
		if _, err := io.Copy(io.Discard, c); err == nil {
			c.Write([]byte{1})
		}
	})
}

// expect knocks, compares the outcome, and says which probe it was.
func expect(t testing.TB, what string, knock probe, want string) {
	t.Helper()
	wait := endurance
	if want == silence {
		wait = patience
	}
	if got := knock(wait); got != want {
		t.Errorf("%s %s, want: %s", what, got, want)
	}
}

// both runs f for each family, with the host's and the peer's address.
func both(f func(family, host, peer string)) {
	f("IPv4", nstest.Host4, nstest.Peer4)
	f("IPv6", nstest.Host6, nstest.Peer6)
}
