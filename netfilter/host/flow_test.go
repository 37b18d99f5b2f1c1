package host_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
)

// tracking is a rule set that has connections tracked, and labels where want is.
func tracking(t *testing.T, ns *nstest.NS, labels bool) {
	rules := "ct state established accept;"
	if labels {
		rules += " ct state new ct label set 3;"
	}
	load(t, ns, "table inet t { chain in { type filter hook prerouting priority 0; "+rules+" }\nchain out { type filter hook output priority 0; "+rules+" }\n}")
}

// flowOf is the entry of a connection by the tuple of its first packet.
func flowOf(t *testing.T, h *host.Host, src, dst net.Addr) *host.Flow {
	t.Helper()
	flows, err := h.Flows()
	if err != nil {
		t.Fatal(err)
	}
	want := host.Tuple{Src: addrPortOf(src), Dst: addrPortOf(dst)}
	i := slices.IndexFunc(flows, func(f host.Flow) bool { return f.Orig == want })
	if i < 0 {
		return nil
	}
	return &flows[i]
}

func addrPortOf(a net.Addr) netip.AddrPort {
	ap := netip.MustParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

func TestSocketsAreListedAndDestroyed(t *testing.T) {
	for _, c := range []struct {
		name, network, host, peer string
		inbound                   bool
	}{
		{"v4, opened by the host", "tcp4", nstest.Host4, nstest.Peer4, false},
		{"v4 on a v6 socket", "tcp", nstest.Host4, nstest.Peer4, true},
		{"v6, opened by the peer", "tcp6", nstest.Host6, nstest.Peer6, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := nstest.NewPair(t)
			h := open(t, p.Host)
			doomed := dialTCP(t, p, c.network, c.host, c.peer, c.inbound)
			other := dialTCP(t, p, c.network, c.host, c.peer, c.inbound)
			if c.inbound {
				listeners, err := h.Listeners()
				if err != nil {
					t.Fatal(err)
				}
				i := slices.IndexFunc(listeners, func(s host.Socket) bool {
					return s.Proto == unix.IPPROTO_TCP && s.Local.Port() == addrPortOf(doomed.host.LocalAddr()).Port()
				})
				if i < 0 || listeners[i].UID != 0 || listeners[i].Dual != (c.network == "tcp") || listeners[i].Cgroup == 0 {
					t.Errorf("the listener is not among %+v", listeners)
				}
			}
			sockets, err := h.Connected()
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(sockets, func(s host.Socket) bool {
				return s.Local == addrPortOf(doomed.host.LocalAddr()) && s.Peer == addrPortOf(doomed.host.RemoteAddr())
			})
			if i < 0 {
				t.Fatalf("no socket of %s in %+v", doomed.host.LocalAddr(), sockets)
			}
			if err := h.Destroy(sockets[i]); err != nil {
				t.Fatal(err)
			}
			for _, end := range []net.Conn{doomed.host, doomed.peer} {
				end.SetReadDeadline(time.Now().Add(20 * time.Second))
				if _, err := end.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("%s lives: %v", end.LocalAddr(), err)
				}
			}
			if !other.push(t, 1000, 20*time.Second) {
				t.Error("another connection died")
			}
			if err := h.Destroy(sockets[i]); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("again: %v", err)
			}
		})
	}
}

func TestFlowsAreListedLabelledAndDeleted(t *testing.T) {
	for _, labels := range []bool{true, false} {
		p := nstest.NewPair(t)
		h := open(t, p.Host)
		tracking(t, p.Host, labels)
		in := dialTCP(t, p, "tcp4", nstest.Host4, nstest.Peer4, true)
		out := dialTCP(t, p, "tcp6", nstest.Host6, nstest.Peer6, false)
		f := flowOf(t, h, in.peer.LocalAddr(), in.peer.RemoteAddr())
		if f == nil || f.Proto != unix.IPPROTO_TCP || f.Reply.Src != f.Orig.Dst || f.Reply.Dst != f.Orig.Src || f.Expected {
			t.Fatalf("the flow that the peer opened is %+v", f)
		}
		if !labels { // a rule that sets labels comes when the connection is there
			p.Host.Run(t, "nft", "delete table inet t")
			tracking(t, p.Host, true)
		}
		bits, before := [2]uint64{1: 4}, f.Label
		if err := h.LabelFlow(f, bits); err != nil {
			t.Fatal(err)
		}
		before[1] |= 4
		if again := flowOf(t, h, in.peer.LocalAddr(), in.peer.RemoteAddr()); again == nil {
			t.Fatal("a labelled flow is gone")
		} else if again.Label != before {
			t.Errorf("labels %v: the label is %v, want %v", labels, again.Label, before)
		}
		other := flowOf(t, h, out.host.LocalAddr(), out.host.RemoteAddr())
		if other == nil || other.Label[1] != 0 {
			t.Fatalf("the flow that the host opened is %+v", other)
		}
		if err := h.DeleteFlow(other); err != nil {
			t.Fatal(err)
		}
		if flowOf(t, h, out.host.LocalAddr(), out.host.RemoteAddr()) != nil {
			t.Error("a deleted flow is there")
		}
		if err := h.DeleteFlow(other); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("again: %v", err)
		}
		if err := h.LabelFlow(other, bits); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a label on one that is gone: %v", err)
		}
	}
}

func TestInterfaceTo(t *testing.T) {
	p := nstest.NewPair(t)
	h := open(t, p.Host)
	for addr, want := range map[string]string{nstest.Peer4: nstest.Iface, nstest.Peer6: nstest.Iface, nstest.Host4: "lo"} {
		index, err := h.InterfaceTo(netip.MustParseAddr(addr))
		if err != nil {
			t.Fatal(err)
		}
		if name, err := h.InterfaceName(index); err != nil || name != want {
			t.Errorf("to %s leads %s, %v", addr, name, err)
		}
	}
	if _, err := h.InterfaceTo(netip.MustParseAddr("203.0.113.1")); err == nil {
		t.Error("there is a route where there is none")
	}
}

func TestCgroupID(t *testing.T) {
	if id, err := host.CgroupID("."); err != nil || id == 0 {
		t.Errorf("the root is %d, %v", id, err)
	}
	if id, err := host.CgroupID("ringwall-no-such.slice"); !errors.Is(err, fs.ErrNotExist) || id != 0 {
		t.Errorf("none is %d, %v", id, err)
	}
}
