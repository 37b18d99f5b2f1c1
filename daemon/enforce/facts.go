package enforce

import (
	"os"

	"ringwall/netfilter/host"
	"ringwall/rules/check"
)

// resolvConf is where hosts name their resolvers; resolvedConf is where systemd-resolved keeps those that it asks itself.
const (
	resolvConf   = "/etc/resolv.conf"
	resolvedConf = "/run/systemd/resolve/resolv.conf"
)

// Facts is what lints have to know of the host in the network namespace that h is of. What can't be found out is left
// out: a lint less is no reason to fail.
func Facts(h *host.Host) *check.Host {
	f := &check.Host{}
	devices, _ := h.Interfaces()
	for _, i := range devices {
		f.Interfaces = append(f.Interfaces, i.Name)
		if i.HasGuests() {
			f.Bridges = append(f.Bridges, i.Name)
		}
	}
	f.Networks, _ = h.Addresses()
	f.Gateways, _ = h.Gateways()
	for _, path := range []string{resolvConf, resolvedConf} {
		if conf, err := os.ReadFile(path); err == nil {
			f.Resolvers = append(f.Resolvers, host.Resolvers(conf)...)
		}
	}
	return f
}

// HostFacts is Facts of the network namespace of the calling thread, nil where the kernel does not answer.
func HostFacts() *check.Host {
	h, err := host.Open()
	if err != nil {
		return nil
	}
	defer h.Close()
	return Facts(h)
}

// Connections is the TCP connections of the Enforcer's network namespace.
func (e *Enforcer) Connections() ([]host.Socket, error) { return e.host.Connections() }
