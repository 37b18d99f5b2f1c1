package host

import (
	"bufio"
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// Addresses is the addresses of all devices, with the lengths of their networks: 192.0.2.17/24.
func (h *Host) Addresses() ([]netip.Prefix, error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return h.nl.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var out []netip.Prefix
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		if bits, _ := a.Mask.Size(); ok {
			out = append(out, netip.PrefixFrom(ip.Unmap(), bits))
		}
	}
	return out, nil
}

// Gateways is the routers that default routes of the main table lead to, each once.
func (h *Host) Gateways() ([]netip.Addr, error) {
	routes, err := dump(func() ([]netlink.Route, error) { return h.nl.RouteList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var out []netip.Addr
	add := func(gw []byte) {
		if ip, ok := netip.AddrFromSlice(gw); ok && !slices.Contains(out, ip.Unmap()) {
			out = append(out, ip.Unmap())
		}
	}
	for _, r := range routes {
		if r.Dst != nil {
			if bits, _ := r.Dst.Mask.Size(); bits > 0 {
				continue
			}
		}
		add(r.Gw)
		for _, hop := range r.MultiPath {
			add(hop.Gw)
		}
	}
	return out, nil
}

// Resolvers is the name servers of a resolv.conf, each once. Lines that name none are skipped.
func Resolvers(conf []byte) []netip.Addr {
	var out []netip.Addr
	for lines := bufio.NewScanner(bytes.NewReader(conf)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) < 2 || words[0] != "nameserver" {
			continue
		}
		if ip, err := netip.ParseAddr(words[1]); err == nil && !slices.Contains(out, ip.Unmap()) {
			out = append(out, ip.Unmap())
		}
	}
	return out
}

// HasGuests tells whether a device is a bridge of a program that runs containers or virtual machines. Bridges with
// other names may be a host's own way to its network.
func (i Interface) HasGuests() bool {
	if i.Kind != "bridge" {
		return false
	}
	return slices.ContainsFunc([]string{"docker", "br-", "virbr", "cni", "cbr", "lxcbr", "lxdbr", "incusbr", "podman", "nerdctl"},
		func(prefix string) bool { return strings.HasPrefix(i.Name, prefix) })
}

// InterfaceTo is the index of the interface by which the routing table sends packets to an address; that of loopback for the
// host's own addresses.
func (h *Host) InterfaceTo(addr netip.Addr) (int, error) {
	routes, err := h.nl.RouteGet(addr.AsSlice())
	switch {
	case err != nil:
		return 0, fmt.Errorf("route to %s: %w", addr, err)
	case len(routes) == 0:
		return 0, fmt.Errorf("route to %s: none", addr)
	}
	return routes[0].LinkIndex, nil
}
