package main

import (
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"ringwall/netfilter/nstest"
)

var update = flag.Bool("update", false, "write the golden parts of the scripts anew")

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"ringwall": main}) }

// TestScript runs what needs neither root nor kernel. -update writes the golden parts anew.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		Cmds:          commands(),
		Setup:         environment,
		UpdateScripts: *update,
	})
}

// TestKernel runs each script in a network namespace of its own.
func TestKernel(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/kernel",
		Cmds: commands(),
		Setup: func(env *testscript.Env) error {
			// Commands are started by this goroutine, whose thread Enter moves into the namespace.
			nstest.Enter(env.T().(testing.TB))
			return environment(env)
		},
		UpdateScripts: *update,
	})
}

// environment keeps the host's out of a script.
func environment(env *testscript.Env) error {
	env.Setenv("SSH_CONNECTION", "")
	env.Setenv("SUDO_USER", "")
	env.Setenv("NO_COLOR", "")
	env.Setenv("TZ", "UTC")
	env.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	env.Setenv("GIT_CONFIG_SYSTEM", "/dev/null")
	configs, err := filepath.Abs(filepath.Join("..", "..", "configs"))
	if err != nil {
		return err
	}
	env.Setenv("CONFIGS", configs)
	env.Setenv("GIT_AUTHOR_NAME", "a")
	env.Setenv("GIT_AUTHOR_EMAIL", "a@example.org")
	env.Setenv("GIT_COMMITTER_NAME", "a")
	env.Setenv("GIT_COMMITTER_EMAIL", "a@example.org")
	return nil
}

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){"code": code, "until": until}
}

// code runs a command that must end with an exit code: `code 64 ringwall ban`.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit := (*exec.ExitError)(nil); err != nil {
		if !asExit(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = strings.TrimPrefix(exit.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

func asExit(err error, to **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*to = e
	return ok
}

// until repeats a command until it succeeds, or with ! until it fails, for ten seconds at most.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: [!] until COMMAND...")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		err := ts.Exec(args[0], args[1:]...)
		if (err == nil) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: still %v", strings.Join(args, " "), err)
		}
	}
}
