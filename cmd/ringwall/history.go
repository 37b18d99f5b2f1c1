package main

import (
	"context"
	"fmt"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/rules/diag"
)

// historyVerb lists the last good policies.
func (f *front) historyVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "history",
		Short: "List the last ten good policies",
		Long: text(`
			Lists the policies that were enforced, the newest first, up to ten: when, by whom, and, where the policy lies in a git
			repository, the commit that was checked out; a plus after it says that a file had been edited since git add.
			'rollback N' goes back to the one with that number; 0 is what is enforced.`),
		Example: examples(
			"what was enforced when?", "ringwall history",
			"for a program", "ringwall history --json",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.history(cmd.Context()) },
	}
}

func (f *front) history(ctx context.Context) error {
	list, err := daemonOrSelf(ctx, f, true,
		func(d *control.Client) ([]enforce.Past, error) { return d.History(ctx) },
		func(e *enforce.Enforcer) ([]enforce.Past, error) { return e.History() })
	if err != nil {
		return err
	}
	if f.json {
		return f.writeJSON(append([]enforce.Past{}, list...))
	}
	if len(list) == 0 {
		fmt.Fprintln(f.stdout, "no policy was applied yet")
		return nil
	}
	table := tabwriter.NewWriter(f.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "N\tapplied\tdigest\trules\tcommit\tby\tpolicy")
	for _, p := range list {
		commit := short(p.Commit)
		if p.Dirty {
			commit += "+"
		}
		fmt.Fprintf(table, "%d\t%s\t%s\t%d\t%s\t%s\t%s\n",
			p.Number, p.Applied.Local().Format(time.DateTime), short(p.Digest), p.Rules, commit, diag.Visible(p.Who), diag.Visible(p.Entry))
	}
	return table.Flush()
}

// rollbackVerb goes back to a good policy.
func (f *front) rollbackVerb() *cobra.Command {
	var confirm string
	var force, anySession bool
	verb := &cobra.Command{
		Use:   "rollback [N]",
		Short: "Go back to the policy before, or to number N of the history",
		Long: text(`
			Enforces a policy of the history again, the one before what is enforced where no number is given. While a change awaits
			its confirmation that is the one which would come back by itself.

			The policy's files stay as they are. What they say is not loaded by the daemon, now or after a restart, until they are
			edited or 'apply' names them; 'status' says so.`),
		Example: examples(
			"undo the last change", "ringwall rollback",
			"the policy that 'history' calls 3, and back unless it is confirmed", "ringwall rollback 3 --confirm 60s",
		),
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := control.RollbackRequest{Number: 1, Force: force, ConfirmRequest: f.confirmRequest(anySession), Sessions: f.sshSessions()}
			var err error
			if len(args) > 0 {
				if req.Number, err = strconv.Atoi(args[0]); err != nil || req.Number < 0 {
					return usagef("%q is no number of the history", args[0])
				}
			}
			if req.Confirm, err = windowOf(confirm); err != nil {
				return err
			}
			return f.rollback(cmd.Context(), req)
		},
	}
	verb.Flags().StringVar(&confirm, "confirm", "", "come back here unless 'ringwall confirm' arrives within `D`: 60s, 5m")
	verb.Flags().BoolVar(&force, "force", false, "go on though it locks somebody out")
	f.anySessionFlag(verb, &anySession)
	return verb
}

func (f *front) rollback(ctx context.Context, req control.RollbackRequest) error {
	if req.Confirm > 0 {
		if err := f.needsTimer(ctx); err != nil {
			return err
		}
	}
	r, err := daemonOrSelf(ctx, f, false,
		func(d *control.Client) (*enforce.Report, error) { return d.Rollback(ctx, req) },
		func(e *enforce.Enforcer) (*enforce.Report, error) { return f.goBack(ctx, e, req) })
	if err != nil {
		return err
	}
	return f.applied(r)
}

// goBack has an Enforcer of this process go back.
func (f *front) goBack(ctx context.Context, e *enforce.Enforcer, req control.RollbackRequest) (*enforce.Report, error) {
	if e.Pending() != nil && req.Number == 1 {
		return e.RollBack(ctx, enforce.RolledBackBy(f.who()))
	}
	p, err := e.Past(req.Number)
	if err != nil {
		return nil, err
	}
	c, err := e.LoadPast(p)
	if err != nil {
		return nil, err
	}
	held, notes := e.Guard(c, req.Force, req.Sessions...)
	if held != nil {
		return held, nil
	}
	files, err := f.trusted(ctx)
	if err != nil {
		return nil, err
	}
	now := enforce.Load(files, absolute(f.config), onHost(false))
	r, err := e.GoBack(ctx, c, f.who(), now.Entry, now.Digest)
	r.Notes = append(notes, r.Notes...)
	return r, err
}

// needsTimer is nil where a daemon runs, whose timer a window needs.
func (f *front) needsTimer(ctx context.Context) error {
	c, err := f.needDaemon(ctx, "--confirm needs its timer, which brings the policy before back")
	if err == nil {
		c.Close()
	}
	return err
}
