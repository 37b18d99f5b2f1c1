package daemon

import (
	"ringwall/daemon/enforce"
)

// lockedOut holds files back that would lock somebody out.
func (d *daemon) lockedOut(c *enforce.Candidate, held *enforce.Report) (*enforce.Report, error) {
	d.refuse(c.Entry, c.Digest, held.Lockout.String())
	r, err := d.heldBack(c, d.enf.Refused(c.Digest))
	r.Lockout = held.Lockout
	return r, err
}

// warn adds to the notes about what is enforced.
func (d *daemon) warn(notes []string) {
	for _, note := range notes {
		d.log.Warn(note)
	}
	d.notes = append(d.notes, notes...)
}
