package enforce

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"ringwall/netfilter/nstest"
)

// talk is a connection by its two ends: near, at the host or where a route begins, and far.
type talk struct {
	near, far net.Conn
	n         int
}

// from is a UDP socket without a peer that talks to one, as servers do.
type from struct {
	net.PacketConn
	peer net.Addr
}

func (f from) Write(b []byte) (int, error) { return f.WriteTo(b, f.peer) }
func (f from) RemoteAddr() net.Addr        { return f.peer }
func (f from) Read(b []byte) (int, error) {
	n, _, err := f.ReadFrom(b)
	return n, err
}

// passes tells whether what one end says arrives at the other within some time. What arrived late of what was said before is passed over.
func (c *talk) passes(src, dst net.Conn, within time.Duration) bool {
	c.n++
	said := fmt.Appendf(nil, "<%d>", c.n)
	if _, err := src.Write(said); err != nil {
		return false
	}
	deadline := time.Now().Add(within)
	dst.SetReadDeadline(deadline)
	for buf, heard := make([]byte, 2048), []byte{}; time.Now().Before(deadline); {
		n, err := dst.Read(buf)
		if heard = append(heard, buf[:n]...); bytes.Contains(heard, said) {
			return true
		}
		if err != nil && !strings.Contains(err.Error(), "refused") { // a UDP socket tells of what was sent earlier
			return false
		}
	}
	return false
}

// lives fails the test where a connection does not carry what either end says.
func (c *talk) lives(t *testing.T, what string) {
	t.Helper()
	if !c.passes(c.near, c.far, 10*time.Second) || !c.passes(c.far, c.near, 10*time.Second) {
		t.Errorf("%s: a connection that is allowed does not go on", what)
	}
}

// dead fails the test where anything of what both ends keep saying, in turn, gets through.
func (c *talk) dead(t *testing.T, what string) {
	t.Helper()
	for range 8 {
		if c.passes(c.near, c.far, 50*time.Millisecond) {
			t.Errorf("%s: what the host says gets to the peer", what)
			return
		}
		if c.passes(c.far, c.near, 50*time.Millisecond) {
			t.Errorf("%s: what the peer says gets to the host", what)
			return
		}
	}
}

// tcp connects one namespace to a port of another.
func tcp(t *testing.T, a *nstest.NS, source string, b *nstest.NS, target string) (opened, accepted net.Conn) {
	t.Helper()
	var l net.Listener
	var err error
	b.Do(t, func() { l, err = net.Listen("tcp", target) })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}, Timeout: 10 * time.Second}
	a.Do(t, func() { opened, err = d.Dial("tcp", target) })
	if err != nil {
		t.Fatal(err)
	}
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close(); accepted.Close() })
	return opened, accepted
}

// udpServer is a UDP socket without a peer.
func udpServer(t *testing.T, ns *nstest.NS, addr string) (p net.PacketConn) {
	t.Helper()
	var err error
	ns.Do(t, func() { p, err = net.ListenPacket("udp", addr) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// udp is a UDP socket with a peer.
func udp(t *testing.T, ns *nstest.NS, source, target string) (c net.Conn) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(source)}}
	var err error
	ns.Do(t, func() { c, err = d.Dial("udp", target) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// opening is a way in which a connection between a host and a peer comes about, to or from the peer's address.
type opening struct {
	name string
	open func(t *testing.T, p nstest.Pair, hostAddr, peerAddr, port string) *talk
}

func openings() []opening {
	return []opening{
		{"tcp, by the host", func(t *testing.T, p nstest.Pair, h, q, port string) *talk {
			near, far := tcp(t, p.Host, h, p.Peer, net.JoinHostPort(q, port))
			return &talk{near: near, far: far}
		}},
		{"tcp, by the peer", func(t *testing.T, p nstest.Pair, h, q, port string) *talk {
			far, near := tcp(t, p.Peer, q, p.Host, net.JoinHostPort(h, port))
			return &talk{near: near, far: far}
		}},
		{"udp, by the host", func(t *testing.T, p nstest.Pair, h, q, port string) *talk {
			far := udpServer(t, p.Peer, net.JoinHostPort(q, port))
			near := udp(t, p.Host, h, far.LocalAddr().String())
			return &talk{near: near, far: from{far, near.LocalAddr()}}
		}},
		{"udp, by the host, without a peer", func(t *testing.T, p nstest.Pair, h, q, port string) *talk {
			far := udpServer(t, p.Peer, net.JoinHostPort(q, port))
			near := udpServer(t, p.Host, net.JoinHostPort(h, "0"))
			return &talk{near: from{near, far.LocalAddr()}, far: from{far, near.LocalAddr()}}
		}},
		{"udp, by the peer", func(t *testing.T, p nstest.Pair, h, q, port string) *talk {
			near := udpServer(t, p.Host, net.JoinHostPort(h, port))
			far := udp(t, p.Peer, q, near.LocalAddr().String())
			return &talk{near: from{near, far.LocalAddr()}, far: far}
		}},
		{"udp, by the peer, to a socket with a peer", func(t *testing.T, p nstest.Pair, h, q, port string) *talk {
			far := udpServer(t, p.Peer, net.JoinHostPort(q, "0"))
			d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(net.JoinHostPort(h, port)))}
			var near net.Conn
			var err error
			p.Host.Do(t, func() { near, err = d.Dial("udp", far.LocalAddr().String()) })
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { near.Close() })
			return &talk{near: near, far: from{far, near.LocalAddr()}}
		}},
	}
}

// begin has the end that opens the connection say the first word.
func (c *talk) begin(t *testing.T, name string) {
	t.Helper()
	first, second := c.far, c.near
	if strings.Contains(name, "by the host") {
		first, second = c.near, c.far
	}
	if !c.passes(first, second, 10*time.Second) || !c.passes(second, first, 10*time.Second) {
		t.Fatalf("%s: the connection does not begin", name)
	}
}

// flowsTo is how many connections there are that an address is an end of.
func flowsTo(t *testing.T, e *Enforcer, addr string) (n int) {
	t.Helper()
	flows, err := e.host.Flows()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range flows {
		if a := netip.MustParseAddr(addr); f.Orig.Src.Addr() == a || f.Orig.Dst.Addr() == a {
			n++
		}
	}
	return n
}

// enterPair makes a host, which the test's goroutine is in, and a peer with two addresses of each family.
func enterPair(t *testing.T) nstest.Pair {
	p := nstest.NewPair(t)
	p.Peer.Addr(t, nstest.Iface, "198.51.100.3/24", "2001:db8:1::3/64")
	return p
}

// openIn makes an Enforcer of a namespace.
func openIn(t *testing.T, ns *nstest.NS) (e *Enforcer) {
	t.Helper()
	ns.Do(t, func() { e = open(t, t.TempDir()) })
	return e
}

// Port 7001 is what a policy refuses later.
const (
	cutBefore = `version: 1
established: cut
in:
  - {allow: [tcp/7001-7002, udp/7001-7002], from: any, id: games}
`
	cutAfter = `version: 1
established: cut
in:
  - {allow: [tcp/7002, udp/7002], from: any, id: other}
out:
  - {deny: [tcp/7001, udp/7001], to: any, id: no-games}
`
)

func TestCut(t *testing.T) {
	for _, six := range []bool{false, true} {
		h, doomed := nstest.Host4, nstest.Peer4
		if six {
			h, doomed = nstest.Host6, nstest.Peer6
		}
		for _, o := range openings() {
			t.Run(fmt.Sprintf("%s, six %v", o.name, six), func(t *testing.T) {
				p := enterPair(t)
				e := openIn(t, p.Host)
				apply(t, e, cutBefore)
				a := o.open(t, p, h, doomed, "7001")
				a.begin(t, o.name)
				port := o.open(t, p, h, doomed, "7002") // the same peer, another port
				port.begin(t, o.name)

				r := apply(t, e, cutAfter)
				if len(r.Cut) != 1 || r.Cut[0].Count != 1 || len(r.Cut[0].Flows) != 1 || r.Cut[0].At == "" && r.Cut[0].By != "default" {
					t.Errorf("cut: %+v", r.Cut)
				}
				a.dead(t, "cut")
				if strings.HasPrefix(o.name, "tcp") { // both ends know
					for _, end := range []net.Conn{a.near, a.far} {
						end.SetReadDeadline(time.Now().Add(10 * time.Second))
						if _, err := end.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
							t.Errorf("%s does not know: %v", end.LocalAddr(), err)
						}
					}
				}
				port.lives(t, "another port")
				if r := apply(t, e, cutAfter); len(r.Cut) != 0 {
					t.Errorf("cut again: %+v", r.Cut)
				}
				a.dead(t, "after the next apply")

				// What is allowed begins anew.
				apply(t, e, cutBefore)
				b := a
				if !strings.Contains(o.name, "without a peer") && o.name != "udp, by the peer" { // whose sockets live
					a.near.Close()
					a.far.Close()
					b = o.open(t, p, h, doomed, "7001")
				}
				b.begin(t, o.name+", allowed again")
				port.lives(t, "another port")
			})
		}
	}
}
