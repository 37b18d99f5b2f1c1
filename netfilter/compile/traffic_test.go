package compile_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringwall/netfilter/nstest"
)

func TestTrafficIn(t *testing.T) {
	w := newWorld(t)
	serve(t, w.Host, 22, 53, 80, 443, 8080, 9000)
	w.enforce(t, `
version: 1
in:
  - {allow: [tcp/22, udp/53]}
  - {deny: tcp/80}
  - {reject: [tcp/443, udp/443, icmp/timestamp-request]}
  - {allow: tcp+udp/9000, from: [`+nstest.Peer4+`, "`+nstest.Peer6+`"]}
  - {allow: tcp+udp/8080, from: [10.0.0.0/8, "2001:db8:ffff::/48"]}
  - {allow: icmp/echo-request}
`)
	both(func(family, host, _ string) {
		expect(t, family+" allowed tcp/22", tcp(t, w.Peer, host, 22), arrives)
		expect(t, family+" allowed udp/53", udp(t, w.Peer, host, 53), arrives)
		expect(t, family+" denied tcp/80", tcp(t, w.Peer, host, 80), silence)
		expect(t, family+" rejected tcp/443", tcp(t, w.Peer, host, 443), refused)
		expect(t, family+" rejected udp/443", udp(t, w.Peer, host, 443), refused)
		expect(t, family+" tcp/9000 by source", tcp(t, w.Peer, host, 9000), arrives)
		expect(t, family+" udp/9000 by source", udp(t, w.Peer, host, 9000), arrives)
		expect(t, family+" tcp/8080 from elsewhere", tcp(t, w.Peer, host, 8080), silence)
		expect(t, family+" udp/8080 from elsewhere", udp(t, w.Peer, host, 8080), silence)
		expect(t, family+" tcp/22 to oneself", tcp(t, w.Host, host, 22), arrives)
		expect(t, family+" tcp/80 to oneself", tcp(t, w.Host, host, 80), arrives)
		expect(t, family+" ping", ping(t, w.Peer, host), arrives)
	})
	w.enforce(t, "version: 1\nin: [{allow: tcp/22}]\n")
	both(func(family, host, _ string) {
		expect(t, family+" ping without a rule", ping(t, w.Peer, host), silence)
	})
}

func TestTrafficOut(t *testing.T) {
	w := newWorld(t)
	serve(t, w.Peer, 25, 53, 80, 443)
	w.enforce(t, `
version: 1
defaults: {in: deny, out: deny}
out:
  - {allow: tcp/80}
  - {allow: tcp/25, user: 65533}
  - {reject: [tcp/25, udp/443]}
  - {allow: udp/53, user: [not 12345]}
`)
	both(func(family, _, peer string) {
		expect(t, family+" allowed tcp/80", tcp(t, w.Host, peer, 80), arrives)
		expect(t, family+" another user's tcp/25", tcp(t, w.Host, peer, 25), refused)
		expect(t, family+" rejected udp/443", udp(t, w.Host, peer, 443), refused)
		expect(t, family+" denied tcp/443", tcp(t, w.Host, peer, 443), silence)
		expect(t, family+" udp/53", udp(t, w.Host, peer, 53), arrives)
		expect(t, family+" ping denied", ping(t, w.Host, peer), refused) // a drop in the output hook is EPERM to a raw socket
	})
	w.enforce(t, "version: 1\ndefaults: {in: deny, out: deny}\nout: [{allow: tcp/25, user: root}, {allow: any, user: not root}]\n")
	both(func(family, _, peer string) {
		expect(t, family+" root's tcp/25", tcp(t, w.Host, peer, 25), arrives)
		expect(t, family+" root's tcp/80", tcp(t, w.Host, peer, 80), silence)
	})
}

func TestTrafficNeighbourDiscovery(t *testing.T) {
	w := newWorld(t)
	serve(t, w.Host, 22)
	serve(t, w.Peer, 80)
	w.enforce(t, "version: 1\ndefaults: {in: deny, out: reject}\nin: [{allow: tcp/22}]\nout: [{allow: tcp/80}]\n")
	for range 3 {
		w.Host.Run(t, "ip", "neigh", "flush", "all")
		w.Peer.Run(t, "ip", "neigh", "flush", "all")
		both(func(family, host, peer string) {
			expect(t, family+" in after a flush of the neighbours", tcp(t, w.Peer, host, 22), arrives)
		})
		w.Host.Run(t, "ip", "neigh", "flush", "all")
		w.Peer.Run(t, "ip", "neigh", "flush", "all")
		both(func(family, host, peer string) {
			expect(t, family+" out after a flush of the neighbours", tcp(t, w.Host, peer, 80), arrives)
		})
	}
	// The control: without the base key IPv6 is dead, so the probes above show what they claim.
	w.enforce(t, "version: 1\nbase: {neighbour: false}\ndefaults: {in: deny, out: reject}\nin: [{allow: tcp/22}]\nout: [{allow: tcp/80}]\n")
	w.Host.Run(t, "ip", "neigh", "flush", "all")
	w.Peer.Run(t, "ip", "neigh", "flush", "all")
	expect(t, "IPv6 without neighbour discovery", tcp(t, w.Peer, nstest.Host6, 22), silence)
}

// router puts a third namespace between host and peer: 192.0.2.0/24 and 2001:db8:2::/64 lie behind it.
func (w *world) router(t *testing.T) (router, far *nstest.NS) {
	t.Helper()
	router, far = w.Peer, nstest.New(t)
	nstest.Veth(t, router, "far0", far, "veth0")
	router.Addr(t, "far0", "192.0.2.1/24", "2001:db8:2::1/64")
	far.Addr(t, "veth0", "192.0.2.2/24", "2001:db8:2::2/64")
	router.Sysctl(t, "net/ipv4/ip_forward", "1")
	router.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	far.Route(t, nstest.Host4+"/32", "192.0.2.1")
	far.Route(t, nstest.Host6+"/128", "2001:db8:2::1")
	w.Host.Route(t, "192.0.2.0/24", nstest.Peer4)
	w.Host.Route(t, "2001:db8:2::/64", nstest.Peer6)
	return router, far
}

func TestTrafficPathMTU(t *testing.T) {
	transfer := func(t *testing.T, w *world, far *nstest.NS, addr string) error {
		t.Helper()
		c, err := dial(t, w.Host, net.JoinHostPort(addr, "80"), endurance)
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write(make([]byte, 200_000)); err != nil {
			return err
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 1))
		return err
	}
	w := newWorld(t)
	router, far := w.router(t)
	swallow(t, far, 80)
	// The narrow link is the far one, but only the router knows: the ends see 1500. So nothing large may come back, for the link
	// would lose it without a word.
	router.Run(t, "ip", "link", "set", "far0", "mtu", "1280")
	w.enforce(t, "version: 1\ndefaults: {in: deny, out: deny}\nout: [{allow: tcp/80}]\n")
	for _, addr := range []string{"192.0.2.2", "2001:db8:2::2"} {
		if err := transfer(t, w, far, addr); err != nil {
			t.Errorf("a transfer to %s over a narrow link: %v", addr, err)
		}
	}
	before := w.Host.Run(t, "ip", "route", "get", "192.0.2.2")
	if !strings.Contains(before, "mtu 1280") {
		t.Errorf("the host learned no path MTU, so the test shows nothing: %s", before)
	}
}

func TestTrafficForward(t *testing.T) {
	w := newWorld(t)
	// Here the host is the router: peer — host — inner.
	inner := nstest.New(t)
	nstest.Veth(t, w.Host, "lan0", inner, "veth0")
	w.Host.Addr(t, "lan0", "10.7.0.1/24", "2001:db8:7::1/64")
	inner.Addr(t, "veth0", "10.7.0.2/24", "2001:db8:7::2/64")
	w.Host.Sysctl(t, "net/ipv4/ip_forward", "1")
	w.Host.Sysctl(t, "net/ipv6/conf/all/forwarding", "1")
	inner.Route(t, "0.0.0.0/0", "10.7.0.1")
	inner.Route(t, "::/0", "2001:db8:7::1")
	w.Peer.Route(t, "10.7.0.0/24", nstest.Host4)
	w.Peer.Route(t, "2001:db8:7::/64", nstest.Host6)
	serve(t, inner, 80, 443, 8080)
	serve(t, w.Peer, 80)
	serve(t, w.Host, 80, 443)
	inside := []string{"10.7.0.2", "2001:db8:7::2"}

	w.enforce(t, "version: 1\nin: [{allow: tcp/443}]\n")
	for _, addr := range inside {
		expect(t, addr+": transit that nobody judges", tcp(t, w.Peer, addr, 80), arrives)
	}
	both(func(family, host, _ string) {
		expect(t, family+" in is judged all the same", tcp(t, w.Peer, host, 80), silence)
		expect(t, family+" in by its rule", tcp(t, w.Peer, host, 443), arrives)
	})

	w.enforce(t, `
version: 1
defaults: {forward: deny}
in: [{allow: tcp/443}]
forward:
  - {allow: tcp/80, iif: "veth*", oif: lan0}
  - {reject: tcp/443, oif: lan0}
  - {allow: tcp/80, iif: lan0}
`)
	for _, addr := range inside {
		expect(t, addr+" tcp/80 by its rule", tcp(t, w.Peer, addr, 80), arrives)
		expect(t, addr+" tcp/443 rejected", tcp(t, w.Peer, addr, 443), refused)
		expect(t, addr+" tcp/8080 by default", tcp(t, w.Peer, addr, 8080), silence)
	}
	both(func(family, _, peer string) {
		expect(t, family+" from inside", tcp(t, inner, peer, 80), arrives)
	})

	// Another program publishes a port: 8443 on the host is 8080 inside. `in` judges, by the port the sender wrote.
	w.Host.Run(t, "nft", `add table inet nat; add chain inet nat pre { type nat hook prerouting priority dstnat; };
		add rule inet nat pre tcp dport 8443 dnat ip to 10.7.0.2:8080; add rule inet nat pre meta nfproto ipv6 tcp dport 8443 dnat ip6 to [2001:db8:7::2]:8080`)
	both(func(family, host, _ string) {
		expect(t, family+" published without a rule", tcp(t, w.Peer, host, 8443), silence)
	})
	for _, forward := range []string{"", "defaults: {forward: deny}\n"} {
		w.enforce(t, "version: 1\n"+forward+"in: [{deny: tcp/8080}, {allow: tcp/8443}]\n")
		both(func(family, host, _ string) {
			expect(t, family+" published, with a rule, "+forward, tcp(t, w.Peer, host, 8443), arrives)
		})
		w.enforce(t, "version: 1\n"+forward+"in: [{allow: tcp/8080}, {deny: tcp/8443}]\n")
		both(func(family, host, _ string) {
			expect(t, family+" published and denied, "+forward, tcp(t, w.Peer, host, 8443), silence)
		})
	}
	// A redirect to a local port: 8444 is judged, not 80.
	w.Host.Run(t, "nft", "add rule inet nat pre tcp dport 8444 redirect to :80")
	w.enforce(t, "version: 1\nin: [{allow: tcp/8444}]\n")
	both(func(family, host, _ string) {
		expect(t, family+" redirected", tcp(t, w.Peer, host, 8444), arrives)
		expect(t, family+" its target, directly", tcp(t, w.Peer, host, 80), silence)
	})
	w.enforce(t, "version: 1\nin: [{allow: tcp/80}]\n")
	both(func(family, host, _ string) {
		expect(t, family+" redirected, only the target allowed", tcp(t, w.Peer, host, 8444), silence)
	})
	// A foreign address that another program sends to this host reaches `input` unjudged, and is judged there.
	w.Peer.Route(t, "203.0.113.0/24", nstest.Host4)
	w.Host.Run(t, "nft", "add rule inet nat pre ip daddr 203.0.113.9 tcp dport 8445 dnat ip to "+nstest.Host4+":443")
	w.enforce(t, "version: 1\nin: [{allow: tcp/8445}]\n")
	expect(t, "a foreign address's DNAT to this host, denied as it arrives", tcp(t, w.Peer, "203.0.113.9", 8445), silence)
	w.enforce(t, "version: 1\nin: [{allow: tcp/443}]\n")
	expect(t, "a foreign address's DNAT to this host, allowed as it arrives", tcp(t, w.Peer, "203.0.113.9", 8445), arrives)
}

func TestTrafficBlock(t *testing.T) {
	w := newWorld(t)
	serve(t, w.Host, 22, 80)
	serve(t, w.Peer, 80)
	const rules = "in: [{allow: [tcp/22, tcp/80]}]\n"
	w.enforce(t, "version: 1\n"+rules)
	both(func(family, host, _ string) {
		c, err := dial(t, w.Peer, net.JoinHostPort(host, "80"), endurance)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		echo := func(wait time.Duration) error {
			c.SetDeadline(time.Now().Add(wait))
			if _, err := c.Write([]byte("x")); err != nil {
				return err
			}
			_, err := c.Read(make([]byte, 1))
			return err
		}
		expect(t, family+" an established connection before the block", func(wait time.Duration) string { return outcome(echo(wait)) }, arrives)
		w.enforce(t, "version: 1\nblock: [198.51.100.2, 2001:db8:1::/64]\nfailsafe: {tcp/22: [198.51.100.0/24, 2001:db8:1::2]}\n"+rules)
		expect(t, family+" the same after it", func(wait time.Duration) string { return outcome(echo(wait)) }, silence)
		expect(t, family+" blocked, in", tcp(t, w.Peer, host, 80), silence)
		expect(t, family+" blocked, but failsafe", tcp(t, w.Peer, host, 22), arrives)
		expect(t, family+" blocked, to oneself", tcp(t, w.Host, host, 80), arrives)
		w.enforce(t, "version: 1\n"+rules)
		expect(t, family+" after the block", tcp(t, w.Peer, host, 80), arrives)
	})
	w.enforce(t, "version: 1\nblock: [198.51.100.2, 2001:db8:1::2]\n"+rules)
	both(func(family, _, peer string) {
		if got := tcp(t, w.Host, peer, 80)(patience); got == arrives {
			t.Errorf("%s a blocked address can be reached", family)
		}
	})
}

func TestTrafficLimits(t *testing.T) {
	w := newWorld(t)
	serve(t, w.Host, 80, 81, 82, 83)
	admitted := func(host string, port, tries int) (n int) {
		for range tries {
			if c, err := dial(t, w.Peer, net.JoinHostPort(host, fmt.Sprint(port)), 2*patience); err == nil {
				n++
				defer c.Close()
			}
		}
		return n
	}
	w.enforce(t, `
version: 1
in:
  - {allow: tcp/80, id: all, limit: 3/hour}
  - {allow: tcp/81, id: each, limit: 2/hour burst 4 per source}
  - {allow: tcp/82, id: conns, connections: 3}
  - {allow: tcp/83, id: conns-each, connections: 2 per source}
`)
	if n := admitted(nstest.Host4, 80, 5) + admitted(nstest.Host6, 80, 2); n != 3 {
		t.Errorf("3/hour admitted %d", n)
	}
	both(func(family, host, _ string) {
		if n := admitted(host, 81, 6); n != 4 {
			t.Errorf("%s: burst 4 per source admitted %d", family, n)
		}
		if n := admitted(host, 83, 4); n != 2 {
			t.Errorf("%s: 2 connections per source admitted %d", family, n)
		}
	})
	if n := admitted(nstest.Host4, 82, 5); n != 3 {
		t.Errorf("3 connections admitted %d", n)
	}
	// An unchanged limit keeps its buckets over a reload, whatever else changes; a changed one starts new ones.
	w.enforce(t, `
version: 1
in:
  - {deny: tcp/9999}
  - {allow: tcp/80, id: all, limit: 3/hour, note: "the same bucket"}
  - {allow: tcp/81, id: each, limit: 5/hour per source}
`)
	if n := admitted(nstest.Host4, 80, 2); n != 0 {
		t.Errorf("an empty bucket admitted %d after a reload", n)
	}
	both(func(family, host, _ string) {
		if n := admitted(host, 81, 7); n != 5 {
			t.Errorf("%s: the changed limit of 5 admitted %d", family, n)
		}
	})
	w.enforce(t, "version: 1\nin: [{allow: tcp/80, id: all, limit: 100/second}]\n")
	if n := admitted(nstest.Host4, 80, 20); n != 20 {
		t.Errorf("100/second admitted %d of 20", n)
	}
}

func TestTrafficExpires(t *testing.T) {
	w := newWorld(t)
	serve(t, w.Host, 80, 81)
	w.enforce(t, `
version: 1
in:
  - {allow: tcp/80, expires: 2020-01-01}
  - {allow: tcp/81, expires: 2100-01-01}
`)
	both(func(family, host, _ string) {
		expect(t, family+" an expired rule", tcp(t, w.Peer, host, 80), silence)
		expect(t, family+" a rule that will expire", tcp(t, w.Peer, host, 81), arrives)
	})
}

// TestReloadUnderTraffic reloads, back and forth between unlike policies, while connections of both families run.
func TestReloadUnderTraffic(t *testing.T) {
	w := newWorld(t)
	serve(t, w.Host, 80)
	policies := []string{
		"version: 1\nin: [{allow: tcp/80}]\n",
		"version: 1\nsets: {s: [10.0.0.0/8, 2001:db8:9::/48]}\nin: [{deny: any, from: s}, {allow: tcp/22}, {reject: udp}, {allow: tcp/80, from: [198.51.100.0/24, 2001:db8:1::/64]}]\n",
		"version: 1\ndefaults: {in: reject, out: deny}\nin: [{allow: tcp/22}]\n", // not even a new connection to port 80
	}
	w.enforce(t, policies[0])
	var stop atomic.Bool
	done := make(chan error, 2)
	var echoes atomic.Int64
	both(func(_, host, _ string) {
		c, err := dial(t, w.Peer, net.JoinHostPort(host, "80"), endurance)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 1)
			for n := byte(0); !stop.Load(); n++ {
				c.SetDeadline(time.Now().Add(time.Second))
				if _, err := c.Write([]byte{n}); err != nil {
					done <- err
					return
				}
				if _, err := io.ReadFull(c, buf); err != nil || buf[0] != n {
					done <- fmt.Errorf("echo %d: got %d, %w", n, buf[0], err)
					return
				}
				echoes.Add(1)
			}
			done <- nil
		}()
	})
	const reloads = 30
	for i := range reloads {
		w.enforce(t, policies[(i+1)%len(policies)])
	}
	stop.Store(true)
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("an established connection was lost in a reload: %v", err)
		}
	}
	if echoes.Load() < reloads {
		t.Errorf("only %d echoes during %d reloads: the test shows nothing", echoes.Load(), reloads)
	}
}

// TestCountersSurvive shows that a reload keeps what the rules that stay have counted.
func TestCountersSurvive(t *testing.T) {
	w := newWorld(t)
	serve(t, w.Host, 80)
	w.enforce(t, "version: 1\nin: [{allow: tcp/80, id: web}]\n")
	for range 5 {
		expect(t, "a probe", tcp(t, w.Peer, nstest.Host4, 80), arrives)
	}
	w.enforce(t, "version: 1\nin:\n  - {deny: tcp/23, id: above}\n  - {allow: tcp/80, id: web, note: moved down}\n")
	counters, err := w.conn.Counters(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if got := counters["in.web"].Packets; got != 5 {
		t.Errorf("in.web counted %d packets, want 5: %v", got, counters)
	}
}
