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

	"ringwall/netfilter/kernel"
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

// visitor is the peer's other address, which a rule or a ban is about.
const visitor = "198.51.100.3"

// visited is a UDP server of the host that both addresses of the peer talk to, by one socket, and a TCP connection of each.
func visited(t *testing.T, p nstest.Pair) (guest, friend [2]*talk) {
	t.Helper()
	server := udpServer(t, p.Host, net.JoinHostPort(nstest.Host4, "7001"))
	for i, addr := range []string{visitor, nstest.Peer4} {
		u := udp(t, p.Peer, addr, server.LocalAddr().String())
		over, accepted := tcp(t, p.Peer, addr, p.Host, net.JoinHostPort(nstest.Host4, "7002"))
		both := [2]*talk{{near: from{server, u.LocalAddr()}, far: u}, {near: accepted, far: over}}
		for _, c := range both {
			c.begin(t, addr)
		}
		if i == 0 {
			guest = both
		} else {
			friend = both
		}
	}
	return guest, friend
}

// TestCutIsExact has one of two connections of the same server socket be cut.
func TestCutIsExact(t *testing.T) {
	const text = "version: 1\nestablished: cut\nin:\n  - {deny: any, from: 198.51.100.4, id: him}\n  - {allow: [udp/7001, tcp/7002], from: any, id: games}\n"
	p := enterPair(t)
	e := openIn(t, p.Host)
	// Another table has connections tracked before the kernel has room for labels.
	if out, err := p.Host.Input(t, "table inet t { chain in { type filter hook prerouting priority 0; ct state established accept; }; }", "nft", "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	guest, friend := visited(t, p)
	apply(t, e, text)
	for i := range guest {
		guest[i].lives(t, "at first")
	}
	r := apply(t, e, strings.Replace(text, "198.51.100.4", visitor, 1))
	if len(r.Cut) != 1 || r.Cut[0].Count != 2 || r.Cut[0].By != "him" || r.Cut[0].At != "policy.yaml:4" {
		t.Errorf("cut: %+v", r.Cut)
	}
	for i := range guest {
		guest[i].dead(t, "cut")
		friend[i].lives(t, "another peer")
	}
}

// TestKeepCutsNothing has the same change without the key, and cut, once it is written, end what was kept.
func TestKeepCutsNothing(t *testing.T) {
	const text = "version: 1\nin:\n  - {deny: any, from: 198.51.100.3, id: him}\n  - {allow: [udp/7001, tcp/7002], from: any, id: games}\n"
	p := enterPair(t)
	e := openIn(t, p.Host)
	apply(t, e, strings.Replace(text, "from: 198.51.100.3", "from: 198.51.100.4", 1))
	guest, friend := visited(t, p)
	r := apply(t, e, text)
	if len(r.Cut) != 0 {
		t.Errorf("cut: %+v", r.Cut)
	}
	for i := range guest {
		guest[i].lives(t, "kept")
	}
	apply(t, e, text+"established: cut\n")
	for i := range guest {
		guest[i].dead(t, "cut")
		friend[i].lives(t, "another peer")
	}
}

// TestCutTransit cuts what passes through a router, of which the host has no socket.
func TestCutTransit(t *testing.T) {
	const text = `version: 1
established: cut
defaults: {forward: deny}
forward:
  - {allow: [tcp/7001, udp/7001], from: 198.51.100.0/24, id: old}
  - {allow: [tcp/7002, udp/7002], from: 198.51.100.0/24, id: other}
  - {allow: any, from: 203.0.113.0/24, id: back}
`
	near, router, far := nstest.New(t), nstest.New(t), nstest.New(t)
	nstest.Veth(t, near, "eth0", router, "near")
	nstest.Veth(t, far, "eth0", router, "far")
	near.Addr(t, "eth0", "198.51.100.2/24")
	router.Addr(t, "near", "198.51.100.1/24")
	router.Addr(t, "far", "203.0.113.1/24")
	far.Addr(t, "eth0", "203.0.113.2/24")
	near.Route(t, "203.0.113.0/24", "198.51.100.1")
	far.Route(t, "198.51.100.0/24", "203.0.113.1")
	router.Sysctl(t, "net/ipv4/ip_forward", "1")
	e := openIn(t, router)
	apply(t, e, text)

	through := func(port string) (out [2]*talk) {
		server := udpServer(t, far, "203.0.113.2:"+port)
		u := udp(t, near, "198.51.100.2", server.LocalAddr().String())
		a, b := tcp(t, near, "198.51.100.2", far, "203.0.113.2:"+port)
		out = [2]*talk{{near: u, far: from{server, u.LocalAddr()}}, {near: a, far: b}}
		for _, c := range out {
			c.begin(t, "by the host")
		}
		return out
	}
	old, other := through("7001"), through("7002")
	r := apply(t, e, strings.Replace(text, "  - {allow: [tcp/7001, udp/7001], from: 198.51.100.0/24, id: old}\n", "", 1))
	if len(r.Cut) != 1 || r.Cut[0].Count != 2 || r.Cut[0].List != "forward" {
		t.Errorf("cut: %+v", r.Cut)
	}
	for i := range old {
		old[i].dead(t, "cut")
		other[i].lives(t, "another port")
	}
	if r := apply(t, e, text); len(r.Cut) != 0 { // the server's side has been trying all the time
		t.Errorf("cut: %+v", r.Cut)
	}
	old[0].begin(t, "by the host, allowed again")
}

// TestCutKnowsTheOwner has a rule about a user cut the connections of that user's sockets, and of nobody else's.
func TestCutKnowsTheOwner(t *testing.T) {
	const text = "version: 1\nestablished: cut\nout:\n  - {deny: [tcp/7001, udp/7001], to: any, user: 4711, id: his}\n"
	for _, o := range openings() {
		if !strings.Contains(o.name, "by the host") {
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			p := enterPair(t)
			e := openIn(t, p.Host)
			apply(t, e, "version: 1\n"+text[strings.Index(text, "established"):strings.Index(text, "out:")])
			c := o.open(t, p, nstest.Host4, nstest.Peer4, "7001")
			c.begin(t, o.name)
			if r := apply(t, e, text); len(r.Cut) != 0 {
				t.Errorf("another user's: %+v", r.Cut)
			}
			c.lives(t, "another user's")
			if r := apply(t, e, strings.Replace(text, "4711", "0", 1)); len(r.Cut) != 1 || r.Cut[0].By != "his" {
				t.Errorf("his: %+v", r.Cut)
			}
			c.dead(t, "his")
		})
	}
}

// TestNoLabelStays has a policy that keeps connections forget those that the one before it cut: they are judged as new ones.
func TestNoLabelStays(t *testing.T) {
	p := enterPair(t)
	e := openIn(t, p.Host)
	apply(t, e, cutBefore)
	server := udpServer(t, p.Host, net.JoinHostPort(nstest.Host4, "7001"))
	u := udp(t, p.Peer, visitor, server.LocalAddr().String())
	c := &talk{near: from{server, u.LocalAddr()}, far: u}
	c.begin(t, "by the peer")
	apply(t, e, cutAfter)
	c.dead(t, "cut")
	if n := flowsTo(t, e, visitor); n != 1 {
		t.Errorf("%d entries, want the one by which it is dropped", n)
	}
	apply(t, e, strings.Replace(cutAfter, "established: cut\n", "", 1))
	if n := flowsTo(t, e, visitor); n != 0 {
		t.Errorf("%d entries are left", n)
	}
	if c.passes(c.far, c.near, 200*time.Millisecond) {
		t.Error("what the policy refuses passes")
	}
}

// TestBlockCuts has what a policy starts to block be cut though connections are kept, and stay cut when it is blocked no more.
func TestBlockCuts(t *testing.T) {
	const text = "version: 1\nin:\n  - {allow: [udp/7001, tcp/7002], from: any, id: games}\n"
	p := enterPair(t)
	e := openIn(t, p.Host)
	apply(t, e, text)
	guest, friend := visited(t, p)
	r := apply(t, e, text+"block: ["+visitor+"]\n")
	if len(r.Cut) != 1 || r.Cut[0].Count != 2 || r.Cut[0].By != "block" || r.Cut[0].At != "policy.yaml:4" {
		t.Errorf("cut: %+v", r.Cut)
	}
	for i := range guest {
		guest[i].dead(t, "blocked")
		friend[i].lives(t, "another peer")
	}
	if n := flowsTo(t, e, visitor); n != 0 {
		t.Errorf("the kernel tracks %d connections of what is blocked", n)
	}
	apply(t, e, text)
	guest[1].dead(t, "TCP, blocked no more")
	guest[0].begin(t, "udp, which any first packet begins anew")
}

// TestBansCut has bans cut, in whatever way the policy is about them, and nothing else.
func TestBansCut(t *testing.T) {
	for name, text := range map[string]string{
		"block":            "block: [banned]\nin:\n  - {allow: [udp/7001, tcp/7002], from: any, id: games}\n",
		"a rule refuses":   "in:\n  - {deny: any, from: banned, id: them}\n  - {allow: [udp/7001, tcp/7002], from: any, id: games}\n",
		"a rule leaves it": "in:\n  - {allow: [udp/7001, tcp/7002], from: [any, not banned], id: games}\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := enterPair(t)
			e := openIn(t, p.Host)
			apply(t, e, "version: 1\nsets: {banned: {dynamic: true}}\n"+text)
			guest, friend := visited(t, p)
			ban := []netip.Prefix{netip.MustParsePrefix(visitor + "/32")}
			if _, err := e.Ban(t.Context(), BanRequest{Prefixes: ban}); err != nil {
				t.Fatal(err)
			}
			e.later.Wait()
			for i := range guest {
				guest[i].dead(t, "banned")
				friend[i].lives(t, "another peer")
			}
			for _, end := range []net.Conn{guest[1].near} {
				end.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := end.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the host's process does not know: %v", err)
				}
			}
			if _, err := e.Unban(t.Context(), "", ban); err != nil {
				t.Fatal(err)
			}
			e.later.Wait()
			guest[1].dead(t, "TCP, unbanned")
			guest[0].begin(t, "udp, which any first packet begins anew")
			friend[0].lives(t, "another peer")
		})
	}
}

// TestManyBansCut has each of many bans in a row cut, though connections are gone through for several at a time.
func TestManyBansCut(t *testing.T) {
	p := enterPair(t)
	e := openIn(t, p.Host)
	apply(t, e, "version: 1\nsets: {banned: {dynamic: true}}\nblock: [banned]\nin: [{allow: udp/7001, from: any, id: games}]\n")
	server := udpServer(t, p.Host, net.JoinHostPort(nstest.Host4, "7001"))
	var talks []*talk
	for i := range 40 {
		addr := fmt.Sprintf("198.51.100.%d", 100+i)
		p.Peer.Addr(t, nstest.Iface, addr+"/24")
		u := udp(t, p.Peer, addr, server.LocalAddr().String())
		c := &talk{near: from{server, u.LocalAddr()}, far: u}
		c.begin(t, "by the peer")
		talks = append(talks, c)
	}
	before := flowsTo(t, e, nstest.Host4)
	for i := range talks[1:] {
		if _, err := e.Ban(t.Context(), BanRequest{Prefixes: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("198.51.100.%d/32", 101+i))}}); err != nil {
			t.Fatal(err)
		}
	}
	e.later.Wait()
	if n := flowsTo(t, e, nstest.Host4); n != 1 || before != len(talks) {
		t.Errorf("%d of %d connections are left, want 1", n, before)
	}
	talks[0].lives(t, "the one that was not banned")
}

// TestGuestListCutsNobody has a set that admits be no ban: what it leaves out, and what is kept, goes on.
func TestGuestListCutsNobody(t *testing.T) {
	const text = "version: 1\nsets: {guests: {dynamic: true}}\nin:\n  - {allow: [udp/7001, tcp/7002], from: any, id: games}\n  - {allow: http, from: guests, id: web}\n"
	p := enterPair(t)
	e := openIn(t, p.Host)
	apply(t, e, text)
	guest, friend := visited(t, p)
	apply(t, e, strings.Replace(text, "from: any", "from: 192.0.2.1", 1)) // kept
	if _, err := e.Ban(t.Context(), BanRequest{Prefixes: []netip.Prefix{netip.MustParsePrefix(visitor + "/32")}}); err != nil {
		t.Fatal(err)
	}
	e.later.Wait()
	for i := range guest {
		guest[i].lives(t, "a guest")
		friend[i].lives(t, "another peer")
	}
}

// TestCutWithoutLabels has a kernel without connection labels cut what has a socket with a peer.
func TestCutWithoutLabels(t *testing.T) {
	const text = "version: 1\nestablished: cut\nin:\n  - {allow: tcp/7002, from: any, id: games}\n"
	p := enterPair(t)
	var e *Enforcer
	p.Host.Do(t, func() {
		var err error
		if e, err = Open(t.Context(), Options{State: t.TempDir(), Wait: time.Second, Kernel: kernel.Options{Without: kernel.Features{Labels: true}}}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { e.Close() })
	apply(t, e, text)
	far, near := tcp(t, p.Peer, visitor, p.Host, net.JoinHostPort(nstest.Host4, "7002"))
	c := &talk{near: near, far: far}
	c.begin(t, "by the peer")
	if r := apply(t, e, strings.Replace(text, "any", "192.0.2.1", 1)); len(r.Cut) != 1 {
		t.Errorf("cut: %+v", r.Cut)
	}
	c.dead(t, "cut")
}
