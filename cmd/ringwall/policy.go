package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringwall/rules/diag"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// policyFile is the policy that a verb is about: its argument, else --config.
func (f *front) policyFile(args []string) string {
	if len(args) > 0 {
		return args[0]
	}
	return f.config
}

// openPolicy finds what a policy's name means: a file, or REV:PATH of the git repository around the working
// directory, as git names it; an empty REV is the index. A file of that very name is meant first. The files may be
// read until done is called.
func openPolicy(name string) (fsys source.FS, entry string, done func(), err error) {
	rev, path, ok := source.ParseRev(name)
	if !ok || exists(name) {
		return source.OS{}, name, func() {}, nil
	}
	g, err := source.OpenGit(".", rev)
	if err != nil {
		return nil, "", nil, fmt.Errorf("%s: %w", name, err)
	}
	done = func() { g.Close() } // it has only read
	if entry, err = g.Name(path); err != nil {
		done()
		return nil, "", nil, fmt.Errorf("%s: %w", name, err)
	}
	return g, entry, done, nil
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// absolute names a file so that it means the same wherever the reader stands: in the kernel's comments and on the
// daemon's pages.
func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

// here is the options of a policy that is looked at anywhere: names of users are taken as they are.
func here() policy.Options { return policy.Options{Now: time.Now().Unix()} }

// printDiags prints what was found about a policy that was read from files.
func (f *front) printDiags(w io.Writer, list diag.List, files source.FS) {
	for _, d := range list {
		fmt.Fprintln(w, d)
	}
}

// tally counts findings: "2 errors, 1 warning", empty where there are none.
func tally(list diag.List) string {
	var errors, warnings int
	for _, d := range list {
		if d.Severity == diag.Error {
			errors++
		} else {
			warnings++
		}
	}
	var parts []string
	if errors > 0 {
		parts = append(parts, count(errors, "error"))
	}
	if warnings > 0 {
		parts = append(parts, count(warnings, "warning"))
	}
	return strings.Join(parts, ", ")
}

// completePolicies has a shell complete arguments with the names of policy files.
func completePolicies(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}
