package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

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
func (d Dir) SavePending(p Pending) error {
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("save the pending change: %w", err)
	}
	return d.seal(pendingFile, just(body))
}

// Pending returns what SavePending wrote, with LastGood's errors.
func (d Dir) Pending() (Pending, error) {
	body, err := d.unseal(pendingFile)
	if err != nil {
		return Pending{}, err
	}
	var p Pending
	if err := json.Unmarshal(body, &p); err != nil {
		return Pending{}, d.corrupt(pendingFile, "it does not parse", err)
	}
	return p, nil
}

// RemovePending forgets the pending change, and the policy that SaveUnconfirmed stored for it.
func (d Dir) RemovePending() error {
	removed := false
	for _, name := range []string{pendingFile, unconfirmedFile} {
		err := os.Remove(filepath.Join(d.path, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("state directory: %w", err)
		}
		removed = removed || err == nil
	}
	if !removed {
		return nil
	}
	return d.sync()
}

// SaveUnconfirmed stores the policy of the pending change, for a restart within its window.
func (d Dir) SaveUnconfirmed(g LastGood) error { return d.savePolicy(unconfirmedFile, g) }

// Unconfirmed returns what SaveUnconfirmed wrote, with LastGood's errors.
func (d Dir) Unconfirmed() (LastGood, error) { return d.policy(unconfirmedFile) }
