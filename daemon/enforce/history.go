package enforce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"ringwall/daemon/store"
	"ringwall/rules/source"
)

// Past is a policy of the history.
type Past struct {
	// Number is how `rollback` calls it: 1 is the one before what is enforced, 0 what is enforced itself.
	Number   int  `json:"number"`
	Enforced bool `json:"enforced"`
	store.Good
}

// History lists the last good policies, the newest first.
func (e *Enforcer) History() ([]Past, error) {
	all, err := e.dir.History()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	first := 1
	if run := e.running; run.Candidate != nil && e.pending == nil && len(all) > 0 && all[0].Digest == run.Digest {
		first = 0
	}
	list := make([]Past, len(all))
	for i, g := range all {
		list[i] = Past{Number: first + i, Enforced: first+i == 0, Good: g}
	}
	return list, nil
}

// Past is the entry of the history that has a number.
func (e *Enforcer) Past(number int) (Past, error) {
	list, err := e.History()
	if err != nil {
		return Past{}, err
	}
	for _, p := range list {
		if p.Number == number {
			return p, nil
		}
	}
	if len(list) == 0 {
		return Past{}, errors.New("there is no history: no policy was applied yet")
	}
	return Past{}, fmt.Errorf("the history has no policy %d: its last is %d, see 'ringwall history'", number, list[len(list)-1].Number)
}

// LoadPast loads a policy of the history, and proves it, briefly in a daemon. It may
// run beside the Enforcer's other methods.
func (e *Enforcer) LoadPast(p Past) (*Candidate, error) {
	g, err := e.dir.GoodPolicy(p.Digest)
	if err != nil {
		return nil, err
	}
	run, err := e.parse(g, fmt.Sprintf("policy %d of the history", p.Number))
	if err != nil {
		return nil, err
	}
	run.brief = e.opt.Lazy
	e.Prove(run.Candidate)
	return run.Candidate, nil
}

// GoBack enforces a policy of the history. What the files say, by entry file and digest, is refused where it is another one, so that no
// restart brings it back by itself.
func (e *Enforcer) GoBack(ctx context.Context, c *Candidate, who, entry, files string) (*Report, error) {
	c.Who = who
	r, err := e.Apply(ctx, c, RolledBack)
	if r.Applied && files != c.Digest {
		if failed := e.Refuse(entry, files, RolledBackBy(who)); failed != nil {
			r.note(failed.Error())
		}
	}
	return r, err
}

// RolledBackBy is why a policy is refused that somebody went back from.
func RolledBackBy(who string) string { return "it was rolled back by " + who }

// keep puts a policy that was just stored as the last good one into the history. That it can't is no reason to fail: the
// policy is enforced and stored.
func (e *Enforcer) keep(run Running, who string) {
	g := store.Good{
		Digest: run.Digest, Entry: run.Entry, Rules: run.Rules(), Source: string(run.Source), Who: who, Applied: run.Applied,
	}
	if c, ok := run.Bundle.Commit(run.Entry); ok {
		g.Commit, g.Dirty = c.ID, c.Dirty
	}
	if err := e.dir.AddGood(g); err != nil {
		e.opt.Log.Error("the policy is not in the history", "error", err)
	}
}

// who is who had a candidate applied.
func (e *Enforcer) who(c *Candidate) string {
	if c.Who != "" {
		return c.Who
	}
	return e.opt.Who
}

// parse loads a policy of the state directory, which was proved when it was stored. What is named in errors.
func (e *Enforcer) parse(g store.LastGood, what string) (Running, error) {
	bundle := &source.Bundle{}
	if err := json.Unmarshal(g.Bundle, bundle); err != nil {
		return Running{}, fmt.Errorf("%s: %w", what, err)
	}
	c := Load(bundle, g.Entry, e.trusted())
	if !c.OK() {
		return Running{}, fmt.Errorf("%s: %s", what, c.Problem())
	}
	c.Who = g.Who
	return Running{Candidate: c, Source: Source(g.Source), Applied: g.Applied}, nil
}
