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
