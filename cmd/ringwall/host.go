package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/store"
	"ringwall/netfilter/host"
	"ringwall/netfilter/kernel"
)

// dial finds the daemon of this host. Where none listens both results are nil.
func (f *front) dial(ctx context.Context) (*control.Client, error) {
	c, err := control.Dial(ctx, f.socket)
	switch {
	case errors.Is(err, control.ErrNoDaemon):
		return nil, nil
	case errors.Is(err, control.ErrDenied):
		return nil, fmt.Errorf("%w: root may do everything, the group %s may look", err, control.Group)
	}
	return c, err
}

// open makes an Enforcer of this process, for when no daemon listens.
func (f *front) open(ctx context.Context, readOnly bool) (*enforce.Enforcer, error) {
	e, err := enforce.Open(ctx, enforce.Options{
		State: f.stateDir, ReadOnly: readOnly, Who: f.who(), Log: f.brief(), Progress: f.meter.tell,
	})
	return e, f.unreachable(err)
}

// daemonOrSelf has the daemon do something, or this process where none listens.
func daemonOrSelf[T any](ctx context.Context, f *front, readOnly bool, ask func(*control.Client) (T, error), do func(*enforce.Enforcer) (T, error)) (out T, err error) {
	defer f.working("working")()
	c, err := f.dial(ctx)
	if err != nil {
		return out, err
	}
	if c != nil {
		defer c.Close()
		return ask(c)
	}
	e, err := f.open(ctx, readOnly)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	out, err = do(e)
	return out, f.unreachable(err)
}

// working tells a user at a terminal what is being done, until the end is called.
func (f *front) working(phase string) (end func()) {
	if !isTerminal(f.stderr) {
		return func() {}
	}
	f.meter = newMeter(f.stderr, time.Second)
	f.meter.tell(phase)
	return func() {
		f.meter.end()
		f.meter = nil
	}
}

// unreachable adds to the error that another process owns the table, or has the state directory, what can be done about it.
func (f *front) unreachable(err error) error {
	owned, held := (*kernel.OwnedError)(nil), (*store.HeldError)(nil)
	if errors.As(err, &owned) && owned.Process == "systemd" {
		return fmt.Errorf("%w, which keeps it for the daemon while that is being restarted: wait for it, or 'systemctl stop ringwall' first", err)
	}
	if errors.As(err, &owned) || errors.As(err, &held) {
		return fmt.Errorf("%w, and no daemon listens on %s: name its socket with --socket, or stop it first", err, f.socket)
	}
	return err
}

// who is the user on whose behalf this runs.
func (f *front) who() string {
	name := host.UserName(uint32(os.Getuid()))
	if sudo := f.getenv("SUDO_USER"); sudo != "" && sudo != name {
		return fmt.Sprintf("%s (as %s)", sudo, name)
	}
	return name
}

// confirm asks a question that takes a word for an answer. Nobody there to answer is a refusal.
func (f *front) confirm(question, word string) error {
	if !isTerminal(f.stdin) {
		return errors.New("nobody can be asked: say --force to do it without a question")
	}
	fmt.Fprintf(f.stderr, "%s Type %q to go on: ", question, word)
	var answer string
	if _, err := fmt.Fscanln(f.stdin, &answer); err != nil || strings.TrimSpace(answer) != word {
		return errors.New("nothing was done")
	}
	return nil
}
