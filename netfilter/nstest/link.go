package nstest

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Veth joins two namespaces by a pair of interfaces, both up.
func Veth(t testing.TB, a *NS, nameA string, b *NS, nameB string) {
	t.Helper()
	a.Do(t, func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = nameA
		link := &netlink.Veth{LinkAttrs: attrs, PeerName: nameB, PeerNamespace: netlink.NsFd(b.file.Fd())}
		if err := netlink.LinkAdd(link); err != nil {
			t.Fatalf("veth %s, %s: %v", nameA, nameB, err)
		}
		if err := linkUp(nameA); err != nil {
			t.Fatal(err)
		}
	})
	b.Do(t, func() {
		if err := linkUp(nameB); err != nil {
			t.Fatal(err)
		}
	})
}

// Addr gives an interface addresses, written with their prefix: "198.51.100.1/24". IPv6 ones are usable at once.
func (ns *NS) Addr(t testing.TB, iface string, addrs ...string) {
	t.Helper()
	ns.Do(t, func() {
		link, err := netlink.LinkByName(iface)
		if err != nil {
			t.Fatalf("interface %s: %v", iface, err)
		}
		for _, s := range addrs {
			a, err := netlink.ParseAddr(s)
			if err != nil {
				t.Fatalf("address %s: %v", s, err)
			}
			if a.IP.To4() == nil {
				a.Flags = unix.IFA_F_NODAD
			}
			if err := netlink.AddrAdd(link, a); err != nil {
				t.Fatalf("address %s on %s: %v", s, iface, err)
			}
			if a.Flags != 0 && link.Attrs().Flags&net.FlagUp != 0 {
				awaitLocal(t, a.IP)
			}
		}
	})
}

// awaitLocal waits until an address that was added is the host's: the kernel sees to that in its own time, for IPv6.
func awaitLocal(t testing.TB, ip net.IP) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if routes, err := netlink.RouteGet(ip); err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not become this host's", ip)
		}
	}
}

// Route sends what goes to a prefix through a gateway.
func (ns *NS) Route(t testing.TB, prefix, gateway string) {
	t.Helper()
	ns.Do(t, func() {
		dst, err := netlink.ParseIPNet(prefix)
		if err != nil {
			t.Fatalf("prefix %s: %v", prefix, err)
		}
		gw, err := netip.ParseAddr(gateway)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: gw.AsSlice()}); err != nil {
			t.Fatalf("route %s via %s: %v", prefix, gateway, err)
		}
	})
}

func linkUp(name string) error {
	link, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("interface %s: %w", name, err)
	}
	return nil
}

// Pair is two namespaces joined by a pair of interfaces, both named Iface: a host, and a peer that talks to it.
type Pair struct{ Host, Peer *NS }

// The interface at either end of a Pair, and their addresses.
const (
	Iface = "veth0"
	Host4 = "198.51.100.1"
	Peer4 = "198.51.100.2"
	Host6 = "2001:db8:1::1"
	Peer6 = "2001:db8:1::2"
)

// NewPair makes a Pair with addresses of both families.
func NewPair(t testing.TB) Pair {
	t.Helper()
	return Join(t, New(t))
}
