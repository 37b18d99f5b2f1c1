package nstest_test

import (
	"net"
	"os"
	"testing"
	"time"

	"ringwall/netfilter/nstest"
)

func TestPairTalks(t *testing.T) {
	p := nstest.NewPair(t)
	for _, addr := range []string{nstest.Host4, nstest.Host6} {
		var l net.Listener
		p.Host.Do(t, func() {
			var err error
			if l, err = net.Listen("tcp", net.JoinHostPort(addr, "0")); err != nil {
				t.Fatal(err)
			}
		})
		defer l.Close()
		p.Peer.Do(t, func() {
			c, err := net.DialTimeout("tcp", l.Addr().String(), 5*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
	for _, addr := range []string{nstest.Peer4, nstest.Peer6, "127.0.0.1", "::1"} {
		if n := p.Host.Ping(t, addr, 2, 5*time.Second); n != 2 {
			t.Errorf("ping %s: %d answers", addr, n)
		}
	}
	if n := p.Host.Ping(t, "198.51.100.99", 1, 10*time.Millisecond); n != 0 {
		t.Errorf("%d answers from nobody", n)
	}
}

func TestEnterIsElsewhere(t *testing.T) {
	home, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("inside", func(t *testing.T) {
		nstest.Enter(t)
		if here, _ := os.Readlink("/proc/thread-self/ns/net"); here == home {
			t.Errorf("still in %s", home)
		}
	})
	if here, _ := os.Readlink("/proc/thread-self/ns/net"); here != home {
		t.Errorf("in %s, not back in %s", here, home)
	}
}

func TestCommandsRunInside(t *testing.T) {
	a, b := nstest.New(t), nstest.New(t)
	a.Run(t, "nft", "add", "table", "inet", "x")
	if out := b.Run(t, "nft", "list", "tables"); out != "" {
		t.Errorf("the other namespace has %q", out)
	}
	if out := a.Run(t, "nft", "list", "tables"); out != "table inet x\n" {
		t.Errorf("the namespace has %q", out)
	}
}

// TestProberTells has a prober see a host that opens for a moment: it counts, or it would count nothing ever.
func TestProberTells(t *testing.T) {
	p := nstest.NewPair(t)
	const closed = "table inet x { chain c { type filter hook input priority 0; policy accept; udp dport 9999 drop; tcp dport 9999 drop; }; }"
	if out, err := p.Host.Input(t, closed, "nft", "-f", "-"); err != nil {
		t.Fatal(out)
	}
	pr := p.Probe(t, 9999, 53)
	await := func(what string, ok func(nstest.Count) bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(pr.Now()); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %+v", what, pr.Now())
			}
		}
	}
	await("nothing is probed", func(c nstest.Count) bool { return c.Denied > 200 && c.Sent > 100 })
	if c := pr.Now(); c.Leaked != 0 {
		t.Errorf("closed: %+v", c)
	}
	p.Host.Run(t, "nft", "flush", "ruleset")
	await("an open host is not noticed", func(c nstest.Count) bool { return c.Leaked > 0 })
	if out, err := p.Host.Input(t, closed, "nft", "-f", "-"); err != nil {
		t.Fatal(out)
	}
	if c := pr.Stop(); c.Lost != 0 {
		t.Errorf("of %d allowed packets %d were lost", c.Sent, c.Lost)
	}
}
