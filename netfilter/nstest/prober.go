package nstest

import (
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Join makes a namespace that is joined to a host as in a Pair.
func Join(t testing.TB, host *NS) Pair {
	t.Helper()
	p := Pair{host, New(t)}
	Veth(t, p.Host, Iface, p.Peer, Iface)
	p.Host.Addr(t, Iface, Host4+"/24", Host6+"/64")
	p.Peer.Addr(t, Iface, Peer4+"/24", Peer6+"/64")
	return p
}

// Prober sends packets from a Pair's peer to its host without a break: UDP datagrams and TCP segments with SYN to a port that must be
// denied, UDP datagrams to one that must be allowed, over IPv4 and IPv6, each from a port of its own, so that each is judged as new.
type Prober struct {
	stop     chan struct{}
	senders  sync.WaitGroup
	readers  sync.WaitGroup
	sockets  []interface{ Close() error }
	denied   atomic.Uint64
	leaked   atomic.Uint64
	allowed  atomic.Uint64
	arrived  atomic.Uint64
	finished sync.Once
}

// Count is what a Prober has seen.
type Count struct {
	Denied uint64 // packets sent to the denied port
	Leaked uint64 // of them, those that reached a listener: datagrams received, connections accepted
	Sent   uint64 // packets sent to the allowed port
	Lost   uint64 // of them, those that did not arrive
}

// probePause is how long a Prober rests between two rounds of packets.
const probePause = 500 * time.Microsecond

// Probe begins to probe a host whose rules are in place. It ends with Stop, or the test.
func (p Pair) Probe(t testing.TB, denied, allowed uint16) *Prober {
	t.Helper()
	// Each datagram makes a connection of conntrack's: they must not fill its table.
	p.Host.Sysctl(t, "net/netfilter/nf_conntrack_udp_timeout", "1")
	pr := &Prober{stop: make(chan struct{})}
	t.Cleanup(func() { pr.Stop() })
	p.Host.Do(t, func() {
		for _, host := range []string{Host4, Host6} {
			pr.listen(t, host, denied, &pr.leaked)
			pr.listen(t, host, allowed, &pr.arrived)
			l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(denied))))
			if err != nil {
				t.Fatal(err)
			}
			pr.sockets = append(pr.sockets, l)
			pr.readers.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					pr.leaked.Add(1)
					c.Close()
				}
			})
		}
	})
	for _, host := range []string{Host4, Host6} {
		pr.senders.Add(1)
		err := p.Peer.Go(func() {
			defer pr.senders.Done()
			pr.send(net.ParseIP(host), denied, allowed)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return pr
}

// listen counts the datagrams that a port receives.
func (pr *Prober) listen(t testing.TB, host string, port uint16, received *atomic.Uint64) {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host), Port: int(port)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.SyscallConn()
	if err == nil { // a busy machine lets the reader wait: what it did not fetch in time would count as lost
		err = raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20) })
	}
	if err != nil {
		t.Fatal(err)
	}
	pr.sockets = append(pr.sockets, c)
	pr.readers.Go(func() {
		var buf [64]byte
		for {
			if _, _, err := c.ReadFromUDP(buf[:]); err != nil {
				return
			}
			received.Add(1)
		}
	})
}

// send sends until the Prober stops, on a thread that is in the peer's namespace.
func (pr *Prober) send(host net.IP, denied, allowed uint16) {
	to := func(port uint16) unix.Sockaddr {
		if v4 := host.To4(); v4 != nil {
			return &unix.SockaddrInet4{Port: int(port), Addr: [4]byte(v4)}
		}
		return &unix.SockaddrInet6{Port: int(port), Addr: [16]byte(host)}
	}
	family := unix.AF_INET6
	if host.To4() != nil {
		family = unix.AF_INET
	}
	// A connection that is under way has some time to succeed before it is given up.
	var connecting [32]int
	defer func() {
		for _, fd := range connecting {
			if fd > 0 {
				unix.Close(fd)
			}
		}
	}()
	for round := 0; ; round++ {
		select {
		case <-pr.stop:
			return
		default:
		}
		if fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err == nil {
			if unix.Sendto(fd, []byte("probe"), 0, to(denied)) == nil {
				pr.denied.Add(1)
			}
			if unix.Sendto(fd, []byte("probe"), 0, to(allowed)) == nil {
				pr.allowed.Add(1)
			}
			unix.Close(fd)
		}
		if fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err == nil {
			if unix.Connect(fd, to(denied)) == unix.EINPROGRESS {
				pr.denied.Add(1)
			}
			slot := &connecting[round%len(connecting)]
			if *slot > 0 {
				unix.Close(*slot)
			}
			*slot = fd
		}
		time.Sleep(probePause)
	}
}

// Now is what was seen until now. Packets under way count as lost.
func (pr *Prober) Now() Count {
	c := Count{Denied: pr.denied.Load(), Leaked: pr.leaked.Load(), Sent: pr.allowed.Load()}
	c.Lost = c.Sent - min(c.Sent, pr.arrived.Load())
	return c
}

// Stop ends the probing, once what is under way has had time to arrive.
func (pr *Prober) Stop() Count {
	pr.finished.Do(func() {
		close(pr.stop)
		pr.senders.Wait()
		for deadline := time.Now().Add(2 * time.Second); pr.Now().Lost > 0 && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		for _, s := range pr.sockets {
			s.Close()
		}
		pr.readers.Wait()
	})
	return pr.Now()
}

// Closed ends the probing and fails the test where a packet got through that must be denied, or where nothing was probed.
func (pr *Prober) Closed(t testing.TB) Count {
	t.Helper()
	c := pr.Stop()
	if c.Leaked > 0 || c.Denied == 0 || c.Sent == c.Lost {
		t.Errorf("%d of %d packets got through that must be denied; of %d that are allowed %d were lost", c.Leaked, c.Denied, c.Sent, c.Lost)
	} else {
		t.Logf("0 of %d packets got through that must be denied; of %d that are allowed %d were lost", c.Denied, c.Sent, c.Lost)
	}
	return c
}
