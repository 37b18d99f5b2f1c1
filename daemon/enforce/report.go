package enforce

import (
	"errors"
	"slices"
	"strings"
	"syscall"

	"ringwall/daemon/impact"
	"ringwall/netfilter/kernel"
	"ringwall/rules/check"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
)

// Report is what came of a policy that was to be applied, or what would: the daemon's answer as well as a one-shot's.
type Report struct {
	Policy string `json:"policy"` // the entry file, as it was named
	Digest string `json:"digest"` // of all that the policy was read from
	Rules  int    `json:"rules"`  // enabled rules

	// Diagnostics is everything found about the policy. Where it has errors nothing else was tried.
	Diagnostics diag.List `json:"diagnostics,omitempty"`

	Changes []Change `json:"changes,omitempty"` // by rule, in the order of the new policy's page
	// Difference is the change by packets: what is treated differently than by the policy that is enforced. Dry-run only,
	// and nil where nothing is enforced or no rule changes.
	Difference *check.Difference `json:"difference,omitempty"`

	// Lockout is whom the policy would lock out, where it was held back for that.
	Lockout *impact.Lockout `json:"lockout,omitempty"`

	// Untrusted is why apply would refuse the policy though it has no error: files that others than root and the owner can write. Dry-run
	// only.
	Untrusted diag.List `json:"untrusted,omitempty"`

	// Impact is what the policy would mean for what the host has; dry-run only.
	Impact *impact.Preview `json:"impact,omitempty"`

	Kernel      string   `json:"kernel,omitempty"`       // the change to the kernel's table in one line; empty for none
	KernelLines []string `json:"kernel_lines,omitempty"` // the same, one operation a line; dry-run only
	NFT         string   `json:"nft,omitempty"`          // the whole compiled table; dry-run only, where asked for
	Costliest   []Way    `json:"costliest,omitempty"`    // ways of a packet, by direction; dry-run only

	// Cut is the connections that were cut, since the policy refuses them.
	Cut []impact.Refused `json:"cut,omitempty"`

	// Proof says that it was proved on a sample, where the daemon proves it wholly once it is enforced; else empty.
	Proof string `json:"proof,omitempty"`

	Validated bool   `json:"validated"` // the kernel has checked the change
	Applied   bool   `json:"applied"`   // the kernel enforces the policy now
	Source    Source `json:"source,omitempty"`

	// Awaited is set where what was applied waits for its confirmation.
	Awaited *Awaited `json:"awaited,omitempty"`

	// Open is set where the policy was not applied, and none is: the host is open.
	Open bool `json:"open,omitempty"`

	// Notes says what the user should know and no diagnostic tells: "not validated by the kernel: …".
	Notes []string `json:"notes,omitempty"`

	made   bool // the change made sets, or the whole table
	repair bool // the table is put back as it was
}

// Refused tells whether the policy has errors and was not, or would not be, applied.
func (r *Report) Refused() bool { return r.Diagnostics.HasErrors() }

// Pending tells whether there was, or is, something to change: in the policy or in the kernel's table.
func (r *Report) Pending() bool { return len(r.Changes) > 0 || r.Kernel != "" }

// note adds to Notes.
func (r *Report) note(text string) { r.Notes = append(r.Notes, text) }

// setChange notes what is done to the kernel's table.
func (r *Report) setChange(c *kernel.Change) {
	if !touches(c) {
		return
	}
	r.Kernel = c.String()
	r.made = c.Counts().Replace || c.Counts().SetsAdded > 0
}

// touches tells whether a change does more than to take over a table that a past owner left.
func touches(c *kernel.Change) bool {
	n := c.Counts()
	n.Adopt = false
	return n != (kernel.Counts{})
}

// unvalidated notes that the kernel has not checked the change, where that is for want of privileges; any other
// error it hands back.
func (r *Report) unvalidated(err error) error {
	if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EACCES) {
		return err
	}
	if owned := (*kernel.OwnedError)(nil); errors.As(err, &owned) {
		return err
	}
	r.note("not validated by the kernel, which takes root (CAP_NET_ADMIN): " + err.Error())
	return nil
}

// Change is one difference between the policy that is enforced and another, at the level of the policy.
type Change struct {
	check.Change
	What string `json:"what"` // its subject in words: "in.ssh-admins", "default in", "base invalid", "set banned"
}

// The kinds of change.
const (
	Added   = check.Added
	Removed = check.Removed
	Changed = check.Changed
	Moved   = check.Moved
)

// changes is the difference between what is enforced, nil for nothing, and a candidate.
func changes(running, c *Candidate) (list []Change) {
	var before *policy.Policy
	if running != nil {
		before = running.Policy
	}
	for _, ch := range check.Compare(before, c.Policy) {
		what := strings.Join(slices.DeleteFunc([]string{string(ch.Subject), ch.List, ch.Name}, func(s string) bool { return s == "" }), " ")
		if ch.Subject == check.SubjectRule {
			what = ch.List + "." + ch.Name
		}
		list = append(list, Change{ch, what})
	}
	return list
}

// setDifference notes what a candidate does to packets that the running policy does not. The daemon's loop waits for it:
// a quarter of the work that a person at a terminal may ask for.
func (e *Enforcer) setDifference(c *Candidate, r *Report) {
	if running := e.running.Candidate; running != nil && len(r.Changes) > 0 {
		r.Difference = check.Diff(running.Policy, c.Policy, check.DiffOptions{Now: e.opt.Now().Unix(), Work: check.DiffWork / 4})
	}
}

// Source says where an enforced policy came from.
type Source string

// The sources of a policy.
const (
	Files      Source = "files"     // read from its files
	Socket     Source = "socket"    // handed over the control socket; the files say something else
	LastGood   Source = "last-good" // stored, since the files are broken or were not to be read
	RolledBack Source = "rollback"  // of the history, brought back by a user
	Emergency  Source = "emergency" // neither the files nor a stored policy could be used
	Opened     Source = "open"      // none: the wall was taken down
)
