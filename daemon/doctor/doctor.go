// Package doctor looks for what keeps a host from doing what its policy says: other firewalls, and the host's own setup.
//
// Each check is a function of what was read, and what can't be read is said, not taken for good.
package doctor

import (
	"strings"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/neighbours"
	"ringwall/rules/policy"
)

// Report is what was found.
type Report struct {
	Chains   []neighbours.Chain `json:"chains"` // on the hooks that packets pass, in order, Ringwall's too
	Findings []Finding          `json:"findings"`
	Unseen   []string           `json:"unseen,omitempty"` // what could not be looked at, and why
}

// Problems is how many findings ask for something to be done.
func (r *Report) Problems() (n int) {
	for _, f := range r.Findings {
		if f.Problem {
			n++
		}
	}
	return n
}

// Finding is one thing that was found.
type Finding struct {
	Problem bool     `json:"problem"` // false for what is worth knowing, and as it should be
	About   string   `json:"about"`   // "table ip filter, chain INPUT", "daemon"
	Text    string   `json:"text"`
	Do      []string `json:"do,omitempty"` // what can be done about it
}

func problem(about, text string, do ...string) Finding { return Finding{true, about, text, do} }

func note(about, text string, do ...string) Finding { return Finding{false, about, text, do} }

// Subject is all that is examined. What is missing is left out; the caller says in Unseen why.
type Subject struct {
	Tables  []kernel.Table
	Devices []Device
	Status  *control.Status // of the daemon, or of the state directory where none runs; nil where it can't be told
	Daemon  bool            // one is there
	Policy  *policy.Policy  // as the files say
	Files   []string        // of the policy
	State   string          // the state directory
	Root    Root
	Own     func(table string) bool // which inet tables are Ringwall's
}

// Examine looks at everything.
func Examine(s *Subject) *Report {
	r := &Report{Chains: neighbours.Chains(s.Tables, s.Own), Findings: []Finding{}}
	add := func(list []Finding) { r.Findings = append(r.Findings, list...) }
	add(enforcing(s.Status, s.Daemon))
	add(others(r.Chains))
	add(devices(s.Devices))
	for _, check := range []func() ([]Finding, error){
		s.Root.legacy, s.Root.boot, s.Root.rivals, s.Root.tracking,
		func() ([]Finding, error) { return s.Root.forwarding(s.Policy) },
		func() ([]Finding, error) { return s.Root.state(s.State) },
		func() ([]Finding, error) { return s.Root.written(s.Files) },
	} {
		found, err := check()
		add(found)
		if err != nil {
			r.Unseen = append(r.Unseen, strings.Split(err.Error(), "\n")...)
		}
	}
	return r
}

// enforcing tells whether the policy of the files is enforced, and looked after.
func enforcing(s *control.Status, daemon bool) (out []Finding) {
	switch {
	case s == nil:
	case s.Source == enforce.Opened:
		out = append(out, problem("policy", "the wall was taken down: nothing is enforced, the host is open", "`ringwall reload` puts it up again"))
	case !s.Enforced:
		out = append(out, problem("policy", "nothing is enforced, or not what was committed last", "`ringwall status` says why; `systemctl start ringwall`, or `ringwall apply`"))
	case s.Wrong():
		out = append(out, problem("policy", s.Proof.Text, "`ringwall rollback`, or write the rule in another way"))
	case s.Stale():
		out = append(out, stale(s, daemon))
	}
	if !daemon {
		out = append(out, problem("daemon", "none answers: edits are not noticed, and what others do to the table is not undone", "`systemctl enable --now ringwall`"))
	}
	return out
}

// stale says why something else is enforced than the files say, and what to do.
func stale(s *control.Status, daemon bool) Finding {
	again := "`ringwall apply`"
	if daemon {
		again = "saving it is enough"
	}
	switch r := s.Reload; {
	case r.Held:
		return problem("policy", "the files are "+r.Error, "mend them: "+again, "`ringwall apply` enforces them as they are; with `--force` though it locks somebody out")
	case r.Diagnostics.HasErrors():
		return problem("policy", "the files are broken, and what was enforced before still is: "+r.Error, "mend what is broken: "+again)
	case !r.OK && daemon:
		return problem("policy", "the files could not be enforced: "+r.Error, "the daemon tries again every few seconds; `ringwall reload` does at once")
	case !daemon:
		return problem("policy", "something else is enforced than the files say", "`ringwall apply` enforces the files")
	case s.Source == enforce.Socket:
		return problem("policy", "a policy that was applied by hand is enforced, not the files", "`ringwall reload` goes back to the files")
	}
	return problem("policy", "something else is enforced than the files say", "`ringwall reload` enforces the files")
}
