package store

import (
	"bytes"
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
func (d Dir) SaveLastGood(g LastGood) error { return d.savePolicy(lastGoodFile, g) }

// savePolicy stores a policy in a file.
func (d Dir) savePolicy(name string, g LastGood) error {
	bundle := g.Stream
	if bundle == nil {
		if len(g.Bundle) == 0 {
			return errors.New("save a policy: it is empty")
		}
		bundle = just(g.Bundle)
	}
	g.Bundle = nil
	about, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("save a policy: %w", err)
	}
	return d.seal(name, func(w io.Writer) error {
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
func (d Dir) LastGood() (LastGood, error) { return d.policy(lastGoodFile) }

// policy reads what savePolicy wrote.
func (d Dir) policy(name string) (LastGood, error) {
	data, err := d.read(name)
	if err != nil {
		return LastGood{}, err
	}
	return d.parsePolicy(name, name, data)
}

// parsePolicy reads the contents of a file that savePolicy wrote under the name that is its kind.
func (d Dir) parsePolicy(name, kind string, data []byte) (LastGood, error) {
	body, err := d.open(name, kind, data)
	if err != nil {
		return LastGood{}, err
	}
	about, bundle := cutBundle(body)
	var g LastGood
	if err := json.Unmarshal(about, &g); err != nil {
		return LastGood{}, d.corrupt(name, "it does not parse", err)
	}
	if bundle != nil {
		g.Bundle = bundle
	}
	if len(g.Bundle) == 0 {
		return LastGood{}, d.corrupt(name, "it holds no policy", nil)
	}
	return g, nil
}

// cutBundle takes the bundle out of what savePolicy wrote, without copying it: it may be most of the memory that there is. Where it is
// not the last member, as savePolicy has it, all is about the policy.
func cutBundle(body []byte) (about, bundle []byte) {
	before, rest, _ := bytes.Cut(body, []byte(`,"bundle":`))
	bundle, last := bytes.CutSuffix(rest, []byte("}"))
	about = append(bytes.Clone(before), '}')
	if !last || !json.Valid(about) || !json.Valid(bundle) {
		return body, nil
	}
	return about, bundle
}

// SaveEmergency stores the text of the policy that is enforced where no other can be used.
func (d Dir) SaveEmergency(text string) error { return d.seal(emergencyFile, just([]byte(text))) }

// Emergency returns what SaveEmergency wrote, with LastGood's errors.
func (d Dir) Emergency() (string, error) {
	body, err := d.unseal(emergencyFile)
	return string(body), err
}
