package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ringwall/rules/source"
)

// reloadVerb has the daemon read its files again.
func (f *front) reloadVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the daemon read its files again, and wait for the outcome",
		Long: text(`
			The daemon notices changes by itself. This waits until it has read its files once more, and fails if the policy is refused.
			A policy that was handed over with 'apply FILE' gives way to the files.`),
		Example: examples(
			"after a git pull", "ringwall reload",
		),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.dial(cmd.Context())
			if err != nil {
				return err
			}
			if c == nil {
				return fmt.Errorf("no daemon listens on %s: 'ringwall apply' enforces the policy without one", f.socket)
			}
			defer c.Close()
			r, err := c.Reload(cmd.Context())
			if err != nil {
				return err
			}
			if !f.json {
				f.printDiags(f.stderr, r.Diagnostics, source.OS{})
			}
			return f.applied(r)
		},
	}
}
