package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// dryRunVerb shows what apply would do.
func (f *front) dryRunVerb() *cobra.Command {
	var strict, nft bool
	verb := &cobra.Command{
		Use:   "dry-run [FILE | REV:PATH]",
		Short: "Show what apply would change, validated by the kernel",
		Long: text(`
			Does all that 'apply' would do, up to the kernel's own validation of the whole change, and commits nothing. It prints the
			change by rule, as a reader of the policy would call it:

			  + added   - removed   ~ changed   > moved

			Below it stands the change by packets: which are treated differently than now, as with 'diff'. Where rules are looked up
			or very many, the last line bounds what a packet may pass, in lookups and rules of the kernel.

			Then it says what the policy would mean for what this host has at the moment: which live connections it would refuse as new
			ones, by which rule, and whether they would be cut; and which listening sockets would become reachable (+) or unreachable (-),
			from where. --json lists all of them. Whom the policy would lock out is said last, since 'apply' would refuse it.

			Where a daemon runs it is asked, since it alone may write its table. Without privileges the kernel can't be asked, and the
			answer says so.

			Exit codes: 0 nothing would change, 2 something would, 1 the policy is refused, or 'apply' would refuse it: it would lock
			somebody out, or others than root and the owner that --owner names can write its files.`),
		Example: examples(
			"what would saving this file do?", "ringwall dry-run",
			"what would the committed state do?", "ringwall dry-run HEAD:ringwall.yaml",
			"the whole table, as nft would print it", "ringwall dry-run --nft",
		),
		Args:              atMost(1),
		ValidArgsFunction: completePolicies,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.dryRun(cmd.Context(), f.policyFile(args), strict, nft)
		},
	}
	verb.Flags().BoolVar(&strict, "strict", false, "make warnings errors")
	f.ownerFlag(verb)
	verb.Flags().BoolVar(&nft, "nft", false, "print the whole compiled table in nft's syntax instead")
	return verb
}

func (f *front) dryRun(ctx context.Context, name string, strict, nft bool) error {
	fsys, entry, done, err := openPolicy(name, true)
	if err != nil {
		return err
	}
	defer done()
	c, untrusted, err := f.lookedAt(ctx, fsys, entry, strict)
	if err != nil {
		return err
	}
	alone := func(e *enforce.Enforcer) (*enforce.Report, error) {
		r, err := e.DryRun(ctx, c, nft)
		if err == nil && c.OK() {
			e.Preview(c, f.sshSessions()...)(r)
		}
		return r, err
	}
	r, err := daemonOrSelf(ctx, f, true, func(d *control.Client) (*enforce.Report, error) {
		return d.DryRun(ctx, c, strict, nft, f.sshSessions()...)
	}, alone)
	if errors.Is(err, control.ErrDenied) {
		// The daemon validates for root alone; what needs no kernel can be said to everybody.
		e, openErr := f.open(ctx, true)
		if openErr != nil {
			return errors.Join(err, openErr)
		}
		defer e.Close()
		if r, err = alone(e); err == nil && e.Running().Candidate == nil {
			r.Notes = append(r.Notes, "the daemon answers root alone: compared with nothing, so that every rule counts as added")
		}
	}
	if err != nil {
		return err
	}
	r.Untrusted = untrusted
	switch {
	case f.json:
		if err := f.writeJSON(r); err != nil {
			return err
		}
	case nft: // of a policy that is refused there is no table
		f.printDiags(f.stderr, r.Diagnostics, c.Bundle)
		f.printNotes(f.stderr, r)
		fmt.Fprint(f.stdout, r.NFT)
	default:
		f.printDiags(f.stderr, r.Diagnostics, c.Bundle)
		f.printReport(r, "would change")
	}
	switch {
	case r.Refused(), len(r.Untrusted) > 0, r.Impact != nil && r.Impact.Lockout != nil:
		return told(exitFailed)
	case r.Pending():
		return told(exitPending)
	}
	return nil
}

// lookedAt loads a policy that is not to be enforced. Of files that apply would not trust it says so.
func (f *front) lookedAt(ctx context.Context, fsys source.FS, entry string, strict bool) (c *enforce.Candidate, untrusted diag.List, err error) {
	if _, files := fsys.(source.OS); !files {
		return enforce.Load(fsys, entry, onHost(strict)), nil, nil
	}
	trusted, err := f.trusted(ctx)
	if err != nil {
		return nil, nil, err
	}
	c = enforce.Load(trusted, entry, onHost(strict))
	for _, d := range c.Diags {
		if d.Code == policy.Untrusted {
			untrusted = append(untrusted, d)
		}
	}
	if untrusted != nil {
		c = enforce.Load(fsys, entry, onHost(strict))
	}
	return c, untrusted, nil
}
