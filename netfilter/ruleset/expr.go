package ruleset

// Expr is one statement or match of a rule. The types of this file are all there are.
type Expr interface{ expr() }

// Cmp compares a field, masked where Mask is set, with a value.
type Cmp struct {
	Field Field
	Mask  []byte // as long as Value, or nil
	Op    Op
	Value []byte // big-endian, Field.Size() bytes; of an interface name its characters alone
	// Wildcard, for interface names only: Value is a prefix of the name.
	Wildcard bool
}

// In looks a field up in an anonymous set of values and ranges. One range alone is a comparison in the kernel, as in nft.
type In struct {
	Field Field
	Not   bool
	Elems []Interval // sorted and disjoint; where any is more than one value, none touches the next
}

// Interval is the values from Lo to Hi, both included. Interface names are single values.
type Interval struct{ Lo, Hi []byte }

// Lookup looks a field up in a named set.
type Lookup struct {
	Field Field
	Mask  []byte
	Set   string
	Not   bool
}

// VMap looks a field up in an anonymous map of verdicts; a value that is not in it ends the rule, and the next one is tried.
type VMap struct {
	Field Field
	Elems []VMapElem // sorted by Lo
}

// VMapElem gives a range of values its verdict.
type VMapElem struct {
	Interval
	Verdict Verdict
}

// Count counts in a named counter.
type Count struct{ Counter string }

// LimitRef goes on while the named token bucket has tokens or, where the object's rate is Over, while it has none.
type LimitRef struct{ Limit string }

// Limit is a token bucket of this rule alone.
type Limit struct{ Rate Rate }

// ConnLimit goes on where more than Max connections that this expression has seen are alive.
type ConnLimit struct{ Max uint32 }

// Meter looks the packet's field up in a dynamic set, adding it where it is new, and runs Rate or ConnLimit, whichever is set,
// kept by element. It goes on where that does; where the set is full it does not go on.
type Meter struct {
	Field Field
	Mask  []byte
	Set   string
	Rate  *Rate
	Conns *ConnLimit
}

// Log sends the packet to a log group.
type Log struct {
	Group  uint16
	Prefix string // at most 127 bytes
}

// SetLabel sets a bit of the connection's label.
type SetLabel struct{ Bit uint8 }

// Label goes on where a bit of the connection's label is set, or is not.
type Label struct {
	Bit uint8
	Not bool
}

// Reject ends the search with an answer.
type Reject struct{ With RejectWith }

// RejectWith is the answer of a Reject.
type RejectWith uint8

// The answers, for both families.
const (
	TCPReset RejectWith = iota
	PortUnreachable
	AdminProhibited
)

// Verdict ends the rule.
type Verdict struct {
	Kind  VerdictKind
	Chain string // of Jump and Goto
}

// VerdictKind is the kind of a Verdict.
type VerdictKind uint8

// The verdicts.
const (
	Accept VerdictKind = iota
	Drop
	Return
	Jump
	Goto
)

func (Cmp) expr()       {}
func (In) expr()        {}
func (Lookup) expr()    {}
func (VMap) expr()      {}
func (Count) expr()     {}
func (LimitRef) expr()  {}
func (Limit) expr()     {}
func (ConnLimit) expr() {}
func (Meter) expr()     {}
func (Log) expr()       {}
func (SetLabel) expr()  {}
func (Label) expr()     {}
func (Reject) expr()    {}
func (Verdict) expr()   {}

// Op compares.
type Op uint8

// The comparisons.
const (
	Eq Op = iota
	Ne
	Lt
	Le
	Gt
	Ge
)

func (o Op) String() string { return nameOf(o, "==", "!=", "<", "<=", ">", ">=") }
