package source

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Git is the files of a git revision, or of the index. Its names are "REV:/path/in/tree": the slash makes a file that
// another one names "beside" it a matter of paths alone, whatever characters REV has. An absolute path that lies
// under the work tree names the file of the revision.
type Git struct {
	rev    string
	top    string // the work tree's directory; empty where there is none
	prefix string // of the directory it was opened in, within the tree, ending in a slash; empty at its top
	files  map[string]entry
	dirs   map[string][]string // names in each directory; the tree's top is ""
	blobs  *blobs
}

// entry is one file of a tree.
type entry struct {
	mode string // as git writes it
	oid  string
}

// The modes of what is no regular file.
const (
	modeSymlink   = "120000"
	modeSubmodule = "160000"
)

// maxLinks bounds the symlinks on the way to one file, as the kernel does.
const maxLinks = 40

var _ FS = (*Git)(nil)

// OpenGit reads the list of files of a revision in the repository that a directory belongs to; an empty revision is
// the index. It needs the git program. Close ends it.
func OpenGit(dir, rev string) (*Git, error) {
	if !validRev(rev) {
		return nil, fmt.Errorf("%q is no revision", rev)
	}
	run := gitIn(dir)
	inside, err := run.output("rev-parse", "--is-inside-work-tree")
	if err != nil {
		return nil, err
	}
	g := &Git{rev: rev, files: map[string]entry{}, dirs: map[string][]string{"": nil}}
	if inside == "true\n" {
		top, err := run.output("rev-parse", "--show-toplevel")
		if err != nil {
			return nil, err
		}
		prefix, err := run.output("rev-parse", "--show-prefix")
		if err != nil {
			return nil, err
		}
		g.top, g.prefix = strings.TrimSuffix(top, "\n"), strings.TrimSuffix(prefix, "\n")
		run = gitIn(g.top)
	} else if rev == "" {
		return nil, fmt.Errorf("%s has no index: it has no work tree", dir)
	}
	if err := g.list(run); err != nil {
		return nil, err
	}
	if g.blobs, err = openBlobs(run); err != nil {
		return nil, err
	}
	return g, nil
}

// Close ends the program that reads the files.
func (g *Git) Close() error { return g.blobs.close() }

// list takes up the names of all files.
func (g *Git) list(run git) error {
	args := []string{"ls-files", "--stage", "-z", "--full-name"}
	if g.rev != "" {
		tree, err := run.output("rev-parse", "--verify", "--quiet", g.rev+"^{tree}")
		if err != nil {
			return fmt.Errorf("git knows no revision %q", g.rev)
		}
		args = []string{"ls-tree", "-r", "-z", "--full-tree", strings.TrimSpace(tree)}
	}
	out, err := run.output(args...)
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(out, "\x00") {
		head, name, ok := strings.Cut(line, "\t")
		if !ok {
			continue
		}
		f := strings.Fields(head) // ls-tree: mode type oid; ls-files: mode oid stage
		if len(f) != 3 {
			return fmt.Errorf("git %s: unexpected line %q", args[0], line)
		}
		e := entry{mode: f[0], oid: f[2]}
		if g.rev == "" {
			if e.oid = f[1]; f[2] != "0" {
				return fmt.Errorf("%s is not merged", name)
			}
		}
		g.add(name, e)
	}
	return nil
}

// add takes up a file, and the directories that it lies in.
func (g *Git) add(name string, e entry) {
	g.files[name] = e
	for name != "" {
		dir, base := "", name
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			dir, base = name[:i], name[i+1:]
		}
		_, known := g.dirs[dir]
		g.dirs[dir] = append(g.dirs[dir], base)
		if known {
			return
		}
		name = dir
	}
}

// Name is how a file is named here that the user calls REV:file. As with git itself, one that begins with ./ or ../
// is seen from the directory that was opened, any other from the top of the tree.
func (g *Git) Name(file string) (string, error) {
	within := path.Join("/", file)
	if file == "." || file == ".." || strings.HasPrefix(file, "./") || strings.HasPrefix(file, "../") {
		if within = path.Join(g.prefix, file); within == ".." || strings.HasPrefix(within, "../") {
			return "", fmt.Errorf("%s lies outside of the repository", file)
		}
		within = "/" + within
	}
	return g.rev + ":" + within, nil
}

// Place is the same file by its absolute path in the work tree, for those to whom a policy is where it will lie. A
// repository without a work tree has only Name.
func (g *Git) Place(file string) (string, error) {
	name, err := g.Name(file)
	if err != nil || g.top == "" {
		return name, err
	}
	return g.top + strings.TrimPrefix(name, g.rev+":"), nil
}

// errOutside is what a name gets that no revision can hold.
var errOutside = errors.New("outside of the git revision")

// within is the path in the tree of a name.
func (g *Git) within(name string) (string, error) {
	if p, ok := strings.CutPrefix(name, g.rev+":/"); ok {
		return p, nil
	}
	if p, ok := strings.CutPrefix(name, g.top+"/"); ok && g.top != "" {
		return p, nil
	}
	return "", errOutside
}

// resolve follows the symlinks of a path in the tree. The path that it returns names a file, or a directory.
func (g *Git) resolve(name string) (string, error) {
	todo := strings.Split(name, "/")
	at, links := "", 0
	for len(todo) > 0 {
		elem := todo[0]
		todo = todo[1:]
		switch elem {
		case "", ".":
			continue
		case "..":
			if at == "" {
				return "", errOutside
			}
			if at = path.Dir(at); at == "." {
				at = ""
			}
			continue
		}
		next := path.Join(at, elem)
		e, isFile := g.files[next]
		_, isDir := g.dirs[next]
		switch {
		case isFile && e.mode == modeSymlink:
			if links++; links > maxLinks {
				return "", errors.New("too many symlinks")
			}
			target, err := g.blobs.read(e.oid, 4096)
			if err != nil {
				return "", err
			}
			if bytes.HasPrefix(target, []byte("/")) {
				return "", fmt.Errorf("a symlink to %q: %w", target, errOutside)
			}
			todo = append(strings.Split(string(target), "/"), todo...)
			continue
		case isFile && len(todo) > 0, !isFile && !isDir:
			return "", fs.ErrNotExist
		}
		at = next
	}
	return at, nil
}

// ReadFile returns a file of the revision.
func (g *Git) ReadFile(name string, limit int64) ([]byte, error) {
	data, err := g.read(name, limit)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return data, nil
}

func (g *Git) read(name string, limit int64) ([]byte, error) {
	p, err := g.within(name)
	if err != nil {
		return nil, err
	}
	if p, err = g.resolve(p); err != nil {
		return nil, err
	}
	e, ok := g.files[p]
	switch {
	case !ok:
		return nil, notRegular(fs.ModeDir)
	case e.mode == modeSubmodule:
		return nil, fmt.Errorf("%w but a git submodule", ErrNotRegular)
	}
	return g.blobs.read(e.oid, limit)
}

// Glob lists what matches a pattern in the revision.
func (g *Git) Glob(pattern string) ([]string, error) { return glob(g, pattern) }

// Canonical is the name without symlinks.
func (g *Git) Canonical(name string) (string, error) {
	p, err := g.within(name)
	if err == nil {
		p, err = g.resolve(p)
	}
	if err != nil {
		return "", &fs.PathError{Op: "resolve", Path: name, Err: err}
	}
	return g.rev + ":/" + p, nil
}

// readDir lists at most so many names in a directory of the revision.
func (g *Git) readDir(name string, most int) ([]string, error) {
	p, err := g.within(name + "/")
	if err == nil {
		p, err = g.resolve(p)
	}
	names, ok := g.dirs[p]
	if err == nil && !ok {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return names[:min(most, len(names))], nil
}

// lookup returns an error where the revision has no such file or directory.
func (g *Git) lookup(name string) error {
	_, err := g.Canonical(name)
	return err
}
