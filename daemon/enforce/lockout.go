package enforce

import (
	"context"
	"fmt"
	"net/netip"

	"ringwall/daemon/impact"
	"ringwall/netfilter/host"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// sshServices is the cgroups of the services that SSH runs as.
func sshServices() []string { return []string{"system.slice/ssh.service", "system.slice/sshd.service"} }

// Lockout finds out whom a candidate, which must be OK, would lock out; nil for nobody. control is the SSH sessions from which it is
// asked for. What is enforced already locks nobody out. The error says that sessions could not be listed: then nobody is guarded.
func (e *Enforcer) Lockout(c *Candidate, control ...host.Session) (*impact.Lockout, error) {
	running := e.running.Candidate
	if running != nil && running.Digest == c.Digest {
		return nil, nil
	}
	doors, err := e.doors(control)
	if err != nil {
		return nil, err
	}
	var before *policy.Policy
	if running != nil {
		before = running.Policy
	}
	return impact.Guard(before, c.Policy, doors, e.scene(c.Policy)()), nil
}

// doors is how people reach this host.
func (e *Enforcer) doors(control []host.Session) (doors impact.Doors, err error) {
	doors.Control = control
	if doors.Connected, err = e.host.Connected(); err != nil {
		return doors, fmt.Errorf("live sessions are not known: %w", err)
	}
	if doors.Listeners, err = e.host.Listeners(); err != nil {
		return doors, fmt.Errorf("live sessions are not known: %w", err)
	}
	for _, path := range e.ssh {
		if id, err := host.CgroupID(path); err == nil {
			doors.Cgroups = append(doors.Cgroups, id)
		}
	}
	return doors, nil
}

// Guard holds a candidate, which must be OK, back if it would lock somebody out: then the report says whom, and nothing was done.
// Else the report is nil, and the notes say what a user should know all the same. anyway goes on whoever is locked out.
func (e *Enforcer) Guard(c *Candidate, anyway bool, control ...host.Session) (held *Report, notes []string) {
	l, err := e.Lockout(c, control...)
	switch {
	case err != nil:
		return nil, []string{"not guarded against locking out: " + err.Error()}
	case l == nil:
		return nil, nil
	case anyway:
		return nil, l.Lines()
	}
	r := e.report(c)
	r.Lockout, r.Open = l, e.Open(context.Background())
	return r, nil
}

// scene is what looks at the host as a policy meets it. It may be called beside the Enforcer's other methods.
func (e *Enforcer) scene(p *policy.Policy) func() *impact.Scene {
	bans, now := e.bans, e.opt.Now()
	return func() *impact.Scene {
		s := look(e.host)
		s.Given, s.Now = given(p, current(bans, now)), now.Unix()
		return s
	}
}

// look looks at a host.
func look(h *host.Host) *impact.Scene {
	s := &impact.Scene{}
	names := map[int]string{}
	devices, _ := h.Interfaces() // where there are none to be had, no answer depends on them
	for _, d := range devices {
		if names[d.Index] = d.Name; d.Name != policy.Loopback {
			s.Devices = append(s.Devices, d.Name)
		}
	}
	s.Addresses, _ = h.Addresses()
	s.Device = func(index int) string { return names[index] }
	ways := map[netip.Addr]string{}
	s.Way = func(a netip.Addr) string {
		way, known := ways[a]
		if !known {
			if index, err := h.InterfaceTo(a); err == nil {
				way = names[index]
			}
			ways[a] = way
		}
		return way
	}
	return s
}

// given is what the dynamic sets of a policy hold with some bans.
func given(p *policy.Policy, bans []Ban) map[string]addrset.Addrs {
	four, six := map[string][]addrset.Range[addrset.U32]{}, map[string][]addrset.Range[addrset.U128]{}
	for _, b := range bans {
		a := addrset.OfPrefix(b.Prefix)
		four[b.Set], six[b.Set] = append(four[b.Set], a.V4.Ranges()...), append(six[b.Set], a.V6.Ranges()...)
	}
	out := map[string]addrset.Addrs{}
	for name, set := range p.Sets {
		if set.Dynamic != nil {
			out[name] = addrset.Addrs{V4: addrset.Of(four[name]...), V6: addrset.Of(six[name]...)}
		}
	}
	return out
}
