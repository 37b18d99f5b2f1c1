package kernel

import (
	"context"
	"time"

	"ringwall/netfilter/ruleset"
)

// Options is how a Conn is made. The zero Options is right for production.
type Options struct {
	// Without forces features off, though the kernel has them.
	Without Features
	// Timeout bounds the wait for one answer of the kernel; 0 stands for 30 seconds. A context may end it earlier.
	Timeout time.Duration
	// MaxElems bounds how many elements of a set are read back by Observe; 0 stands for 65,536. A set that announces more
	// is reported as unread.
	MaxElems int
}

// Features is what the kernel can do beyond what 5.14 could.
type Features struct {
	Persist bool // tables owned by a socket that outlive it (6.9)
	Labels  bool // connection labels
}

// Conn is one lasting netlink socket, in the network namespace of the thread that made it. It is safe for concurrent use;
// calls are served one after the other.
type Conn struct{}

// Dial opens a Conn and finds out what the kernel can do.
func Dial(opt Options) (*Conn, error) { panic("being written") }

// Close closes the socket. The table stays, without an owner, where the kernel has Persist or the table was not owned.
func (c *Conn) Close() error { panic("being written") }

// Features is what the kernel can do, less what Options took away.
func (c *Conn) Features() Features { panic("being written") }

// Observe reads the table back.
func (c *Conn) Observe(ctx context.Context) (*Observed, error) { panic("being written") }

// Plan is the change that would make the kernel's table be want: it observes, as far as this Conn does not know the table from
// its own last commit, and takes the difference. It changes nothing. ErrOwned where another socket owns the table.
func (c *Conn) Plan(ctx context.Context, want *ruleset.Ruleset) (*Change, error) {
	panic("being written")
}

// Validate has the kernel check the whole change without committing it. Nothing is left behind and the generation stays.
// All objections are reported, joined, each an *OpError.
func (c *Conn) Validate(ctx context.Context, ch *Change) error { panic("being written") }

// Commit carries a change out in one transaction, all or nothing. Where someone changed any table since the change was planned
// the error is ErrStale, nothing has happened, and the caller plans anew; the fourth attempt in a row goes unguarded where
// this Conn owns the table.
func (c *Conn) Commit(ctx context.Context, ch *Change) error { panic("being written") }

// Apply makes the kernel's table be want: Plan and Commit, again while stale. It returns the change that was carried out.
func (c *Conn) Apply(ctx context.Context, want *ruleset.Ruleset) (*Change, error) {
	panic("being written")
}

// DeleteTable removes the whole table in one transaction. A table that is not there is no error.
func (c *Conn) DeleteTable(ctx context.Context) error { panic("being written") }

// Generation is the kernel's present generation number of this network namespace; any change to any table raises it.
func (c *Conn) Generation(ctx context.Context) (uint32, error) { panic("being written") }

// Counters reads the named counters.
func (c *Conn) Counters(ctx context.Context) (map[string]ruleset.Counter, error) {
	panic("being written")
}
