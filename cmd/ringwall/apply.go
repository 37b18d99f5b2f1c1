package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/host"
	"ringwall/rules/policy"
)

// applyVerb enforces a policy.
func (f *front) applyVerb() *cobra.Command {
	var strict, force, lastGood bool
	var confirm string
	var watch observeFlags
	verb := &cobra.Command{
		Use:   "apply [FILE]",
		Short: "Enforce a policy, in one transaction",
		Long: text(`
			Reads the policy, proves it, compiles it, and has the kernel enforce it in one transaction: all of it or nothing. Counters,
			bans and rate limits stay as they are; established connections go on, unless the policy has those cut that it refuses.

			Where a daemon listens, the policy's contents are handed to it, and hold until the files that it watches change or it is
			started again; 'status' says so. Where none listens, this process applies the policy itself.

			As with 'run', the policy's files must be in the hands of root or of the user that --owner names; without it, of the user that
			the daemon's --owner names.

			A policy that would lock somebody out is not applied: where the next connection of a live SSH session would be refused, or
			where SSH listens, nobody has a session, and the policy has neither a failsafe nor a rule that admits anybody to it. --force
			goes on all the same.

			--confirm has the policy before come back unless 'ringwall confirm' arrives in time, over a connection that was opened
			after the change. The time runs on in the daemon, whatever becomes of this terminal; it needs a daemon. Within such a
			window, an apply without --confirm confirms what is pending, and must come over a new connection too.

			--observe enforces nothing: the policy that is enforced stays so, and the daemon counts and logs what this one would decide
			otherwise, until 'ringwall observe stop' or for as long as --for says. 'ringwall observe' shows it.

			--last-good enforces what the state directory holds instead: the policy that was enforced last, or, where there is none that
			can be used, the emergency policy. It is for the boot.`),
		Example: examples(
			"the policy of this host", "ringwall apply",
			"another one, for now", "ringwall apply other.yaml",
			"and back in a minute, unless it is confirmed", "ringwall apply --confirm 60s",
			"count what it would decide otherwise", "ringwall apply --observe new.yaml --for 7d",
			"at boot, before the network", "ringwall apply --last-good",
		),
		Args:              atMost(1),
		ValidArgsFunction: completePolicies,
		RunE: func(cmd *cobra.Command, args []string) error {
			if watch.on && confirm != "" {
				return usagef("--observe takes no --confirm: it enforces nothing")
			}
			if watch.on || watch.span != "" {
				return f.observe(cmd.Context(), args, watch, strict, lastGood)
			}
			if lastGood {
				if len(args) > 0 {
					return usagef("--last-good takes no policy: it applies the one that was enforced last")
				}
				if confirm != "" {
					return usagef("--last-good takes no --confirm: it is what comes back")
				}
				return f.applyLastGood(cmd.Context())
			}
			window, err := windowOf(confirm)
			if err != nil {
				return err
			}
			return f.apply(cmd.Context(), f.policyFile(args), control.PolicyRequest{
				Strict: strict, Force: force, Confirm: window, ConfirmRequest: f.confirmRequest(false), Sessions: f.sshSessions(),
			})
		},
	}
	verb.Flags().BoolVar(&strict, "strict", false, "make warnings errors")
	verb.Flags().BoolVar(&force, "force", false, "go on though it locks somebody out")
	verb.Flags().StringVar(&confirm, "confirm", "", "go back unless 'ringwall confirm' arrives within `D`: 60s, 5m")
	f.ownerFlag(verb)
	verb.Flags().BoolVar(&lastGood, "last-good", false, "enforce the stored policy, else the emergency policy")
	watch.define(verb)
	return verb
}

func (f *front) apply(ctx context.Context, name string, req control.PolicyRequest) error {
	if req.Confirm > 0 {
		if err := f.needsTimer(ctx); err != nil {
			return err
		}
	}
	read := f.working("reading " + name)
	files, err := f.trusted(ctx)
	if err != nil {
		return err
	}
	c := enforce.Load(files, absolute(name), onHost(req.Strict))
	read()
	r, err := daemonOrSelf(ctx, f, false,
		func(d *control.Client) (*enforce.Report, error) {
			return d.Apply(ctx, c, req.Strict, func(to *control.PolicyRequest) { req.Entry, req.Bundle = to.Entry, to.Bundle; *to = req })
		},
		func(e *enforce.Enforcer) (*enforce.Report, error) { return guarded(ctx, e, c, req.Force, req.Sessions) })
	if err != nil {
		return err
	}
	if !f.json {
		f.printDiags(f.stderr, r.Diagnostics, c.Bundle)
	}
	return f.applied(r)
}

func (f *front) applyLastGood(ctx context.Context) error {
	r, err := daemonOrSelf(ctx, f, false,
		func(d *control.Client) (*enforce.Report, error) {
			return nil, fmt.Errorf("a daemon (pid %d) enforces a policy here: --last-good is for when none runs", d.Hello().PID)
		},
		func(e *enforce.Enforcer) (*enforce.Report, error) { return e.ApplyStored(ctx) })
	if err != nil {
		return err
	}
	return f.applied(r)
}

// applied prints what came of an apply.
func (f *front) applied(r *enforce.Report) error {
	if f.json {
		if err := f.writeJSON(r); err != nil {
			return err
		}
	} else {
		f.printReport(r, "changed")
	}
	if !r.Applied {
		return told(exitFailed)
	}
	return nil
}

// onHost is how a policy is loaded that this host shall enforce.
func onHost(strict bool) enforce.LoadOptions {
	return enforce.LoadOptions{
		Options: policy.Options{User: host.User, Group: host.Group, Now: time.Now().Unix()},
		Strict:  strict,
		Host:    enforce.HostFacts,
	}
}

// sshSessions is the SSH session that this runs in, as far as that can be told.
func (f *front) sshSessions() []host.Session {
	if s, err := host.FindSession(f.getenv); err == nil {
		return []host.Session{s}
	}
	return nil
}

// guarded has an Enforcer of this process apply a candidate unless that would lock somebody out.
func guarded(ctx context.Context, e *enforce.Enforcer, c *enforce.Candidate, force bool, sessions []host.Session) (*enforce.Report, error) {
	var notes []string
	if c.OK() {
		var held *enforce.Report
		if held, notes = e.Guard(c, force, sessions...); held != nil {
			return held, nil
		}
	}
	r, err := e.Apply(ctx, c, enforce.Files)
	r.Notes = append(notes, r.Notes...)
	return r, err
}
