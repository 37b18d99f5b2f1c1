package kernel

import (
	"context"

	"ringwall/netfilter/ruleset"
)

// Plan is the change that would make the kernel's table be want: it observes, as far as this Conn does not know the table from
// its own last commit, and takes the difference. It changes nothing. The error is an *OwnedError where another socket owns the
// table. want is kept and must not be changed any more.
//
// The table of a past owner is adopted. One that has no owner, on a kernel that knows owners that a table outlives, is made anew
// within the transaction: counters go on from where they are, and what dynamic sets were given is put back; what packets put
// there starts anew.
func (c *Conn) Plan(ctx context.Context, want *ruleset.Ruleset) (*Change, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.plan(ctx, want)
}

func (c *Conn) plan(ctx context.Context, want *ruleset.Ruleset) (*Change, error) {
	return c.planAs(ctx, want, c.opt.LazyComments)
}

// planAs is plan, where comments of rules that stay are left as they are, or not.
func (c *Conn) planAs(ctx context.Context, want *ruleset.Ruleset, lazy bool) (*Change, error) {
	o, err := c.recall(ctx)
	if err != nil {
		return nil, err
	}
	if o == nil {
		if o, err = c.observeWhole(ctx); err != nil {
			return nil, err
		}
	}
	if o.Owner != 0 && !o.Owned {
		return nil, ownedError(o.Owner)
	}
	ch, err := c.change(ctx, o, want, lazy)
	if err != nil {
		return nil, err
	}
	ch.Generation = o.Generation
	ch.planned = true
	return ch, nil
}

// recall is the known table, nil where it may have changed since.
func (c *Conn) recall(ctx context.Context) (*Observed, error) {
	if c.known == nil {
		return nil, nil
	}
	gen, err := c.read.generation(ctx)
	if err != nil {
		return nil, err
	}
	if gen == c.known.Generation {
		return c.known, nil // nobody has committed anything, to any table
	}
	t, err := c.read.table(ctx)
	if err != nil {
		return nil, err
	}
	mine := t.exists && t.handle == c.known.handle && t.owner == c.known.Owner
	if !mine || gen != c.known.Generation && t.owner != c.write.port {
		c.known = nil
		return nil, nil
	}
	o := *c.known
	o.Generation = gen
	return &o, nil
}

// change is the difference from what was observed.
func (c *Conn) change(ctx context.Context, o *Observed, want *ruleset.Ruleset, lazy bool) (*Change, error) {
	var ch *Change
	switch {
	case !o.Exists:
		return Diff(nil, want), nil
	case o.alien, c.owning() && !o.Owned && !o.Orphan, !c.owning() && o.Owned:
		ch = Diff(nil, withCounts(want, o.Ruleset))
	case o.Ruleset == want && !o.Orphan: // it is what was committed last, as it mostly is when somebody looks after it
		return &Change{want: want, after: want, handles: o.handles}, nil
	default:
		ch = diff(o.Ruleset, want, o.Unread, lazy)
		ch.handles = o.handles
		if c.features.Persist && o.Orphan {
			ch.table = tableAdopted
		}
		if mid := lingering(o.Ruleset, want); mid != nil {
			first := diff(o.Ruleset, mid, o.Unread, lazy)
			first.handles, first.table, first.Generation, first.planned = o.handles, ch.table, o.Generation, true
			if err := c.refill(ctx, first, o.Ruleset); err != nil {
				return nil, err
			}
			ch.first = first
		}
	}
	return ch, c.refill(ctx, ch, o.Ruleset)
}

// withCounts is want with the counters' present values.
func withCounts(want, have *ruleset.Ruleset) *ruleset.Ruleset {
	now := byName(have.Counters, func(c ruleset.Counter) string { return c.Name })
	w := *want
	w.Counters = nil
	for _, counter := range want.Counters {
		if c, ok := now[counter.Name]; ok {
			counter.Packets, counter.Bytes = c.Packets, c.Bytes
		}
		w.Counters = append(w.Counters, counter)
	}
	return &w
}

// refill puts what dynamic sets hold back into those that are made anew.
func (c *Conn) refill(ctx context.Context, ch *Change, have *ruleset.Ruleset) error {
	old := byName(have.Sets, func(s *ruleset.Set) string { return s.Name })
	var ops []operation
	for _, o := range ch.ops {
		ops = append(ops, o)
		add, ok := o.(addSet)
		if !ok || !filled(add.set) {
			continue
		}
		h := old[add.set.Name]
		if h == nil || !filled(h) || h.V6 != add.set.V6 || h.Interval && !add.set.Interval {
			continue
		}
		spans, err := c.spans(ctx, h)
		if err != nil {
			return err
		}
		if len(spans) > 0 {
			ops = append(ops, fillSet{add.set, spans})
		}
	}
	ch.ops = ops
	return nil
}

// filled tells whether a set is one that AddElements fills.
func filled(s *ruleset.Set) bool { return s.Dynamic && !s.Packets }
