// Package policy is what a policy says and means: YAML trees become a Policy, and Decide says what it does to a packet.
//
// Decide is the specification. The compiled form and the kernel are held against it, so it is linear, short and
// obviously right; package decide asks it about many packets, and whatever must be faster works on what the compiler makes of a
// Policy.
package policy

import (
	"ringwall/rules/addrset"
	"ringwall/rules/diag"
)

// Dir names the list that judges a packet.
type Dir uint8

// The directions.
const (
	In      Dir = iota // sent to this host
	Out                // sent by a socket of this host
	Forward            // passing through
)

// Dirs is every direction, in the order of pages.
var Dirs = [...]Dir{In, Out, Forward}

func (d Dir) String() string { return [...]string{"in", "out", "forward"}[d] }

// Verdict is what becomes of a packet.
type Verdict uint8

// The verdicts. Deny is silent; Reject answers.
const (
	Allow Verdict = iota
	Deny
	Reject
)

func (v Verdict) String() string { return [...]string{"allow", "deny", "reject"}[v] }

// Policy is a whole policy, all names resolved. It does not change once loaded and may be shared.
type Policy struct {
	Entry string   // the entry file, as it was named
	Files []string // every policy file read, the entry first, then in path order

	Defaults   [3]Verdict // by Dir
	DefaultsAt [3]diag.Span
	// Transit tells whether forwarded packets are judged at all: `forward` or `defaults.forward` is written.
	// Where it is false only block concerns them.
	Transit bool

	// Cut tells that connections which the policy would refuse are cut when it is applied: `established: cut`. It decides about no
	// packet.
	Cut      bool
	Base     Base
	Block    Addrs // what `block` names; the zero Addrs blocks nothing
	BlockAt  diag.Span
	Failsafe []Failsafe

	Lists    [3][]*Rule // by Dir, enabled rules in the order of judging
	Disabled []*Rule    // rules with `enabled: false`, by list and order

	Sets       map[string]*Set
	Interfaces map[string]*Interface
	Services   map[string]*Service // those that the policy defines, without the built-in ones
	Tests      []*Test

	// Users and Groups are the numbers of the names that the policy uses; see Options.
	Users, Groups map[string]uint32

	// Given is what the dynamic sets hold for Decide. A set without an entry is empty.
	Given map[string]addrset.Addrs
}

// With returns the policy with other contents of its dynamic sets. The rest is shared with p.
func (p *Policy) With(given map[string]addrset.Addrs) *Policy {
	q := *p
	q.Given = given
	return &q
}

// Base is the switches of what stands before the rules, each by its key in the policy's `base`.
type Base struct {
	Loopback, Established, Neighbour, Multicast, ICMPErrors, DHCPClient, Invalid, ReversePath bool
}

// DefaultBase is the base of a policy that does not write one: everything but reverse-path.
func DefaultBase() Base {
	return Base{Loopback: true, Established: true, Neighbour: true, Multicast: true, ICMPErrors: true, DHCPClient: true, Invalid: true}
}

// The names by which a Decision says what decided when it was no rule, and which no rule may bear.
const (
	ByDefault     = "default"
	ByBlock       = "block"
	ByFailsafe    = "failsafe"
	ByLoopback    = "loopback"
	ByEstablished = "established"
	ByNeighbour   = "neighbour"
	ByMulticast   = "multicast"
	ByICMPErrors  = "icmp-errors"
	ByDHCPClient  = "dhcp-client"
	ByInvalid     = "invalid"
	ByReversePath = "reverse-path"
	ByUnjudged    = "unjudged" // transit that the policy does not judge; never in a policy's text
)

// Failsafe admits What from From, always.
type Failsafe struct {
	Text string // WHAT as written
	At   diag.Span
	What What
	From Addrs
	// Builtin is WHAT as a list of words that need no definition: "ssh", "tcp/8443".
	Builtin []string
}

// Rule is one line of a list.
type Rule struct {
	ID      string // unique in the policy
	Named   bool   // the policy wrote the id; otherwise it is derived
	List    Dir
	At      diag.Span // of the verdict's key
	Text    string    // the rule on one line, as pages print it: "allow ssh from admins"
	Match   Match
	Action  Action
	Expires int64 // Unix seconds from which on the rule is gone; 0: never
	Note    string
	Ignore  []string // codes of lints that are silenced for this rule
	// AnyFrom tells that `from` is written, if only as `any`: the author thought of it.
	AnyFrom bool
}

// Action is what a rule does to the packets it matches.
type Action struct {
	Verdict     Verdict
	Limit       *Limit
	Connections *Connections
	Log         bool
	LogText     string // the text of `log: "text"`; may be empty
}

// Limit is a token bucket: Rate tokens a Unit, Burst at most.
type Limit struct {
	Rate      uint32
	Unit      Unit
	Burst     uint32
	PerSource bool
	Text      string // as written, blanks folded; a changed text starts new buckets
}

// Unit is the time that a rate is counted over.
type Unit uint8

// The units.
const (
	Second Unit = iota
	Minute
	Hour
	Day
)

func (u Unit) String() string { return [...]string{"second", "minute", "hour", "day"}[u] }

// Seconds is the length of the unit.
func (u Unit) Seconds() uint64 { return [...]uint64{1, 60, 3600, 86400}[u] }

// Connections bounds the connections that a rule has admitted and that live.
type Connections struct {
	Max       uint32
	PerSource bool
}

// Set is a named set, finished: nested names resolved, subtractions made.
type Set struct {
	Name    string
	At      diag.Span
	Addrs   Addrs
	Dynamic *Dynamic // for a dynamic set, whose Addrs has one Term that names itself
	Used    bool     // something names it
}

// Dynamic is the settings of a dynamic set.
type Dynamic struct {
	Timeout int64  // seconds an entry lives where its ban says nothing; 0: for ever
	Max     uint32 // entries a family; 65536 where not written
}

// Interface is a group of interfaces.
type Interface struct {
	Name     string
	At       diag.Span
	Patterns []Pattern
	Used     bool // something names it
}

// Service is a named WHAT.
type Service struct {
	Name string
	At   diag.Span // zero for a built-in one
	Text string    // "tcp/80, tcp+udp/443"
	What What
	Used bool // something names it
}

// Test is one claim of `tests` about every packet that it describes.
type Test struct {
	At     diag.Span
	Text   string // on one line, as written
	List   Dir
	What   What // of `in`, `out` or `forward`
	Any    bool // WHAT is `any`
	Match  Match
	Time   int64 // Unix seconds of `at`; 0 where not given
	Given  map[string]addrset.Addrs
	Expect Verdict
	By     string // empty where not given
}
