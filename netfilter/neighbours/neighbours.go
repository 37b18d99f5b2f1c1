// Package neighbours is what the chains of others can do to packets that Ringwall judges.
//
// An accept is final in its own chain alone: every base chain on a hook sees a packet until one refuses it. So nobody can admit what
// Ringwall refuses by an accept; but anybody can refuse what it admits, and some can lead packets past it.
package neighbours

import (
	"cmp"
	"fmt"
	"slices"

	"ringwall/netfilter/kernel"
)

// Chain is a base chain on one of the hooks that packets pass.
type Chain struct {
	Table    string   `json:"table"` // "inet filter"
	Name     string   `json:"chain"`
	Hook     string   `json:"hook"` // prerouting, input, forward, output, postrouting, ingress or egress
	Type     string   `json:"type"` // filter, nat or route
	Priority int32    `json:"priority"`
	Devices  []string `json:"devices,omitempty"`
	Own      bool     `json:"own,omitempty"` // Ringwall's
	Dormant  bool     `json:"dormant,omitempty"`
	// Refuses is how it can refuse packets, and Past how it can lead them past Ringwall or change what Ringwall sees.
	Refuses []Deed `json:"refuses,omitempty"`
	Past    []Deed `json:"past,omitempty"`
	// Owners is who made it, as far as that is recognised.
	Owners []Owner `json:"owners,omitempty"`
}

// Deed is a thing that packets can meet in a base chain, or in one that it leads to.
type Deed struct {
	What  string `json:"what"`            // "policy drop", "reject", "notrack"
	Chain string `json:"chain,omitempty"` // where, unless it is the policy
	Times int    `json:"times"`           // in how many rules of that chain
}

func (d Deed) String() string {
	switch {
	case d.Chain == "":
		return d.What
	case d.Times > 1:
		return fmt.Sprintf("%s in %s (%d rules)", d.What, d.Chain, d.Times)
	}
	return fmt.Sprintf("%s in %s", d.What, d.Chain)
}

func (c *Chain) String() string {
	return fmt.Sprintf("table %s, chain %s", c.Table, c.Name)
}

// hooks is the hooks in the order that packets pass them.
var hooks = []string{"ingress", "prerouting", "input", "forward", "output", "postrouting", "egress"}

// Chains is the base chains of tables that see packets of IPv4 or IPv6, in the order that packets pass them: by hook, devices and
// bridges before the rest, then by priority. own tells which inet tables are Ringwall's.
func Chains(tables []kernel.Table, own func(name string) bool) []Chain {
	var out []Chain
	for i := range tables {
		t := &tables[i]
		if t.Family == "arp" {
			continue
		}
		mine := t.Family == "inet" && own(t.Name)
		var who []Owner
		if !mine {
			who = ownersOf(t)
		}
		for j := range t.Chains {
			c := &t.Chains[j]
			if c.Hook == nil {
				continue
			}
			chain := Chain{Table: t.Family + " " + t.Name, Name: c.Name, Hook: c.Hook.Point, Type: c.Hook.Type, Priority: c.Hook.Priority,
				Devices: c.Hook.Devices, Own: mine, Dormant: t.Dormant, Owners: who}
			if !mine && !t.Dormant {
				chain.look(t, c)
			}
			out = append(out, chain)
		}
	}
	layer := func(c *Chain) int {
		return cmp.Or(map[string]int{"netdev": -2, "bridge": -1}[family(c.Table)], 0)
	}
	slices.SortStableFunc(out, func(a, b Chain) int {
		return cmp.Or(cmp.Compare(slices.Index(hooks, a.Hook), slices.Index(hooks, b.Hook)), cmp.Compare(layer(&a), layer(&b)),
			cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Table, b.Table))
	})
	return out
}

func family(table string) string {
	for i, c := range table {
		if c == ' ' {
			return table[:i]
		}
	}
	return table
}

// look finds what packets can meet in a chain and in those that it leads to.
func (c *Chain) look(t *kernel.Table, base *kernel.TableChain) {
	if base.Hook.Drop {
		c.Refuses = append(c.Refuses, Deed{What: "policy drop", Times: 1})
	}
	byName := map[string]*kernel.TableChain{}
	for i := range t.Chains {
		byName[t.Chains[i].Name] = &t.Chains[i]
	}
	seen := map[string]bool{base.Name: true}
	for queue := []*kernel.TableChain{base}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for _, r := range at.Rules {
			for _, d := range r.Does {
				switch d.Kind {
				case kernel.Drop, kernel.Reject, kernel.Queue:
					c.Refuses = with(c.Refuses, d.Kind.String(), at.Name)
				case kernel.NoTrack, kernel.Offload, kernel.Forward:
					c.Past = with(c.Past, d.Kind.String(), at.Name)
				case kernel.DNAT:
					if c.Priority < judges[c.Hook] {
						c.Past = with(c.Past, d.Kind.String(), at.Name)
					}
				case kernel.Jump, kernel.Goto:
					if next := byName[d.Chain]; next != nil && !seen[d.Chain] {
						seen[d.Chain] = true
						queue = append(queue, next)
					}
				}
			}
		}
	}
}

// judges is the priorities at which Ringwall judges a packet's destination.
var judges = map[string]int32{"prerouting": -110, "output": -110}

func with(list []Deed, what, chain string) []Deed {
	for i := range list {
		if list[i].What == what && list[i].Chain == chain {
			list[i].Times++
			return list
		}
	}
	return append(list, Deed{What: what, Chain: chain, Times: 1})
}

// Intended tells whether all that the chain refuses is refused by those whose work it is, such as who bans guessers of passwords, or
// keeps networks of containers apart.
func (c *Chain) Intended() bool {
	for _, d := range c.Refuses {
		if o, ok := ownerOf(d.Chain); ok && o.Intends {
			continue
		}
		if len(c.Owners) == 0 || slices.ContainsFunc(c.Owners, func(o Owner) bool { return !o.Intends }) {
			return false
		}
	}
	return true
}
