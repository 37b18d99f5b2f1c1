package store

import (
	"encoding/json"
	"fmt"
	"time"
)

// Refusal is a policy that is not loaded again by itself.
type Refusal struct {
	Digest string    `json:"digest"` // of the policy
	Why    string    `json:"why"`    // in a few words: "it was not confirmed"
	At     time.Time `json:"at"`
}

// SaveRefused puts refusals in the place of all that were stored.
func (d Dir) SaveRefused(list []Refusal) error {
	body, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("save the refused policies: %w", err)
	}
	return d.seal(refusedFile, just(body))
}

// Refused returns what SaveRefused wrote, with LastGood's errors.
func (d Dir) Refused() ([]Refusal, error) {
	body, err := d.unseal(refusedFile)
	if err != nil {
		return nil, err
	}
	var list []Refusal
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, d.corrupt(refusedFile, "it does not parse", err)
	}
	return list, nil
}
