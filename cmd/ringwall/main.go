// Command ringwall is the host firewall's front door: one file a verb, each flags and printing only. What a verb does
// is done by the packages below.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"ringwall/rules/policy"
)

// version is the release. The build sets it.
var version = "unknown"

func main() {
	debug.SetGCPercent(policy.GCPercent)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	f := &front{args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	code := f.serve(ctx)
	stop()
	os.Exit(code)
}
