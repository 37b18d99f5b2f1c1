package main

import (
	"fmt"
	"strings"

	"ringwall/daemon/impact"
	"ringwall/rules/check"
)

// How much of a preview is printed; --json has the whole.
const (
	shownRefusers  = 10
	shownFlows     = 3
	shownListeners = 20
)

// printImpact prints what a policy would mean for what the host has.
func (f *front) printImpact(p *impact.Preview) {
	if c := p.Connections; c != nil {
		f.printConnections(c)
	}
	f.printListeners(p.Listeners)
	if p.Lockout != nil {
		fmt.Fprintln(f.stdout, "apply would refuse it, since it would lock somebody out:")
		for _, line := range p.Lockout.Lines() {
			fmt.Fprintf(f.stdout, "  %s\n", line)
		}
	}
}

// printConnections prints which connections would be refused as new ones.
func (f *front) printConnections(c *impact.Connections) {
	refused, ends := 0, 0
	for _, r := range c.Refused {
		refused += r.Count
		if r.Ends {
			ends += r.Count
		}
	}
	var fate string
	switch {
	case refused == 0:
	case ends == refused:
		fate = ", and are cut"
	case ends == 0:
		fate = ", and go on"
	default:
		fate = fmt.Sprintf("; %d of them are cut, the others go on", ends)
	}
	fmt.Fprintf(f.stdout, "connections: %d of %d would be refused as new ones%s\n", refused, c.Judged, fate)
	f.printRefusers(c.Refused)
	for _, u := range c.Unclear {
		fmt.Fprintf(f.stdout, "  %d can't be told, since it depends on their %s: %s\n", u.Count, u.Depends, some(u.Flows, u.Count))
	}
}

// printRefusers prints connections by what refuses them.
func (f *front) printRefusers(list []impact.Refused) {
	paint := f.ink(f.stdout)
	for i, r := range list {
		if i == shownRefusers && len(list) > shownRefusers+1 {
			fmt.Fprintf(f.stdout, "  and more by %d others\n", len(list)-i)
			return
		}
		already := ""
		if r.Already > 0 {
			already = fmt.Sprintf(", %d of them now, too", r.Already)
		}
		fmt.Fprintf(f.stdout, "  %s %d by %s%s: %s\n", r.List, r.Count, r.Decider, already, paint.faint(some(r.Flows, r.Count)))
	}
}

// printCut prints what was cut.
func (f *front) printCut(list []impact.Refused) {
	n := 0
	for _, r := range list {
		n += r.Count
	}
	if n > 0 {
		fmt.Fprintf(f.stdout, "cut: %s\n", count(n, "connection"))
		f.printRefusers(list)
	}
}

// some is the first of many texts.
func some(texts []string, n int) string {
	shown := texts[:min(shownFlows, len(texts))]
	s := strings.Join(shown, ", ")
	if n > len(shown) {
		s += fmt.Sprintf(" and %d more", n-len(shown))
	}
	return s
}

// printListeners prints which listening sockets become reachable or unreachable, and from where.
func (f *front) printListeners(list []impact.Listener) {
	if len(list) == 0 {
		return
	}
	paint := f.ink(f.stdout)
	fmt.Fprintln(f.stdout, "listening sockets:")
	lines := 0
	print := func(sign string, l *impact.Listener, s check.Shift) {
		if lines++; lines <= shownListeners {
			at := ""
			if len(s.Now) > 0 && s.Now[0].At != "" {
				at = "  " + paint.faint(s.Now[0].At)
			}
			fmt.Fprintf(f.stdout, "  %s %s: %s%s\n", sign, l, s, at)
		}
	}
	for i := range list {
		l := &list[i]
		for _, s := range l.Reachable {
			print(paint.green("+"), l, s)
		}
		for _, s := range l.Unreachable {
			print(paint.red("-"), l, s)
		}
		for _, u := range l.Undecided {
			if lines++; lines <= shownListeners {
				fmt.Fprintf(f.stdout, "  ? %s: not decided for %s\n", l, u.Text)
			}
		}
	}
	if lines > shownListeners {
		fmt.Fprintf(f.stdout, "  and %d more\n", lines-shownListeners)
	}
}
