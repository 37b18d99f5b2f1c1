package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"ringwall/daemon/control"
	"ringwall/daemon/doctor"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/compile"
	"ringwall/netfilter/host"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/neighbours"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/source"
)

// doctorVerb looks for what is in the way of the policy.
func (f *front) doctorVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Find what keeps the host from doing what the policy says: other firewalls, and its setup",
		Long: text(`
			Lists the base chains of all tables on the hooks that packets pass, in the order of their priorities, and says which of them
			can still refuse what Ringwall admits, or lead packets past it, whose they are and what to do. It looks at the rules of old
			x_tables, XDP programs and filters of traffic control, at what comes up with the next boot, the connection table, transit that
			nobody judges, the state directory and who may write the policy.

			It changes nothing, and works with and without a daemon. What this user may not see it says.

			Exit codes: 0 nothing to be done, 1 problems.`),
		Example: examples(
			"look at everything", "ringwall doctor",
			"for a monitor", "ringwall doctor --json",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.doctor(cmd.Context()) },
	}
}

func (f *front) doctor(ctx context.Context) error {
	s, unseen := f.examined(ctx)
	r := doctor.Examine(s)
	r.Unseen = append(unseen, r.Unseen...)
	if f.json {
		if err := f.writeJSON(r); err != nil {
			return err
		}
	} else {
		f.printDoctor(r)
	}
	if r.Problems() > 0 {
		return told(exitFailed)
	}
	return nil
}

// examined gathers what the doctor looks at, and says what can't be seen.
func (f *front) examined(ctx context.Context) (s *doctor.Subject, unseen []string) {
	s = &doctor.Subject{State: f.stateDir, Own: func(table string) bool { return table == ruleset.TableName || table == compile.ObserveTable }}
	missed := func(what string, err error) {
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			err = errors.New("only root may")
		}
		unseen = append(unseen, what+": "+err.Error())
	}
	var err error
	if s.Tables, err = kernel.Tables(ctx, ruleset.TableName, compile.ObserveTable); err != nil {
		missed("the tables of the kernel", err)
	}
	if programs, err := programs(); err != nil {
		missed("programs at the interfaces", err)
	} else {
		for _, p := range programs {
			s.Devices = append(s.Devices, doctor.Device{Name: p.Interface, XDP: p.XDP, TC: p.TC})
		}
	}
	s.Status, err = daemonOrSelf(ctx, f, true,
		func(d *control.Client) (*control.Status, error) { s.Daemon = true; return d.Status(ctx) },
		func(e *enforce.Enforcer) (*control.Status, error) { return f.ownStatus(ctx, e) })
	if errors.Is(err, control.ErrDenied) {
		s.Daemon = true
		err = fmt.Errorf("the daemon answers root and the group %s (run this as root)", control.Group)
	}
	if blind := s.Tables == nil && !s.Daemon && os.Geteuid() != 0; err != nil || blind {
		s.Status = nil
		missed("what is enforced", cmp.Or(err, error(unix.EPERM)))
	}
	c := enforce.Load(source.OS{}, absolute(f.config), onHost(false))
	s.Files = c.Paths().Files
	if s.Policy = c.Policy; c.Policy == nil {
		missed("the policy "+c.Entry, errors.New(c.Problem()))
		s.Files = nil
	}
	return s, unseen
}

// programs is the interfaces where something sees packets before any firewall.
func programs() (list []host.Program, err error) {
	h, err := host.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	return h.Programs()
}

func (f *front) printDoctor(r *doctor.Report) {
	paint := f.ink(f.stdout)
	for i, c := range r.Chains {
		if i == 0 || r.Chains[i-1].Hook != c.Hook {
			fmt.Fprintf(f.stdout, "%s\n", c.Hook)
		}
		fmt.Fprintf(f.stdout, "  %5d  %s\n", c.Priority, chainText(paint, &c))
	}
	for _, found := range r.Findings {
		mark := paint.yellow("note")
		if found.Problem {
			mark = paint.red("problem")
		}
		fmt.Fprintf(f.stdout, "%s: %s: %s\n", mark, found.About, found.Text)
		for _, do := range found.Do {
			fmt.Fprintf(f.stdout, "    %s\n", do)
		}
	}
	for _, u := range r.Unseen {
		fmt.Fprintf(f.stdout, "%s: %s\n", paint.yellow("not seen"), u)
	}
	switch n := r.Problems(); {
	case n > 0:
		fmt.Fprintf(f.stdout, "%s\n", count(n, "problem"))
	case len(r.Unseen) > 0:
		fmt.Fprintln(f.stdout, "no problem, as far as can be seen")
	default:
		fmt.Fprintln(f.stdout, "no problem")
	}
}

// chainText is a chain on a line, Ringwall's marked.
func chainText(paint ink, c *neighbours.Chain) string {
	text := c.Table + " " + c.Name
	switch {
	case c.Own:
		return paint.green(text + "  ← Ringwall")
	case c.Dormant:
		return text + ", dormant"
	}
	if c.Type != "filter" {
		text += ", " + c.Type
	}
	var words []string
	for _, d := range slices.Concat(c.Refuses, c.Past) {
		if !slices.Contains(words, d.What) {
			words = append(words, d.What)
		}
	}
	if len(words) > 0 {
		text += ": " + strings.Join(words, ", ")
	}
	var owners []string
	for _, o := range c.Owners {
		owners = append(owners, o.Name)
	}
	if len(owners) > 0 {
		text += " (" + strings.Join(owners, ", ") + ")"
	}
	return text
}
