package kernel

import (
	"fmt"
	"strings"

	"ringwall/netfilter/ruleset"
)

// Change is a transaction: what is to be done to the table, in the order the kernel accepts.
type Change struct {
	// Generation guards the commit: it fails with ErrStale where the kernel's is another. 0 for no guard.
	Generation uint32

	table   tableStep
	ops     []operation
	want    *ruleset.Ruleset // what the table is to be
	after   *ruleset.Ruleset // what it is after it, which may differ in comments
	rules   map[string]int   // how many rules the chains whose handles are needed had
	handles handles          // as far as they are known
	planned bool             // made from what the kernel said

	// first is what is carried out in a transaction before the rest, nil where there is only one: see lingering.
	first *Change
}

// tableStep is what becomes of the table itself.
type tableStep uint8

const (
	tableStays tableStep = iota
	tableAdopted
	tableMade // and the one that is there, deleted
)

// Counts is how much a Change changes.
type Counts struct {
	Replace bool // the whole table is made anew
	Adopt   bool // the table gets this Conn as its owner

	ChainsAdded, ChainsRemoved     int
	Policies                       int // base chains that get another policy
	RulesAdded, RulesRemoved       int
	MapsAdded, MapsRemoved         int
	EntriesAdded, EntriesRemoved   int // of maps
	SetsAdded, SetsRemoved         int
	ElemsAdded, ElemsRemoved       int // ranges of addresses
	CountersAdded, CountersRemoved int
	LimitsAdded, LimitsRemoved     int
}

// Empty tells whether there is nothing to do.
func (c *Change) Empty() bool { return c.table == tableStays && len(c.ops) == 0 }

// Counts sums the change up.
func (c *Change) Counts() Counts {
	n := Counts{Replace: c.table == tableMade, Adopt: c.table == tableAdopted}
	for _, o := range c.ops {
		o.count(&n)
	}
	return n
}

// String sums the change up in one line, for logs: "12 rules added, 3 removed; 1 chain added".
func (c *Change) String() string {
	if c.Empty() {
		return "no change"
	}
	n := c.Counts()
	var parts []string
	switch {
	case n.Replace:
		parts = append(parts, "table made anew")
	case n.Adopt:
		parts = append(parts, "table adopted")
	}
	pair := func(added, removed int, noun string) {
		switch {
		case added > 0 && removed > 0:
			parts = append(parts, fmt.Sprintf("%s added, %d removed", plural(added, noun), removed))
		case added > 0:
			parts = append(parts, plural(added, noun)+" added")
		case removed > 0:
			parts = append(parts, plural(removed, noun)+" removed")
		}
	}
	pair(n.ChainsAdded, n.ChainsRemoved, "chain")
	pair(n.RulesAdded, n.RulesRemoved, "rule")
	pair(n.MapsAdded, n.MapsRemoved, "map")
	pair(n.EntriesAdded, n.EntriesRemoved, "entry")
	pair(n.SetsAdded, n.SetsRemoved, "set")
	pair(n.ElemsAdded, n.ElemsRemoved, "range")
	pair(n.CountersAdded, n.CountersRemoved, "counter")
	pair(n.LimitsAdded, n.LimitsRemoved, "limit")
	if n.Policies > 0 {
		parts = append(parts, plural(n.Policies, "policy change"))
	}
	if len(parts) == 0 {
		return "sets rewritten"
	}
	return strings.Join(parts, "; ")
}

// Lines is the change in detail, one operation a line, in order.
func (c *Change) Lines() []string {
	var lines []string
	switch c.table {
	case tableMade:
		lines = append(lines, "make table inet "+ruleset.TableName)
	case tableAdopted:
		lines = append(lines, "adopt table inet "+ruleset.TableName)
	}
	for _, o := range c.ops {
		lines = append(lines, o.String())
	}
	return lines
}

func (c *Change) add(o operation) { c.ops = append(c.ops, o) }

// needHandles notes that the handles of a chain with so many rules are needed.
func (c *Change) needHandles(chain string, rules int) {
	if c.rules == nil {
		c.rules = make(map[string]int)
	}
	c.rules[chain] = rules
}
