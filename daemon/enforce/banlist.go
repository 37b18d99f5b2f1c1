package enforce

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"ringwall/rules/addrset"
)

// current is a copy of the bans that have not ended.
func current(bans []Ban, now time.Time) []Ban {
	out := make([]Ban, 0, len(bans)+1)
	for _, b := range bans {
		if b.Until.IsZero() || b.Until.After(now) {
			out = append(out, b)
		}
	}
	return out
}

// without takes a prefix out of one set's bans, splitting larger ones, and tells whether there was any of it.
func without(bans []Ban, set string, p netip.Prefix) (left []Ban, hit bool) {
	gone := addrset.OfPrefix(p)
	for _, b := range bans {
		if b.Set != set || !b.Prefix.Overlaps(p) {
			left = append(left, b)
			continue
		}
		hit = true
		rest := addrset.OfPrefix(b.Prefix).Minus(gone)
		for _, q := range append(prefixes(rest.V4), prefixes(rest.V6)...) {
			left = append(left, Ban{Set: b.Set, Prefix: q, Until: b.Until})
		}
	}
	return left, hit
}

// prefixes is the shortest list of prefixes that holds exactly a set.
func prefixes[K addrset.Address[K]](s addrset.Set[K]) (out []netip.Prefix) {
	for _, r := range s.Ranges() {
		out = append(out, addrset.Prefixes(r)...)
	}
	return out
}

func sortBans(bans []Ban) {
	slices.SortFunc(bans, func(a, b Ban) int {
		return cmp.Or(cmp.Compare(a.Set, b.Set), a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
}

// later tells whether a ban's end a is later than b; zero is never.
func later(a, b time.Time) bool {
	return !b.IsZero() && (a.IsZero() || a.After(b))
}

// family is 0 for IPv4 and 1 for IPv6.
func family(p netip.Prefix) int {
	if p.Addr().Is6() {
		return 1
	}
	return 0
}

// canonical is the prefix without host bits, an IPv4 address in its own form.
func canonical(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// text is a prefix as people write it: a single address without its length.
func text(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// restored joins an error with that of undoing what led to it.
func restored(err, undo error) error {
	if undo != nil {
		return fmt.Errorf("%w (and the stored bans could not be put back: %v)", err, undo)
	}
	return err
}
