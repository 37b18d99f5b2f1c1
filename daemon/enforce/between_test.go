package enforce

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
)

// TestNothingBetweenTwoPolicies has packets come without a break while a list goes from being tried in order to being looked up and back,
// hundreds of times. Every policy denies one port and allows all others by default, so a packet that finds neither the old nor the
// new rule gets through.
func TestNothingBetweenTwoPolicies(t *testing.T) {
	const commits = 600
	ns := nstest.Enter(t)
	pair := nstest.Join(t, ns)
	e := open(t, t.TempDir())
	rng := rand.New(rand.NewPCG(1, 2))
	var tables []*ruleset.Ruleset
	for k := range 8 {
		var b strings.Builder
		b.WriteString("version: 1\ndefaults: {in: allow}\nfailsafe: {ssh: [192.0.2.0/24]}\nin:\n")
		for i := range []int{5, 60}[k%2] {
			if i == 3 {
				b.WriteString("  - {deny: udp/9999}\n")
			}
			fmt.Fprintf(&b, "  - {allow: udp/%d, id: r%d, from: [10.%d.0.0/16, 192.0.2.%d]}\n", 1024+rng.IntN(8000), i, rng.IntN(256), rng.IntN(256))
		}
		c := load(e, b.String())
		if !c.OK() {
			t.Fatal(c.Problem())
		}
		table, err := e.compile(c)
		if err != nil {
			t.Fatal(err)
		}
		if looked := len(table.Maps) > 0; looked != (k%2 == 1) {
			t.Fatalf("policy %d is looked up: %v", k, looked)
		}
		tables = append(tables, table)
	}
	if _, err := e.conn.Apply(t.Context(), tables[0]); err != nil {
		t.Fatal(err)
	}
	if out, err := ns.Input(t, `table inet probe {
	counter tried { }
	counter through { }
	chain first { type filter hook prerouting priority -400; udp dport 9999 counter name tried; }
	chain last { type filter hook input priority 400; udp dport 9999 counter name through; }
}`, "nft", "-f", "-"); err != nil {
		t.Fatal(err, out)
	}
	server, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(nstest.Host4), 9999)))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for range 2 {
		senders.Add(1)
		pair.Peer.Go(func() {
			defer senders.Done()
			send(t, stop)
		})
	}
	for n := range commits {
		if _, err := e.conn.Apply(t.Context(), tables[n%len(tables)]); err != nil {
			t.Error(err)
			break
		}
	}
	close(stop)
	senders.Wait()
	if tried, through := packets(t, ns, "tried"), packets(t, ns, "through"); tried < 10*commits || through > 0 {
		t.Errorf("%d of %d denied packets got through", through, tried)
	}
	if left, err := e.conn.Plan(t.Context(), tables[(commits-1)%len(tables)]); err != nil || !left.Empty() {
		t.Errorf("something is left over: %v, %v", left, err)
	}
}

// send sends to the port that is denied until it is to stop.
func send(t *testing.T, stop <-chan struct{}) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	to := &unix.SockaddrInet4{Port: 9999, Addr: netip.MustParseAddr(nstest.Host4).As4()}
	for {
		select {
		case <-stop:
			return
		default:
			for range 50 {
				_ = unix.Sendto(fd, []byte("x"), 0, to) // the counters tell how many came
			}
		}
	}
}

// packets is how many a counter of the table probe has counted.
func packets(t *testing.T, ns *nstest.NS, counter string) (n int) {
	t.Helper()
	text := ns.Run(t, "nft", "list", "counter", "inet", "probe", counter)
	if _, err := fmt.Sscanf(text[strings.Index(text, "packets"):], "packets %d", &n); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return n
}
