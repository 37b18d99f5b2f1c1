package enforce

// Page is an enforced policy on one page, with what its rules have counted: what `show` prints.
type Page struct {
	Policy   string    `json:"policy"`
	Source   Source    `json:"source"`
	Digest   string    `json:"digest"`
	Enforced bool      `json:"enforced"`       // the kernel's table is this policy's
	Note     string    `json:"note,omitempty"` // why counters are missing, what differs
	Sections []Section `json:"sections"`
	Sets     []SetLine `json:"sets,omitempty"`
}

// Section is one part of a Page, in the order of judging: block, failsafe, base, in, out, forward.
type Section struct {
	Name  string `json:"name"`
	Lines []Line `json:"lines"`
}

// Line is one rule, or one thing that stands before the rules, of a Section.
type Line struct {
	ID      string   `json:"id"`           // a rule's id, a base key, "default", "block", "failsafe"
	Text    string   `json:"text"`         // the rule on one line
	At      string   `json:"at,omitempty"` // file:line; empty where it is not written
	Verdict string   `json:"verdict,omitempty"`
	Note    string   `json:"note,omitempty"`
	Off     bool     `json:"off,omitempty"`    // enabled: false, or switched off in base
	Counts  *Counted `json:"counts,omitempty"` // nil where the kernel's counters can't be read or it has none
}

// Counted is a counter's value.
type Counted struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// SetLine is one named set of a Page.
type SetLine struct {
	Name    string `json:"name"`
	At      string `json:"at"`
	Dynamic bool   `json:"dynamic,omitempty"`
	Ranges  int    `json:"ranges"` // of a static set
	Bans    int    `json:"bans"`   // of a dynamic set
}
