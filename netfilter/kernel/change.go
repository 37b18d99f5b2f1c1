package kernel

import "ringwall/netfilter/ruleset"

// Change is a transaction: what is to be done to the table, in the order the kernel accepts.
type Change struct {
	// Generation guards the commit: it fails with ErrStale where the kernel's is another. 0 for no guard.
	Generation uint32
}

// Counts is how much a Change changes.
type Counts struct {
	Replace bool // the whole table is made anew

	ChainsAdded, ChainsRemoved     int
	RulesAdded, RulesRemoved       int
	SetsAdded, SetsRemoved         int
	ElemsAdded, ElemsRemoved       int // ranges of addresses
	CountersAdded, CountersRemoved int
	LimitsAdded, LimitsRemoved     int
}

// Diff is the smallest change that makes a table that is have be want. With have nil the whole table is made, replacing the one
// that may be there.
func Diff(have, want *ruleset.Ruleset) *Change { panic("being written") }

// Empty tells whether there is nothing to do.
func (c *Change) Empty() bool { panic("being written") }

// Counts sums the change up.
func (c *Change) Counts() Counts { panic("being written") }

// String sums the change up in one line, for logs.
func (c *Change) String() string { panic("being written") }

// Lines is the change in detail, one operation a line, in order.
func (c *Change) Lines() []string { panic("being written") }
