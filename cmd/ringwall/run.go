package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"ringwall/daemon"
	"ringwall/daemon/enforce"
	"ringwall/daemon/settings"
	"ringwall/rules/source"
)

// runVerb is the daemon.
func (f *front) runVerb() *cobra.Command {
	var file string
	verb := &cobra.Command{
		Use:   "run",
		Short: "Keep the policy enforced while the machine runs: the daemon",
		Long: text(`
			Enforces the policy and keeps it true: it watches the policy's files and reloads when their contents change, puts its table
			back when another program changes it, brings bans back after a reboot, writes a line for each packet that a rule logs, and
			serves the other verbs on its control socket.

			A policy that is broken changes nothing: the log, 'status' and the service manager say why. At the start the policy that was
			enforced last takes its place, else the emergency policy.

			The policy's files, and the directories and symlinks on the way to them, must belong to root, or to the user that --owner
			names, and nobody else may be able to write them: to be able to write the policy is to be able to open the wall.

			The daemon's own settings are a YAML file, which need not be there and is read at the start: 'confirm: 60s' has every reload
			go back unless 'ringwall confirm' arrives in time. A mistake in it keeps the daemon from starting.

			SIGHUP reloads. SIGTERM ends the daemon and leaves the rules in place. With --json the log is JSON, a record a line.`),
		Example: examples(
			"as the service manager does", "ringwall run",
			"with a policy that is a clone of another user's", "ringwall run --owner ringwall-git",
			"beside another, in a network namespace", "ip netns exec lab ringwall run --config lab.yaml --state-dir ./state --socket ./lab.sock",
		),
		RunE: func(cmd *cobra.Command, _ []string) error {
			own, err := f.settings(file, cmd.Flags().Changed("settings"))
			if err != nil {
				return err
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			log := f.logger()
			return daemon.Run(cmd.Context(), daemon.Config{
				Policy: absolute(f.config), Owner: f.owner, State: f.stateDir, Socket: f.socket, Confirm: own.Confirm,
				Build: version, Hangup: hangup, Log: log, Notify: daemon.Systemd(log), Watchdog: daemon.SystemdWatchdog(),
				Kept: daemon.SystemdKept(), Keep: daemon.SystemdKeep(log),
			})
		},
	}
	f.ownerFlag(verb)
	verb.Flags().StringVar(&file, "settings", defaultSettings, "the daemon's settings, a YAML `FILE`")
	return verb
}

// defaultSettings is the daemon's settings where no other file is named.
const defaultSettings = "/etc/ringwall/daemon.yaml"

// settings reads the daemon's settings, which must be in the same hands as the policy. A file that was not named need not be there.
func (f *front) settings(file string, named bool) (settings.Settings, error) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) && !named {
		return settings.Settings{}, nil
	}
	files, _ := enforce.HostFiles(f.owner) // it is the daemon that complains of an owner who does not exist
	s, diags, err := settings.Load(files, file)
	if err == nil && diags.HasErrors() {
		f.printDiags(f.stderr, diags, source.OS{})
		err = fmt.Errorf("%s: refused: %s", file, diags.Summary())
	}
	return s, err
}
