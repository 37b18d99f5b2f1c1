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
