package host

import (
	"os/user"
	"strconv"
)

// User is the number of the account with a name, as the host's user database has it. It has the shape that
// policy.Options wants.
func User(name string) (uint32, bool) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, false
	}
	return number(u.Uid)
}

// UserID is the number of an account that is given by name or, in digits, by number.
func UserID(name string) (uint32, bool) {
	if id, ok := User(name); ok {
		return id, true
	}
	return number(name)
}

// Group is the number of the group with a name.
func Group(name string) (uint32, bool) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	return number(g.Gid)
}

// UserName is the name of the account with a number, or the number in digits where it has none.
func UserName(id uint32) string {
	digits := strconv.FormatUint(uint64(id), 10)
	u, err := user.LookupId(digits)
	if err != nil {
		return digits
	}
	return u.Username
}

func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil
}
