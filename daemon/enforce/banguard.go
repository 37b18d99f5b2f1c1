package enforce

import (
	"net/netip"
	"slices"

	"ringwall/daemon/impact"
	"ringwall/netfilter/host"
)

// guardBan finds out whom the dynamic sets would lock out of the running policy if they held bans, of which the request's prefixes are new.
// Who asks is guarded, and who is in a prefix that names many; with Force they are in the notes. The session of an address that is named by
// itself is meant, since somebody who tries passwords has a connection to SSH as well: so sockets are not listed for its sake, which takes
// long just where there are many of both.
func (e *Enforcer) guardBan(bans []Ban, req BanRequest) (held *impact.Lockout, notes []string) {
	in := func(a netip.Addr, wide bool) bool {
		return slices.ContainsFunc(req.Prefixes, func(p netip.Prefix) bool {
			p = canonical(p)
			return p.Contains(a.Unmap()) && !(wide && p.IsSingleIP())
		})
	}
	doors := impact.Doors{Control: slices.Clone(req.Sessions)}
	if slices.ContainsFunc(req.Prefixes, func(p netip.Prefix) bool { return !p.IsSingleIP() }) {
		var err error
		if doors, err = e.doors(doors.Control); err != nil {
			notes = append(notes, "not guarded against locking out: "+err.Error())
		}
	}
	doors.Control = slices.DeleteFunc(doors.Control, func(s host.Session) bool { return !in(s.Peer.Addr(), false) })
	doors.Connected = slices.DeleteFunc(doors.Connected, func(s host.Socket) bool { return !in(s.Peer.Addr(), true) })
	if len(doors.Connected)+len(doors.Control) == 0 {
		return nil, notes
	}
	p := e.running.Policy
	scene := e.scene(p)()
	shut := func() []impact.Shut {
		if l := impact.Guard(p, p, doors, scene); l != nil {
			return l.Sessions
		}
		return nil
	}
	before := shut()
	scene.Given = given(p, current(bans, e.opt.Now()))
	after := slices.DeleteFunc(shut(), func(s impact.Shut) bool { // who is locked out already
		return slices.ContainsFunc(before, func(o impact.Shut) bool { return o.Peer == s.Peer && o.Local == s.Local })
	})
	l := &impact.Lockout{Sessions: after}
	switch {
	case len(after) == 0:
		return nil, notes
	case req.Force:
		return nil, append(notes, l.Lines()...)
	}
	return l, nil
}
