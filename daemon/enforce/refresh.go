package enforce

import (
	"context"
	"fmt"
	"time"

	"ringwall/netfilter/kernel"
)

// noteStale notes whether a change, nil for none, left comments that are to be refreshed.
func (e *Enforcer) noteStale(c *kernel.Change) {
	switch {
	case c == nil || !c.Stale():
		e.stale = time.Time{}
	case e.stale.IsZero():
		e.stale = time.Now()
	}
}

// Stale tells whether Refresh has anything to do, now or later.
func (e *Enforcer) Stale() bool { return !e.stale.IsZero() && e.running.rules != nil }

// Refresh has the comments of the table's rules name the places where these stand in their files now, if they have not for a time. Nothing
// but `nft list` shows them.
func (e *Enforcer) Refresh(ctx context.Context, after time.Duration) error {
	if !e.Stale() || time.Since(e.stale) < after {
		return nil
	}
	e.stale = time.Time{}
	if err := e.conn.Refresh(ctx, e.running.rules); err != nil {
		return fmt.Errorf("the comments of rules name places of the policy before: %w", err)
	}
	return nil
}
