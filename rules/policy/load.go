package policy

import (
	"ringwall/rules/diag"
	"ringwall/rules/source"
)

// Options is what a load needs from outside.
type Options struct {
	// User and Group look a name up on the host. Where nil, names get numbers of their own from 1<<31 on
	// (root: 0), which is enough to check a policy elsewhere than on its host. A name that they do not know is an error.
	User, Group func(name string) (uint32, bool)
	// Now is the time by which "expired" is judged, in Unix seconds.
	Now int64
}

// Load reads the policy whose entry file is given, with all that it includes. The policy is nil exactly where the
// list has errors; warnings leave it whole.
func Load(fsys source.FS, entry string, opt Options) (*Policy, diag.List) {
	panic("being written")
}
