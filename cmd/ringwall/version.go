package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

// versionVerb prints the release.
func (f *front) versionVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the release",
		Example: examples(
			"for a bug report", "ringwall version",
		),
		RunE: func(*cobra.Command, []string) error {
			if f.json {
				return f.writeJSON(struct {
					Version string `json:"version"`
					Go      string `json:"go"`
					Arch    string `json:"arch"`
				}{version, runtime.Version(), runtime.GOARCH})
			}
			fmt.Fprintf(f.stdout, "ringwall %s (%s, %s)\n", version, runtime.Version(), runtime.GOARCH)
			return nil
		},
	}
}
