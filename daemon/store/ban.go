package store

import (
	"net/netip"
	"time"
)

// Ban is one entry of a dynamic set.
type Ban struct {
	Set    string       `json:"set"`
	Prefix netip.Prefix `json:"prefix"`         // a single address as /32 or /128
	Until  time.Time    `json:"until,omitzero"` // zero for ever
}

// SaveBans puts bans in the place of all that were stored.
func (d Dir) SaveBans(bans []Ban) error { return d.sealJSON(bansFile, bans) }

// Bans returns what SaveBans wrote, those that have ended since included. Where there was nothing it returns none and
// an error that wraps fs.ErrNotExist; where the file can't be trusted the error is a *CorruptError.
func (d Dir) Bans() ([]Ban, error) {
	bans, err := unsealJSON[[]Ban](d, bansFile)
	if err != nil {
		return nil, err
	}
	for _, b := range bans {
		if b.Set == "" || !b.Prefix.IsValid() {
			return nil, d.corrupt(bansFile, "it has a ban without a set or a prefix", nil)
		}
	}
	return bans, nil
}
