package host_test

import (
	"net/netip"
	"testing"

	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
)

func TestInterfaces(t *testing.T) {
	p := nstest.NewPair(t)
	h := open(t, p.Host)
	list, err := h.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]host.Interface{}
	for _, i := range list {
		found[i.Name] = i
	}
	veth := found[nstest.Iface]
	if veth.Kind != "veth" || !veth.Up || found["lo"].Index != 1 {
		t.Errorf("interfaces are %+v", list)
	}
	if name, err := h.InterfaceName(veth.Index); err != nil || name != nstest.Iface {
		t.Errorf("interface %d is %q, %v", veth.Index, name, err)
	}
	if name, err := h.InterfaceName(4711); err == nil {
		t.Errorf("interface 4711 is %q", name)
	}
}

func TestNamespaceIdentity(t *testing.T) {
	a, b := nstest.New(t), nstest.New(t)
	identity := func(ns *nstest.NS) (n host.Namespace) {
		ns.Do(t, func() {
			var err error
			if n, err = host.CurrentNamespace(); err != nil {
				t.Fatal(err)
			}
		})
		return n
	}
	if first, second := identity(a), identity(a); first != second {
		t.Errorf("one namespace is %+v and then %+v", first, second)
	}
	if x, y := identity(a), identity(b); x == y || x.Inode == y.Inode || x.Cookie == y.Cookie {
		t.Errorf("two namespaces are %+v and %+v", x, y)
	}
}

func TestAccounts(t *testing.T) {
	if id, ok := host.User("root"); !ok || id != 0 {
		t.Errorf("root is %d, %v", id, ok)
	}
	if id, ok := host.Group("root"); !ok || id != 0 {
		t.Errorf("group root is %d, %v", id, ok)
	}
	if id, ok := host.User("no such user"); ok {
		t.Errorf("an unknown user is %d", id)
	}
	if name := host.UserName(0); name != "root" {
		t.Errorf("user 0 is %q", name)
	}
	if name := host.UserName(4000000000); name != "4000000000" {
		t.Errorf("a number without an account is %q", name)
	}
}

func TestSSHSession(t *testing.T) {
	for _, c := range []struct {
		value       string
		peer, local string
	}{
		{"203.0.113.9 52100 198.51.100.1 22", "203.0.113.9:52100", "198.51.100.1:22"},
		{"::ffff:203.0.113.9 52100 ::ffff:198.51.100.1 2222", "203.0.113.9:52100", "198.51.100.1:2222"},
		{"fe80::1%eth0 52100 fe80::2%eth0 22", "[fe80::1]:52100", "[fe80::2]:22"},
		{"", "", ""},
		{"203.0.113.9 52100 198.51.100.1", "", ""},
		{"203.0.113.9 0 198.51.100.1 22", "", ""},
		{"203.0.113.9 52100 198.51.100.1 65536", "", ""},
		{"client 52100 198.51.100.1 22", "", ""},
	} {
		s, ok := host.SSHSession(func(string) string { return c.value })
		if ok != (c.peer != "") {
			t.Errorf("%q: ok is %v", c.value, ok)
			continue
		}
		if ok && (s.Peer != netip.MustParseAddrPort(c.peer) || s.Local != netip.MustParseAddrPort(c.local)) {
			t.Errorf("%q: %v to %v", c.value, s.Peer, s.Local)
		}
	}
}
