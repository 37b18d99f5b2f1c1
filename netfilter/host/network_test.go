package host_test

import (
	"net/netip"
	"slices"
	"testing"

	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
)

func TestNetwork(t *testing.T) {
	p := nstest.NewPair(t)
	p.Host.Addr(t, nstest.Iface, "198.51.100.17/24", "2001:db8:7::11/64")
	p.Host.Route(t, "0.0.0.0/0", "198.51.100.9")
	p.Host.Route(t, "192.0.2.0/24", "198.51.100.8")
	p.Host.Route(t, "::/0", "2001:db8:7::1")
	h := open(t, p.Host)
	addrs, err := h.Addresses()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"198.51.100.17/24", "2001:db8:7::11/64", "127.0.0.1/8"} {
		if !slices.Contains(addrs, netip.MustParsePrefix(want)) {
			t.Errorf("%s is not of %v", want, addrs)
		}
	}
	gateways, err := h.Gateways()
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(gateways, netip.Addr.Compare)
	if want := []netip.Addr{netip.MustParseAddr("198.51.100.9"), netip.MustParseAddr("2001:db8:7::1")}; !slices.Equal(gateways, want) {
		t.Errorf("gateways are %v, want %v", gateways, want)
	}
}

func TestResolvers(t *testing.T) {
	const conf = "# nameserver 192.0.2.1\nsearch example.org\nnameserver 192.0.2.53\n  nameserver\tfe80::53%eth0 # the router\nnameserver nonsense\nnameserver\n" +
		"nameserver 192.0.2.53\nnameserver ::ffff:192.0.2.54"
	want := []netip.Addr{netip.MustParseAddr("192.0.2.53"), netip.MustParseAddr("fe80::53%eth0"), netip.MustParseAddr("192.0.2.54")}
	if got := host.Resolvers([]byte(conf)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := host.Resolvers(nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

func TestHasGuests(t *testing.T) {
	for _, tt := range []struct {
		name, kind string
		want       bool
	}{{"docker0", "bridge", true}, {"br-1f2e3d4c5b6a", "bridge", true}, {"virbr0", "bridge", true}, {"br0", "bridge", false}, {"docker0", "dummy", false}} {
		if got := (host.Interface{Name: tt.name, Kind: tt.kind}).HasGuests(); got != tt.want {
			t.Errorf("%s of kind %s: %v", tt.name, tt.kind, got)
		}
	}
}
