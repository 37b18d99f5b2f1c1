package host_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
)

const (
	// What a seeded connection must survive.
	establishedOnly = `table inet t {
	chain in { type filter hook input priority 0; policy drop; ct state established,related accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }
	chain out { type filter hook output priority 0; policy drop; ct state established,related accept; icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; }
}`
	// As on a long way, the peer is far ahead of what it has been told arrived: further than the windows that the headers
	// name, which are to be multiplied by a scale that conntrack does not know.
	fewAcks = `table inet ack {
	chain out { type filter hook output priority -300; policy accept; meta l4proto tcp numgen inc mod 3 != 0 drop; }
}`
)

// conn is a connection between the namespaces of a pair, by its two ends.
type conn struct{ host, peer net.Conn }

// dialTCP connects the host to a listener of the peer or, where inbound, the other way around.
func dialTCP(t *testing.T, p nstest.Pair, network string, hostAddr, peerAddr string, inbound bool) conn {
	t.Helper()
	from, to, toAddr := p.Host, p.Peer, peerAddr
	if inbound {
		from, to, toAddr = p.Peer, p.Host, hostAddr
	}
	var l net.Listener
	var err error
	to.Do(t, func() {
		if inbound && network == "tcp" {
			toAddr = "::" // a dual-stack socket: IPv4 comes to it as v4-mapped
		}
		l, err = net.Listen(network, net.JoinHostPort(toAddr, "0"))
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	port := l.Addr().(*net.TCPAddr).Port
	dst := peerAddr
	if inbound {
		dst = hostAddr
	}
	var dialed net.Conn
	from.Do(t, func() {
		dialed, err = net.DialTimeout("tcp", net.JoinHostPort(dst, fmt.Sprint(port)), 5*time.Second)
	})
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	if inbound {
		return conn{host: accepted, peer: dialed}
	}
	return conn{host: dialed, peer: accepted}
}

// push sends from the peer only, more than a window's worth, and tells whether all of it arrived in time.
func (c conn) push(t *testing.T, size int, within time.Duration) bool {
	t.Helper()
	deadline := time.Now().Add(within)
	c.peer.SetWriteDeadline(deadline)
	c.host.SetReadDeadline(deadline)
	go c.peer.Write(make([]byte, size))
	buf := make([]byte, 64<<10)
	for got := 0; got < size; {
		n, err := c.host.Read(buf)
		got += n
		if err != nil {
			return false
		}
	}
	return true
}

func open(t *testing.T, ns *nstest.NS) *host.Host {
	t.Helper()
	var h *host.Host
	var err error
	ns.Do(t, func() { h, err = host.Open() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func load(t *testing.T, ns *nstest.NS, ruleset string) {
	t.Helper()
	if out, err := ns.Input(t, ruleset, "nft", "-f", "-"); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

func TestSeedKeepsConnectionsThatOnlyReceive(t *testing.T) {
	cases := []struct {
		name       string
		network    string
		host, peer string
		inbound    bool
	}{
		{"v4, opened by the host", "tcp4", nstest.Host4, nstest.Peer4, false},
		{"v4, opened by the peer", "tcp4", nstest.Host4, nstest.Peer4, true},
		{"v4 on a v6 socket", "tcp", nstest.Host4, nstest.Peer4, true},
		{"v6, opened by the host", "tcp6", nstest.Host6, nstest.Peer6, false},
		{"v6, opened by the peer", "tcp6", nstest.Host6, nstest.Peer6, true},
	}
	for _, loose := range []string{"0", "1"} {
		t.Run("loose="+loose, func(t *testing.T) {
			p := nstest.NewPair(t)
			p.Host.Sysctl(t, "net/netfilter/nf_conntrack_tcp_loose", loose)
			var conns []conn
			for _, c := range cases {
				conns = append(conns, dialTCP(t, p, c.network, c.host, c.peer, c.inbound))
			}
			if out := p.Host.Run(t, "conntrack", "-L"); strings.Contains(out, "tcp") {
				t.Fatalf("the host tracks already, so the test shows nothing:\n%s", out)
			}
			h := open(t, p.Host)
			s, err := h.SeedConnections(context.Background())
			if want := (host.Seeded{Created: len(cases)}); err != nil || s != want {
				t.Fatalf("seeded %+v, %v; want %+v", s, err, want)
			}
			load(t, p.Host, establishedOnly)
			load(t, p.Host, fewAcks)
			for i, c := range cases {
				if !conns[i].push(t, 128<<10, 10*time.Second) {
					t.Errorf("%s: what the peer sent did not arrive", c.name)
				}
			}
			if s, err = h.SeedConnections(context.Background()); err != nil || s.Known != len(cases) || s.Created != 0 {
				t.Errorf("seeded again: %+v, %v; want all of them known", s, err)
			}
		})
	}
}

// TestUnseededConnectionsDie is the control of the test above: it is the seed that keeps them.
func TestUnseededConnectionsDie(t *testing.T) {
	for _, loose := range []string{"0", "1"} {
		t.Run("loose="+loose, func(t *testing.T) {
			p := nstest.NewPair(t)
			p.Host.Sysctl(t, "net/netfilter/nf_conntrack_tcp_loose", loose)
			v4 := dialTCP(t, p, "tcp4", nstest.Host4, nstest.Peer4, true)
			v6 := dialTCP(t, p, "tcp6", nstest.Host6, nstest.Peer6, false)
			load(t, p.Host, establishedOnly)
			for name, c := range map[string]conn{"v4": v4, "v6": v6} {
				if c.push(t, 1000, time.Second) {
					t.Errorf("%s: data arrived without a seed", name)
				}
			}
		})
	}
}

func TestSeedKnowsWhoOpened(t *testing.T) {
	p := nstest.NewPair(t)
	in := dialTCP(t, p, "tcp4", nstest.Host4, nstest.Peer4, true)
	out := dialTCP(t, p, "tcp6", nstest.Host6, nstest.Peer6, false)
	if _, err := open(t, p.Host).SeedConnections(context.Background()); err != nil {
		t.Fatal(err)
	}
	v4 := p.Host.Run(t, "conntrack", "-L", "-f", "ipv4")
	v6 := p.Host.Run(t, "conntrack", "-L", "-f", "ipv6")
	port := func(a net.Addr) int { return a.(*net.TCPAddr).Port }
	for _, c := range []struct{ table, want string }{
		{v4, fmt.Sprintf("src=%s dst=%s sport=%d dport=%d", nstest.Peer4, nstest.Host4, port(in.peer.LocalAddr()), port(in.host.LocalAddr()))},
		{v6, fmt.Sprintf("src=%s dst=%s sport=%d dport=%d", nstest.Host6, nstest.Peer6, port(out.host.LocalAddr()), port(out.peer.LocalAddr()))},
	} {
		// The first tuple of a line is the original direction.
		if first, _, _ := strings.Cut(c.table, " [ASSURED]"); !strings.Contains(c.table, "ESTABLISHED "+c.want) || !strings.Contains(c.table, "[ASSURED]") {
			t.Errorf("no assured connection %q in\n%s", c.want, first)
		}
	}
}

func TestSeedUDPAndHalfClosed(t *testing.T) {
	p := nstest.NewPair(t)
	var peer net.PacketConn
	var udp net.Conn
	var err error
	p.Peer.Do(t, func() { peer, err = net.ListenPacket("udp4", nstest.Peer4+":0") })
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	p.Host.Do(t, func() { udp, err = net.Dial("udp4", peer.LocalAddr().String()) })
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()

	// The host has said all it will, and waits for the rest of the answer.
	half := dialTCP(t, p, "tcp4", nstest.Host4, nstest.Peer4, false)
	if err := half.host.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := half.peer.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Fatalf("read %d, %v; want the end", n, err)
	}

	s, err := open(t, p.Host).SeedConnections(context.Background())
	if want := (host.Seeded{Created: 2}); err != nil || s != want {
		t.Fatalf("seeded %+v, %v; want %+v", s, err, want)
	}
	load(t, p.Host, establishedOnly)
	if !half.push(t, 1<<20, 10*time.Second) {
		t.Error("the half-closed connection got nothing any more")
	}
	if _, err := peer.WriteTo([]byte("hello"), udp.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	udp.SetReadDeadline(time.Now().Add(5 * time.Second))
	buf := make([]byte, 16)
	if n, err := udp.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Errorf("udp: got %q, %v", buf[:n], err)
	}
}

func TestSeedStops(t *testing.T) {
	p := nstest.NewPair(t)
	dialTCP(t, p, "tcp4", nstest.Host4, nstest.Peer4, true)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if s, err := open(t, p.Host).SeedConnections(ctx); err == nil || s.Created != 0 {
		t.Errorf("seeded %+v, %v after the context ended", s, err)
	}
}
