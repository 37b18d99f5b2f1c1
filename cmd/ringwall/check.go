package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"ringwall/daemon/enforce"
	"ringwall/rules/diag"
)

// checked is what check found out about one policy.
type checked struct {
	Policy      string    `json:"policy"`
	OK          bool      `json:"ok"`
	Rules       int       `json:"rules"` // enabled ones
	Tests       int       `json:"tests"`
	Diagnostics diag.List `json:"diagnostics"`
}

// checkVerb reads policies, lints them and proves their tests.
func (f *front) checkVerb() *cobra.Command {
	var strict, noLints bool
	verb := &cobra.Command{
		Use:   "check [FILE | REV:PATH]...",
		Short: "Check policies: errors, lints and their own tests",
		Long: text(`
			Reads policies with all that they include, and prints everything that is wrong with them: errors, failed tests, and
			warnings about rules that can't mean what they say. It needs no root, no kernel and no network, so it runs in a hook, a
			CI job or an editor as well as on the host.

			REV:PATH is a file of a git revision, as with 'git show': HEAD:ringwall.yaml is what is committed, :ringwall.yaml what is
			staged. What it includes comes from the same revision.

			Names of users are taken as they are; 'dry-run' and 'apply' look them up on the host.`),
		Example: examples(
			"the policy of this host", "ringwall check",
			"a fleet, as strictly as can be", "ringwall check --strict hosts/*.yaml",
			"what is committed, not what lies about", "ringwall check HEAD:hosts/web1/ringwall.yaml",
		),
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completePolicies,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{f.config}
			}
			return f.check(args, enforce.LoadOptions{Options: here(), Strict: strict, NoLints: noLints})
		},
	}
	verb.Flags().BoolVar(&strict, "strict", false, "make warnings errors")
	verb.Flags().BoolVar(&noLints, "no-lints", false, "leave lints out")
	return verb
}

func (f *front) check(names []string, opt enforce.LoadOptions) error {
	var all []checked
	failed := false
	for _, name := range names {
		fsys, entry, done, err := openPolicy(name, false)
		if err != nil {
			return err
		}
		c := enforce.Load(fsys, entry, opt)
		done()
		r := checked{Policy: name, OK: c.OK(), Rules: c.Rules(), Diagnostics: c.Diags}
		if c.Policy != nil {
			r.Tests = len(c.Policy.Tests)
		}
		all = append(all, r)
		failed = failed || !r.OK
		if !f.json {
			f.printDiags(f.stdout, c.Diags, c.Bundle)
			fmt.Fprintln(f.stdout, f.verdictLine(r))
		}
	}
	if f.json {
		err := f.writeJSON(struct {
			OK       bool      `json:"ok"`
			Policies []checked `json:"policies"`
		}{!failed, all})
		if err != nil {
			return err
		}
	}
	if failed {
		return told(exitFailed)
	}
	return nil
}

// verdictLine sums one policy up.
func (f *front) verdictLine(r checked) string {
	paint := f.ink(f.stdout)
	found := r.Diagnostics.Summary()
	if !r.OK {
		return fmt.Sprintf("%s: %s: %s", r.Policy, paint.red("refused"), found)
	}
	line := fmt.Sprintf("%s: %s, %s", r.Policy, paint.green("good"), count(r.Rules, "rule"))
	if r.Tests > 0 {
		line += fmt.Sprintf(", %s passed", count(r.Tests, "test"))
	}
	if found != "" {
		line += ", " + found
	}
	return line
}
