package enforce

import (
	"encoding/json"

	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// Candidate is a policy that was read, and everything found about it: what `check` prints and Apply enforces.
type Candidate struct {
	Entry  string          // the entry file, as it was named
	Policy *policy.Policy  // nil exactly where Diags has errors of the policy's own making
	Diags  diag.List       // parse errors, lints, failed tests; sorted
	Bundle json.RawMessage // source.Bundle: all that was read, failures included
	Digest string          // of the bundle
}

// LoadOptions is what a load needs from outside.
type LoadOptions struct {
	policy.Options
	// Strict makes warnings errors.
	Strict bool
	// Trusted leaves lints and tests out: for a policy that passed them before.
	Trusted bool
}

// OK tells whether the candidate may be enforced.
func (c *Candidate) OK() bool { return c.Policy != nil && !c.Diags.HasErrors() }

// Load reads a policy, lints it and proves its tests. What is wrong with it is in the candidate's Diags.
func Load(fsys source.FS, entry string, opt LoadOptions) *Candidate {
	p, diags := policy.Load(fsys, entry, opt.Options)
	return &Candidate{Entry: entry, Policy: p, Diags: diags}
}
