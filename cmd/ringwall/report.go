package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"ringwall/daemon/enforce"
	"ringwall/rules/policy"
)

// printReport prints what an apply changed, or would.
func (f *front) printReport(r *enforce.Report, changed string) {
	f.printNotes(f.stderr, r)
	if r.Refused() {
		fmt.Fprintf(f.stdout, "%s: refused: %s; %s\n", r.Policy, r.Diagnostics.Summary(), stays(r))
		return
	}
	if r.Lockout != nil {
		fmt.Fprintf(f.stdout, "%s: not applied, since it would lock somebody out; %s\n", r.Policy, stays(r))
		for _, line := range r.Lockout.Lines() {
			fmt.Fprintf(f.stdout, "  %s\n", line)
		}
		fmt.Fprintln(f.stdout, "admit them, by a rule or in failsafe; or say --force, or --confirm 60s")
		return
	}
	paint := f.ink(f.stdout)
	what := width(24, func(yield func(string) bool) {
		for _, c := range r.Changes {
			if !yield(c.What) {
				return
			}
		}
	})
	for _, c := range r.Changes {
		f.printChange(paint, c, what)
	}
	if d := r.Difference; d != nil {
		fmt.Fprintln(f.stdout, "by packets:")
		f.printDifference(f.stdout, d, "  ")
		if d.None() {
			fmt.Fprintln(f.stdout, "  no packet is treated differently")
		}
	}
	if r.Impact != nil {
		f.printImpact(r.Impact)
	}
	if len(r.Untrusted) > 0 {
		fmt.Fprintln(f.stdout, "apply would refuse it, since others could change its files:")
		for _, d := range r.Untrusted {
			fmt.Fprintf(f.stdout, "  %s\n", d)
		}
	}
	f.printCut(r.Cut)
	switch {
	case !r.Pending():
		fmt.Fprintf(f.stdout, "%s: nothing %s, %s enforced\n", r.Policy, changed, count(r.Rules, "rule"))
	case len(r.Changes) == 0:
		fmt.Fprintf(f.stdout, "%s: no rule %s\n", r.Policy, changed)
	default:
		fmt.Fprintf(f.stdout, "%s: %s\n", r.Policy, count(len(r.Changes), "change"))
	}
	if r.Kernel != "" {
		fmt.Fprintf(f.stdout, "kernel: %s%s\n", r.Kernel, f.asked(r))
	}
	if r.Proof != "" {
		fmt.Fprintf(f.stdout, "%s: the whole proof follows, and 'ringwall status' tells of it\n", r.Proof)
	}
	if r.Awaited != nil {
		fmt.Fprintf(f.stdout, "not confirmed: %s\n", awaited(r.Awaited))
	}
	if slices.ContainsFunc(r.Costliest, enforce.Way.Long) {
		fmt.Fprintf(f.stdout, "costliest way of a packet: %s\n", ways(r.Costliest))
	}
}

// stays is what holds after a policy was not applied.
func stays(r *enforce.Report) string {
	if r.Open {
		return "nothing is enforced: the host is still OPEN"
	}
	return "what was enforced before still is"
}

// ways is how much a packet may pass, by direction: "in 9 lookups and 131 rules, out 0 and 14".
func ways(list []enforce.Way) string {
	var parts []string
	for i, w := range list {
		if i == 0 {
			parts = append(parts, fmt.Sprintf("%s %s and %s", w.List, count(w.Lookups, "lookup"), count(w.Rules, "rule")))
		} else {
			parts = append(parts, fmt.Sprintf("%s %d and %d", w.List, w.Lookups, w.Rules))
		}
	}
	return strings.Join(parts, ", ")
}

// asked says how far the kernel has agreed to a change.
func (f *front) asked(r *enforce.Report) string {
	switch {
	case r.Applied:
		return ""
	case r.Validated:
		return " (validated, not committed)"
	}
	return " (not validated)"
}

// printChange prints one change, with its place in the policy.
func (f *front) printChange(paint ink, c enforce.Change, what int) {
	at := ""
	if c.At != "" {
		at = "  " + paint.faint(c.At)
	}
	line := func(sign, text, at string) {
		fmt.Fprintf(f.stdout, "%s %s  %s%s\n", sign, pad(c.What, what), text, at)
	}
	switch c.Kind {
	case enforce.Added:
		line(paint.green("+"), c.New, at)
	case enforce.Removed:
		line(paint.red("-"), c.Old, at)
	case enforce.Moved:
		line(paint.yellow(">"), c.New, at)
	default:
		line(paint.yellow("~"), c.New, at)
		fmt.Fprintf(f.stdout, "  %s  %s\n", pad("", what), paint.faint("was "+c.Old))
	}
}

// printNotes prints what the user should know beside the change.
func (f *front) printNotes(w io.Writer, r *enforce.Report) {
	for _, n := range r.Notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

// decider is what decided, with its place: "rule ssh-admins, web.yaml:12".
func decider(d policy.Decision) string {
	name := d.By
	if d.Rule != nil {
		name = "rule " + d.By
	}
	if d.At.IsZero() {
		return name
	}
	return name + ", " + d.At.Short()
}
