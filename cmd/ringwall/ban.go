package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
)

// banVerb adds to a dynamic set.
func (f *front) banVerb() *cobra.Command {
	var set, duration string
	var force bool
	verb := &cobra.Command{
		Use:   "ban ADDR...",
		Short: "Put addresses or prefixes into a dynamic set",
		Long: text(`
			Adds addresses or prefixes to a dynamic set of the enforced policy, at once and without a reload. What that means is the
			policy's: with 'block: [banned]' the addresses are refused in both directions, open connections too.

			Bans survive reloads and reboots, with what remains of their time. A ban that is there already is made longer, never shorter.
			What 'failsafe' admits stays admitted.

			A prefix that would lock out a live SSH session, or an address from which this is called itself, is not banned: the session
			is named, and --force bans it all the same. Somebody else's address that is named by itself is meant.`),
		Example: examples(
			"for as long as the set says", "ringwall ban 203.0.113.9",
			"a network, for four hours", "ringwall ban 198.51.100.0/24 --for 4h",
			"for ever, in a certain set", "ringwall ban 2001:db8::/48 --set crawlers --for forever",
		),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefixes, err := prefixesOf(args)
			if err != nil {
				return err
			}
			req := enforce.BanRequest{Set: set, Prefixes: prefixes, Force: force, Sessions: f.sshSessions()}
			if req.For, err = banTime(duration); err != nil {
				return err
			}
			return f.ban(cmd.Context(), req)
		},
	}
	verb.Flags().StringVar(&set, "set", "", "the dynamic set's `NAME`; the policy's only one, or \"banned\", where not given")
	verb.Flags().BoolVar(&force, "force", false, "go on though it locks somebody out")
	verb.Flags().StringVar(&duration, "for", "", "how long: 90s, 30m, 4h, 7d, or forever; as the set says where not given (`D`)")
	return verb
}

func (f *front) ban(ctx context.Context, req enforce.BanRequest) error {
	r, err := daemonOrSelf(ctx, f, false,
		func(d *control.Client) (*enforce.BanReport, error) { return d.Ban(ctx, req) },
		func(e *enforce.Enforcer) (*enforce.BanReport, error) { return e.Ban(ctx, req) })
	if err != nil {
		return err
	}
	if f.json {
		err = f.writeJSON(r)
	} else {
		f.printBans(r)
	}
	if err == nil && r.Lockout != nil {
		return told(exitFailed)
	}
	return err
}

// printBans prints what came of a ban.
func (f *front) printBans(r *enforce.BanReport) {
	f.printBanNotes(r)
	if r.Lockout != nil {
		fmt.Fprintln(f.stdout, "not banned, since it would lock somebody out:")
		for _, line := range r.Lockout.Lines() {
			fmt.Fprintf(f.stdout, "  %s\n", line)
		}
		fmt.Fprintln(f.stdout, "admit them in failsafe, or ban around them; or say --force")
		return
	}
	now := time.Now()
	for _, b := range r.Bans {
		fmt.Fprintf(f.stdout, "banned %s in %s, %s\n", address(b.Prefix), b.Set, remaining(b, now))
	}
}

// unbanVerb takes out of a dynamic set.
func (f *front) unbanVerb() *cobra.Command {
	var set string
	verb := &cobra.Command{
		Use:   "unban ADDR...",
		Short: "Take addresses or prefixes out of a dynamic set",
		Long: text(`
			Takes addresses or prefixes out of a dynamic set. Of a larger banned prefix that holds one, the rest stays banned.
			Fails if nothing of what was named was banned.`),
		Example: examples(
			"one address", "ringwall unban 203.0.113.9",
		),
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			prefixes, err := prefixesOf(args)
			if err != nil {
				return err
			}
			return f.unban(cmd.Context(), set, prefixes)
		},
	}
	verb.Flags().StringVar(&set, "set", "", "the dynamic set's `NAME`; the policy's only one, or \"banned\", where not given")
	return verb
}

func (f *front) unban(ctx context.Context, set string, prefixes []netip.Prefix) error {
	r, err := daemonOrSelf(ctx, f, false,
		func(d *control.Client) (*enforce.BanReport, error) { return d.Unban(ctx, set, prefixes) },
		func(e *enforce.Enforcer) (*enforce.BanReport, error) { return e.Unban(ctx, set, prefixes) })
	if err != nil {
		return err
	}
	if f.json {
		if err := f.writeJSON(r); err != nil {
			return err
		}
	} else {
		f.printBanNotes(r)
		fmt.Fprintf(f.stdout, "%d of %s taken out of %s\n", r.Removed, count(len(prefixes), "address"), r.Set)
	}
	if r.Removed == 0 {
		return told(exitFailed)
	}
	return nil
}

// bansVerb lists what dynamic sets hold.
func (f *front) bansVerb() *cobra.Command {
	var set string
	verb := &cobra.Command{
		Use:   "bans",
		Short: "List what the dynamic sets hold",
		Example: examples(
			"all of them", "ringwall bans",
			"one set, for a script", "ringwall bans --set crawlers --json",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.bans(cmd.Context(), set) },
	}
	verb.Flags().StringVar(&set, "set", "", "the dynamic set's `NAME`; all where not given")
	return verb
}

func (f *front) bans(ctx context.Context, set string) error {
	bans, err := daemonOrSelf(ctx, f, true,
		func(d *control.Client) ([]enforce.Ban, error) { return d.Bans(ctx, set) },
		func(e *enforce.Enforcer) ([]enforce.Ban, error) { return e.Bans(ctx, set) })
	if err != nil {
		return err
	}
	if f.json {
		if bans == nil {
			bans = []enforce.Ban{}
		}
		return f.writeJSON(bans)
	}
	if len(bans) == 0 {
		fmt.Fprintln(f.stderr, "nobody is banned")
		return nil
	}
	now := time.Now()
	addr := width(43, func(yield func(string) bool) {
		for _, b := range bans {
			if !yield(address(b.Prefix)) {
				return
			}
		}
	})
	name := width(48, func(yield func(string) bool) {
		for _, b := range bans {
			if !yield(b.Set) {
				return
			}
		}
	})
	for _, b := range bans {
		fmt.Fprintf(f.stdout, "%s  %s  %s\n", pad(address(b.Prefix), addr), pad(b.Set, name), remaining(b, now))
	}
	return nil
}

func (f *front) printBanNotes(r *enforce.BanReport) {
	for _, n := range r.Notes {
		fmt.Fprintf(f.stderr, "note: %s\n", n)
	}
}

// prefixesOf reads addresses and prefixes.
func prefixesOf(args []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(args))
	for _, arg := range args {
		if a, err := netip.ParseAddr(arg); err == nil && a.Zone() == "" {
			a = a.Unmap()
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		p, err := netip.ParsePrefix(arg)
		switch {
		case err != nil:
			return nil, usagef("%q is neither an address nor a prefix", arg)
		case p.Masked() != p:
			return nil, usagef("%s has bits set below its length: %s is the prefix, %s the address", arg, p.Masked(), p.Addr())
		}
		out = append(out, p)
	}
	return out, nil
}

// banTime reads how long a ban lasts.
func banTime(text string) (time.Duration, error) {
	switch text {
	case "":
		return 0, nil
	case "forever":
		return enforce.Forever, nil
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < time.Second {
		return 0, usagef("--for %s: say how long with a unit, such as 90s, 30m, 4h or 7d, or say forever", text)
	}
	return d, nil
}

// address is a prefix as people write it: a single address without its length.
func address(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// remaining says how long a ban lasts from now.
func remaining(b enforce.Ban, now time.Time) string {
	if b.Until.IsZero() {
		return "for ever"
	}
	return fmt.Sprintf("for %s, until %s", span(b.Until.Sub(now).Round(time.Second)), b.Until.Local().Format("2006-01-02 15:04:05"))
}
