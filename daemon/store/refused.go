package store

import "time"

// Refusal is a policy that is not loaded again by itself.
type Refusal struct {
	Entry  string    `json:"entry,omitempty"` // the policy's entry file
	Digest string    `json:"digest"`
	Why    string    `json:"why"` // in a few words: "it was not confirmed"
	At     time.Time `json:"at"`
}

// SaveRefused puts refusals in the place of all that were stored.
func (d Dir) SaveRefused(list []Refusal) error { return d.sealJSON(refusedFile, list) }

// Refused returns what SaveRefused wrote, with LastGood's errors.
func (d Dir) Refused() ([]Refusal, error) { return unsealJSON[[]Refusal](d, refusedFile) }
