package kernel

import "context"

// adopted carries out the part of a change that takes over the table of a past owner, and returns what is left to do.
// It is a transaction of its own, and no packet notices: the kernel refuses new base chains in a transaction that changes
// the table's owner (EINVAL, since 6.9). The table is this Conn's alone after it, so that nobody gets between the two.
func (c *Conn) adopted(ctx context.Context, ch *Change) (rest *Change, err error) {
	if ch.table != tableAdopted || len(ch.ops) == 0 {
		return ch, nil
	}
	if err := c.send(ctx, &Change{Generation: ch.Generation, table: tableAdopted}); err != nil {
		return nil, err
	}
	rest = ch.unadopted()
	if rest.Generation != 0 {
		rest.Generation = nextGeneration(rest.Generation)
	}
	return rest, nil
}

// unadopted is the change without the taking over.
func (c *Change) unadopted() *Change {
	if c.table != tableAdopted {
		return c
	}
	rest := *c
	rest.table = tableStays
	return &rest
}

// nextGeneration is the kernel's generation number after a transaction; 0 is left out.
func nextGeneration(gen uint32) uint32 { return max(gen+1, 1) }
