package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"ringwall/daemon/store"
)

// maxRefused bounds how many refused policies are remembered: the oldest go first.
const maxRefused = 100

// RefusedError tells that a policy is not enforced unless a user names it.
type RefusedError struct{ store.Refusal }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s (%s): edit it, or 'ringwall apply' it to have it all the same", e.Why, e.At.Local().Format(time.DateTime))
}

// Refuse remembers that a policy, named by its entry file and digest, is not to be loaded by itself again, across restarts, until Apply enforces it. Why is a
// sentence without its full stop: "it was not confirmed in time". Where the error is not nil it is remembered by this
// process only.
func (e *Enforcer) Refuse(policy, digest, why string) error {
	if e.lock == nil {
		return ErrReadOnly
	}
	e.refused = slices.DeleteFunc(e.refused, func(r store.Refusal) bool { return r.Digest == digest })
	e.refused = append(e.refused, store.Refusal{Entry: policy, Digest: digest, Why: why, At: e.opt.Now()})
	if n := len(e.refused); n > maxRefused {
		e.refused = e.refused[n-maxRefused:]
	}
	return e.dir.SaveRefused(e.refused)
}

// Refused is a *RefusedError where Refuse has named the digest, nil where it has not.
func (e *Enforcer) Refused(digest string) error {
	for _, r := range e.refused {
		if r.Digest == digest {
			return &RefusedError{r}
		}
	}
	return nil
}

// Refusals is the policies that are refused, the latest last.
func (e *Enforcer) Refusals() []store.Refusal { return slices.Clone(e.refused) }

// forgive ends the refusal of a policy that is enforced now.
func (e *Enforcer) forgive(digest string) {
	n := len(e.refused)
	e.refused = slices.DeleteFunc(e.refused, func(r store.Refusal) bool { return r.Digest == digest })
	if len(e.refused) == n {
		return
	}
	if err := e.dir.SaveRefused(e.refused); err != nil {
		e.opt.Log.Error("the policy is enforced, and will be refused after a restart", "error", err)
	}
}

// recallRefused reads the refused policies.
func (e *Enforcer) recallRefused() {
	var err error
	if e.refused, err = e.dir.Refused(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.opt.Log.Warn("the stored list of refused policies can't be used", "error", err)
	}
}
