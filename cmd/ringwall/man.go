package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// manVerb writes manual pages. The installer calls it.
func (f *front) manVerb() *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a directory",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			pages := []*cobra.Command{root}
			for _, verb := range root.Commands() {
				if !verb.Hidden {
					pages = append(pages, verb)
				}
			}
			for _, page := range pages {
				name := filepath.Join(args[0], manName(page)+".1")
				if err := os.WriteFile(name, []byte(manPage(page)), 0o644); err != nil {
					return fmt.Errorf("manual page: %w", err)
				}
			}
			return nil
		},
	}
}

// manName is the title of a command's page: "ringwall-check".
func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is a command's help in the man macros of roff.
func manPage(cmd *cobra.Command) string {
	var b strings.Builder
	name := manName(cmd)
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"ringwall %s\" \"Ringwall\"\n", roff(strings.ToUpper(name)), roff(version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.UseLine()))
	long := cmd.Long
	if long == "" {
		long = cmd.Short + "."
	}
	b.WriteString(".SH DESCRIPTION\n")
	for paragraph := range strings.SplitSeq(long, "\n\n") {
		if strings.HasPrefix(paragraph, "  ") {
			fmt.Fprintf(&b, ".nf\n%s\n.fi\n.PP\n", roff(paragraph))
			continue
		}
		fmt.Fprintf(&b, "%s\n.PP\n", roff(paragraph))
	}
	if !cmd.HasParent() {
		b.WriteString(".SH VERBS\n")
		for _, verb := range cmd.Commands() {
			if !verb.Hidden {
				fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", roff(manName(verb)), roff(verb.Short))
			}
		}
	}
	manFlags(&b, "OPTIONS", cmd.NonInheritedFlags())
	manFlags(&b, "OPTIONS OF EVERY VERB", cmd.InheritedFlags())
	if cmd.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(cmd.Example))
	}
	b.WriteString(".SH SEE ALSO\n")
	if cmd.HasParent() {
		b.WriteString(".BR ringwall (1)\n")
	} else {
		b.WriteString(".BR nft (8)\n")
	}
	return b.String()
}

// manFlags lists flags below a heading.
func manFlags(b *strings.Builder, heading string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", heading)
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(flag)
		long := `\fB` + roff("--"+flag.Name) + `\fR`
		if flag.Shorthand != "" {
			long = `\fB` + roff("-"+flag.Shorthand) + `\fR, ` + long
		}
		if value != "" {
			long += `=\fI` + roff(value) + `\fR`
		}
		if flag.DefValue != "" && flag.DefValue != "false" && flag.DefValue != "[]" && flag.DefValue != "0s" {
			usage += " (default " + flag.DefValue + ")"
		}
		fmt.Fprintf(b, ".TP\n%s\n%s\n", long, roff(usage))
	})
}

// roff escapes a text: backslashes, hyphens that shall stay what they are, and lines that would be requests.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
