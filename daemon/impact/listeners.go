package impact

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/host"
	"ringwall/rules/check"
	"ringwall/rules/policy"
)

// Listener is a socket that listens and whose reach a policy changes.
type Listener struct {
	Name      string   `json:"name"` // "tcp/8443"
	Addresses []string `json:"addresses"`
	UID       uint32   `json:"uid"`            // of the user that has it
	Unit      string   `json:"unit,omitempty"` // the systemd unit that it runs in
	// Reachable is the packets by which it becomes reachable, and Unreachable those by which it is not any more.
	Reachable   []check.Shift `json:"reachable,omitempty"`
	Unreachable []check.Shift `json:"unreachable,omitempty"`
	// Undecided is packets about which finding out would take too long.
	Undecided []check.Packets `json:"undecided,omitempty"`
}

// Listeners finds out what listens and is reached by others than before. before is nil where nothing is enforced, so that everybody
// reaches everything. Units names cgroups by their ids. What listens on loopback alone is left out.
func Listeners(before, after *policy.Policy, sockets []host.Socket, units map[uint64]string, opt check.DiffOptions) []Listener {
	if before == nil {
		before = &policy.Policy{Base: policy.DefaultBase()}
	}
	list, services := services(sockets, units)
	var out []Listener
	for i, d := range check.DiffServices(before, after, services, opt) {
		l := list[i]
		l.Undecided = d.Undecided
		for _, s := range d.Verdicts {
			switch allow := policy.Allow.String(); {
			case s.New == allow:
				l.Reachable = append(l.Reachable, s)
			case s.Old == allow:
				l.Unreachable = append(l.Unreachable, s)
			}
		}
		if len(l.Reachable)+len(l.Unreachable)+len(l.Undecided) > 0 {
			out = append(out, l)
		}
	}
	return out
}

// services is what listens, by protocol and port: sockets of one unit and user are one.
func services(sockets []host.Socket, units map[uint64]string) ([]Listener, []check.Service) {
	type key struct {
		proto uint8
		port  uint16
		uid   uint32
		unit  string
	}
	found := map[key]int{}
	var list []Listener
	var out []check.Service
	sockets = slices.Clone(sockets)
	slices.SortStableFunc(sockets, func(a, b host.Socket) int {
		return cmp.Or(cmp.Compare(a.Proto, b.Proto), cmp.Compare(a.Local.Port(), b.Local.Port()), a.Local.Addr().Compare(b.Local.Addr()))
	})
	for _, s := range sockets {
		if s.Local.Addr().IsLoopback() {
			continue
		}
		k := key{s.Proto, s.Local.Port(), s.UID, units[s.Cgroup]}
		i, known := found[k]
		if !known {
			i = len(list)
			found[k] = i
			list = append(list, Listener{Name: name(k.proto, k.port), UID: k.uid, Unit: k.unit})
			out = append(out, check.Service{Proto: k.proto, Port: k.port})
		}
		out[i].To = out[i].To.Union(addressesOf(s))
		for _, a := range addressTexts(s) {
			if !slices.Contains(list[i].Addresses, a) {
				list[i].Addresses = append(list[i].Addresses, a)
			}
		}
	}
	return list, out
}

func addressTexts(s host.Socket) []string {
	if s.Dual {
		return []string{netip.IPv4Unspecified().String(), netip.IPv6Unspecified().String()}
	}
	return []string{s.Local.Addr().String()}
}

func name(proto uint8, port uint16) string {
	if proto == unix.IPPROTO_UDP {
		return fmt.Sprintf("udp/%d", port)
	}
	return fmt.Sprintf("tcp/%d", port)
}

// String is the listener in words: "tcp/8443 (nginx.service)", with its addresses where these are not all.
func (l *Listener) String() string {
	s := l.Name
	if !slices.ContainsFunc(l.Addresses, func(a string) bool { return a == "0.0.0.0" || a == "::" }) {
		s += " on " + strings.Join(l.Addresses, ", ")
	}
	if l.Unit != "" {
		s += " (" + l.Unit + ")"
	}
	return s
}
