package enforce

import (
	"net/netip"
	"time"
)

// Ban is one entry of a dynamic set.
type Ban struct {
	Set    string       `json:"set"`
	Prefix netip.Prefix `json:"prefix"`
	Until  time.Time    `json:"until,omitzero"` // zero for ever
}

// BanRequest asks for entries in a dynamic set.
type BanRequest struct {
	// Set names a dynamic set of the enforced policy. Where empty it is the policy's only one or, of several, that
	// called "banned".
	Set      string         `json:"set,omitempty"`
	Prefixes []netip.Prefix `json:"prefixes"`
	// For is how long; 0 for as long as the set's timeout says, Forever without end.
	For time.Duration `json:"for,omitempty"`
}

// Forever is the duration of a ban without end.
const Forever time.Duration = -1

// BanReport is what came of a ban or its end.
type BanReport struct {
	Set     string   `json:"set"`
	Bans    []Ban    `json:"bans,omitempty"`    // as they hold now
	Removed int      `json:"removed,omitempty"` // how many prefixes an unban took anything from
	Notes   []string `json:"notes,omitempty"`   // "10.0.0.5 is a failsafe address: the ban is without effect on tcp/22"
}
