package kernel

import "ringwall/netfilter/ruleset"

// Observed is the table as the kernel has it.
type Observed struct {
	Generation uint32 // of the moment it was read
	Exists     bool

	Owner   uint32 // netlink port of the socket that owns the table; 0 for none
	Owned   bool   // the owner is this Conn
	Persist bool   // the table outlives its owner
	Orphan  bool   // Persist without an owner: whoever comes next may own it

	// Ruleset is the content, with the counters' values; nil where the table does not exist.
	Ruleset *ruleset.Ruleset
	// Unread names the sets whose elements were too many to read.
	Unread map[string]bool
	// Foreign describes what is in the table and cannot be ours. A rule of it stands in Ruleset as a rule without
	// expressions, so that it differs from any that is wanted.
	Foreign []string
}
