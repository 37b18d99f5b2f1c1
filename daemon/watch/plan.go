package watch

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// plan is which directories to watch, and for what in each. The directories are real: no symlink is on their paths.
type plan struct {
	dirs map[string]*interest
}

// interest is what matters in one directory. Events about other entries come from the neighbours and mean nothing.
type interest struct {
	names    map[string]bool
	patterns map[string]bool
}

const (
	// maxDirs bounds the watches: a pattern over a large tree is left to the slow rescan beyond it.
	maxDirs = 4096
	// maxLinks bounds the symlinks of one path, as the kernel does.
	maxLinks = 40
)

// newPlan follows every path from the root as far as it exists.
func newPlan(paths Paths) *plan {
	p := &plan{dirs: map[string]*interest{}}
	wd, err := os.Getwd()
	if err != nil {
		wd = "/"
	}
	for _, name := range paths.Files {
		p.follow("/", elements(wd, name, false), maxLinks)
	}
	for _, pattern := range paths.Globs {
		p.follow("/", elements(wd, pattern, true), maxLinks)
	}
	return p
}

// checkout tells whether git is writing a work tree that one of the directories is the root of.
func (p *plan) checkout() bool {
	for dir := range p.dirs {
		if _, err := os.Lstat(filepath.Join(dir, ".git", "index.lock")); err == nil {
			return true
		}
	}
	return false
}

// element is one name of a path; a pattern may stand for several.
type element struct {
	text    string
	pattern bool
}

// elements splits a name. A relative one stands under wd. Nothing is cleaned: what `..` means depends on symlinks.
func elements(wd, name string, glob bool) []element {
	var out []element
	if !strings.HasPrefix(name, "/") {
		out = elements("", wd, false)
	}
	for s := range strings.SplitSeq(name, "/") {
		if s != "" && s != "." {
			out = append(out, element{s, glob && strings.ContainsAny(s, `*?[\`)})
		}
	}
	return out
}

// follow notes every directory that decides what elems, seen from the real directory dir, lead to.
func (p *plan) follow(dir string, elems []element, links int) {
	for i, e := range elems {
		rest := elems[i+1:]
		if e.text == ".." && !e.pattern {
			dir = filepath.Dir(dir)
			continue
		}
		in := p.at(dir)
		if in == nil {
			return
		}
		if e.pattern {
			in.patterns[e.text] = true
			p.spread(dir, e.text, rest, links)
			return
		}
		in.names[e.text] = true
		next := filepath.Join(dir, e.text)
		st, err := os.Lstat(next)
		switch {
		case err != nil:
			return // dir tells when it appears
		case st.Mode()&os.ModeSymlink != 0:
			target, err := os.Readlink(next)
			if err != nil || links == 0 {
				return
			}
			if strings.HasPrefix(target, "/") {
				dir = "/"
			}
			p.follow(dir, append(elements("/", "/"+target, false), rest...), links-1)
			return
		case !st.IsDir():
			return
		}
		dir = next
	}
}

// spread follows the directories of dir that a pattern takes. Where the pattern is the last element there is nothing to
// follow: the files that it found are watched by name.
func (p *plan) spread(dir, pattern string, rest []element, links int) {
	if len(rest) == 0 {
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if ok, err := path.Match(pattern, e.Name()); ok && err == nil {
			p.follow(dir, append([]element{{text: e.Name()}}, rest...), links)
		}
	}
}

// at is the interest in a directory; nil where there are too many already.
func (p *plan) at(dir string) *interest {
	in := p.dirs[dir]
	if in == nil && len(p.dirs) < maxDirs {
		in = &interest{names: map[string]bool{}, patterns: map[string]bool{}}
		p.dirs[dir] = in
	}
	return in
}

// concerns tells whether an event is about something that the plan follows.
func (p *plan) concerns(ev fsnotify.Event) bool {
	name := filepath.Clean(ev.Name)
	if _, ok := p.dirs[name]; ok {
		return true
	}
	in := p.dirs[filepath.Dir(name)]
	if in == nil {
		return false
	}
	base := filepath.Base(name)
	if in.names[base] {
		return true
	}
	for pattern := range in.patterns {
		if ok, err := path.Match(pattern, base); ok && err == nil {
			return true
		}
	}
	return false
}

// same tells whether p and q watch the same things.
func (p *plan) same(q *plan) bool {
	return maps.EqualFunc(p.dirs, q.dirs, func(a, b *interest) bool {
		return maps.Equal(a.names, b.names) && maps.Equal(a.patterns, b.patterns)
	})
}

// sorted lists the directories, parents first.
func (p *plan) sorted() []string { return slices.Sorted(maps.Keys(p.dirs)) }
