package kernel

import (
	"context"
	"errors"
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

// transaction is a Change as it goes to the kernel.
type transaction struct {
	*batch
	generation uint32  // that it is guarded by, 0 for none
	kept       handles // of the chains that it leaves alone
}

// encode turns a change into messages. The caller holds the lock.
func (c *Conn) encode(ctx context.Context, ch *Change) (*transaction, error) {
	tx := &transaction{generation: ch.Generation}
	if tx.generation == 0 {
		// What is asked below must still hold then.
		gen, err := c.read.settled(ctx)
		if err != nil {
			return nil, err
		}
		tx.generation = gen
	}
	t, err := c.read.table(ctx)
	if err != nil {
		return nil, err
	}
	mine := t.owner != 0 && t.owner == c.write.port
	switch {
	case t.owner != 0 && !mine:
		return nil, ownedError(t.owner)
	case !t.exists && ch.table != tableMade:
		return nil, ErrStale
	}
	known, err := c.findHandles(ctx, ch)
	if err != nil {
		return nil, err
	}
	if mine && c.stale >= staleLimit {
		tx.generation = 0
	}

	b := newBatch(c.opt.Table, c.write.nextSeq(), tx.generation)
	tx.batch = b
	b.reserve(ch.size())
	b.subject = slices.Grow(b.subject, len(ch.ops)+1)
	switch ch.table {
	case tableMade:
		if t.exists {
			b.delTable()
		}
		b.addTable(c.tableFlags())
	case tableAdopted:
		b.addTable(c.tableFlags())
	}
	for _, o := range ch.ops {
		o.encode(b, known)
	}
	c.write.seq = b.seq + 1 // and the end
	tx.kept = untouched(known, ch)
	return tx, nil
}

// size is about how many bytes the messages of a change take. A buffer of megabytes grows once.
func (c *Change) size() (n int) {
	const message, address4, address6 = 256, 16, 28
	for _, o := range c.ops {
		n += message
		if e, ok := o.(editSet); ok {
			elements := len(e.v4)*address4 + len(e.v6)*address6
			if e.set.Interval {
				elements = 5 * elements / 2
			}
			n += elements + elements/(largestAttr/message)
		}
	}
	return n
}

// tableFlags makes a table owned only where it outlives its owner, was seized, or shall vanish: one that enforces and vanished with
// the daemon would leave the host open.
func (c *Conn) tableFlags() uint32 {
	switch {
	case c.opt.Vanish:
		return tableOwner
	case c.features.Persist:
		return tableOwner | tablePersist
	case c.seized:
		return tableOwner
	}
	return 0
}

// findHandles asks for the handles that a change needs and does not know.
func (c *Conn) findHandles(ctx context.Context, ch *Change) (handles, error) {
	found := make(handles)
	if ch.handles != nil {
		found = maps.Clone(ch.handles)
	}
	for chain, rules := range ch.rules {
		if h, ok := found[chain]; ok && len(h) == rules {
			continue
		}
		var list []uint64
		err := c.read.rules(ctx, chain, func() { list = nil }, func(_ string, handle uint64, _ message) { list = append(list, handle) })
		if errors.Is(err, unix.ENOENT) || err == nil && len(list) != rules {
			return nil, ErrStale
		}
		if err != nil {
			return nil, wrapRead("rules of chain "+chain, err)
		}
		found[chain] = list
	}
	return found, nil
}

// untouched is the handles that a change leaves as they are.
func untouched(h handles, ch *Change) handles {
	if ch.table == tableMade {
		return nil
	}
	for _, o := range ch.ops {
		switch o := o.(type) {
		case addRule:
			delete(h, o.chain)
		case delRule:
			delete(h, o.chain)
		case flushChain:
			delete(h, o.name)
		case delChain:
			delete(h, o.name)
		}
	}
	return h
}

// refused turns the kernel's refusal into what it means for the whole.
func (tx *transaction) refused(err error) error {
	if tx.generation != 0 && errors.Is(err, unix.ERESTART) {
		return ErrStale
	}
	return err
}
