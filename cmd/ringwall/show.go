package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
)

// showVerb prints the enforced policy on one page.
func (f *front) showVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the enforced policy on one page, with its counters",
		Long: text(`
			Prints what is enforced, in the order in which a packet meets it: block, failsafe, the base, then each list's rules and its
			default, every line with the packets and bytes that it has decided about, and its place in the policy.

			Counters go on over reloads: a rule's begin when its id first appears.`),
		Example: examples(
			"the whole page", "ringwall show",
			"what counts up right now", "watch -d ringwall show",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.show(cmd.Context()) },
	}
}

func (f *front) show(ctx context.Context) error {
	page, err := daemonOrSelf(ctx, f, true,
		func(d *control.Client) (*enforce.Page, error) { return d.Show(ctx) },
		func(e *enforce.Enforcer) (*enforce.Page, error) { return e.Show(ctx) })
	if err != nil {
		return err
	}
	if f.json {
		return f.writeJSON(page)
	}
	f.printPage(page)
	return nil
}

// pageColumns is the widths of a page's columns.
type pageColumns struct{ id, packets, bytes, text int }

// The widest that a column of a page is padded to. Longer ids and texts push what follows to the right.
const (
	maxIDColumn   = 28
	maxTextColumn = 72
)

func (f *front) printPage(p *enforce.Page) {
	paint := f.ink(f.stdout)
	state := paint.green("enforced")
	if !p.Enforced {
		state = paint.red("not enforced")
	}
	fmt.Fprintf(f.stdout, "%s  %s, from %s, digest %s\n", paint.bold(p.Policy), state, sourceText(p.Source), short(p.Digest))
	if p.Note != "" {
		fmt.Fprintf(f.stdout, "%s\n", paint.yellow(p.Note))
	}
	col := columnsOf(p)
	home := filepath.Dir(p.Policy) + "/"
	for _, s := range p.Sections {
		fmt.Fprintf(f.stdout, "\n%s\n", paint.bold(pad(s.Name, 2+col.id)+"  "+padLeft("packets", col.packets)+"  "+padLeft("bytes", col.bytes)))
		for _, l := range s.Lines {
			l.At = strings.TrimPrefix(l.At, home)
			f.printLine(paint, col, l)
		}
	}
	f.printSets(paint, p.Sets, home)
}

// columnsOf finds out how wide a page's columns must be.
func columnsOf(p *enforce.Page) pageColumns {
	col := pageColumns{packets: len("packets"), bytes: len("999 K")}
	for _, s := range p.Sections {
		for _, l := range s.Lines {
			col.id = max(col.id, min(maxIDColumn, utf8.RuneCountInString(l.ID)))
			col.text = max(col.text, min(maxTextColumn, utf8.RuneCountInString(l.Text)))
			if l.Counts != nil {
				col.packets = max(col.packets, len(strconv.FormatUint(l.Counts.Packets, 10)))
			}
		}
	}
	return col
}

// printLine prints one rule, or one thing that stands before the rules.
func (f *front) printLine(paint ink, col pageColumns, l enforce.Line) {
	packets, octets := "-", "-"
	if l.Counts != nil {
		packets, octets = strconv.FormatUint(l.Counts.Packets, 10), bytes(l.Counts.Bytes)
	}
	what := pad(l.Text, col.text)
	if verdict, rest, ok := strings.Cut(what, " "); ok && verdict == l.Verdict {
		what = paint.verdict(verdict) + " " + rest
	}
	if l.Off {
		packets, octets = "off", ""
		what = paint.faint(pad(l.Text, col.text))
	}
	line := fmt.Sprintf("  %s  %s  %s  %s", pad(l.ID, col.id), padLeft(packets, col.packets), padLeft(octets, col.bytes), what)
	if l.At != "" {
		line += "  " + paint.faint(l.At)
	}
	fmt.Fprintln(f.stdout, strings.TrimRight(line, " "))
	below := func(text string) {
		fmt.Fprintf(f.stdout, "  %s  %s\n", strings.Repeat(" ", col.id+col.packets+col.bytes+4), paint.faint(text))
	}
	if l.Over != nil && l.Over.Packets > 0 {
		below(fmt.Sprintf("over its limit: %s, denied", count(int(l.Over.Packets), "packet")))
	}
	if l.Full != nil && l.Full.Packets > 0 {
		below(fmt.Sprintf("of too many sources to follow: %s, allowed", count(int(l.Full.Packets), "packet")))
	}
	if l.Note != "" {
		below("# " + l.Note)
	}
}

// printSets prints what the named sets hold. Places lose the policy's directory, home.
func (f *front) printSets(paint ink, sets []enforce.SetLine, home string) {
	if len(sets) == 0 {
		return
	}
	fmt.Fprintf(f.stdout, "\n%s\n", paint.bold("sets"))
	name := width(maxIDColumn, func(yield func(string) bool) {
		for _, s := range sets {
			if !yield(s.Name) {
				return
			}
		}
	})
	for _, s := range sets {
		holds := count(s.Ranges, "range")
		if s.Dynamic {
			holds = count(s.Bans, "ban")
		}
		fmt.Fprintf(f.stdout, "  %s  %s  %s\n", pad(s.Name, name), pad(holds, 14), paint.faint(strings.TrimPrefix(s.At, home)))
	}
}
