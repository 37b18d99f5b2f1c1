package impact

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/host"
	"ringwall/rules/addrset"
	"ringwall/rules/check"
	"ringwall/rules/policy"
)

// SSHPort is where SSH listens unless told otherwise.
const SSHPort = 22

// Doors is how people reach a host to look after it.
type Doors struct {
	Connected []host.Socket
	Listeners []host.Socket
	// Cgroups is the ids of the cgroups of SSH services: what listens in one is a door wherever it listens.
	Cgroups []uint64
	// Control is the SSH sessions from which the change is asked for.
	Control []host.Session
}

// Lockout is why a policy would lock out those who look after a host.
type Lockout struct {
	// Sessions is the live sessions that could not connect again.
	Sessions []Shut `json:"sessions,omitempty"`
	// NoWay is the ports where SSH listens, where nobody has a session, and neither failsafe nor a rule admits anybody to one of them.
	NoWay []uint16 `json:"no_way,omitempty"`
}

// Shut is a session that could not connect again.
type Shut struct {
	Peer  netip.AddrPort `json:"peer"`
	Local netip.AddrPort `json:"local"`
	Decider
	Control bool `json:"control,omitempty"` // the change is asked for from it
}

// Decider is what decides: a rule, or what else can.
type Decider struct {
	By   string `json:"by"`             // a rule's id, "default", "block" or a base key
	Rule bool   `json:"rule,omitempty"` // it is a rule
	At   string `json:"at,omitempty"`   // file:line
}

func deciderOf(a Answer) Decider {
	d := Decider{By: a.By, Rule: a.Rule != nil}
	if !a.At.IsZero() {
		d.At = a.At.Short()
	}
	return d
}

// String is the decider in words: "rule ssh, policy.yaml:12".
func (d Decider) String() string {
	s := d.By
	if d.Rule {
		s = "rule " + s
	}
	if d.At != "" {
		s += ", " + d.At
	}
	return s
}

// Guard finds out whom a policy would lock out that is to follow another, which is nil where none is enforced. Sessions are connections to
// port 22, to the ports of failsafe of either policy, and to those of listeners in the cgroup of an SSH service; where a session's
// interface is not known, one by which it would be admitted counts. The result is nil where nobody is locked out.
func Guard(before, after *policy.Policy, doors Doors, scene *Scene) *Lockout {
	j := NewJudge(after, scene)
	sessions := doors.sessions(before, after)
	out := &Lockout{}
	alive := false
	for _, s := range sessions {
		if j.places.local(s.Peer.Addr()) || !j.places.local(s.Local.Addr()) {
			continue // with itself; or to another network namespace
		}
		alive = true
		device := ""
		if s.device != 0 && scene.Device != nil {
			device = scene.Device(s.device)
		}
		if a := j.Arrival(s.Peer, s.Local, device); a.Refused() {
			out.Sessions = append(out.Sessions, Shut{s.Peer, s.Local, deciderOf(a), s.control})
		}
	}
	if !alive {
		out.NoWay = doors.closed(after, scene.Now)
	}
	if len(out.Sessions)+len(out.NoWay) == 0 {
		return nil
	}
	return out
}

// session is a connection by which somebody looks after a host.
type session struct {
	host.Session
	device  int
	control bool
}

// sessions finds the live sessions, those of the control connection first.
func (d *Doors) sessions(before, after *policy.Policy) []session {
	var out []session
	for _, s := range d.Control {
		out = append(out, session{Session: s, control: true})
	}
	known := func(s host.Session) bool {
		return slices.ContainsFunc(out, func(o session) bool { return o.Session == s })
	}
	ssh := d.sshPorts()
	served := map[uint16]bool{}
	for _, l := range d.Listeners {
		if l.Proto == unix.IPPROTO_TCP {
			served[l.Local.Port()] = true
		}
	}
	for _, c := range d.Connected {
		if c.Proto != unix.IPPROTO_TCP || c.Closing {
			continue
		}
		port, s := c.Local.Port(), host.Session{Peer: c.Peer, Local: c.Local}
		if (slices.Contains(ssh, port) || served[port] && (failsafe(before, c) || failsafe(after, c))) && !known(s) {
			out = append(out, session{Session: s, device: c.Device})
		}
	}
	return out
}

// sshPorts is 22 and the ports of listeners in the cgroup of an SSH service.
func (d *Doors) sshPorts() []uint16 {
	out := []uint16{SSHPort}
	for _, l := range d.Listeners {
		if l.Proto == unix.IPPROTO_TCP && l.Cgroup != 0 && slices.Contains(d.Cgroups, l.Cgroup) && !slices.Contains(out, l.Local.Port()) {
			out = append(out, l.Local.Port())
		}
	}
	return out
}

// failsafe tells whether a connection is to a port of failsafe. Where that is every port it must come from a failsafe address, too.
func failsafe(p *policy.Policy, c host.Socket) bool {
	if p == nil {
		return false
	}
	ports := addrset.Between(policy.Key(policy.ProtoTCP, 0), policy.Key(policy.ProtoTCP, 1<<16-1))
	for i := range p.Failsafe {
		f := &p.Failsafe[i]
		what := f.What.V4
		if c.Peer.Addr().Is6() {
			what = f.What.V6
		}
		if !what.Contains(policy.Key(policy.ProtoTCP, c.Local.Port())) {
			continue
		}
		if !what.Covers(ports) || f.From.Static().Contains(c.Peer.Addr()) {
			return true
		}
	}
	return false
}

// closed is the ports where SSH listens, if a policy admits nobody to any of them, by failsafe or else.
func (d *Doors) closed(p *policy.Policy, now int64) (ports []uint16) {
	ssh := d.sshPorts()
	for _, l := range d.Listeners {
		port := l.Local.Port()
		if l.Proto != unix.IPPROTO_TCP || l.Local.Addr().IsLoopback() || !slices.Contains(ssh, port) {
			continue
		}
		if check.Admits(p, check.Service{Proto: l.Proto, Port: port, To: addressesOf(l)}, now) {
			return nil
		}
		if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports
}

// addressesOf is the addresses that a socket listens on, as far as its own address tells.
func addressesOf(s host.Socket) addrset.Addrs {
	all := addrset.AllAddrs()
	switch a := s.Local.Addr(); {
	case s.Dual:
		return all
	case !a.IsUnspecified():
		return addrset.OfRange(a, a)
	case a.Is4():
		return addrset.Addrs{V4: all.V4}
	}
	return addrset.Addrs{V6: all.V6}
}

// Lines says who is locked out, a line each.
func (l *Lockout) Lines() []string {
	var out []string
	for _, s := range l.Sessions {
		whose := "the session"
		if s.Control {
			whose = "this session"
		}
		out = append(out, fmt.Sprintf("%s from %s to port %d could not connect again: refused by %s", whose, s.Peer.Addr(), s.Local.Port(), s.Decider))
	}
	if len(l.NoWay) > 0 {
		var ports []string
		for _, p := range l.NoWay {
			ports = append(ports, fmt.Sprint(p))
		}
		out = append(out, fmt.Sprintf("nobody could connect to SSH (port %s): neither failsafe nor a rule admits anybody", strings.Join(ports, ", ")))
	}
	return out
}

// shown is how many lines a message has before it says how many more there are.
const shown = 3

// String is the lockout in one line.
func (l *Lockout) String() string {
	lines := l.Lines()
	if n := len(lines); n > shown {
		lines = append(lines[:shown:shown], fmt.Sprintf("and %d more", n-shown))
	}
	return strings.Join(lines, "; ")
}
