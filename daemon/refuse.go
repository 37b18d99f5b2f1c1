package daemon

import (
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
)

// refuse has a policy not loaded by restart, boot or changed files again, until its content changes or a user applies it.
// Why is a sentence without its full stop, for the log and for status: "it was not confirmed in time".
func (d *daemon) refuse(policy, digest, why string) {
	d.log.Error("a policy is held back from now on", "policy", policy, "digest", digest, "why", why)
	if err := d.enf.Refuse(policy, digest, why); err != nil {
		d.log.Error("the held back policy is remembered until the daemon ends only", "error", err)
	}
}

// heldBack notes that the files say what is refused.
func (d *daemon) heldBack(c *enforce.Candidate, why error) (*enforce.Report, error) {
	d.digest, d.again = c.Digest, time.Time{}
	r := &enforce.Report{Policy: c.Entry, Digest: c.Digest, Rules: c.Rules(), Diagnostics: c.Diags, Open: d.enf.Running().Source == enforce.Opened}
	good, bad := d.reload.Good, d.reload.Bad+1
	d.reload = control.Reload{At: d.cfg.Now(), Held: true, Error: "held back: " + why.Error(), Diagnostics: c.Diags, Good: good, Bad: bad}
	d.log.Error("the files are held back; "+d.stays(), "policy", c.Entry, "digest", c.Digest, "why", why)
	return r, why
}

// stays is what holds after a policy was not enforced.
func (d *daemon) stays() string {
	if d.enf.Running().Source == enforce.Opened {
		return "nothing is enforced: the host is still OPEN"
	}
	return "what was enforced stays"
}
