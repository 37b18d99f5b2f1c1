package store

import "time"

// Pending is a change that is enforced and not confirmed: until it is, the last good policy is the one before it, which
// comes back when the time is over.
type Pending struct {
	Digest string        `json:"digest"` // of the policy that is enforced; empty where nothing is known but that there was one
	Entry  string        `json:"entry"`  // its entry file
	Source string        `json:"source"` // where it came from, as with LastGood
	Who    string        `json:"who"`
	Back   string        `json:"back,omitempty"` // digest of the policy that comes back; empty where none was enforced
	Files  string        `json:"files"`          // digest of the daemon's own files when it was enforced
	Window time.Duration `json:"window"`         // that a user was given, in nanoseconds
	Opened time.Time     `json:"opened"`

	// The end of the window, by two clocks. Within the boot that Boot names it is Until, which no one can set; in another
	// boot Deadline.
	Deadline time.Time     `json:"deadline"`
	Boot     string        `json:"boot"`
	Until    time.Duration `json:"until"` // since that boot, time asleep included

	// Old is the cookies of the TCP sockets that were there right after the change, where Listed. A crash before they were
	// listed leaves Listed false.
	Old    []uint64 `json:"old,omitempty"`
	Listed bool     `json:"listed"`
}

// SavePending records a change that is not confirmed. It is on disk when SavePending returns.
func (d Dir) SavePending(p Pending) error { return d.sealJSON(pendingFile, p) }

// Pending returns what SavePending wrote, with LastGood's errors.
func (d Dir) Pending() (Pending, error) { return unsealJSON[Pending](d, pendingFile) }

// RemovePending forgets the pending change, and the policy that SaveUnconfirmed stored for it.
func (d Dir) RemovePending() error { return d.remove(pendingFile, unconfirmedFile) }

// SaveUnconfirmed stores the policy of the pending change, for a restart within its window.
func (d Dir) SaveUnconfirmed(g LastGood) error { return d.savePolicy(unconfirmedFile, g) }

// Unconfirmed returns what SaveUnconfirmed wrote, with LastGood's errors.
func (d Dir) Unconfirmed() (LastGood, error) { return d.policy(unconfirmedFile) }
