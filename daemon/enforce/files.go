package enforce

import (
	"fmt"
	"os"

	"ringwall/netfilter/host"
	"ringwall/rules/source"
)

// HostFiles is the host's files, as far as they are in the hands of root, of this process's user, and of owner: a user's name or number,
// empty for none. Where the host does not know the owner there is an error, and the others' files are returned all the same.
func HostFiles(owner string) (source.OS, error) {
	own := source.Owners{0, uint32(os.Geteuid())}
	if owner == "" {
		return source.OS{Owners: own}, nil
	}
	id, ok := host.UserID(owner)
	if !ok {
		return source.OS{Owners: own}, fmt.Errorf("the policy's owner %q is no user of this host", owner)
	}
	return source.OS{Owners: append(source.Owners{id}, own...)}, nil
}
