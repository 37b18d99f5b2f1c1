package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/observe"
	"ringwall/rules/check"
	"ringwall/rules/source"
)

// observeFlags is the flags of an apply that observes.
type observeFlags struct {
	on   bool
	span string
}

func (o *observeFlags) define(verb *cobra.Command) {
	verb.Flags().BoolVar(&o.on, "observe", false, "enforce nothing: count what the policy would decide otherwise")
	verb.Flags().StringVar(&o.span, "for", "", "with --observe, how long: 90s, 30m, 4h or 7d; until 'observe stop' where not given (`D`)")
}

// observe hands a policy to the daemon to be observed.
func (f *front) observe(ctx context.Context, args []string, o observeFlags, strict, lastGood bool) error {
	switch {
	case !o.on:
		return usagef("--for is for --observe: a policy that is enforced stays until another is")
	case lastGood:
		return usagef("--observe and --last-good don't go together")
	case len(args) == 0:
		return usagef("--observe takes the policy to observe beside the one that is enforced")
	}
	span, err := banTime(o.span)
	if err != nil {
		return err
	}
	c := enforce.Load(source.OS{}, absolute(args[0]), onHost(strict))
	a, err := f.askObserver(ctx, func(d *control.Client) (*control.Observed, error) {
		return d.Observe(ctx, c, strict, f.who(), max(span, 0))
	})
	if err != nil {
		return err
	}
	if f.json {
		err = f.writeJSON(a)
	} else {
		f.printDiags(f.stderr, a.Diagnostics, c.Bundle)
		f.printBeginning(c.Entry, a)
	}
	if err == nil && a.Refused {
		err = told(exitFailed)
	}
	return err
}

func (f *front) printBeginning(entry string, a *control.Observed) {
	switch r := a.Report; {
	case a.Refused:
		fmt.Fprintf(f.stdout, "%s: refused: %s; nothing is observed by it\n", entry, a.Diagnostics.Summary())
	case len(r.Cases) == 0:
		fmt.Fprintf(f.stdout, "%s: observed, and decides no packet otherwise\n", entry)
		f.printNotCounted(r)
	default:
		fmt.Fprintf(f.stdout, "%s: observed%s; what is enforced stays so\n", entry, untilText(r))
		f.printCases(r)
	}
}

// untilText says how long a policy is observed.
func untilText(r *observe.Report) string {
	if r.Until.IsZero() {
		return " until 'ringwall observe stop'"
	}
	return " until " + r.Until.Local().Format(time.DateTime)
}

// askObserver asks the daemon, which alone can observe.
func (f *front) askObserver(ctx context.Context, ask func(*control.Client) (*control.Observed, error)) (*control.Observed, error) {
	defer f.working("working")()
	c, err := f.dial(ctx)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fmt.Errorf("no daemon listens on %s, and only a daemon can observe", f.socket)
	}
	defer c.Close()
	return ask(c)
}

// observeVerb shows what is observed, and ends it.
func (f *front) observeVerb() *cobra.Command {
	verb := &cobra.Command{
		Use:   "observe [report|stop]",
		Short: "Show what a policy that is observed would decide otherwise, or end it",
		Long: text(`
			Says how many packets the policy of 'ringwall apply --observe' would have decided otherwise than the one that is enforced, by
			rule, since it is observed. Packets count that open a connection. Counts go on over reloads and restarts of the daemon.

			'stop' ends it, and shows the counts for the last time.

			Exit codes: 0 a policy is observed, 1 none is.`),
		Example: examples(
			"begin", "ringwall apply --observe new.yaml",
			"look", "ringwall observe report",
			"end", "ringwall observe stop",
		),
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"report", "stop"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.observed(cmd.Context(), len(args) == 1 && args[0] == "stop")
		},
	}
	return verb
}

func (f *front) observed(ctx context.Context, stop bool) error {
	a, err := f.askObserver(ctx, func(d *control.Client) (*control.Observed, error) {
		if stop {
			return d.EndObservation(ctx)
		}
		return d.Observed(ctx)
	})
	if err != nil {
		return err
	}
	if f.json {
		if err := f.writeJSON(a); err != nil || a.Report != nil {
			return err
		}
		return told(exitFailed)
	}
	if a.Report == nil {
		return errors.New("no policy is observed: 'ringwall apply --observe FILE' begins it")
	}
	fmt.Fprintf(f.stdout, "%s: %s\n", a.Report.Policy, f.observedText(a.Report, stop))
	f.printCases(a.Report)
	return nil
}

// observedText is a report in half a line.
func (f *front) observedText(r *observe.Report, stopped bool) string {
	text := fmt.Sprintf("%s would be decided otherwise, observed since %s", count(int(r.Packets()), "packet"), r.Since.Local().Format(time.DateTime))
	switch {
	case stopped:
		return text + ", no longer observed"
	case r.Ended:
		return text + ", ended " + r.Until.Local().Format(time.DateTime)
	case r.Trouble != "":
		return text + ", not counted at the moment: " + r.Trouble
	}
	return text + "," + untilText(r)
}

// printCases prints a report, a case a line, and below it what is known of it.
func (f *front) printCases(r *observe.Report) {
	paint := f.ink(f.stdout)
	for _, c := range r.Cases {
		gone := ""
		if c.Gone {
			gone = " (of an earlier policy)"
		}
		fmt.Fprintf(f.stdout, "%10d  %s by %s, was by %s%s\n", c.Packets, c.Change(), placed(c.Now), placed(c.Was), gone)
		fmt.Fprintf(f.stdout, "%s\n", paint.faint("            "+c.What))
		if c.Last != nil {
			fmt.Fprintf(f.stdout, "%s\n", paint.faint("            last logged "+c.Last.At.Local().Format(time.DateTime)+": "+c.Last.Packet))
		}
	}
	f.printNotCounted(r)
}

func (f *front) printNotCounted(r *observe.Report) {
	for _, n := range r.Notes {
		fmt.Fprintf(f.stdout, "note: %s\n", n)
	}
}

// placed is a decider with its place.
func placed(d check.Decider) string {
	text := d.By
	if d.Rule {
		text = "rule " + text
	}
	if d.At != "" {
		text += " (" + d.At + ")"
	}
	return text
}
