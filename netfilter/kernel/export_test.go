package kernel

import (
	"context"

	"ringwall/netfilter/ruleset"
)

// Encoded is the batch that makes the table anew, for who wants to know what the kernel alone takes for it.
type Encoded struct {
	conn  *Conn
	batch *batch
}

// Encode makes the batch for want.
func (c *Conn) Encode(ctx context.Context, want *ruleset.Ruleset) (Encoded, error) {
	tx, err := c.encode(ctx, Diff(nil, want))
	if err != nil {
		return Encoded{}, err
	}
	tx.finish(true)
	return Encoded{c, tx.batch}, nil
}

// Send sends it.
func (e Encoded) Send(ctx context.Context) error { return e.conn.write.transact(ctx, e.batch) }
