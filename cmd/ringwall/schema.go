package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ringwall/configs"
)

// schemaVerb prints the policy language as JSON Schema.
func (f *front) schemaVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the policy language as JSON Schema, for editors",
		Long: text(`
			Prints the JSON Schema (draft 7) of policy files. An editor that knows it completes keys, explains them and marks what is
			wrong while it is typed. 'ringwall check' knows more: names, families, rules that can never match, tests.`),
		Example: examples(
			"write it beside the policies", "ringwall schema >schema.json",
			"and name it in the first line of a policy", "# yaml-language-server: $schema=schema.json",
		),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(f.stdout, configs.Schema)
			return err
		},
	}
}
