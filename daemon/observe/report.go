package observe

import (
	"time"

	"ringwall/rules/check"
)

// Report is what a policy would decide otherwise than the one that is enforced, as far as packets have come.
type Report struct {
	Policy string    `json:"policy"` // entry file of the policy that is observed
	Digest string    `json:"digest"`
	Who    string    `json:"who"` // who asked for it
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`  // zero for as long as wanted
	Ended  bool      `json:"ended,omitempty"` // nothing is counted any more
	Cases  []Case    `json:"cases"`           // most packets first
	// Trouble is why nothing is counted at the moment; empty where all is well.
	Trouble string   `json:"trouble,omitempty"`
	Notes   []string `json:"notes,omitempty"` // what is not counted, a sentence each
}

// Packets is how many packets would have been decided otherwise.
func (r *Report) Packets() (n uint64) {
	for _, c := range r.Cases {
		n += c.Packets
	}
	return n
}

// Case is packets that would go from one decider to another.
type Case struct {
	List string        `json:"list"` // in, out or forward
	Old  string        `json:"old"`  // verdict
	New  string        `json:"new"`
	Was  check.Decider `json:"was"`
	Now  check.Decider `json:"now"`
	// Over tells that only packets are counted that exceed a limit of the new rule.
	Over    bool   `json:"over,omitempty"`
	What    string `json:"what"`              // all the packets that the case is about, in words
	Example string `json:"example,omitempty"` // one of them, in the words of `ringwall explain`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
	Last    *Last  `json:"last,omitempty"` // the packet of the case that was logged last
	// Gone tells that the case is of a policy that was enforced or observed earlier, and no longer counted.
	Gone bool `json:"gone,omitempty"`
}

// Last is a packet that was logged.
type Last struct {
	At     time.Time `json:"at"`
	Packet string    `json:"packet"` // "tcp from 192.0.2.1:40000 to 198.51.100.1:22 over eth0"
}

// key is what makes a case the same in another table.
type key struct {
	list, old, new, was, now string
	over                     bool
}

func (c *Case) key() key { return key{c.List, c.Old, c.New, c.Was.By, c.Now.By, c.Over} }

// Change is what becomes of the packets: "allow → deny", or that a limit is exceeded.
func (c *Case) Change() string {
	if c.Over {
		return c.Old + " → over the limit"
	}
	return c.Old + " → " + c.New
}
