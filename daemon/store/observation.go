package store

import (
	"encoding/json"
	"time"
)

// Observation is a policy that is observed beside the one that is enforced, and what has been counted of it so far.
type Observation struct {
	Entry  string          `json:"entry"` // the entry file, as it was named
	Who    string          `json:"who"`   // who asked for it
	Since  time.Time       `json:"since"`
	Until  time.Time       `json:"until,omitzero"` // zero for as long as wanted
	Ended  bool            `json:"ended,omitempty"`
	Counts json.RawMessage `json:"counts"` // as the caller has them
	Bundle json.RawMessage `json:"bundle"` // a source.Bundle
}

// SaveObservation puts o in the place of the one before it.
func (d Dir) SaveObservation(o Observation) error { return d.sealJSON(observationFile, o) }

// Observation returns what SaveObservation wrote, with LastGood's errors.
func (d Dir) Observation() (Observation, error) { return unsealJSON[Observation](d, observationFile) }

// DropObservation forgets what SaveObservation wrote. That there is nothing is no error.
func (d Dir) DropObservation() error { return d.remove(observationFile) }
