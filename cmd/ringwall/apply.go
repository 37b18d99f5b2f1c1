package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/host"
	"ringwall/rules/policy"
)

// applyVerb enforces a policy.
func (f *front) applyVerb() *cobra.Command {
	var strict, force, lastGood bool
	verb := &cobra.Command{
		Use:   "apply [FILE]",
		Short: "Enforce a policy, in one transaction",
		Long: text(`
			Reads the policy, proves it, compiles it, and has the kernel enforce it in one transaction: all of it or nothing. Counters,
			bans and rate limits stay as they are; established connections go on.

			Where a daemon listens, the policy's contents are handed to it, and hold until the files that it watches change or it is
			started again; 'status' says so. Where none listens, this process applies the policy itself.

			As with 'run', the policy's files must be in the hands of root or of the user that --owner names; without it, of the user that
			the daemon's --owner names.

			From an SSH session whose next connection the policy would refuse it asks first.

			--last-good enforces what the state directory holds instead: the policy that was enforced last, or, where there is none that
			can be used, the emergency policy. It is for the boot.`),
		Example: examples(
			"the policy of this host", "ringwall apply",
			"another one, for now", "ringwall apply other.yaml",
			"at boot, before the network", "ringwall apply --last-good",
		),
		Args:              atMost(1),
		ValidArgsFunction: completePolicies,
		RunE: func(cmd *cobra.Command, args []string) error {
			if lastGood {
				if len(args) > 0 {
					return usagef("--last-good takes no policy: it applies the one that was enforced last")
				}
				return f.applyLastGood(cmd.Context())
			}
			return f.apply(cmd.Context(), f.policyFile(args), strict, force)
		},
	}
	verb.Flags().BoolVar(&strict, "strict", false, "make warnings errors")
	verb.Flags().BoolVar(&force, "force", false, "ask nothing")
	f.ownerFlag(verb)
	verb.Flags().BoolVar(&lastGood, "last-good", false, "enforce the stored policy, else the emergency policy")
	return verb
}

func (f *front) apply(ctx context.Context, name string, strict, force bool) error {
	read := f.working("reading " + name)
	files, err := f.trusted(ctx)
	if err != nil {
		return err
	}
	c := enforce.Load(files, absolute(name), onHost(strict))
	read()
	if c.OK() && !force {
		if err := f.guardSession(c.Policy); err != nil {
			return err
		}
	}
	r, err := daemonOrSelf(ctx, f, false,
		func(d *control.Client) (*enforce.Report, error) { return d.Apply(ctx, c, strict) },
		func(e *enforce.Enforcer) (*enforce.Report, error) { return e.Apply(ctx, c, enforce.Files) })
	if err != nil {
		return err
	}
	if !f.json {
		f.printDiags(f.stderr, r.Diagnostics, c.Bundle)
	}
	return f.applied(r)
}

func (f *front) applyLastGood(ctx context.Context) error {
	r, err := daemonOrSelf(ctx, f, false,
		func(d *control.Client) (*enforce.Report, error) {
			return nil, fmt.Errorf("a daemon (pid %d) enforces a policy here: --last-good is for when none runs", d.Hello().PID)
		},
		func(e *enforce.Enforcer) (*enforce.Report, error) { return e.ApplyStored(ctx) })
	if err != nil {
		return err
	}
	return f.applied(r)
}

// applied prints what came of an apply.
func (f *front) applied(r *enforce.Report) error {
	if f.json {
		if err := f.writeJSON(r); err != nil {
			return err
		}
	} else {
		f.printReport(r, "changed")
	}
	if !r.Applied {
		return told(exitFailed)
	}
	return nil
}

// onHost is how a policy is loaded that this host shall enforce.
func onHost(strict bool) enforce.LoadOptions {
	return enforce.LoadOptions{
		Options: policy.Options{User: host.User, Group: host.Group, Now: time.Now().Unix()},
		Strict:  strict,
		Host:    enforce.HostFacts,
	}
}

// guardSession asks where a policy would refuse the next connection of the SSH session that this runs in, whatever
// interface it came by.
func (f *front) guardSession(p *policy.Policy) error {
	s, ok := host.SSHSession(f.getenv)
	if !ok {
		return nil
	}
	pkt := policy.Packet{
		Dir: policy.In, Src: s.Peer.Addr(), Dst: s.Local.Addr(), Proto: policy.ProtoTCP,
		Sport: s.Peer.Port(), Dport: s.Local.Port(), HopLimit: 64, Time: time.Now().Unix(),
	}
	d := p.Decide(&pkt)
	if d.Verdict == policy.Allow {
		return nil
	}
	for _, name := range interfaceNames() {
		if pkt.IIf = name; name == policy.Loopback && !s.Peer.Addr().IsLoopback() {
			continue
		}
		if p.Decide(&pkt).Verdict == policy.Allow {
			return nil
		}
	}
	return f.confirm(fmt.Sprintf(
		"This SSH session comes from %s, and the policy would refuse the next such connection to port %d (%s).\n",
		s.Peer.Addr(), s.Local.Port(), decider(d)), "apply")
}
