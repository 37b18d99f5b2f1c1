package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"ringwall/daemon/enforce"
	"ringwall/rules/check"
)

// diffVerb compares two policies by meaning.
func (f *front) diffVerb() *cobra.Command {
	var boxes bool
	verb := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "Say which packets another policy treats differently",
		Long: text(`
			Compares two policies by what they do, not by how they are written, and prints the packets whose verdict changes:

			  in tcp/22 from 198.51.100.0/24: allow → deny, was rule ssh, now default

			The list is complete: a packet that no line names is treated as before, whatever bans there are. Rules that move, are split,
			joined or renamed without effect leave no trace. Limits, connection limits and logs that change for packets that keep their
			verdict come in lines of their own, then settings of dynamic sets.

			As in a policy's tests, lines speak of first packets, not of loopback, and of what reaches the rules. What 'block', 'failsafe'
			or the base decide anew is told in full.

			OLD and NEW are files or REV:PATH, as with 'check'. Neither needs to pass its own tests.

			Exit codes: 0 no difference, 2 differences, 1 a policy can't be read, 64 wrong usage.`),
		Example: examples(
			"what does this edit mean?", "ringwall diff HEAD:ringwall.yaml ringwall.yaml",
			"what does this branch mean, in CI", "ringwall diff origin/main:hosts/web1.yaml HEAD:hosts/web1.yaml",
		),
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("which two policies? For example: ringwall diff HEAD:ringwall.yaml ringwall.yaml")
			}
			return nil
		},
		ValidArgsFunction: completePolicies,
		RunE:              func(_ *cobra.Command, args []string) error { return f.diff(args[0], args[1], boxes) },
	}
	verb.Flags().BoolVar(&boxes, "boxes", false, "say every box of packets by itself, and sum nothing up")
	return verb
}

func (f *front) diff(oldName, newName string, boxes bool) error {
	var sides [2]*enforce.Candidate
	opt := enforce.LoadOptions{Options: here(), Trusted: true}
	for i, name := range []string{oldName, newName} {
		fsys, entry, done, err := openPolicy(name, false)
		if err != nil {
			return err
		}
		sides[i] = enforce.Load(fsys, entry, opt)
		done()
	}
	for i, c := range sides {
		switch {
		case c.Policy != nil:
		case f.json:
			return fmt.Errorf("%s: %s", [...]string{oldName, newName}[i], c.Problem())
		default:
			f.printDiags(f.stderr, c.Diags, c.Bundle)
		}
	}
	if sides[0].Policy == nil || sides[1].Policy == nil {
		return told(exitFailed)
	}
	d := check.Diff(sides[0].Policy, sides[1].Policy, check.DiffOptions{Now: opt.Now, Work: check.DiffWork, Boxes: boxes})
	if f.json {
		err := f.writeJSON(struct {
			Old  string `json:"old"`
			New  string `json:"new"`
			Same bool   `json:"same"`
			*check.Difference
		}{oldName, newName, d.None(), d})
		if err != nil {
			return err
		}
	} else {
		f.printDifference(f.stdout, d, "")
		fmt.Fprintln(f.stdout, differenceLine(d))
	}
	if !d.None() {
		return told(exitPending)
	}
	return nil
}

// printDifference prints a difference, a line for what is treated differently in one way, each after an indent.
func (f *front) printDifference(w io.Writer, d *check.Difference, indent string) {
	paint := f.ink(w)
	for _, s := range d.Verdicts {
		fmt.Fprintf(w, "%s%s: %s → %s%s\n", indent, paint.bold(s.Subject()), paint.verdict(s.Old), paint.verdict(s.New), s.Reason())
	}
	for _, s := range d.Actions {
		fmt.Fprintf(w, "%s%s: %s%s\n", indent, paint.bold(s.Subject()), s.Change(), s.Reason())
	}
	for _, s := range d.Settings {
		fmt.Fprintln(w, indent+s)
	}
	for _, p := range d.Undecided {
		fmt.Fprintf(w, "%s%s %s\n", indent, paint.yellow("not decided: there may be more among"), p.Text)
	}
}

// differenceLine sums a difference up.
func differenceLine(d *check.Difference) string {
	if d.None() {
		return "no packet is treated differently"
	}
	var parts []string
	switch {
	case len(d.Verdicts) > 0:
		parts = append(parts, count(len(d.Verdicts), "kind")+" of packets with another verdict")
	case len(d.Undecided) == 0:
		parts = append(parts, "no packet gets another verdict")
	}
	if n := len(d.Actions); n > 0 {
		parts = append(parts, count(n, "kind")+" with another limit or log")
	}
	if n := len(d.Settings); n > 0 {
		parts = append(parts, count(n, "setting")+" changed")
	}
	if len(d.Undecided) > 0 {
		parts = append(parts, "not all decided")
	}
	return strings.Join(parts, ", ")
}
