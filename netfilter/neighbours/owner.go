package neighbours

import (
	"slices"
	"strings"

	"ringwall/netfilter/kernel"
)

// Owner is a program that makes chains.
type Owner struct {
	Name    string `json:"name"`
	Intends bool   `json:"intends,omitempty"` // what it refuses, it refuses on purpose and beside any firewall
	Advice  string `json:"advice"`
}

// known is the programs that are recognised: by a table's name, or by the beginning of a chain's.
var known = []struct {
	Owner
	tables, chains []string
}{
	{Owner{"ufw", false, "`ufw disable` ends it; what it leaves behind refuses nothing, and goes with the next boot"},
		nil, []string{"ufw-", "ufw6-"}},
	{Owner{"firewalld", false, "`systemctl disable --now firewalld` ends it and takes its table away"},
		[]string{"firewalld"}, nil},
	{Owner{"Docker", true, "it keeps its networks apart; published ports reach `forward` through its DNAT, and are judged by `in` by their published number. For other transit that Ringwall admits: a rule in the chain DOCKER-USER"},
		[]string{"docker-bridges"}, []string{"DOCKER"}},
	{Owner{"fail2ban", true, "it refuses whom it has banned: `fail2ban-client status`, `fail2ban-client unban ADDRESS`"},
		[]string{"f2b-table"}, []string{"f2b-"}},
	{Owner{"Kubernetes", true, "it refuses what its network policies forbid, and services without endpoints: leave transit unjudged, or admit pods in `forward`"},
		[]string{"kube-proxy"}, []string{"KUBE-", "cali-", "CILIUM_"}},
	{Owner{"libvirt", true, "it keeps its networks apart: `virsh net-list`"},
		[]string{"libvirt_network"}, []string{"LIBVIRT_"}},
	{Owner{"Podman", true, "it keeps its networks apart"},
		[]string{"netavark"}, []string{"NETAVARK", "CNI-"}},
	{Owner{"CrowdSec", true, "it refuses whom it has banned: `cscli decisions list`"},
		[]string{"crowdsec", "crowdsec6"}, []string{"CROWDSEC", "crowdsec-"}},
	{Owner{"Tailscale", true, "it refuses addresses of its network that come by another interface"},
		nil, []string{"ts-"}},
	{Owner{"NetworkManager", true, "it keeps a shared connection apart: `nmcli connection`"},
		nil, []string{"nm-sh"}},
	{Owner{"Incus or LXD", true, "it keeps its networks apart"},
		[]string{"incus", "lxd"}, nil},
}

// stranger is the advice about a chain whose maker is not known.
const stranger = "find out who made it, and have it admit what Ringwall admits; or take it away"

// ownerOf recognises who made a chain by its name.
func ownerOf(chain string) (Owner, bool) {
	for _, k := range known {
		for _, prefix := range k.chains {
			if strings.HasPrefix(chain, prefix) {
				return k.Owner, true
			}
		}
	}
	return Owner{}, false
}

// ownersOf recognises who made a table: several may share one of iptables.
func ownersOf(t *kernel.Table) (out []Owner) {
	add := func(o Owner) {
		if !slices.Contains(out, o) {
			out = append(out, o)
		}
	}
	for _, k := range known {
		if slices.Contains(k.tables, t.Name) {
			add(k.Owner)
		}
	}
	for _, c := range t.Chains {
		if o, ok := ownerOf(c.Name); ok {
			add(o)
		}
	}
	return out
}

// Advice is what can be done about what the chain refuses, for each who may have made it.
func (c *Chain) Advice() []string {
	if len(c.Owners) == 0 {
		return []string{stranger + ": `nft list table " + c.Table + "`"}
	}
	var out []string
	for _, o := range c.Owners {
		out = append(out, o.Name+": "+o.Advice)
	}
	return out
}

// Leftover tells whether a table is what is left of a firewall that was switched off: chains of ufw that refuse nothing.
func Leftover(chains []Chain, table string) bool {
	found := false
	for _, c := range chains {
		if c.Table != table {
			continue
		}
		if len(c.Refuses) > 0 {
			return false
		}
		found = found || slices.ContainsFunc(c.Owners, func(o Owner) bool { return o.Name == "ufw" })
	}
	return found
}
