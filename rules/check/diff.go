package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// Difference is what two policies do differently, by packets: exactly those that are treated differently, whatever
// dynamic sets hold. How the policies are written, in which order and under which ids, counts for nothing.
type Difference struct {
	Verdicts []Shift `json:"verdicts,omitempty"` // packets that get another verdict
	// Actions is packets that keep their verdict and get another limit, connection limit or log.
	Actions  []Shift  `json:"actions,omitempty"`
	Settings []string `json:"settings,omitempty"` // what else differs, a line each
	// Undecided is packets among which there may be more, since finding out would take too long.
	Undecided []Packets `json:"undecided,omitempty"`
}

// None tells whether no packet is treated differently, and nothing else differs.
func (d *Difference) None() bool {
	return len(d.Verdicts)+len(d.Actions)+len(d.Settings)+len(d.Undecided) == 0
}

// Lines is the difference in words: verdicts, actions, settings and what is undecided.
func (d *Difference) Lines() []string {
	var out []string
	for _, s := range d.Verdicts {
		out = append(out, s.String())
	}
	for _, s := range d.Actions {
		out = append(out, s.String())
	}
	out = append(out, d.Settings...)
	for _, p := range d.Undecided {
		out = append(out, "not decided: there may be more among "+p.Text)
	}
	return out
}

// Shift is packets that are treated differently, in one way.
type Shift struct {
	Packets
	// Sum is how many boxes of packets the line sums up: then it means those of Packets about which one of Was decided
	// and one of Now decides. It is 0 where all of Packets are meant.
	Sum     int    `json:"sum,omitempty"`
	Verdict string `json:"verdict,omitempty"` // where it stays the same
	// Old and New are verdicts; of packets that keep theirs, what else differs: "limit 10/minute".
	Old string    `json:"old"`
	New string    `json:"new"`
	Was []Decider `json:"was"` // what decides about some of the packets
	Now []Decider `json:"now"`
	// Example is one of the packets, in the words of `ringwall explain`.
	Example string `json:"example"`
}

// String is the shift on one line: "in tcp/22 from 10.0.0.0/8: allow → deny, was rule ssh, now default".
func (s Shift) String() string { return s.Subject() + ": " + s.Change() + s.Reason() }

// Subject is the packets in words.
func (s Shift) Subject() string {
	was, now := deciders(s.Was), deciders(s.Now)
	switch {
	case s.Sum == 0:
		return s.Text
	case was == now:
		return s.Text + ", what " + was + " decides"
	}
	return s.Text + ", what goes from " + was + " to " + now
}

// Change is what becomes of the packets, in words.
func (s Shift) Change() string {
	if s.Verdict != "" {
		return s.Verdict + " as before, " + s.aspects()
	}
	return s.Old + " → " + s.New
}

// Reason is what decides about the packets, after a comma; nothing where the subject says it.
func (s Shift) Reason() string {
	was, now := deciders(s.Was), deciders(s.Now)
	switch {
	case s.Sum > 0:
		return ""
	case was == now:
		return ", by " + was
	}
	return ", was " + was + ", now " + now
}

// aspects is what changes beside the verdict; a name that both sides begin with is said once.
func (s Shift) aspects() string {
	name, _, _ := strings.Cut(s.Old, " ")
	if rest, ok := strings.CutPrefix(s.New, name+" "); ok && !strings.Contains(s.Old, ", ") {
		return s.Old + " → " + rest
	}
	return s.Old + " → " + s.New
}

// Decider is a rule, or what else decides about packets.
type Decider struct {
	By   string `json:"by"`             // a rule's id, "default", "block", "failsafe" or a base key
	Rule bool   `json:"rule,omitempty"` // it is a rule
	At   string `json:"at,omitempty"`   // file:line
}

// deciders is a list in words, long ones abbreviated: "default, rules ssh, web and 3 more".
func deciders(ds []Decider) string {
	var rules, words []string
	for _, d := range ds {
		if d.Rule {
			rules = append(rules, d.By)
		} else {
			words = append(words, d.By)
		}
	}
	switch len(rules) {
	case 0:
	case 1:
		words = append(words, "rule "+rules[0])
	default:
		words = append(words, "rules "+abbreviate(rules, 4))
	}
	return strings.Join(words, ", ")
}

// abbreviate is a list in words of which at most some are shown: "a, b and 3 more".
func abbreviate(texts []string, shown int) string {
	if n := len(texts); n > shown+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(texts[:shown], ", "), n-shown)
	}
	return strings.Join(texts, ", ")
}

// DiffWork is how much work Diff may do where a person waits for it: about a second.
const DiffWork = 32 << 20

// DiffOptions is how policies are compared. The zero DiffOptions decides nothing.
type DiffOptions struct {
	Now   int64 // in Unix seconds; what differs only before counts for nothing
	Work  int   // how much may be done, see DiffWork
	Boxes bool  // say every box of packets by itself, however many there are
}

// Diff compares two policies by what they do to packets.
func Diff(before, after *policy.Policy, opt DiffOptions) *Difference {
	d := &differ{now: opt.Now, boxes: opt.Boxes, liveLeft: opt.Work, out: &Difference{}}
	d.old, d.new = withSameOwners(before, after)
	var err error
	d.space, err = space.NewFree(d.old, d.new)
	if err == nil {
		d.naming = newNaming(d.space, opt.Now, d.old, d.new)
		work := opt.Work
		for _, dir := range policy.Dirs {
			used := 0
			if used, err = d.direction(dir, work*2/3); err != nil {
				break
			}
			work -= used
		}
	}
	if err != nil {
		d.out.Verdicts, d.out.Actions = nil, nil
		d.out.Undecided = []Packets{{Text: fmt.Sprintf("any packet: the policies are %v", err)}}
	}
	d.settings()
	return d.out
}

// settings says what differs of the dynamic sets that both policies have, and whether connections are cut.
func (d *differ) settings() {
	if d.old.Cut != d.new.Cut {
		d.out.Settings = append(d.out.Settings, "established: "+established(d.old)+" → "+established(d.new))
	}
	for _, name := range slices.Sorted(maps.Keys(d.new.Sets)) {
		was, is := d.old.Sets[name], d.new.Sets[name]
		if was == nil || was.Dynamic == nil || is.Dynamic == nil || *was.Dynamic == *is.Dynamic {
			continue
		}
		var parts []string
		if a, b := was.Dynamic.Timeout, is.Dynamic.Timeout; a != b {
			parts = append(parts, fmt.Sprintf("timeout %s → %s", timeout(a), timeout(b)))
		}
		if a, b := was.Dynamic.Max, is.Dynamic.Max; a != b {
			parts = append(parts, fmt.Sprintf("max %d → %d", a, b))
		}
		d.out.Settings = append(d.out.Settings, "set "+name+": "+strings.Join(parts, ", "))
	}
}

// timeout is how long the entries of a dynamic set live, as policies write it.
func timeout(seconds int64) string {
	switch {
	case seconds == 0:
		return "none"
	case seconds%86400 == 0:
		return fmt.Sprintf("%dd", seconds/86400)
	case seconds%3600 == 0:
		return fmt.Sprintf("%dh", seconds/3600)
	case seconds%60 == 0:
		return fmt.Sprintf("%dm", seconds/60)
	}
	return fmt.Sprintf("%ds", seconds)
}

// treatment is what becomes of a packet, in words.
type treatment struct {
	verdict                 policy.Verdict
	limit, connections, log string
}

// treated is what an entry does.
func treated(d policy.Decision) treatment {
	t := treatment{verdict: d.Verdict, limit: "none", connections: "none", log: "off"}
	if d.Rule == nil {
		return t
	}
	a := d.Rule.Action
	perSource := map[bool]string{true: " per source"}
	if l := a.Limit; l != nil {
		t.limit = fmt.Sprintf("%d/%s", l.Rate, l.Unit)
		if l.Burst != l.Rate {
			t.limit += fmt.Sprintf(" burst %d", l.Burst)
		}
		t.limit += perSource[l.PerSource]
	}
	if c := a.Connections; c != nil {
		t.connections = fmt.Sprint(c.Max) + perSource[c.PerSource]
	}
	if a.Log {
		t.log = "on"
		if a.LogText != "" {
			t.log = fmt.Sprintf("%q", a.LogText)
		}
	}
	return t
}

// differences is what of two treatments of one verdict differs.
func differences(a, b treatment) (was, is string) {
	var olds, news []string
	add := func(name, x, y string) {
		if x != y {
			olds, news = append(olds, name+" "+x), append(news, name+" "+y)
		}
	}
	add("limit", a.limit, b.limit)
	add("connections", a.connections, b.connections)
	add("log", a.log, b.log)
	return strings.Join(olds, ", "), strings.Join(news, ", ")
}

// decider is what decides by an entry.
func decider(d policy.Decision) Decider {
	return Decider{By: d.By, Rule: d.Rule != nil, At: place(d.At)}
}

// addDeciders adds to a list of deciders what is not in it.
func addDeciders(ds, more []Decider) []Decider {
	for _, d := range more {
		if !slices.Contains(ds, d) {
			ds = append(ds, d)
		}
	}
	return ds
}
