package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"ringwall/daemon/enforce"
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
// directory, as git names it; an empty REV is the index. A file of that very name is meant first. With placed the
// entry is named by its absolute path, so that it means the same wherever the reader stands: in the kernel's comments
// and on the daemon's pages. The files may be read until done is called.
func openPolicy(name string, placed bool) (fsys source.FS, entry string, done func(), err error) {
	rev, path, ok := source.ParseRev(name)
	if !ok || exists(name) {
		if placed {
			name = absolute(name)
		}
		return source.OS{}, name, func() {}, nil
	}
	g, err := source.OpenGit(".", rev)
	if err != nil {
		return nil, "", nil, fmt.Errorf("%s: %w", name, err)
	}
	done = func() { g.Close() } // it has only read
	if entry, err = g.Name(path); placed {
		entry, err = g.Place(path)
	}
	if err != nil {
		done()
		return nil, "", nil, fmt.Errorf("%s: %w", name, err)
	}
	return g, entry, done, nil
}

// ownerFlag adds the flag that says whose files may be enforced.
func (f *front) ownerFlag(verb *cobra.Command) {
	verb.Flags().StringVar(&f.owner, "owner", "", "the `USER` besides root who may own the policy's files")
}

// trusted is the files of the host, as far as they are in the hands of root and the owner: that of the flag, else that of the daemon.
func (f *front) trusted(ctx context.Context) (source.OS, error) {
	owner := f.owner
	if owner == "" {
		if c, err := f.dial(ctx); err == nil && c != nil {
			owner = c.Hello().Owner
			c.Close()
		}
	}
	return enforce.HostFiles(owner)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// absolute is a file's absolute name.
func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		return abs
	}
	return name
}

// here is the options of a policy that is looked at anywhere: names of users are taken as they are.
func here() policy.Options { return policy.Options{Now: time.Now().Unix()} }

// printDiags prints what was found about a policy, with the lines of the files that it was read from.
func (f *front) printDiags(w io.Writer, list diag.List, files source.FS) {
	diag.Print(w, list, lines{files}, diag.Style{Color: f.coloured(w)})
}

// lines gives the printer of findings the text of files.
type lines struct{ source.FS }

// maxText bounds a file whose lines are shown.
const maxText = 64 << 20

// Text is a file's content, false where it can't be read.
func (l lines) Text(file string) ([]byte, bool) {
	text, err := l.ReadFile(file, maxText)
	return text, err == nil
}

// completePolicies has a shell complete arguments with the names of policy files.
func completePolicies(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}
