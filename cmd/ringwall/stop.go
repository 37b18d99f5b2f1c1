package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
)

// stopVerb takes the wall down.
func (f *front) stopVerb() *cobra.Command {
	var open, force bool
	verb := &cobra.Command{
		Use:   "stop --open",
		Short: "Take the wall down: nothing is judged any more",
		Long: text(`
			Removes Ringwall's table from the kernel. Everything that reaches the host then gets in, until the next 'apply' or 'reload',
			or until the daemon is started again, at the next boot at the latest. A policy file that is saved meanwhile is not enforced.

			Stopping the daemon ('systemctl stop ringwall') does not open the host: its rules stay in the kernel.`),
		Example: examples(
			"asks first", "ringwall stop --open",
			"does not", "ringwall stop --open --force",
		),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !open {
				return usagef("this opens the host: say --open. 'systemctl stop ringwall' ends the daemon and keeps the rules")
			}
			return f.stop(cmd.Context(), force)
		},
	}
	verb.Flags().BoolVar(&open, "open", false, "yes, open the host")
	verb.Flags().BoolVar(&force, "force", false, "ask nothing")
	return verb
}

func (f *front) stop(ctx context.Context, force bool) error {
	if !force {
		if err := f.confirm("This host will be open: everything that reaches it gets in.", "open"); err != nil {
			return err
		}
	}
	_, err := daemonOrSelf(ctx, f, false,
		func(d *control.Client) (struct{}, error) { return struct{}{}, d.TakeDown(ctx) },
		func(e *enforce.Enforcer) (struct{}, error) { return struct{}{}, e.TakeDown(ctx) })
	if err != nil {
		return err
	}
	if f.json {
		return f.writeJSON(struct {
			Open bool `json:"open"`
		}{true})
	}
	fmt.Fprintln(f.stdout, "the host is open: 'ringwall apply' closes it again")
	return nil
}
