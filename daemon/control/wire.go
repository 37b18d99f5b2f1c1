// Package control is how the verbs speak to the daemon: HTTP and JSON over a unix socket.
package control

import (
	"net/netip"
	"time"

	"ringwall/daemon/enforce"
	"ringwall/daemon/observe"
	"ringwall/daemon/store"
	"ringwall/netfilter/host"
	"ringwall/rules/diag"
	"ringwall/rules/source"
)

// Version is the version of the protocol. Both sides send it as the header Ringwall-Control, and refuse another.
const Version = "2"

// Hello is the daemon's introduction.
type Hello struct {
	Build     string         `json:"build"` // the daemon's version
	PID       int            `json:"pid"`
	Owner     string         `json:"owner,omitempty"` // the user besides root who may own the policy's files
	Namespace host.Namespace `json:"namespace"`       // the network namespace that it serves
}

// PolicyRequest hands a policy over: its contents, not a path.
type PolicyRequest struct {
	Entry  string         `json:"entry"`
	Bundle *source.Bundle `json:"bundle"`
	// Sizes is how many bytes the contents have that follow the JSON and a newline as they are, by the names of files of the bundle that
	// have none in it, and in the order of these.
	Sizes  map[string]int64 `json:"sizes,omitempty"`
	Strict bool             `json:"strict,omitempty"`
	NFT    bool             `json:"nft,omitempty"`   // dry-run: with the compiled table
	Force  bool             `json:"force,omitempty"` // apply: though it locks somebody out
	// Sessions is the SSH sessions that the request is made from: the lock-out guard sees to them, too.
	Sessions []host.Session `json:"sessions,omitempty"`

	Confirm time.Duration `json:"confirm,omitempty"` // apply: how long it stands without a confirmation, in nanoseconds; 0 for ever
	ConfirmRequest
}

// ConfirmRequest is what a client says of itself to confirm a change: the SSH connection that it runs in, where it found one.
type ConfirmRequest struct {
	Session    *host.Session `json:"session,omitempty"`
	NoSession  string        `json:"no_session,omitempty"`  // why it found none
	AnySession bool          `json:"any_session,omitempty"` // it counts, whatever connection it comes over
	Says       string        `json:"says,omitempty"`        // who the user is by the client's word, where that is not the peer's account
}

// RollbackRequest asks for a policy of the history, as an enforce.Past numbers it.
type RollbackRequest struct {
	Number  int           `json:"number"`
	Confirm time.Duration `json:"confirm,omitempty"` // as with PolicyRequest, like what follows
	ConfirmRequest
	Force    bool           `json:"force,omitempty"`
	Sessions []host.Session `json:"sessions,omitempty"`
}

// Status is what the daemon does at the moment. A host is well protected where Enforced and neither Stale() nor Wrong().
type Status struct {
	Hello
	Started time.Time `json:"started"`

	Enforced bool           `json:"enforced"` // the kernel's table was looked at, and is what was committed last
	Source   enforce.Source `json:"source"`
	Policy   string         `json:"policy"` // entry file
	Digest   string         `json:"digest"`
	Rules    int            `json:"rules"`
	Applied  time.Time      `json:"applied,omitzero"` // the last change to the kernel's table
	Bans     int            `json:"bans"`

	Reload Reload `json:"reload"`

	Awaited   *enforce.Awaited `json:"awaited,omitempty"` // the change that is enforced and not confirmed
	Refused   []store.Refusal  `json:"refused,omitempty"` // policies that are not loaded unless 'apply' names them
	Rollbacks uint64           `json:"rollbacks"`         // times an older policy came back since the daemon started

	Owned   bool   `json:"owned"`   // other programs can't change the table
	Persist bool   `json:"persist"` // the table outlives the daemon while owned
	Heals   uint64 `json:"heals"`   // times the table was put back after a foreign change
	Healed  *Heal  `json:"healed,omitempty"`
	Fight   bool   `json:"fight"` // others changed it again and again, and can't any more
	LogLost uint64 `json:"log_lost"`
	// EventsLost is how often more was committed than the daemon could hear of: it looks at the table then.
	EventsLost uint64 `json:"events_lost"`

	Proof *Proof `json:"proof,omitempty"` // null where what is enforced was proved by an earlier process

	Observed *observe.Report `json:"observed,omitempty"` // null where nothing is observed

	Notes []string `json:"notes,omitempty"`
}

// Heal is the last time the table was put back after a foreign change.
type Heal struct {
	At     time.Time `json:"at"`
	Change string    `json:"change"` // what had to be done
	By     string    `json:"by"`     // "nft (pid 4711)": who made the change, as far as the kernel tells; else "unknown"
}

// Proof is how far the enforced rules were held against their policy.
type Proof struct {
	State   ProofState `json:"state"`
	Packets int        `json:"packets"` // that were compared
	Text    string     `json:"text"`    // the same in words; where it failed with the packet, both answers and the chains
}

// ProofState is what came of a proof.
type ProofState string

// The states of a proof.
const (
	ProofWhole    ProofState = "whole"     // at every corner of every rule
	ProofSample   ProofState = "sample"    // at the most corners that are ever taken
	ProofUnderWay ProofState = "under-way" // on a sample; the rest is being done
	ProofFailed   ProofState = "failed"    // the rules do to a packet what the policy does not say
)

// Wrong tells whether what is enforced was found to be something else than its policy says.
func (s *Status) Wrong() bool { return s.Proof != nil && s.Proof.State == ProofFailed }

// Stale tells whether the files say something that is not enforced.
func (s *Status) Stale() bool {
	return !s.Reload.OK || s.Source != enforce.Files && s.Digest != s.Reload.Digest
}

// Reload is what came of the last time the policy's files were read.
type Reload struct {
	At          time.Time `json:"at,omitzero"`
	OK          bool      `json:"ok"`
	Digest      string    `json:"digest"`          // of what was read
	Held        bool      `json:"held,omitempty"`  // what was read is held back, though it has no error
	Error       string    `json:"error,omitempty"` // in one line, where not OK
	Diagnostics diag.List `json:"diagnostics,omitempty"`
	Good        uint64    `json:"good"` // reloads since the daemon started
	Bad         uint64    `json:"bad"`
}

// UnbanRequest asks for addresses to be taken out of a dynamic set.
type UnbanRequest struct {
	Set      string         `json:"set,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes"`
}

// BansRequest asks for what dynamic sets hold: one, or all where Set is empty.
type BansRequest struct {
	Set string `json:"set,omitempty"`
}

// failure is the body of an answer that is no success.
type failure struct {
	Error string `json:"error"`
}

// versionHeader carries Version, both ways.
const versionHeader = "Ringwall-Control"

// The paths. Those that are read with GET change nothing.
const (
	pathHello    = "/hello"
	pathStatus   = "/status"
	pathShow     = "/show"
	pathMetrics  = "/metrics"
	pathBans     = "/bans"
	pathDryRun   = "/dry-run"
	pathApply    = "/apply"
	pathReload   = "/reload"
	pathBan      = "/ban"
	pathUnban    = "/unban"
	pathTakeDown = "/take-down"
	pathConfirm  = "/confirm"
	pathRollback = "/rollback"
	pathHistory  = "/history"
)
