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
	Results     []tested  `json:"results,omitempty"` // of the tests, in order
	Coverage    *coverage `json:"coverage,omitempty"`
}

// checkVerb reads policies, lints them and proves their tests.
func (f *front) checkVerb() *cobra.Command {
	var opt checkOptions
	verb := &cobra.Command{
		Use:   "check [FILE | REV:PATH]...",
		Short: "Check policies: errors, lints and their own tests",
		Long: text(`
			Reads policies with all that they include, and prints everything that is wrong with them: errors, failed tests, and
			warnings about rules that can't mean what they say. It needs no root, no kernel and no network, so it runs in a hook, a
			CI job or an editor as well as on the host.

			REV:PATH is a file of a git revision, as with 'git show': HEAD:ringwall.yaml is what is committed, :ringwall.yaml what is
			staged. What it includes comes from the same revision.

			With --coverage it also prints which rules no test touches: a test touches the rules that decide about some of the packets
			that it speaks of. With --junit the tests' outcome goes to a file for a CI server as well.

			Names of users are taken as they are; 'dry-run' and 'apply' look them up on the host.`),
		Example: examples(
			"the policy of this host", "ringwall check",
			"a fleet, as strictly as can be", "ringwall check --strict hosts/*.yaml",
			"for a CI server", "ringwall check --strict --coverage --junit tests.xml hosts/*.yaml",
			"what is committed, not what lies about", "ringwall check HEAD:hosts/web1/ringwall.yaml",
		),
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completePolicies,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{f.config}
			}
			opt.Options = here()
			return f.check(args, opt)
		},
	}
	verb.Flags().BoolVar(&opt.Strict, "strict", false, "make warnings errors")
	verb.Flags().BoolVar(&opt.NoLints, "no-lints", false, "leave lints out")
	verb.Flags().BoolVar(&opt.coverage, "coverage", false, "print which rules no test touches")
	verb.Flags().StringVar(&opt.junit, "junit", "", "write the tests' outcome to a `FILE`, in JUnit's XML")
	return verb
}

// checkOptions is how policies are checked, and what is said of them.
type checkOptions struct {
	enforce.LoadOptions
	coverage bool
	junit    string // a file; empty for none
}

func (f *front) check(names []string, opt checkOptions) error {
	var all []checked
	var suites []junitSuite
	failed := false
	for _, name := range names {
		fsys, entry, done, err := openPolicy(name, false)
		if err != nil {
			return err
		}
		c := enforce.Load(fsys, entry, opt.LoadOptions)
		done()
		r := checked{Policy: name, OK: c.OK(), Rules: c.Rules(), Diagnostics: c.Diags}
		if c.Policy != nil {
			r.Tests = len(c.Policy.Tests)
			r.Results = results(c)
			if opt.coverage {
				r.Coverage = newCoverage(c)
			}
		}
		suites = append(suites, newJUnitSuite(name, c))
		all = append(all, r)
		failed = failed || !r.OK
		if !f.json {
			f.printDiags(f.stdout, c.Diags, c.Bundle)
			fmt.Fprintln(f.stdout, f.verdictLine(r))
			f.printCoverage(r)
		}
	}
	if opt.junit != "" {
		if err := writeJUnit(opt.junit, suites); err != nil {
			return err
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
