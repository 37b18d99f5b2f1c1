package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// LastGood is the policy that was enforced last, with all that is needed to load it again without its files.
type LastGood struct {
	Entry   string          `json:"entry"`  // the entry file, as it was named
	Digest  string          `json:"digest"` // of the policy, as the caller computes it
	Source  string          `json:"source"` // where it came from: "files", "socket"
	Who     string          `json:"who"`    // who had it applied: a user, or "ringwall run"
	Applied time.Time       `json:"applied"`
	Bundle  json.RawMessage `json:"bundle,omitempty"` // a source.Bundle; comes back with the same JSON, blanks left out
	// Stream writes the bundle in the place of Bundle where it is set, twice and the same both times: one that is large need not
	// be in memory as JSON.
	Stream func(io.Writer) error `json:"-"`
}

// SaveLastGood puts g in the place of the one before it.
func (d Dir) SaveLastGood(g LastGood) error {
	bundle := g.Stream
	if bundle == nil {
		if len(g.Bundle) == 0 {
			return errors.New("save the last good policy: it is empty")
		}
		bundle = just(g.Bundle)
	}
	g.Bundle = nil
	about, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("save the last good policy: %w", err)
	}
	return d.seal(lastGoodFile, func(w io.Writer) error {
		// The bundle is the last of the object's members.
		if _, err := fmt.Fprintf(w, "%s,\"bundle\":", about[:len(about)-1]); err != nil {
			return err
		}
		if err := bundle(w); err != nil {
			return err
		}
		_, err := io.WriteString(w, "}")
		return err
	})
}

// LastGood returns what SaveLastGood wrote. The error wraps fs.ErrNotExist where there was nothing, and is a
// *CorruptError where it can't be trusted.
func (d Dir) LastGood() (LastGood, error) {
	body, err := d.unseal(lastGoodFile)
	if err != nil {
		return LastGood{}, err
	}
	var g LastGood
	if err := json.Unmarshal(body, &g); err != nil {
		return LastGood{}, d.corrupt(lastGoodFile, "it does not parse", err)
	}
	if len(g.Bundle) == 0 {
		return LastGood{}, d.corrupt(lastGoodFile, "it holds no policy", nil)
	}
	return g, nil
}

// SaveEmergency stores the text of the policy that is enforced where no other can be used.
func (d Dir) SaveEmergency(text string) error { return d.seal(emergencyFile, just([]byte(text))) }

// Emergency returns what SaveEmergency wrote, with LastGood's errors.
func (d Dir) Emergency() (string, error) {
	body, err := d.unseal(emergencyFile)
	return string(body), err
}
