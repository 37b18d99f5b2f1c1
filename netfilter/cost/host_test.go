package cost_test

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/cost"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// host is a network namespace under test, to which packets come by an interface.
type host struct {
	*nstest.NS
	conn *kernel.Conn // of a host that Ringwall guards
	src  *cost.Source
}

// newHost makes a host with the addresses of nstest.Pair. Where everywhere is set, every address is its own, so that packets may
// be for any destination; otherwise it has routes to everybody.
func newHost(t testing.TB, everywhere bool) *host {
	t.Helper()
	h := &host{NS: nstest.New(t)}
	peer := nstest.New(t)
	peer.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1") // it is to say nothing of itself
	nstest.Veth(t, h.NS, nstest.Iface, peer, nstest.Iface)
	h.Addr(t, nstest.Iface, nstest.Host4+"/24", nstest.Host6+"/64")
	for _, key := range []string{"conf/all/rp_filter", "conf/default/rp_filter", "conf/" + nstest.Iface + "/rp_filter", "conf/all/log_martians"} {
		h.Sysctl(t, "net/ipv4/"+key, "0")
	}
	h.Sysctl(t, "net/ipv4/conf/all/accept_local", "1")
	h.Do(t, func() {
		name := nstest.Iface
		route := netlink.Route{}
		if everywhere {
			name = policy.Loopback
			route = netlink.Route{Type: unix.RTN_LOCAL, Table: unix.RT_TABLE_LOCAL, Scope: unix.RT_SCOPE_HOST}
		}
		link, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		route.LinkIndex = link.Attrs().Index
		for _, all := range []string{"0.0.0.0/0", "::/0"} {
			r := route
			_, r.Dst, _ = net.ParseCIDR(all)
			if err := netlink.RouteAdd(&r); err != nil {
				t.Fatalf("route %s: %v", all, err)
			}
		}
	})
	return h
}

// The last chain of the input hook: with drop, connection tracking never confirms a connection, so that every packet is the first
// of one. The other one also shows what has come this far to the tap.
const (
	sink    = "table inet sink { chain in { type filter hook input priority 300; policy drop; }; }\n"
	showing = "table inet sink { chain in { type filter hook input priority 300; policy drop; log group 5; }; }\n"
)

const tapGroup = 5

// tracking is the least rule set that has the kernel track connections: what any stateful firewall begins with.
const tracking = `table inet bare { chain in { type filter hook input priority 0; policy accept; ct state established,related accept; }; }
`

// trackingTwice is the same before addresses are translated and after it, as whoever judges what is published needs it.
const trackingTwice = `table inet bare {
	chain pre { type filter hook prerouting priority -110; policy accept; ct state established,related accept; }
	chain in { type filter hook input priority 0; policy accept; ct state established,related accept; }
}
`

// nft loads rules.
func (h *host) nft(t testing.TB, rules string) {
	t.Helper()
	if out, err := h.Input(t, rules, "nft", "-f", "-"); err != nil {
		out, _, _ = strings.Cut(out, "\n")
		t.Fatalf("nft: %v %s", err, out)
	}
}

// enforce has Ringwall enforce a policy, compiled with options.
func (h *host) enforce(t testing.TB, p *policy.Policy, opt compile.Options) {
	t.Helper()
	rs, err := compile.Compile(p, opt)
	if err != nil {
		t.Fatal(err)
	}
	h.apply(t, rs)
}

func (h *host) apply(t testing.TB, rs *ruleset.Ruleset) {
	t.Helper()
	h.Do(t, func() {
		if h.conn == nil {
			var err error
			if h.conn, err = kernel.Dial(kernel.Options{}); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { h.conn.Close() })
		}
		if _, err := h.conn.Apply(context.Background(), rs); err != nil {
			t.Fatal(err)
		}
	})
}

// load makes packets ready for the host, in place of those before.
func (h *host) load(t testing.TB, packets []policy.Packet) {
	t.Helper()
	if h.src == nil {
		t.Cleanup(func() { h.src.Close() })
	} else if err := h.src.Close(); err != nil {
		t.Fatal(err)
	}
	h.Do(t, func() {
		var err error
		if h.src, err = cost.Open(nstest.Iface, packets); err != nil {
			t.Fatal(err)
		}
	})
}

// send has packets come in and returns the nanoseconds of one.
func (h *host) send(t testing.TB, count int) float64 {
	t.Helper()
	var ns float64
	h.Do(t, func() {
		took, err := h.src.Send(count)
		if err != nil {
			t.Fatal(err)
		}
		ns = float64(took.Nanoseconds()) / float64(count)
	})
	return ns
}

// delivered tells which packets come through the rule set. Each is the first of a connection.
func (h *host) delivered(t testing.TB, packets []policy.Packet) (out []bool) {
	t.Helper()
	h.nft(t, "delete table inet sink\n"+showing)
	h.load(t, packets)
	h.Do(t, func() {
		tap, err := cost.OpenTap(tapGroup)
		if err != nil {
			t.Fatal(err)
		}
		defer tap.Close()
		if out, err = cost.Delivered(h.src, tap); err != nil {
			t.Fatal(err)
		}
	})
	h.nft(t, "delete table inet sink\n"+sink)
	return out
}

// counted has some packets come in once, and returns by how many each of Ringwall's counters went up.
func (h *host) counted(t testing.TB, packets []policy.Packet) map[string]uint64 {
	t.Helper()
	ctx := context.Background()
	counters := func() map[string]ruleset.Counter {
		c, err := h.conn.Counters(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before := counters()
	h.load(t, packets)
	h.send(t, len(packets))
	more := make(map[string]uint64)
	for name, c := range counters() {
		// What the kernel says of itself meanwhile counts in `out`.
		if n := c.Packets - before[name].Packets; n > 0 && !strings.HasPrefix(name, "base.out.") {
			more[name] = n
		}
	}
	return more
}

// counterOf is the counter that a decision counts in.
func counterOf(d policy.Decision) string {
	if d.Rule != nil {
		return compile.ChainName(d.Rule)
	}
	return compile.BaseCounter(policy.In, d.By)
}
