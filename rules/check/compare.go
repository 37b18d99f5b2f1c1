package check

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
)

// Change is one thing that differs between two policies.
type Change struct {
	Kind    Kind    `json:"kind"`
	Subject Subject `json:"subject"`
	List    string  `json:"list,omitempty"` // of a rule or default: in, out or forward
	Name    string  `json:"name,omitempty"` // a rule's id, a set's name, a base key, a failsafe WHAT
	// Parts says what of a changed rule differs: "match", "action", "expires", "note"; "values" where the rule reads
	// the same but a set, service or interface group that it names holds something else.
	Parts []string `json:"parts,omitempty"`
	Old   string   `json:"old,omitempty"` // as pages print it
	New   string   `json:"new,omitempty"`
	// From and To are the places of a moved rule among the rules of its list, from 1.
	From int `json:"from,omitempty"`
	To   int `json:"to,omitempty"`
	// Plus and Minus count the addresses that come and go, as ranges: an address, a prefix or a-b counts one.
	Plus  int    `json:"plus,omitempty"`
	Minus int    `json:"minus,omitempty"`
	At    string `json:"at,omitempty"` // file:line in the new policy; in the old one of what is removed
}

// Kind says what happened to a thing.
type Kind string

// The kinds of change.
const (
	Added   Kind = "added"
	Removed Kind = "removed"
	Changed Kind = "changed"
	Moved   Kind = "moved"
)

// Subject says what a thing is.
type Subject string

// The subjects, in the order of a comparison.
const (
	SubjectDefault  Subject = "default"
	SubjectBase     Subject = "base"
	SubjectCut      Subject = "established" // keep or cut
	SubjectBlock    Subject = "block"
	SubjectFailsafe Subject = "failsafe"
	SubjectSet      Subject = "set"
	SubjectRule     Subject = "rule"
)

// String is the change on one line.
func (c Change) String() string {
	name := strings.TrimSpace(fmt.Sprintf("%s %s", c.Subject, strings.TrimPrefix(c.List+" "+c.Name, " ")))
	text := fmt.Sprintf("%s %s", c.Kind, strings.TrimRight(name, " "))
	switch {
	case c.Kind == Moved:
		text += fmt.Sprintf(" from place %d to %d", c.From, c.To)
	case c.Plus+c.Minus > 0:
		text += fmt.Sprintf(" +%d -%d", c.Plus, c.Minus)
	case c.Kind == Changed && c.Old == c.New:
		text += ": " + strings.Join(c.Parts, ", ")
	case c.Kind == Changed:
		text += ": " + c.Old + " -> " + c.New
	case c.Old+c.New != "":
		text += ": " + c.Old + c.New
	}
	if c.At != "" {
		text += " (" + c.At + ")"
	}
	return text
}

// Compare lists what differs between two policies in what they do, rules by their ids: places in files, tests and
// unused definitions of services and interfaces count for nothing. The first may be nil: everything is added then.
func Compare(before, after *policy.Policy) []Change {
	c := comparison{old: before, new: after}
	if before == nil {
		c.old = &policy.Policy{Base: policy.DefaultBase()}
		c.first = true
	}
	c.defaults()
	c.base()
	c.block()
	c.failsafe()
	c.sets()
	for _, dir := range policy.Dirs {
		c.rules(dir)
	}
	return c.out
}

// comparison is Compare at work.
type comparison struct {
	old, new *policy.Policy
	first    bool // there is no old policy
	out      []Change
}

func (c *comparison) add(ch Change) { c.out = append(c.out, ch) }

// place is where something stands, empty where it is not written.
func place(at diag.Span) string {
	if at.IsZero() {
		return ""
	}
	return at.Short()
}

func (c *comparison) defaults() {
	text := func(p *policy.Policy, dir policy.Dir) string {
		if dir == policy.Forward && !p.Transit {
			return "not judged"
		}
		return p.Defaults[dir].String()
	}
	for _, dir := range policy.Dirs {
		ch := Change{Kind: Changed, Subject: SubjectDefault, List: dir.String(), Old: text(c.old, dir), New: text(c.new, dir), At: place(c.new.DefaultsAt[dir])}
		if c.first {
			ch.Kind, ch.Old = Added, ""
		}
		if ch.Old != ch.New {
			c.add(ch)
		}
	}
}

func (c *comparison) base() {
	text := map[bool]string{true: "on", false: "off"}
	keys := []string{policy.ByLoopback, policy.ByEstablished, policy.ByNeighbour, policy.ByMulticast, policy.ByICMPErrors,
		policy.ByDHCPClient, policy.ByInvalid, policy.ByReversePath}
	was, is := switches(c.old.Base), switches(c.new.Base)
	for i, key := range keys {
		if was[i] != is[i] {
			c.add(Change{Kind: Changed, Subject: SubjectBase, Name: key, Old: text[was[i]], New: text[is[i]]})
		}
	}
	if c.old.Cut != c.new.Cut {
		c.add(Change{Kind: Changed, Subject: SubjectCut, Old: established(c.old), New: established(c.new)})
	}
}

// established is what becomes of connections that a policy would refuse, as policies write it.
func established(p *policy.Policy) string {
	if p.Cut {
		return "cut"
	}
	return "keep"
}

// switches is the base in the order of its table.
func switches(b policy.Base) [8]bool {
	return [...]bool{b.Loopback, b.Established, b.Neighbour, b.Multicast, b.ICMPErrors, b.DHCPClient, b.Invalid, b.ReversePath}
}

// addresses fills in what happened to some addresses; false where nothing did.
func (ch *Change) addresses(before, after policy.Addrs) bool {
	gone, come := static(before).Differ(static(after))
	ch.Plus, ch.Minus = come.Len(), gone.Len()
	return ch.Plus+ch.Minus > 0 || !sameAddrs(before, after)
}

// static is the addresses that are in a while no dynamic set holds any.
func static(a policy.Addrs) addrset.Addrs {
	var out addrset.Addrs
	for _, t := range a.Terms {
		if len(t.In) == 0 {
			out = out.Union(t.Static)
		}
	}
	return out
}

// sameAddrs tells whether both are the same addresses, through the same dynamic sets.
func sameAddrs(a, b policy.Addrs) bool {
	return slices.EqualFunc(a.Terms, b.Terms, func(s, t policy.Term) bool {
		return s.Static.Equal(t.Static) && slices.Equal(s.In, t.In) && slices.Equal(s.NotIn, t.NotIn)
	})
}

func (c *comparison) block() {
	was, is := c.old.Block, c.new.Block
	ch := Change{Kind: Changed, Subject: SubjectBlock, Old: was.String(), New: is.String(), At: place(c.new.BlockAt)}
	switch {
	case len(was.Terms) == 0 && len(is.Terms) == 0:
		return
	case len(was.Terms) == 0:
		ch.Kind, ch.Old = Added, ""
	case len(is.Terms) == 0:
		ch.Kind, ch.New, ch.At = Removed, "", place(c.old.BlockAt)
	}
	if ch.addresses(was, is) {
		c.add(ch)
	}
}

// failsafe compares line by line; a WHAT that several lines have counts as one.
func (c *comparison) failsafe() {
	type line struct {
		from policy.Addrs
		what policy.What
		at   diag.Span
	}
	lines := func(p *policy.Policy) map[string]line {
		m := make(map[string]line)
		for _, f := range p.Failsafe {
			l := m[f.Text]
			l.from.Terms = append(l.from.Terms, f.From.Terms...)
			m[f.Text] = line{l.from, f.What, f.At}
		}
		return m
	}
	was, is := lines(c.old), lines(c.new)
	for _, text := range slices.Sorted(maps.Keys(is)) {
		o, ok := was[text]
		n := is[text]
		ch := Change{Kind: Changed, Subject: SubjectFailsafe, Name: text, Old: o.from.String(), New: n.from.String(), At: place(n.at)}
		if !ok {
			ch.Kind, ch.Old = Added, ""
		}
		if differ := ch.addresses(o.from, n.from); differ || !ok {
			c.add(ch)
		} else if !sameWhat(o.what, n.what) {
			ch.Parts = []string{"values"}
			c.add(ch)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(was)) {
		if _, ok := is[text]; !ok {
			ch := Change{Kind: Removed, Subject: SubjectFailsafe, Name: text, Old: was[text].from.String(), At: place(was[text].at)}
			ch.addresses(was[text].from, policy.Addrs{})
			c.add(ch)
		}
	}
}

func (c *comparison) sets() {
	for _, name := range slices.Sorted(maps.Keys(c.new.Sets)) {
		was, is := c.old.Sets[name], c.new.Sets[name]
		ch := Change{Kind: Changed, Subject: SubjectSet, Name: name, New: setText(is), At: place(is.At)}
		if was == nil {
			ch.Kind = Added
			was = &policy.Set{}
		} else {
			ch.Old = setText(was)
		}
		if differ := ch.addresses(was.Addrs, is.Addrs); differ || ch.Old != ch.New {
			c.add(ch)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.old.Sets)) {
		if was := c.old.Sets[name]; c.new.Sets[name] == nil {
			ch := Change{Kind: Removed, Subject: SubjectSet, Name: name, Old: setText(was), At: place(was.At)}
			ch.addresses(was.Addrs, policy.Addrs{})
			c.add(ch)
		}
	}
}

// setText is what a set is, for a page: the settings of a dynamic one, the beginning of any other.
func setText(s *policy.Set) string {
	if d := s.Dynamic; d != nil {
		if d.Timeout == 0 {
			return fmt.Sprintf("dynamic, at most %d", d.Max)
		}
		return fmt.Sprintf("dynamic, for %d s, at most %d", d.Timeout, d.Max)
	}
	a := s.Addrs
	a.Set = "" // its own name says nothing
	return a.String()
}

func (c *comparison) rules(dir policy.Dir) {
	old := make(map[string]int)
	for i, r := range c.old.Lists[dir] {
		old[r.ID] = i
	}
	kept := make(map[string]bool)
	var common []*policy.Rule // in the order of the new list
	var places []int          // theirs in the old one
	for _, r := range c.new.Lists[dir] {
		if i, ok := old[r.ID]; ok {
			kept[r.ID] = true
			common = append(common, r)
			places = append(places, i)
		}
	}
	stay := longestRise(places)
	stays := make(map[string]bool)
	for _, i := range stay {
		stays[common[i].ID] = true
	}
	rule := func(r *policy.Rule) Change {
		return Change{Subject: SubjectRule, List: dir.String(), Name: r.ID, At: place(r.At)}
	}
	for i, r := range c.new.Lists[dir] {
		if !kept[r.ID] {
			ch := rule(r)
			ch.Kind, ch.New = Added, r.Text
			c.add(ch)
			continue
		}
		was := c.old.Lists[dir][old[r.ID]]
		if parts := ruleParts(was, r); len(parts) > 0 {
			ch := rule(r)
			ch.Kind, ch.Parts, ch.Old, ch.New = Changed, parts, was.Text, r.Text
			c.add(ch)
		}
		if !stays[r.ID] {
			ch := rule(r)
			ch.Kind, ch.From, ch.To = Moved, old[r.ID]+1, i+1
			c.add(ch)
		}
	}
	for _, r := range c.old.Lists[dir] {
		if !kept[r.ID] {
			ch := rule(r)
			ch.Kind, ch.Old = Removed, r.Text
			c.add(ch)
		}
	}
}

// ruleParts is what differs between two rules of one id.
func ruleParts(a, b *policy.Rule) []string {
	var parts []string
	action := a.Action == b.Action || reflect.DeepEqual(a.Action, b.Action)
	match := sameMatch(&a.Match, &b.Match)
	if !match {
		if a.Text == b.Text && action {
			parts = append(parts, "values")
		} else {
			parts = append(parts, "match")
		}
	}
	if !action {
		parts = append(parts, "action")
	}
	if a.Expires != b.Expires {
		parts = append(parts, "expires")
	}
	if a.Note != b.Note {
		parts = append(parts, "note")
	}
	return parts
}

// sameMatch tells whether two matches take the same packets. The order of values counts for nothing.
func sameMatch(a, b *policy.Match) bool {
	return sameWhat(a.What, b.What) && a.Sport.Equal(b.Sport) && sameAddrs(a.From, b.From) && sameAddrs(a.To, b.To) &&
		sameChoice(a.IIf, b.IIf, func(p policy.Pattern) string { return string(p) }) &&
		sameChoice(a.OIf, b.OIf, func(p policy.Pattern) string { return string(p) }) &&
		sameChoice(a.MAC, b.MAC, policy.MAC.String) &&
		sameChoice(a.Mark, b.Mark, policy.Mark.String) &&
		sameChoice(a.User, b.User, ownerText) && sameChoice(a.Group, b.Group, ownerText)
}

func sameWhat(a, b policy.What) bool { return a.V4.Equal(b.V4) && a.V6.Equal(b.V6) }

// ownerText tells owners apart. Numbers from 1<<31 on are those that a load without a host gives to names.
func ownerText(o policy.Owner) string {
	if o.ID >= 1<<31 {
		return o.Name
	}
	return fmt.Sprint(o.ID)
}

func sameChoice[T any](a, b policy.Choice[T], text func(T) string) bool {
	if a.IsAny() && b.IsAny() {
		return true
	}
	texts := func(vs []T) []string {
		var out []string
		for _, v := range vs {
			out = append(out, text(v))
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	return slices.Equal(texts(a.Yes), texts(b.Yes)) && slices.Equal(texts(a.No), texts(b.No))
}

// longestRise is the indices of a longest rising run of numbers, other numbers left out between them. What is not
// in it must move, and nothing else need.
func longestRise(ns []int) []int {
	before := make([]int, len(ns)) // the index before, in the best run that ends here; -1: none
	var ends []int                 // of the runs of each length, the index whose number is smallest
	for i, n := range ns {
		at, _ := slices.BinarySearchFunc(ends, n, func(e, n int) int { return cmp.Compare(ns[e], n) })
		before[i] = -1
		if at > 0 {
			before[i] = ends[at-1]
		}
		if at == len(ends) {
			ends = append(ends, i)
		} else {
			ends[at] = i
		}
	}
	if len(ends) == 0 {
		return nil
	}
	run := make([]int, 0, len(ends))
	for i := ends[len(ends)-1]; i >= 0; i = before[i] {
		run = append(run, i)
	}
	slices.Reverse(run)
	return run
}
