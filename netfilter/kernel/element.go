package kernel

import (
	"context"
	"net/netip"
	"time"
)

// Element is an address, or a prefix, in a dynamic set. Timeout is how long the kernel holds it from being added, 0 for ever;
// Expires is what remains of that, filled by Elements only.
type Element struct {
	Prefix  netip.Prefix // a single address as /32 or /128; of the set's family; host bits are ignored
	Timeout time.Duration
	Expires time.Duration
}

// Elements reads what a dynamic set holds, sorted by address. A range that is no prefix comes as several elements.
func (c *Conn) Elements(ctx context.Context, set string) ([]Element, error) { panic("being written") }

// AddElements adds to a dynamic set in one transaction. Where an element overlaps what the set holds, every address keeps
// whichever end is later: nothing is shortened, and the call does not fail.
func (c *Conn) AddElements(ctx context.Context, set string, elems []Element) error {
	panic("being written")
}

// DelElements removes the addresses of the prefixes from a dynamic set in one transaction. An address that is not in the set
// is no error; a larger prefix that covers one is split. It returns how many of the prefixes removed anything.
func (c *Conn) DelElements(ctx context.Context, set string, prefixes []netip.Prefix) (int, error) {
	panic("being written")
}
