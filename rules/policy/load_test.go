package policy

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
	"ringwall/rules/source"
)

var update = flag.Bool("update", false, "write the golden files anew")

// texts is a file system in memory. A text that begins with "-> " is a symlink.
type texts map[string]string

var _ source.FS = texts{}

func (t texts) Canonical(name string) (string, error) {
	name = path.Clean(name)
	text, ok := t[name]
	if !ok {
		return "", &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	if target, ok := strings.CutPrefix(text, "-> "); ok {
		return t.Canonical(strings.TrimSpace(target))
	}
	return name, nil
}

func (t texts) ReadFile(name string, limit int64) ([]byte, error) {
	name, err := t.Canonical(name)
	switch {
	case err != nil:
		return nil, err
	case strings.HasPrefix(t[name], "unreadable"):
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	case int64(len(t[name])) > limit:
		return nil, source.ErrTooLarge
	}
	return []byte(t[name]), nil
}

func (t texts) Glob(pattern string) ([]string, error) {
	var names []string
	for name := range t {
		ok, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// TestGolden loads the policies of testdata. Each archive holds files, the first of them the entry, and last the file
// "want": all that is found, and in testdata/load the policy that comes of it.
func TestGolden(t *testing.T) {
	archives, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatal("no archives", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.ToSlash(name)[len("testdata/"):], ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			files, want := texts{}, ""
			for _, f := range ar.Files {
				if f.Name == "want" {
					want = string(f.Data)
					continue
				}
				files[f.Name] = string(f.Data)
			}
			p, diags := Load(files, ar.Files[0].Name, Options{})
			if (p == nil) != diags.HasErrors() {
				t.Errorf("policy is nil: %v, errors: %v", p == nil, diags.HasErrors())
			}
			got := findings(diags)
			if strings.HasPrefix(name, filepath.Join("testdata", "load")) && p != nil {
				got += dump(p)
			}
			if *update {
				ar.Files = slices.DeleteFunc(ar.Files, func(f txtar.File) bool { return f.Name == "want" })
				ar.Files = append(ar.Files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// findings prints diagnostics with everything they hold.
func findings(l diag.List) string {
	var b strings.Builder
	for _, d := range l {
		fmt.Fprintf(&b, "%s+%d: %s: %s [%s]\n", d.At.Pos, d.At.Len, d.Severity, d.Message, d.Code)
		if d.Hint != "" {
			fmt.Fprintf(&b, "  hint: %s\n", d.Hint)
		}
		for _, n := range d.Related {
			fmt.Fprintf(&b, "  %s+%d: %s\n", n.At.Pos, n.At.Len, n.Message)
		}
	}
	return b.String()
}

// dump prints a policy.
func dump(p *Policy) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("files %s", strings.Join(p.Files, " "))
	say("defaults %s %s %s, transit %v", p.Defaults[In], p.Defaults[Out], p.Defaults[Forward], p.Transit)
	if p.Base != DefaultBase() {
		say("base %+v", p.Base)
	}
	if p.Cut {
		say("established cut")
	}
	for _, name := range sortedKeys(p.Sets) {
		s := p.Sets[name]
		say("set %s = %s%s", name, dumpAddrs(Addrs{Terms: s.Addrs.Terms}), map[bool]string{false: ", unused"}[s.Used])
		if s.Dynamic != nil {
			say("  %+v", *s.Dynamic)
		}
	}
	for _, name := range sortedKeys(p.Interfaces) {
		say("interfaces %s = %v", name, p.Interfaces[name].Patterns)
	}
	for _, name := range sortedKeys(p.Services) {
		say("service %s = %s = %s", name, p.Services[name].Text, dumpWhat(p.Services[name].What))
	}
	if len(p.Block.Terms) > 0 {
		say("block %s at %s", dumpAddrs(p.Block), p.BlockAt.Pos)
	}
	for _, f := range p.Failsafe {
		say("failsafe %s %v = %s from %s", f.Text, f.Builtin, dumpWhat(f.What), dumpAddrs(f.From))
	}
	for _, d := range Dirs {
		for _, r := range p.Lists[d] {
			say("%s %s %s: %s", d, r.ID, r.At.Pos, r.Text)
			say("  %s", dumpMatch(&r.Match))
			if a := r.Action; a.Limit != nil || a.Connections != nil || a.Log {
				say("  %s", dumpAction(a))
			}
		}
	}
	for _, r := range p.Disabled {
		say("disabled %s %s: %s", r.List, r.ID, r.Text)
	}
	for _, t := range p.Tests {
		say("test %s", t.Text)
		say("  %s", dumpMatch(&t.Match))
		say("  any %v time %d expect %s by %q", t.Any, t.Time, t.Expect, t.By)
		for _, name := range sortedKeys(t.Given) {
			say("  given %s = %s", name, dumpAddrs(static(t.Given[name])))
		}
	}
	return b.String()
}

func sortedKeys[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func dumpAction(a Action) string {
	var parts []string
	if l := a.Limit; l != nil {
		parts = append(parts, fmt.Sprintf("limit %d/%s burst %d per source %v %q", l.Rate, l.Unit, l.Burst, l.PerSource, l.Text))
	}
	if a.Connections != nil {
		parts = append(parts, fmt.Sprintf("connections %+v", *a.Connections))
	}
	if a.Log {
		parts = append(parts, fmt.Sprintf("log %q", a.LogText))
	}
	return strings.Join(parts, ", ")
}

func dumpMatch(m *Match) string {
	out := dumpWhat(m.What)
	if !m.From.IsAny() {
		out += " from " + dumpAddrs(m.From)
	}
	if !m.To.IsAny() {
		out += " to " + dumpAddrs(m.To)
	}
	if !m.Sport.IsAll() {
		out += fmt.Sprintf(" sport %v", m.Sport.Ranges())
	}
	for _, c := range []struct {
		name  string
		any   bool
		value any
	}{
		{"iif", m.IIf.IsAny(), m.IIf}, {"oif", m.OIf.IsAny(), m.OIf}, {"mac", m.MAC.IsAny(), m.MAC},
		{"mark", m.Mark.IsAny(), m.Mark}, {"user", m.User.IsAny(), m.User}, {"group", m.Group.IsAny(), m.Group},
	} {
		if !c.any {
			out += fmt.Sprintf(" %s %v", c.name, c.value)
		}
	}
	return out
}

func dumpWhat(w What) string {
	if w.IsAny() {
		return "any"
	}
	four, six := dumpKeys(w.V4), dumpKeys(w.V6)
	if four == six {
		return four
	}
	return "4:" + four + " 6:" + six
}

func dumpKeys(s addrset.Set[addrset.U32]) string {
	var parts []string
	for _, r := range s.Ranges() {
		text := fmt.Sprintf("%d/%d", r.Lo>>16, r.Lo&0xffff)
		if r.Hi != r.Lo {
			text += fmt.Sprintf("-%d/%d", r.Hi>>16, r.Hi&0xffff)
		}
		parts = append(parts, text)
	}
	return "{" + strings.Join(parts, " ") + "}"
}

func dumpAddrs(a Addrs) string {
	if a.Set != "" {
		return "set " + a.Set
	}
	if len(a.Terms) == 0 {
		return "nothing"
	}
	var terms []string
	for _, t := range a.Terms {
		text := "all"
		if !t.Static.IsAll() {
			text = strings.Join(append(addrset.Texts(t.Static.V4, 8), addrset.Texts(t.Static.V6, 8)...), " ")
		}
		for _, name := range t.In {
			text += " in " + name
		}
		for _, name := range t.NotIn {
			text += " not in " + name
		}
		terms = append(terms, text)
	}
	return strings.Join(terms, " or ")
}
