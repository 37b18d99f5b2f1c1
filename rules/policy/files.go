package policy

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"ringwall/rules/diag"
	"ringwall/rules/source"
	"ringwall/rules/syntax"
)

// file is a policy file with the files that it includes.
type file struct {
	name     string // as the user knows it
	tree     *syntax.Node
	includes []*file // in path order; a file that was read before is not among them
}

// readFile reads a policy file and what it includes. It returns nil where the file can't be read, is read already,
// or holds no mapping. The stack is the files that led here.
func (l *loader) readFile(name string, at diag.Span, stack []string) *file {
	canonical, err := l.fsys.Canonical(name)
	if err != nil {
		l.unreadable(name, at, err)
		return nil
	}
	if i := slices.Index(stack, canonical); i >= 0 {
		way := ""
		if i < len(stack)-1 {
			way = ", by way of this file"
		}
		l.errorf(at, "include-cycle", "%q includes itself%s", name, way).
			WithHint("leave it out of the include of this file")
		return nil
	}
	if _, ok := l.read[canonical]; ok {
		return nil
	}
	if len(l.read) == maxFiles {
		l.errorf(at, "too-large", "a policy has at most %d files", maxFiles)
		return nil
	}
	if len(stack) == maxInclude {
		l.errorf(at, "too-large", "files include each other at most %d deep", maxInclude)
		return nil
	}
	l.read[canonical] = nil
	data, err := l.fsys.ReadFile(name, l.syntax.Room())
	if errors.Is(err, source.ErrTooLarge) {
		l.errorf(at, "too-large", "%s is too large: a policy has at most %d MB in all its files", quote(name), syntax.MaxBytes>>20)
		return nil
	}
	if err != nil {
		l.unreadable(name, at, err)
		return nil
	}
	l.wasRead(data)
	tree, diags := l.syntax.Parse(name, data)
	l.found(diags)
	if tree == nil {
		return nil
	}
	if tree.Kind != syntax.Map {
		l.errorf(tree.At, "not-a-mapping", "a policy is a mapping, and this is %s", tree.Kind).
			WithHint("begin with `version: 1`")
		return nil
	}
	f := &file{name: name, tree: tree}
	l.read[canonical] = f
	l.files = append(l.files, f)
	if include := tree.Get("include"); include != nil {
		l.include(f, include, append(stack, canonical))
	}
	return f
}

// unreadable reports a file that can't be read.
func (l *loader) unreadable(name string, at diag.Span, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		l.errorf(at, "missing-file", "%q does not exist", name)
		return
	}
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	if errors.Is(err, source.ErrUntrusted) {
		l.errorf(at, Untrusted, "not to be trusted: %v", err).WithHint("%s", trustHint)
		return
	}
	l.errorf(at, "unreadable-file", "cannot read %q: %v", name, err)
}

// Untrusted is the code of a file, or of what is on the way to one, that others than a source.OS trusts can write.
const Untrusted = "untrusted-file"

// trustHint says whom a host trusts with its policy.
const trustHint = "a policy's files, and the directories and symlinks on the way, belong to root or the user that --owner names, who alone may write them"

// include reads the files that a file includes.
func (l *loader) include(f *file, n *syntax.Node, stack []string) {
	places := map[string]diag.Span{}
	for _, v := range l.values(n) {
		if v.not {
			l.errorf(v.at, "bad-include", "`not` has no place in include")
			continue
		}
		names := l.includePaths(f, v)
		if l.includes += len(names); l.includes > maxIncludes {
			l.errorf(v.at, "too-large", "the includes of a policy come to at most %d names", maxIncludes)
			return
		}
		for _, name := range names {
			if _, ok := places[name]; !ok {
				places[name] = v.at
			}
		}
	}
	names := make([]string, 0, len(places))
	for name := range places {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if g := l.readFile(name, places[name], stack); g != nil {
			f.includes = append(f.includes, g)
		}
	}
}

// includePaths is the files that one item of include names. As in a shell, a wildcard takes no hidden file.
func (l *loader) includePaths(f *file, v value) []string {
	if !l.path(v) {
		return nil
	}
	dir, rest := l.beside(f.name, v.text)
	if !strings.ContainsAny(v.text, `*?[\`) {
		return []string{dir + rest}
	}
	if l.globs++; l.globs > maxGlobs {
		l.errorf(v.at, "too-large", "the includes of a policy have at most %d patterns", maxGlobs)
		return nil
	}
	pattern := quoteGlob(dir) + rest
	names, err := l.fsys.Glob(pattern)
	switch {
	case errors.Is(err, source.ErrTooMany):
		l.errorf(v.at, "too-large", "the pattern %s takes %v", quote(v.text), err)
		return nil
	case errors.Is(err, source.ErrUntrusted):
		l.unreadable(pattern, v.at, err)
		return nil
	case err != nil:
		l.errorf(v.at, "bad-include", "%s is no pattern: %v", quote(v.text), err)
		return nil
	}
	if !strings.HasPrefix(path.Base(pattern), ".") {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			return strings.HasPrefix(path.Base(name), ".")
		})
	}
	if len(names) == 0 {
		l.warnf(v.at, "empty-glob", "no file matches %q", v.text)
	}
	return names
}

// path tells whether a value may be a path, and reports it where it is too long for one.
func (l *loader) path(v value) bool {
	if len(v.text) <= maxPath {
		return true
	}
	l.errorf(v.at, "too-large", "the path has %d bytes, at most %d are allowed", len(v.text), maxPath)
	return false
}

// beside is a path that a file names, as seen from where that file was named: a directory, and what follows it. The
// directory is empty or ends with a slash.
func (l *loader) beside(from, name string) (dir, rest string) {
	rest = path.Clean(name)
	if path.IsAbs(name) {
		return "", rest
	}
	dir, _ = path.Split(from)
	for {
		below, up := strings.CutPrefix(rest, "../")
		if !up {
			return l.tidy(dir), rest
		}
		dir, rest = dir+"../", below
	}
}

// tidy is a directory's path without detours. A `..` behind a symlink is none: it leads out of the symlink's target.
func (l *loader) tidy(dir string) string {
	if dir == "" {
		return ""
	}
	clean := path.Clean(dir) + "/"
	if strings.Contains(dir, "..") {
		there, err := l.fsys.Canonical(dir)
		if here, e := l.fsys.Canonical(clean); err == nil && (e != nil || here != there) {
			return dir
		}
	}
	switch clean {
	case "./":
		return ""
	case "//":
		return "/"
	}
	return clean
}

// quoteGlob makes a pattern that matches a path alone.
func quoteGlob(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
}

// fileNames is the names of all files read, the entry first, then in path order.
func (l *loader) fileNames() []string {
	names := make([]string, len(l.files))
	for i, f := range l.files {
		names[i] = f.name
	}
	slices.Sort(names[1:])
	return names
}

// checkVersions demands `version: 1` of the entry file, and of others where they write one.
func (l *loader) checkVersions() {
	for _, f := range l.files {
		switch n := f.tree.Get("version"); {
		case n == nil && f == l.entry:
			at := f.tree.At
			at.Len = 1
			l.errorf(at, "no-version", "the policy has no version").WithHint("begin with `version: 1`")
		case n == nil || n.Kind == syntax.Null:
		case n.Kind != syntax.Scalar || n.Text != "1":
			l.errorf(n.At, "bad-version", "`version` is 1, got %s", describe(n)).WithHint("write `version: 1`")
		}
	}
}
