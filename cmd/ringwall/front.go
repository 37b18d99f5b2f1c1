package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// front is one call of the program: what it was given, and where it answers.
type front struct {
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	config, stateDir, socket string // flags of every verb
	json                     bool
	owner                    string // of the verbs that read a policy to enforce it

	meter *meter // of what is under way; nil where nobody is told
}

// The exit codes.
const (
	exitFailed  = 1
	exitPending = 2 // dry-run and diff: there is something to change
	exitUsage   = 64
)

// exit is an error that carries its exit code. One without an error has been told already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usagef is a call that can't be meant.
func usagef(format string, args ...any) error {
	return &exit{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// told is a failure that the verb has printed itself.
func told(code int) error { return &exit{code: code} }

// serve does what the arguments ask for and returns the exit code.
func (f *front) serve(ctx context.Context) int {
	root := f.command()
	root.SetArgs(f.args)
	root.SetIn(f.stdin)
	root.SetOut(f.stdout)
	root.SetErr(f.stderr)
	verb, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	e := &exit{code: exitFailed, err: err}
	errors.As(err, &e)
	if e.err == nil {
		return e.code
	}
	if f.json {
		f.writeJSON(struct {
			Error string `json:"error"`
		}{err.Error()})
	}
	fmt.Fprintf(f.stderr, "ringwall: %v\n", err)
	if e.code == exitUsage {
		fmt.Fprintf(f.stderr, "try '%s --help'\n", verb.CommandPath())
	}
	return e.code
}

// The defaults of the flags of every verb.
const (
	defaultConfig   = "/etc/ringwall/ringwall.yaml"
	defaultStateDir = "/var/lib/ringwall"
	defaultSocket   = "/run/ringwall/ringwall.sock"
)

// command is the tree of verbs.
func (f *front) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "ringwall VERB",
		Short: "A host firewall: YAML policy in git, proved, compiled to nftables, kept true",
		Long: text(`
			Ringwall reads a policy from YAML files, proves it, shows what a change would do, enforces it in the kernel in one
			transaction, and keeps it true while the machine runs.

			Two commands do most of the work: 'ringwall dry-run' shows what an edit would change, 'ringwall apply' enforces it.

			Exit codes: 0 good, 1 failed, 2 changes pending (dry-run, diff), 64 wrong usage.`),
		Example: examples(
			"check the policy, its tests included", "ringwall check",
			"see what an edit would change", "ringwall dry-run",
			"enforce it", "ringwall apply",
			"why is this packet dropped?", "ringwall explain in tcp/22 from 203.0.113.9",
		),
		Args:                  cobra.ArbitraryArgs,
		DisableFlagsInUseLine: true,
		SilenceErrors:         true,
		SilenceUsage:          true,
		CompletionOptions:     cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			cmd.SuggestionsMinimumDistance = 2
			if like := cmd.SuggestionsFor(args[0]); len(like) > 0 {
				return usagef("unknown verb %q, did you mean %q?", args[0], like[0])
			}
			return usagef("unknown verb %q", args[0])
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&f.config, "config", defaultConfig, "the policy's entry `FILE`")
	flags.StringVar(&f.stateDir, "state-dir", defaultStateDir, "the `DIR` of the last good policy and the bans")
	flags.StringVar(&f.socket, "socket", defaultSocket, "the daemon's control `SOCKET`")
	flags.BoolVar(&f.json, "json", false, "answer in JSON")
	completeFiles(root, "config", "yaml", "yml")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%w", err) })
	root.SetHelpCommand(&cobra.Command{Hidden: true})
	root.SetUsageTemplate(usageTemplate)
	root.AddGroup(
		&cobra.Group{ID: "policy", Title: "Policies:"},
		&cobra.Group{ID: "host", Title: "This host:"},
		&cobra.Group{ID: "bans", Title: "Bans:"},
		&cobra.Group{ID: "more", Title: "More:"},
	)
	root.AddCommand(
		group("policy", f.checkVerb(), f.diffVerb(), f.dryRunVerb(), f.applyVerb(), f.confirmVerb(), f.rollbackVerb(), f.historyVerb(), f.explainVerb())...,
	)
	root.AddCommand(group("host", f.runVerb(), f.reloadVerb(), f.statusVerb(), f.showVerb(), f.observeVerb(), f.doctorVerb(), f.stopVerb())...)
	root.AddCommand(group("bans", f.banVerb(), f.unbanVerb(), f.bansVerb())...)
	root.AddCommand(group("more", f.schemaVerb(), f.completionVerb(), f.versionVerb())...)
	root.AddCommand(f.manVerb())
	for _, verb := range root.Commands() {
		usageOfArgs(verb)
	}
	return root
}

// usageTemplate lays help out: how to call it, verbs by group, examples, flags.
const usageTemplate = `Usage:
  {{.UseLine}}
{{- range $group := .Groups}}

{{.Title}}
{{- range $.Commands}}{{if eq .GroupID $group.ID}}
  {{rpad .Name .NamePadding}}  {{.Short}}
{{- end}}{{end}}{{end}}
{{- if .HasExample}}

Examples:
{{.Example}}
{{- end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableInheritedFlags}}

Flags of every verb:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
`

// group puts verbs under a heading of the help.
func group(id string, verbs ...*cobra.Command) []*cobra.Command {
	for _, v := range verbs {
		v.GroupID = id
		v.DisableFlagsInUseLine = true
	}
	return verbs
}

// usageOfArgs makes a wrong number of arguments a usage error.
func usageOfArgs(verb *cobra.Command) {
	check := verb.Args
	if check == nil {
		check = noArgs
	}
	verb.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usagef("%w", err)
		}
		return nil
	}
}

// noArgs demands no argument; of a verb that has verbs of its own, one of these.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || cmd.HasSubCommands() {
		return cobra.NoArgs(cmd, args)
	}
	return fmt.Errorf("%s takes no argument: %q", cmd.Name(), args[0])
}

// atMost demands no more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > n {
			return fmt.Errorf("unexpected argument %q", args[n])
		}
		return nil
	}
}

// completeFiles has a shell complete a flag with the names of files.
func completeFiles(cmd *cobra.Command, flag string, extensions ...string) {
	if err := cmd.MarkPersistentFlagFilename(flag, extensions...); err != nil {
		panic(err) // a flag that the lines above do not define
	}
}

// text is a raw string of source code without its indentation.
func text(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimLeft(line, "\t")
	}
	return strings.Join(lines, "\n")
}

// examples is what help shows below "Examples": a remark and a call in turn.
func examples(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		fmt.Fprintf(&b, "  # %s\n  %s\n", pairs[i], pairs[i+1])
	}
	return strings.TrimSuffix(b.String(), "\n")
}
