package enforce

import (
	"fmt"

	"ringwall/daemon/watch"
	"ringwall/netfilter/host"
	"ringwall/rules/check"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// Candidate is a policy that was read, and everything found about it: what `check` prints and Apply enforces.
type Candidate struct {
	Entry  string              // the entry file, as it was named
	Policy *policy.Policy      // nil where the text has errors
	Diags  diag.List           // mistakes, lints and failed tests, by place
	Tests  []check.Result      // of the policy's tests, in order; none where it has errors or is trusted
	Bundle *source.Bundle      // all that was read or looked for, failures included; nil once Forget has dropped it
	Digest string              // of the bundle: the same for two candidates that were read from the same contents
	Print  *source.Fingerprint // of the bundle: what is needed of it to see whether the files still say this
	Who    string              // who has it applied, for the record; empty for Options.Who

	proof  *proof // what Prove made of it
	brief  bool   // prove it on a sample
	linted bool
	bytes  int // of all files that were read

	host func() *check.Host
}

// LoadOptions is what a load needs from outside.
type LoadOptions struct {
	policy.Options
	// Strict makes warnings errors.
	Strict bool
	// NoLints leaves lints out, but not tests.
	NoLints bool
	// Brief has the compiled form proved on a sample, so that a file that was saved is enforced at once. A dry run of the
	// same file proves it at every corner.
	Brief bool
	// Host is what lints are told of the host; nil, and a nil answer, leave out those that need it.
	Host func() *check.Host
	// Trusted leaves lints and tests out: for a policy that passed them before.
	Trusted bool
}

// LoadOptions is how a policy is loaded that this Enforcer is to enforce: with the accounts of this host.
func (e *Enforcer) LoadOptions() LoadOptions {
	return LoadOptions{Options: policy.Options{User: host.User, Group: host.Group, Now: e.opt.Now().Unix()},
		Host: func() *check.Host { return Facts(e.host) }}
}

// trusted is LoadOptions for what was proved when it was stored.
func (e *Enforcer) trusted() LoadOptions {
	opt := e.LoadOptions()
	opt.Trusted = true
	return opt
}

// Load reads a policy, lints it and proves its tests. What is wrong with it is in the candidate's Diags.
func Load(fsys source.FS, entry string, opt LoadOptions) *Candidate {
	rec := source.NewRecorder(fsys)
	c := &Candidate{Entry: entry, host: opt.Host, brief: opt.Brief}
	c.Policy, c.Diags = policy.Load(rec, entry, opt.Options)
	c.Bundle = rec.Bundle()
	c.Digest, c.Print = rec.Digest(), rec.Fingerprint()
	for _, f := range c.Bundle.Files {
		c.bytes += len(f.Data)
	}
	if c.Policy != nil && !opt.Trusted {
		c.Tests = check.Tests(c.Policy)
		c.Diags = append(c.Diags, check.TestDiagnostics(c.Tests)...)
		if !opt.NoLints {
			c.Lint(opt.Now)
		}
	}
	if opt.Strict {
		for i := range c.Diags {
			if c.Diags[i].Severity == diag.Warning {
				c.Diags[i].Severity = diag.Error
			}
		}
	}
	c.Diags.Sort()
	return c
}

// Lint adds the lints that Load was told to leave out, as of a time in Unix seconds.
func (c *Candidate) Lint(now int64) {
	if c.Policy == nil || c.linted {
		return
	}
	c.linted = true
	c.Diags = append(c.Diags, check.Lint(c.Policy, now)...)
	if c.host != nil {
		if h := c.host(); h != nil {
			c.Diags = append(c.Diags, check.LintHost(c.Policy, h)...)
		}
	}
	c.Diags.Sort()
}

// Replay loads a policy again from a bundle, without its files.
func Replay(entry string, b *source.Bundle, opt LoadOptions) (*Candidate, error) {
	if b == nil {
		return nil, fmt.Errorf("policy %s comes without its contents", entry)
	}
	return Load(b, entry, opt), nil
}

// Paths is what to watch for changes of the candidate.
func (c *Candidate) Paths() watch.Paths {
	w := c.Bundle.Watched()
	return watch.Paths{Files: w.Files, Globs: w.Globs}
}

// OK tells whether the candidate may be enforced.
func (c *Candidate) OK() bool { return c.Policy != nil && !c.Diags.HasErrors() }

// Problem is the first error in one line, with how many follow; empty where the candidate is OK.
func (c *Candidate) Problem() string {
	var first string
	more := -1
	for _, d := range c.Diags {
		if d.Severity == diag.Error {
			if more++; more == 0 {
				first = d.String()
			}
		}
	}
	if more > 0 {
		return fmt.Sprintf("%s (and %d more)", first, more)
	}
	return first
}

// Rules is how many rules are enabled.
func (c *Candidate) Rules() (n int) {
	if c.Policy != nil {
		for _, list := range c.Policy.Lists {
			n += len(list)
		}
	}
	return n
}
