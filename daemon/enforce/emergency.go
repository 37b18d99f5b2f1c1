package enforce

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// emergencyFile is the name under which the emergency policy is loaded and shown.
const emergencyFile = "emergency.yaml"

// emergency loads the emergency policy: the stored one, or that of a host about which nothing is known.
func (e *Enforcer) emergency() (*Candidate, error) {
	stored, err := e.dir.Emergency()
	texts := []string{stored, policy.EmergencyText(nil)}
	if err != nil {
		texts = texts[1:]
		if !errors.Is(err, fs.ErrNotExist) {
			e.opt.Log.Error("the stored emergency policy can't be used", "error", err)
		}
	}
	for _, text := range texts {
		c := Load(source.Memory{emergencyFile: text}, emergencyFile, e.trusted())
		if c.OK() {
			return c, nil
		}
		err = fmt.Errorf("emergency policy: %s", c.Problem())
		e.opt.Log.Error("the stored emergency policy can't be used", "error", err)
	}
	return nil, err
}

// recallEmergency takes the emergency policy for what is enforced if its table stands: it is never stored as the last
// good one.
func (e *Enforcer) recallEmergency(ctx context.Context) {
	if e.conn == nil {
		return
	}
	c, err := e.emergency()
	if err != nil {
		return
	}
	e.running, e.stored = Running{Candidate: c, Source: Emergency}, true
	if e.Intact(ctx) != nil {
		e.running, e.stored = Running{}, false
	}
}
