package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"ringwall/daemon/enforce"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// explainVerb says which rule decides about a packet.
func (f *front) explainVerb() *cobra.Command {
	var stdin bool
	verb := &cobra.Command{
		Use:   "explain [FILE] in|out|forward WHAT [KEY VALUE]...",
		Short: "Say which rule decides about a packet, and why none before it does",
		Long: text(`
			Asks the policy, not the kernel, what becomes of a packet, and prints the rule that decides, its place, and why each one
			before it did not match. KEY is any of:

			  from, to        addresses; 'in' needs from, 'out' needs to, 'forward' both
			  sport           the source port
			  iface           the interface, or iif and oif in 'forward'
			  user, group     of the socket that sends it, in 'out'
			  mac, mark       the sender's Ethernet address, the packet's mark
			  state           new where not given; established, related, invalid, untracked
			  at              the time, such as 2027-01-31, for rules that expire

			For the policy of this host, what the daemon has banned at the moment counts. For another FILE nobody is banned.

			With --stdin each line of the input is a packet as a JSON object, such as {"in":"tcp/22","from":"203.0.113.9"}, and is answered
			with a line {"verdict":"allow","rule":"ssh-admins","at":"ringwall.yaml:12"}: rule is null where the default decides, and the
			name of the base rule where one does. A line that can't be read is answered with {"error":"..."}.

			It can't know what depends on the moment: rates and limits (taken as not exceeded), routing, other programs' tables.`),
		Example: examples(
			"may this address reach SSH?", "ringwall explain in tcp/22 from 203.0.113.9",
			"may postfix send mail?", "ringwall explain out tcp/25 to 192.0.2.1 user postfix",
			"of a file, in JSON", "ringwall explain web.yaml in https from 2001:db8::9 --json",
			"many packets", "ringwall explain --stdin <packets.jsonl",
		),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !stdin && len(args) > 0 && !slices.ContainsFunc(args, isDirection) {
				return usagef("which packet? The direction is missing: in, out or forward. For example: in tcp/22 from 203.0.113.9")
			}
			name, opt := f.config, onHost(false)
			if file := len(args) > 0 && !isDirection(args[0]); file {
				name, opt.Options, args = args[0], here(), args[1:]
			}
			opt.Trusted = true
			asked := opt.Options
			opt.User, opt.Group = orStandIn(opt.User), orStandIn(opt.Group)
			p, err := f.explained(name, opt)
			if err != nil {
				return err
			}
			if name == f.config {
				p = f.withBans(cmd.Context(), p)
			}
			if stdin {
				if len(args) > 0 {
					return usagef("--stdin takes the packets from the input, not from arguments")
				}
				return f.explainLines(p, asked)
			}
			if len(args) == 0 {
				return usagef("which packet? For example: in tcp/22 from 203.0.113.9")
			}
			packets, err := policy.NewQuery(p, asked).Words(args)
			if err != nil {
				return usagef("%w", err)
			}
			return f.explainPackets(p, packets)
		},
		Args: cobra.ArbitraryArgs,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return explainWords(args), cobra.ShellCompDirectiveNoFileComp
		},
	}
	verb.Flags().BoolVar(&stdin, "stdin", false, "answer for each line of the input, a packet in JSON")
	return verb
}

// orStandIn gives names of users that the host lacks numbers of their own, as a load without a host does: explain asks
// the policy, and it is for apply to refuse them. A nil lookup stays nil.
func orStandIn(lookup func(string) (uint32, bool)) func(string) (uint32, bool) {
	if lookup == nil {
		return nil
	}
	standIn := uint32(1 << 31)
	return func(name string) (uint32, bool) {
		if id, ok := lookup(name); ok {
			return id, true
		}
		standIn++
		return standIn, true
	}
}

func isDirection(word string) bool {
	return slices.ContainsFunc(policy.Dirs[:], func(d policy.Dir) bool { return d.String() == word })
}

// explainWords is what can follow the words of a packet.
func explainWords(args []string) []string {
	i := slices.IndexFunc(args, isDirection)
	switch {
	case i < 0:
		return []string{"in", "out", "forward"}
	case len(args)-i < 2:
		words := []string{"icmp/echo-request"}
		for _, s := range policy.BuiltinServices() {
			words = append(words, s.Name)
		}
		return words
	case (len(args)-i)%2 == 1:
		return nil // a value
	}
	keys := map[string][]string{
		"in":      {"from", "to", "sport", "iface", "mac", "mark", "state", "at"},
		"out":     {"to", "from", "sport", "iface", "user", "group", "mark", "state", "at"},
		"forward": {"from", "to", "sport", "iif", "oif", "mac", "mark", "state", "at"},
	}[args[i]]
	return slices.DeleteFunc(keys, func(key string) bool { return slices.Contains(args[i:], key) })
}

// explained loads the policy that is asked about.
func (f *front) explained(name string, opt enforce.LoadOptions) (*policy.Policy, error) {
	fsys, entry, done, err := openPolicy(name, false)
	if err != nil {
		return nil, err
	}
	defer done()
	c := enforce.Load(fsys, entry, opt)
	if !c.OK() {
		f.printDiags(f.stderr, c.Diags, c.Bundle)
		return nil, fmt.Errorf("%s: refused, so it can't be asked: %s", name, c.Diags.Summary())
	}
	return c.Policy, nil
}

// withBans is a policy with what the daemon's dynamic sets hold now. Where it can't be asked they are empty, and a note
// says so.
func (f *front) withBans(ctx context.Context, p *policy.Policy) *policy.Policy {
	bans, err := f.currentBans(ctx)
	if err != nil {
		fmt.Fprintf(f.stderr, "note: answered as if nobody were banned: %v\n", err)
		return p
	}
	given := map[string]addrset.Addrs{}
	for _, b := range bans {
		if s := p.Sets[b.Set]; s != nil && s.Dynamic != nil {
			given[b.Set] = given[b.Set].Union(addrset.OfPrefix(b.Prefix))
		}
	}
	return p.With(given)
}

// currentBans is what the daemon has banned; nothing without a daemon.
func (f *front) currentBans(ctx context.Context) ([]enforce.Ban, error) {
	d, err := f.dial(ctx)
	if err != nil || d == nil {
		return nil, err
	}
	defer d.Close()
	return d.Bans(ctx, "")
}

// explanation is the answer about one packet in JSON.
type explanation struct {
	Packet  string   `json:"packet"` // in the words that explain reads
	Verdict string   `json:"verdict"`
	Rule    *string  `json:"rule"` // null where the default decides; the name of a base rule where that does
	At      string   `json:"at"`   // file:line; empty where it is not written
	Text    string   `json:"text,omitempty"`
	Passed  []passed `json:"passed"`
}

// passed is something that came before what decided.
type passed struct {
	Name   string `json:"name"`
	At     string `json:"at,omitempty"`
	Reason string `json:"reason"`
}

// ruleName is a decision's rule as answers name it: nil for the default.
func ruleName(d policy.Decision) *string {
	if d.By == policy.ByDefault {
		return nil
	}
	return &d.By
}

func (f *front) explainPackets(p *policy.Policy, packets []policy.Packet) error {
	var answers []explanation
	for i := range packets {
		d, steps := p.Explain(&packets[i])
		if !f.json {
			if i > 0 {
				fmt.Fprintln(f.stdout)
			}
			f.printExplanation(words(p, packets[i]), d, steps)
			continue
		}
		a := explanation{Packet: words(p, packets[i]), Verdict: d.Verdict.String(), Rule: ruleName(d), At: place(d), Passed: []passed{}}
		if d.Rule != nil {
			a.Text = d.Rule.Text
		}
		for _, s := range steps {
			step := passed{Name: s.By, Reason: s.Reason}
			if !s.At.IsZero() {
				step.At = s.At.Short()
			}
			a.Passed = append(a.Passed, step)
		}
		answers = append(answers, a)
	}
	if f.json {
		if len(answers) == 1 {
			return f.writeJSON(answers[0])
		}
		return f.writeJSON(answers)
	}
	return nil
}

// words is a packet as explain reads it. Its time is now, or what was asked for, and goes without saying.
func words(p *policy.Policy, pkt policy.Packet) string {
	pkt.Time = 0
	return p.Words(&pkt)
}

// place is a decision's file:line, empty where nothing is written.
func place(d policy.Decision) string {
	if d.At.IsZero() {
		return ""
	}
	return d.At.Short()
}

func (f *front) printExplanation(packet string, d policy.Decision, steps []policy.Step) {
	paint := f.ink(f.stdout)
	fmt.Fprintf(f.stdout, "%s\n", paint.faint(packet))
	fmt.Fprintf(f.stdout, "%s by %s\n", paint.bold(paint.verdict(d.Verdict.String())), decider(d))
	if d.Rule != nil {
		fmt.Fprintf(f.stdout, "  %s\n", d.Rule.Text)
		if d.Rule.Note != "" {
			fmt.Fprintf(f.stdout, "  %s\n", paint.faint("# "+d.Rule.Note))
		}
	}
	if len(steps) == 0 {
		return
	}
	fmt.Fprintln(f.stdout, "passed on the way:")
	name := width(maxIDColumn, func(yield func(string) bool) {
		for _, s := range steps {
			if !yield(s.By) {
				return
			}
		}
	})
	for _, s := range steps {
		line := fmt.Sprintf("  %s  %s", pad(s.By, name), s.Reason)
		if s.At.IsZero() {
			line = paint.faint(line) // the base: the same for most packets
		}
		if !s.At.IsZero() {
			line += "  " + paint.faint(s.At.Short())
		}
		fmt.Fprintln(f.stdout, line)
	}
}
