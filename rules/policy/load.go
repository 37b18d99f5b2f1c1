package policy

import (
	"ringwall/rules/diag"
	"ringwall/rules/source"
	"ringwall/rules/syntax"
)

// Options is what a load needs from outside.
type Options struct {
	// User and Group look a name up on the host. Where nil, names get numbers of their own from 1<<31 on
	// (root: 0), which is enough to check a policy elsewhere than on its host. A name that they do not know is an error.
	User, Group func(name string) (uint32, bool)
	// Now is the time by which "expired" is judged, in Unix seconds. Load has no use for it; package check does.
	Now int64
}

// Load reads the policy whose entry file is given, with all that it includes. The policy is nil exactly where the
// list has errors; warnings leave it whole.
func Load(fsys source.FS, entry string, opt Options) (*Policy, diag.List) {
	l := &loader{
		fsys:     fsys,
		opt:      opt,
		read:     map[string]*file{},
		lists:    map[string]*listFile{},
		sets:     map[string]*setDef{},
		services: map[string]*serviceDef{},
		groups:   map[string]*groupDef{},
		written:  map[string]setting{},
		mappings: map[string]Mapping{},
		all:      newConditions(),
		builtin:  map[string]Addrs{},
		draft:    draft{places: map[string]diag.Span{}},
		effort:   effort{most: freeEffort},
		spare:    effort{most: freeEffort},
		p: &Policy{
			Entry:      entry,
			Defaults:   [3]Verdict{In: Deny, Out: Allow, Forward: Deny},
			Base:       DefaultBase(),
			Sets:       map[string]*Set{},
			Interfaces: map[string]*Interface{},
			Services:   map[string]*Service{},
			Users:      map[string]uint32{},
			Groups:     map[string]uint32{},
		},
	}
	l.load(entry)
	l.diags.Sort()
	if l.diags.HasErrors() {
		return nil, l.diags
	}
	return l.p, l.diags
}

// loader is one load under way. Errors never stop it: what is wrong is left out, so that the rest is read and all is
// reported at once.
type loader struct {
	fsys  source.FS
	opt   Options
	diags diag.List
	p     *Policy

	entry *file
	files []*file              // in the order they were first read
	read  map[string]*file     // by canonical name
	lists map[string]*listFile // by canonical name

	sets     map[string]*setDef
	setOrder []*setDef
	adds     []setDef
	nesting  []string // sets, services or groups that are being resolved, outermost first

	services     map[string]*serviceDef
	serviceOrder []*serviceDef

	groups     map[string]*groupDef
	groupOrder []*groupDef

	written   map[string]setting // settings that files may repeat but not change, by path: "defaults.in"
	rules     int                // read so far
	draft     draft              // of the rule at hand
	syntax    syntax.Reader
	listBytes int64      // of all list files
	listNames int        // how often a set named one
	includes  int        // names that include came to
	globs     int        // patterns of include
	all       conditions // that match everything
	builtin   map[string]Addrs
	effort    effort
	spare     effort // for warnings that a policy can do without
	errors    int    // found so far, those that are left out included
	warnings  int
	mappings  map[string]Mapping
	suggested int              // how often suggest was asked
	sought    int              // names that were looked through by seek
	naming    []naming         // every rule, in the order of judging, `in` first
	ids       map[string]*Rule // by final id
}

// setting is a value that several files may write if they agree.
type setting struct {
	text string
	at   diag.Span
}

// load reads all files, pools their definitions and then resolves what uses them.
func (l *loader) load(entry string) {
	l.entry = l.readFile(entry, diag.Span{Pos: diag.Pos{File: entry}}, nil)
	if l.entry == nil {
		return
	}
	l.p.Files = l.fileNames()
	l.checkVersions()
	for _, f := range l.files {
		l.definitions(f)
	}
	for _, d := range l.groupOrder {
		l.resolveGroup(d)
	}
	for _, d := range l.serviceOrder {
		l.resolveService(d)
	}
	l.extendSets()
	for _, d := range l.setOrder {
		l.resolveSet(d)
	}
	for _, f := range l.files {
		l.settings(f)
	}
	for _, dir := range Dirs {
		l.ruleList(l.entry, dir)
	}
	l.nameRules()
	for _, f := range l.files {
		l.tests(f.tree.Get("tests"))
	}
	l.checkTransit()
	l.markUsed()
}

// definitions pools what a file gives names to, and reports keys that no policy has.
func (l *loader) definitions(f *file) {
	l.fields(f.tree, "policy", func(key, value *syntax.Node) {
		switch key.Text {
		case "interfaces":
			l.poolGroups(value)
		case "services":
			l.poolServices(value)
		case "sets":
			l.poolSets(f, value)
		}
	})
}

// settings reads what every file may hold beside names and rules.
func (l *loader) settings(f *file) {
	for _, pair := range f.tree.Pairs {
		key, value := pair.Key, pair.Value
		if value.Kind == syntax.Null {
			continue // reported with the definitions
		}
		switch key.Text {
		case "defaults":
			l.defaults(value)
		case "base":
			l.base(value)
		case "established":
			l.established(value)
		case "failsafe":
			l.failsafe(value)
		case "block":
			l.block(key, value)
		}
	}
}

// markUsed notes on each name whether anything uses it.
func (l *loader) markUsed() {
	for _, d := range l.setOrder {
		if d.set != nil {
			d.set.Used = d.used
		}
	}
	for _, d := range l.serviceOrder {
		if d.service != nil {
			d.service.Used = d.used
		}
	}
}

// errorf reports a mistake, up to a number.
func (l *loader) errorf(at diag.Span, code, format string, args ...any) *diag.Diagnostic {
	switch l.errors++; {
	case l.errors > maxFindings+1:
		return &diag.Diagnostic{}
	case l.errors > maxFindings:
		return l.diags.Errorf(at, "too-many", "the policy has more than %d mistakes, and the others are not shown", maxFindings)
	}
	return l.diags.Errorf(at, code, format, args...)
}

// warnf reports something that a policy should not have but that does not refuse it, up to a number.
func (l *loader) warnf(at diag.Span, code, format string, args ...any) *diag.Diagnostic {
	switch l.warnings++; {
	case l.warnings > maxFindings+1:
		return &diag.Diagnostic{}
	case l.warnings > maxFindings:
		return l.diags.Warnf(at, "too-many", "the policy has more than %d warnings, and the others are not shown", maxFindings)
	}
	return l.diags.Warnf(at, code, format, args...)
}

// found takes up what another has found.
func (l *loader) found(list diag.List) {
	for _, d := range list {
		report := l.errorf
		if d.Severity == diag.Warning {
			report = l.warnf
		}
		if r := report(d.At, d.Code, "%s", d.Message); r.Code == d.Code {
			r.Hint, r.Related = d.Hint, d.Related
		}
	}
}
