package enforce

import (
	"fmt"
	"net/netip"
	"slices"

	"ringwall/daemon/impact"
	"ringwall/netfilter/host"
)

// guardBan finds out whom the dynamic sets would lock out of the running policy if they held bans, of which the request's prefixes are new.
// Who asks, and who is in a prefix that names many, is held; the session of an address that is named by itself is meant, since somebody
// who tries passwords has a connection to SSH as well: it is in the notes. With Force all are.
func (e *Enforcer) guardBan(bans []Ban, req BanRequest) (held *impact.Lockout, notes []string) {
	doors, err := e.doors(req.Sessions)
	if err != nil {
		return nil, []string{"not guarded against locking out: " + err.Error()}
	}
	inside := func(a netip.AddrPort) bool {
		return slices.ContainsFunc(req.Prefixes, func(p netip.Prefix) bool { return canonical(p).Contains(a.Addr().Unmap()) })
	}
	doors.Connected = slices.DeleteFunc(doors.Connected, func(s host.Socket) bool { return !inside(s.Peer) })
	doors.Control = slices.DeleteFunc(slices.Clone(doors.Control), func(s host.Session) bool { return !inside(s.Peer) })
	if len(doors.Connected)+len(doors.Control) == 0 {
		return nil, nil
	}
	p, now := e.running.Policy, e.opt.Now()
	scene := e.scene(p)()
	shut := func() []impact.Shut {
		if l := impact.Guard(p, p, doors, scene); l != nil {
			return l.Sessions
		}
		return nil
	}
	before := shut()
	scene.Given = given(p, current(bans, now))
	all, kept := &impact.Lockout{}, &impact.Lockout{}
	for _, s := range shut() {
		if slices.ContainsFunc(before, func(o impact.Shut) bool { return o.Peer == s.Peer && o.Local == s.Local }) {
			continue // locked out already
		}
		all.Sessions = append(all.Sessions, s)
		named := slices.ContainsFunc(req.Prefixes, func(p netip.Prefix) bool { return p.IsSingleIP() && p.Addr().Unmap() == s.Peer.Addr().Unmap() })
		if s.Control || !named {
			kept.Sessions = append(kept.Sessions, s)
		}
	}
	switch {
	case len(kept.Sessions) > 0 && !req.Force:
		return kept, nil
	case len(all.Sessions) > 0:
		return nil, []string{fmt.Sprint(all)}
	}
	return nil, nil
}
