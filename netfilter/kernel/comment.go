package kernel

import (
	"bytes"
	"context"
	"slices"

	"ringwall/netfilter/ruleset"
)

// Comments say where in a file a rule stands, and packets do not read them. One line more at the top of a file moves all the others: to
// have their comments changed takes the kernel five times as long as to have the new rule. So a change may leave them as they are, and
// Refresh does the rest when nobody waits.

// noteComments notes a chain some of whose rules stay with other comments than they should have.
func (d *differ) noteComments(name string, have, want []*ruleset.Rule, e *chainEdit) {
	old := func(i int) *ruleset.Rule {
		at := i
		if !e.same {
			at = e.match[i]
		}
		if at < 0 || have[at].Comment == want[i].Comment {
			return nil
		}
		return have[at]
	}
	var left []*ruleset.Rule
	for i := range want {
		if h := old(i); h != nil {
			if left == nil {
				left = slices.Clone(want)
			}
			r := *want[i]
			r.Comment = h.Comment
			left[i] = &r
		}
	}
	if left != nil {
		if d.comments == nil {
			d.comments = make(map[string][]*ruleset.Rule)
		}
		d.comments[name] = left
	}
}

// keepComments tells the change what the table is after it where that is not quite what is wanted.
func (d *differ) keepComments(want *ruleset.Ruleset) {
	if len(d.comments) == 0 {
		return
	}
	after := *want
	after.Chains = slices.Clone(want.Chains)
	for i, ch := range after.Chains {
		if rules, ok := d.comments[ch.Name]; ok {
			c := *ch
			c.Rules = rules
			after.Chains[i] = &c
		}
	}
	d.after = &after
}

// Stale tells whether the change leaves comments of rules as they are that should be others: see Options.LazyComments.
func (c *Change) Stale() bool { return c.after != c.want }

// Refresh gives the rules of a table that is want but for comments theirs. A table that is another it leaves to whoever repairs it.
func (c *Conn) Refresh(ctx context.Context, want *ruleset.Ruleset) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for attempt := 1; ; attempt++ {
		ch, err := c.plan(ctx, want)
		if err != nil || !ch.Empty() || !ch.Stale() {
			return err
		}
		if ch, err = c.planAs(ctx, want, false); err != nil {
			return err
		}
		if err = c.commit(ctx, ch); !stale(err) || attempt == applyAttempts {
			return err
		}
	}
}

// sameExprs tells whether two rules certainly say the same, comments aside. Most pairs that are compared are the same in every byte.
func sameExprs(a, b []ruleset.Expr) bool {
	if len(a) != len(b) || len(a) == 0 {
		return false
	}
	for i := range a {
		if !sameExpr(a[i], b[i]) {
			return false
		}
	}
	return true
}

func sameExpr(a, b ruleset.Expr) bool {
	switch a := a.(type) {
	case ruleset.Cmp:
		b, ok := b.(ruleset.Cmp)
		return ok && a.Field == b.Field && a.Op == b.Op && a.Wildcard == b.Wildcard && sameMask(a.Mask, b.Mask) && bytes.Equal(a.Value, b.Value)
	case ruleset.VMapRef:
		b, ok := b.(ruleset.VMapRef)
		return ok && a.Map == b.Map && slices.EqualFunc(a.Keys, b.Keys, func(k, l ruleset.Key) bool { return k.Field == l.Field && sameMask(k.Mask, l.Mask) })
	case ruleset.Verdict, ruleset.Count, ruleset.SetLabel, ruleset.Label:
		return a == b
	}
	return false
}

func sameMask(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
