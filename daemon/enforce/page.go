package enforce

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
)

// Page is an enforced policy on one page, with what its rules have counted: what `show` prints.
type Page struct {
	Policy   string    `json:"policy"`
	Source   Source    `json:"source"`
	Digest   string    `json:"digest"`
	Enforced bool      `json:"enforced"`       // the kernel's table is this policy's
	Note     string    `json:"note,omitempty"` // why counters are missing, or the table is not this policy's
	Sections []Section `json:"sections"`
	Sets     []SetLine `json:"sets,omitempty"`
}

// Section is one part of a Page, in the order of judging: block, failsafe, base, in, out, forward.
type Section struct {
	Name  string `json:"name"`
	Lines []Line `json:"lines"`
}

// Line is one rule, or one thing that stands before the rules, of a Section.
type Line struct {
	ID      string   `json:"id"`           // a rule's id, a base key, "default", "block", "failsafe"
	Text    string   `json:"text"`         // the rule on one line
	At      string   `json:"at,omitempty"` // file:line; empty where it is not written
	Verdict string   `json:"verdict,omitempty"`
	Note    string   `json:"note,omitempty"`
	Off     bool     `json:"off,omitempty"`    // enabled: false, or switched off in base
	Counts  *Counted `json:"counts,omitempty"` // nil where the kernel's counters can't be read or it has none
	Over    *Counted `json:"over,omitempty"`   // what the rule denied because it was over its limit
	Full    *Counted `json:"full,omitempty"`   // what it admitted though its limit could follow no more sources
}

// Counted is a counter's value.
type Counted struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// SetLine is one named set of a Page.
type SetLine struct {
	Name    string `json:"name"`
	At      string `json:"at"`
	Dynamic bool   `json:"dynamic,omitempty"`
	Ranges  int    `json:"ranges"` // of a static set, both families
	Bans    int    `json:"bans"`   // of a dynamic set
}

// Show is the enforced policy with its counters. Without privileges, or while another process owns the table, it is
// the policy that was stored last, and its Note says so.
func (e *Enforcer) Show(ctx context.Context) (*Page, error) {
	if e.running.Candidate == nil {
		return nil, e.nothingKnown()
	}
	p := e.running.Policy
	page := &Page{Policy: e.running.Entry, Source: e.running.Source, Digest: e.running.Digest}
	err := e.Intact(ctx)
	page.Enforced = err == nil
	var counters map[string]ruleset.Counter
	if err == nil || errors.Is(err, ErrChanged) {
		var unread error
		if counters, unread = e.conn.Counters(ctx); unread != nil {
			err = unanswered(unread)
		}
	}
	if err != nil {
		page.Note = err.Error()
	}
	d := drawing{p: p, counters: counters}
	page.Sections = []Section{d.block(), d.failsafe(), d.base()}
	for _, dir := range policy.Dirs {
		if dir != policy.Forward || p.Transit {
			page.Sections = append(page.Sections, d.list(dir))
		}
	}
	page.Sections = slices.DeleteFunc(page.Sections, func(s Section) bool { return len(s.Lines) == 0 })
	page.Sets = e.setLines()
	return page, nil
}

// setLines is the policy's sets by name.
func (e *Enforcer) setLines() (lines []SetLine) {
	bans := map[string]int{}
	for _, b := range current(e.bans, e.opt.Now()) {
		bans[b.Set]++
	}
	sets := e.running.Policy.Sets
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		s := sets[name]
		line := SetLine{Name: name, At: s.At.Short(), Dynamic: s.Dynamic != nil}
		if line.Dynamic {
			line.Bans = bans[name]
		} else {
			for _, t := range s.Addrs.Terms {
				line.Ranges += t.Static.Len()
			}
		}
		lines = append(lines, line)
	}
	return lines
}

// drawing makes the sections of one policy.
type drawing struct {
	p        *policy.Policy
	counters map[string]ruleset.Counter
}

// counts finds a counter or the sum of several, nil where the kernel has none of them.
func (d *drawing) counts(names ...string) *Counted {
	var sum *Counted
	for _, name := range names {
		if c, ok := d.counters[name]; ok {
			if sum == nil {
				sum = &Counted{}
			}
			sum.Packets += c.Packets
			sum.Bytes += c.Bytes
		}
	}
	return sum
}

// everywhere is what something that stands before the rules has counted in all lists.
func (d *drawing) everywhere(by string) *Counted {
	var names []string
	for _, dir := range policy.Dirs {
		names = append(names, compile.BaseCounter(dir, by))
	}
	return d.counts(names...)
}

func (d *drawing) block() Section {
	s := Section{Name: policy.ByBlock}
	if len(d.p.Block.Terms) > 0 {
		s.Lines = []Line{{
			ID: policy.ByBlock, Text: "deny any from or to " + d.p.Block.String(), At: place(d.p.BlockAt), Verdict: policy.Deny.String(),
			Counts: d.everywhere(policy.ByBlock),
		}}
	}
	return s
}

func (d *drawing) failsafe() Section {
	s := Section{Name: policy.ByFailsafe}
	for i, f := range d.p.Failsafe {
		line := Line{ID: policy.ByFailsafe, Text: "allow " + f.Text + " from " + f.From.String(), At: place(f.At), Verdict: policy.Allow.String()}
		if i == 0 { // one counter serves all
			line.Counts = d.everywhere(policy.ByFailsafe)
		}
		s.Lines = append(s.Lines, line)
	}
	return s
}

func (d *drawing) base() Section {
	s := Section{Name: "base"}
	b := d.p.Base
	for _, key := range []struct {
		name, text string
		on         bool
		verdict    policy.Verdict
	}{
		{policy.ByLoopback, "allow what runs over lo", b.Loopback, policy.Allow},
		{policy.ByEstablished, "allow what belongs to a connection", b.Established, policy.Allow},
		{policy.ByNeighbour, "allow IPv6 neighbour discovery", b.Neighbour, policy.Allow},
		{policy.ByMulticast, "allow IGMP and MLD", b.Multicast, policy.Allow},
		{policy.ByICMPErrors, "allow ICMP errors", b.ICMPErrors, policy.Allow},
		{policy.ByDHCPClient, "allow DHCP of this host", b.DHCPClient, policy.Allow},
		{policy.ByInvalid, "deny what conntrack calls invalid", b.Invalid, policy.Deny},
		{policy.ByReversePath, "deny sources that the way back does not lead to", b.ReversePath, policy.Deny},
	} {
		s.Lines = append(s.Lines, Line{
			ID: key.name, Text: key.text, Off: !key.on, Verdict: key.verdict.String(),
			Counts: d.everywhere(key.name),
		})
	}
	return s
}

func (d *drawing) list(dir policy.Dir) Section {
	s := Section{Name: dir.String()}
	for _, r := range d.p.Lists[dir] {
		s.Lines = append(s.Lines, Line{
			ID: r.ID, Text: r.Text, At: place(r.At), Verdict: r.Action.Verdict.String(), Note: r.Note,
			Counts: d.counts(compile.ChainName(r)), Over: d.counts(compile.OverCounter(r)), Full: d.counts(compile.FullCounter(r)),
		})
	}
	for _, r := range d.p.Disabled {
		if r.List == dir {
			s.Lines = append(s.Lines, Line{ID: r.ID, Text: r.Text, At: place(r.At), Verdict: r.Action.Verdict.String(), Note: r.Note, Off: true})
		}
	}
	verdict := d.p.Defaults[dir]
	s.Lines = append(s.Lines, Line{
		ID: policy.ByDefault, Text: fmt.Sprintf("%s any", verdict), At: place(d.p.DefaultsAt[dir]), Verdict: verdict.String(),
		Counts: d.counts(compile.BaseCounter(dir, policy.ByDefault)),
	})
	return s
}

// place is file:line, or nothing.
func place(at diag.Span) string {
	if at.IsZero() {
		return ""
	}
	return strings.TrimSpace(at.Short())
}
