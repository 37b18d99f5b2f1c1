package kernel

import (
	"context"
	"errors"

	"golang.org/x/sys/unix"

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

// Holds asks the kernel whether a set holds a key.
func (c *Conn) Holds(ctx context.Context, set string, key []byte) (bool, error) {
	found := false
	err := c.read.request(ctx, unix.NFT_MSG_GETSETELEM, false, func(b *builder) {
		b.str(unix.NFTA_SET_ELEM_LIST_TABLE, ruleset.TableName)
		b.str(unix.NFTA_SET_ELEM_LIST_SET, set)
		b.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS, func() {
			b.nest(unix.NFTA_LIST_ELEM, func() {
				b.nest(unix.NFTA_SET_ELEM_KEY, func() { b.raw(unix.NFTA_DATA_VALUE, key) })
			})
		})
	}, nil, func(message) error {
		found = true
		return nil
	})
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return found, err
}
