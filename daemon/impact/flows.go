package impact

import (
	"cmp"
	"slices"

	"ringwall/netfilter/host"
	"ringwall/rules/policy"
)

// Preview is what a policy that is not enforced yet would mean for what a host has.
type Preview struct {
	Lockout     *Lockout     `json:"lockout,omitempty"`     // whom it would lock out, so that apply would refuse it
	Connections *Connections `json:"connections,omitempty"` // nil where they can't be listed
	Listeners   []Listener   `json:"listeners,omitempty"`   // those that are reached by others than now
}

// Connections is what a policy means for the connections that live.
type Connections struct {
	Judged int `json:"judged"` // how many there are
	// Refused is those that would be refused if they began now, by what refuses them, the most first.
	Refused []Refused `json:"refused,omitempty"`
	// Unclear is those of which that can't be told, by what it depends on.
	Unclear []Unclear `json:"unclear,omitempty"`
	// Cut: applying the policy ends all that it refuses; else those alone that block, or a dynamic set, refuses.
	Cut bool `json:"cut"`
}

// Refused is connections that one rule refuses, or what else can.
type Refused struct {
	Decider
	List    string `json:"list"` // in, out or forward
	Count   int    `json:"count"`
	Already int    `json:"already,omitempty"` // how many of them the policy that is enforced refuses as well
	Ends    bool   `json:"ends,omitempty"`    // they are cut when the policy is applied
	// Flows is the connections, by their first packets: "tcp 192.0.2.1:40112 -> 203.0.113.9:25".
	Flows []string `json:"flows"`
}

// Unclear is connections about which something decides that is not known any more.
type Unclear struct {
	Depends string   `json:"depends"` // interface, user, group, mark or mac
	Count   int      `json:"count"`
	Flows   []string `json:"flows"`
}

// Ends tells whether a connection that is judged so is cut when a policy is applied: with `established: cut` whatever refuses it, always
// where block does, or a rule that is about a dynamic set.
func Ends(p *policy.Policy, a Answer) bool {
	return a.Refused() && (p.Cut || a.By == policy.ByBlock || a.Rule != nil && aboutDynamic(a.Rule))
}

// aboutDynamic tells whether a rule is about what a dynamic set holds.
func aboutDynamic(r *policy.Rule) bool {
	return slices.ContainsFunc(slices.Concat(r.Match.From.Terms, r.Match.To.Terms), func(t policy.Term) bool { return len(t.In) > 0 })
}

// JudgeFlows judges connections by a policy that is to follow another, which is nil where none is enforced.
func JudgeFlows(before, after *policy.Policy, flows []host.Flow, scene *Scene) *Connections {
	out := &Connections{Judged: len(flows), Cut: after.Cut}
	now := NewJudge(after, scene)
	var was *Judge
	if before != nil {
		was = NewJudge(before, scene)
	}
	refused := grouping{}
	unclear := map[string]int{}
	for i := range flows {
		f := &flows[i]
		a := now.Flow(f)
		switch {
		case a.Depends != "":
			n, known := unclear[a.Depends]
			if !known {
				n = len(out.Unclear)
				unclear[a.Depends] = n
				out.Unclear = append(out.Unclear, Unclear{Depends: a.Depends})
			}
			u := &out.Unclear[n]
			u.Count++
			u.Flows = append(u.Flows, f.String())
		case a.Refused():
			g := refused.add(a, f)
			g.Ends = Ends(after, a)
			if was != nil && was.Flow(f).Refused() {
				g.Already++
			}
		}
	}
	out.Refused = refused.list()
	return out
}

// Cuts is connections that were cut, by what refuses them.
type Cuts struct {
	Refused []Refused // the most first; see Sort
	groups  grouping
}

// Add takes up a connection.
func (c *Cuts) Add(a Answer, f *host.Flow) {
	if c.groups == nil {
		c.groups = grouping{}
	}
	c.groups.add(a, f)
}

// Sort makes Refused of what was added.
func (c *Cuts) Sort() { c.Refused = c.groups.list() }

// grouping is connections by what refuses them.
type grouping map[groupKey]*Refused

// add takes up a connection, and returns its group.
func (g grouping) add(a Answer, f *host.Flow) *Refused {
	r := &Refused{Decider: deciderOf(a), List: a.Dir.String()}
	key := groupKey{r.Decider, r.List}
	if known := g[key]; known != nil {
		r = known
	} else {
		g[key] = r
	}
	r.Count++
	r.Flows = append(r.Flows, f.String())
	return r
}

// list is the groups, the largest first.
func (g grouping) list() []Refused {
	var out []Refused
	for _, r := range g {
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Refused) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.List, b.List), cmp.Compare(a.By, b.By), cmp.Compare(a.At, b.At))
	})
	return out
}

// groupKey tells groups apart.
type groupKey struct {
	Decider
	list string
}
