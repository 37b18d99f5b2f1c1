package daemon

import (
	"context"
	"slices"
	"strings"
	"testing"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
)

// idleText is webText with a rule that changes nothing.
var idleText = strings.Replace(webText, "in:\n", "in:\n  - {allow: http, from: 192.0.2.0/24, id: idle}\n", 1)

// idle tells whether a rule is said to change nothing.
func idle(diags diag.List) bool {
	return slices.ContainsFunc(diags, func(d diag.Diagnostic) bool { return d.Code == policy.LintNoEffect })
}

// TestLintsFollowTheCommit looks at a reload from within: nothing is linted until the kernel holds the policy.
func TestLintsFollowTheCommit(t *testing.T) {
	w := build(t, webText)
	d := w.within()
	d.begin(t)
	if c := chains(t); !c["in.web"] || c["in.idle"] {
		t.Fatalf("at the start the kernel holds %v", c)
	}
	w.save(t, idleText)
	r, err := d.takeBy(t.Context(), d.load(), func(ctx context.Context, c *enforce.Candidate) (*enforce.Report, error) {
		r, err := d.applyFiles(ctx, c)
		if holds := chains(t); !holds["in.idle"] {
			t.Errorf("once it is applied, the kernel holds %v", holds)
		}
		if len(c.Diags) > 0 {
			t.Errorf("found before it was applied: %v", c.Diags)
		}
		return r, err
	})
	if err != nil || !r.Applied || !idle(r.Diagnostics) || !idle(d.reload.Diagnostics) {
		t.Errorf("%+v, %v; %+v", r, err, d.reload)
	}
}

// TestStartBeforeLints looks at a start from within: the service manager is told of it before anything is linted, and a client hears of what
// was found from the first answer on.
func TestStartBeforeLints(t *testing.T) {
	w := build(t, idleText)
	var d *daemon
	told := false
	w.cfg.Notify = func(state string) {
		if told || !strings.HasPrefix(state, "READY=1\n") {
			return
		}
		told = true
		if holds := chains(t); !holds["in.idle"] {
			t.Errorf("once it is ready, the kernel holds %v", holds)
		}
		if found := d.enf.Running().Diags; len(found) > 0 {
			t.Errorf("found before it was ready: %v", found)
		}
	}
	d = w.within()
	d.begin(t)
	if !told || !idle(d.reload.Diagnostics) {
		t.Errorf("told: %v; %+v", told, d.reload)
	}
}

// TestLintsRefuseNothing saves a policy with a finding, and then one without.
func TestLintsRefuseNothing(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	w.save(t, idleText)
	w.reaches(t, "a policy with a finding is enforced", func(s *control.Status) bool {
		return s.Enforced && !s.Stale() && s.Rules == 2 && s.Reload.OK && idle(s.Reload.Diagnostics)
	})
	w.save(t, webText)
	w.reaches(t, "the finding is gone", func(s *control.Status) bool { return s.Rules == 1 && s.Reload.OK && !idle(s.Reload.Diagnostics) })
}
