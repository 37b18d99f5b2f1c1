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
func (d Dir) SaveObservation(o Observation) error {
	body, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("save what is observed: %w", err)
	}
	return d.seal(observationFile, just(body))
}

// Observation returns what SaveObservation wrote, with LastGood's errors.
func (d Dir) Observation() (Observation, error) {
	body, err := d.unseal(observationFile)
	if err != nil {
		return Observation{}, err
	}
	var o Observation
	if err := json.Unmarshal(body, &o); err != nil {
		return Observation{}, d.corrupt(observationFile, "it does not parse", err)
	}
	return o, nil
}

// DropObservation forgets what SaveObservation wrote. That there is nothing is no error.
func (d Dir) DropObservation() error {
	err := os.Remove(filepath.Join(d.path, observationFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
