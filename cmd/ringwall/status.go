package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/store"
	"ringwall/netfilter/host"
	"ringwall/netfilter/kernel"
	"ringwall/rules/diag"
	"ringwall/rules/source"
)

// statusVerb says whether all is well.
func (f *front) statusVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Say whether the policy is enforced, and what came of the last reload",
		Long: text(`
			Says whether the kernel enforces the policy that it should, where that came from, what became of the last reload and of the
			daemon. It looks at the kernel, and does not take the daemon's memory for it.

			Exit codes: 0 where the policy of the files is enforced, 1 where nothing is, or something else than the
			files say, or than the policy says because the compiler is wrong.`),
		Example: examples(
			"for a human", "ringwall status",
			"for a monitor", "ringwall status --json",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.status(cmd.Context()) },
	}
}

// statusAnswer is what status prints as JSON.
type statusAnswer struct {
	Daemon bool `json:"daemon"` // one listens
	Stale  bool `json:"stale"`  // the files say something that is not enforced
	*control.Status
}

func (f *front) status(ctx context.Context) error {
	a := statusAnswer{}
	var err error
	a.Status, err = daemonOrSelf(ctx, f, true,
		func(d *control.Client) (*control.Status, error) { a.Daemon = true; return d.Status(ctx) },
		func(e *enforce.Enforcer) (*control.Status, error) { return f.ownStatus(ctx, e) })
	if err != nil {
		return err
	}
	a.Stale = a.Status.Stale()
	if f.json {
		err = f.writeJSON(a)
	} else {
		f.printStatus(a)
	}
	if err == nil && (!a.Enforced || a.Stale || a.Wrong()) {
		err = told(exitFailed)
	}
	return err
}

// ownStatus looks at the kernel and the files without a daemon.
func (f *front) ownStatus(ctx context.Context, e *enforce.Enforcer) (*control.Status, error) {
	run := e.Running()
	if run.Candidate == nil {
		return &control.Status{
			Reload: control.Reload{Error: e.Intact(ctx).Error()},
			Notes:  []string{noDaemon},
		}, nil
	}
	s := &control.Status{
		Policy: run.Entry, Digest: run.Digest, Source: run.Source, Applied: run.Applied, Rules: run.Rules(),
	}
	note := func(text string) { s.Notes = append(s.Notes, text) }
	switch err := e.Intact(ctx); {
	case err == nil:
		s.Enforced = true
		note(noDaemon)
	case errors.As(err, new(*kernel.OwnedError)):
		note(f.unreachable(err).Error())
	case errors.Is(err, enforce.ErrChanged), errors.Is(err, kernel.ErrNoTable):
		note(noDaemon)
		note(err.Error() + ": 'ringwall apply' puts it right")
	default:
		note(noDaemon)
		note(err.Error())
	}
	s.Refused = e.Refusals()
	if p := e.Pending(); p != nil {
		boot, _ := host.BootID() // without it the time of day tells
		s.Awaited = enforce.Await(p, enforce.Left(p, time.Now(), boot, host.Uptime()), time.Now())
		note("a change awaits its confirmation, and while no daemon runs nothing takes it back: start one, or 'ringwall rollback'")
	}
	if bans, err := e.Bans(ctx, ""); err == nil {
		s.Bans = len(bans)
	}
	now := enforce.Load(source.OS{}, absolute(f.config), e.LoadOptions())
	s.Reload.Digest = now.Digest
	s.Reload.OK = now.OK() && now.Digest == run.Digest
	switch {
	case !now.OK():
		s.Reload.Error, s.Reload.Diagnostics = now.Problem(), now.Diags
	case !s.Reload.OK:
		s.Reload.Error = fmt.Sprintf("%s says something else than what was applied", now.Entry)
	}
	return s, nil
}

const noDaemon = "no daemon runs: edits are not noticed, and what others do to the table is not undone"

func (f *front) printStatus(a statusAnswer) {
	paint := f.ink(f.stdout)
	now := time.Now()
	line := func(name, format string, args ...any) {
		fmt.Fprintf(f.stdout, "%s  %s\n", paint.faint(padLeft(name, 9)), fmt.Sprintf(format, args...))
	}
	state := paint.green("yes")
	switch {
	case a.Source == enforce.Opened:
		state = paint.red("no: the wall was taken down, the host is open")
	case !a.Enforced:
		state = paint.red("no")
	case a.Wrong():
		state = paint.red("yes, but not what the policy says")
	case a.Stale:
		state = paint.yellow("yes, but not what the files say")
	}
	line("enforced", "%s", state)
	if a.Policy != "" {
		line("policy", "%s, %s", a.Policy, count(a.Rules, "rule"))
		line("source", "%s, digest %s", sourceText(a.Source), short(a.Digest))
	}
	if !a.Applied.IsZero() {
		line("applied", "%s", since(a.Applied, now))
	}
	if a.Awaited != nil {
		line("confirm", "%s", paint.yellow(awaited(a.Awaited)))
	}
	f.printReload(line, paint, a, now)
	f.printRefused(line, a)
	if p := a.Proof; p != nil {
		text := diag.Visible(p.Text)
		if a.Wrong() {
			text = paint.red(text)
		}
		line("proof", "%s", text)
	}
	if a.Daemon {
		line("daemon", "pid %d, %s, up since %s", a.PID, a.Build, since(a.Started, now))
		line("table", "%s", tableText(a.Status))
		if h := a.Healed; h != nil {
			line("healed", "%s, after %s: %s", since(h.At, now), h.By, h.Change)
		}
		if a.LogLost > 0 {
			line("log", "%s lost", count(int(a.LogLost), "packet"))
		}
	}
	line("bans", "%d", a.Bans)
	if r := a.Observed; r != nil {
		line("observed", "%s: %s", r.Policy, f.observedText(r, false))
	}
	for _, n := range a.Notes {
		line("note", "%s", n)
	}
}

// printReload says what came of the files when they were last read.
func (f *front) printReload(line func(string, string, ...any), paint ink, a statusAnswer, now time.Time) {
	r := a.Reload
	var text string
	switch {
	case !r.OK:
		text = paint.red("not enforced")
	case a.Daemon:
		text = paint.green("good")
	default:
		text = "as applied"
	}
	if !r.At.IsZero() {
		text += ", read " + since(r.At, now)
	}
	if a.Daemon {
		text += fmt.Sprintf("; %d good and %d refused since the start", r.Good, r.Bad)
	}
	line("files", "%s", text)
	if r.Error != "" {
		line("error", "%s", diag.Visible(r.Error))
	}
}

// printRefused says which policies are not loaded by themselves: the latest few.
func (f *front) printRefused(line func(string, string, ...any), a statusAnswer) {
	const most = 3
	for _, r := range a.Refused[max(0, len(a.Refused)-most):] {
		line("refused", "%s, unless 'ringwall apply' names it: %s (%s)", refusal(r), diag.Visible(r.Why), r.At.Local().Format(time.DateTime))
	}
	if n := len(a.Refused) - most; n > 0 {
		line("refused", "and %d before", n)
	}
}

// refusal names a policy that is refused.
func refusal(r store.Refusal) string {
	if r.Entry == "" { // it was stored by an older version
		return "digest " + short(r.Digest)
	}
	return fmt.Sprintf("%s (digest %s)", diag.Visible(r.Entry), short(r.Digest))
}

// sourceText says where a policy came from.
func sourceText(s enforce.Source) string {
	switch s {
	case enforce.Files:
		return "its files"
	case enforce.Socket:
		return "handed over with apply"
	case enforce.RolledBack:
		return "the history, by rollback"
	case enforce.LastGood:
		return "the last good policy"
	case enforce.Emergency:
		return "the emergency policy"
	case enforce.Opened:
		return "none"
	}
	return string(s)
}

// tableText says how well the table is protected.
func tableText(s *control.Status) string {
	text := "other programs could change it"
	switch {
	case s.Owned && s.Persist:
		text = "owned: other programs can't change it; outlives the daemon"
	case s.Owned:
		text = "owned: other programs can't change it"
	}
	if s.Heals > 0 {
		text += fmt.Sprintf("; put back %s", times(s.Heals))
	}
	return text
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
