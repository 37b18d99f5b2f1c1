package enforce

import (
	"errors"
	"io/fs"

	"ringwall/daemon/impact"
	"ringwall/netfilter/host"
	"ringwall/rules/check"
	"ringwall/rules/policy"
)

// Preview makes what looks at the host's live connections and at what listens, and notes in a report what a candidate, which must be OK,
// would mean for them, and whom it would lock out. What is made may be called beside the Enforcer's other methods: it takes a second where
// there are a hundred thousand connections.
func (e *Enforcer) Preview(c *Candidate, control ...host.Session) func(*Report) {
	var before *policy.Policy
	if e.running.Candidate != nil {
		before = e.running.Policy
	}
	look, now := e.scene(c.Policy), e.opt.Now().Unix()
	lockout, err := e.Lockout(c, control...)
	return func(r *Report) {
		r.Impact = &impact.Preview{Lockout: lockout}
		if err != nil {
			r.note(err.Error())
		}
		flows, err := e.host.Flows()
		switch {
		case errors.Is(err, fs.ErrPermission):
			r.note("live connections were not looked at, which takes root (CAP_NET_ADMIN)")
		case err != nil:
			r.note("live connections were not looked at: " + err.Error())
		default:
			scene := look()
			if sockets, err := newSockets(e.host); err == nil {
				scene.Owner = sockets.owner
			}
			r.Impact.Connections = impact.JudgeFlows(before, c.Policy, flows, scene)
		}
		listeners, err := e.host.Listeners()
		if err != nil {
			r.note("what listens was not looked at: " + err.Error())
			return
		}
		r.Impact.Listeners = impact.Listeners(before, c.Policy, listeners, host.Units(), check.DiffOptions{Now: now, Work: check.DiffWork})
	}
}
