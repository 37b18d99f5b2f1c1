package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/settings"
	"ringwall/netfilter/host"
)

// confirmVerb keeps a change for good.
func (f *front) confirmVerb() *cobra.Command {
	var anySession bool
	verb := &cobra.Command{
		Use:   "confirm",
		Short: "Keep a change that would else be taken back",
		Long: text(`
			Keeps what 'apply --confirm' enforces, or a reload where the daemon's settings ask for confirmations. Without it the policy
			before comes back when the time is over, and the change is not loaded again unless it is edited or 'apply' names it.

			It counts only if it shows that a new connection gets in: run it in an SSH session that was opened after the change. sudo
			does not matter. In tmux, in screen and on a console that can't be told: --any-session confirms all the same.`),
		Example: examples(
			"from another terminal", "ssh root@host ringwall confirm",
			"on the console", "ringwall confirm --any-session",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.confirmChange(cmd.Context(), anySession) },
	}
	f.anySessionFlag(verb, &anySession)
	return verb
}

func (f *front) confirmChange(ctx context.Context, anySession bool) error {
	c, err := f.needDaemon(ctx, "a change is confirmed to the daemon, which would take it back")
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Confirm(ctx, f.confirmRequest(anySession))
	if err != nil {
		return err
	}
	if f.json {
		return f.writeJSON(r)
	}
	f.printNotes(f.stderr, r)
	fmt.Fprintf(f.stdout, "confirmed: %s, %s, stays\n", r.Policy, count(r.Rules, "rule"))
	return nil
}

// anySessionFlag defines the flag by which a confirmation counts from anywhere.
func (f *front) anySessionFlag(verb *cobra.Command, to *bool) {
	verb.Flags().BoolVar(to, "any-session", false, "whatever connection this comes over: in tmux, on a console")
}

// needDaemon finds the daemon that something can't be done without, and says why.
func (f *front) needDaemon(ctx context.Context, why string) (*control.Client, error) {
	c, err := f.dial(ctx)
	if err == nil && c == nil {
		err = fmt.Errorf("no daemon listens on %s: %s", f.socket, why)
	}
	return c, err
}

// confirmRequest is what this process has to say of itself to confirm a change.
func (f *front) confirmRequest(anySession bool) control.ConfirmRequest {
	req := control.ConfirmRequest{AnySession: anySession, Says: f.getenv("SUDO_USER")}
	if s, err := host.FindSession(f.getenv); err == nil {
		req.Session = &s
	} else {
		req.NoSession = err.Error()
	}
	return req
}

// windowOf reads the flag that opens a window; empty for none.
func windowOf(flag string) (time.Duration, error) {
	if flag == "" {
		return 0, nil
	}
	d, err := settings.ParseWindow(flag)
	if err != nil {
		return 0, usagef("--confirm: %w", err)
	}
	return d, nil
}

// awaited says what becomes of a change that is not confirmed.
func awaited(a *enforce.Awaited) string {
	back := "the emergency policy comes back"
	if a.Back != "" {
		back = fmt.Sprintf("the policy before it (digest %s) comes back", short(a.Back))
	}
	left := time.Duration(a.Left * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("until %s, in %s, else %s: 'ringwall confirm' over a new SSH connection", a.Deadline.Local().Format(time.DateTime), span(left), back)
}
