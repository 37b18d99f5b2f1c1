package addrset

import "net/netip"

// Addrs is a set of addresses of both families. The zero Addrs is empty.
type Addrs struct {
	V4 Set[U32]
	V6 Set[U128]
}

// AllAddrs is every address of both families.
func AllAddrs() Addrs { return Addrs{All[U32](), All[U128]()} }

// Union is the addresses in a or b.
func (a Addrs) Union(b Addrs) Addrs { return Addrs{a.V4.Union(b.V4), a.V6.Union(b.V6)} }

// Intersect is the addresses in both a and b.
func (a Addrs) Intersect(b Addrs) Addrs { return Addrs{a.V4.Intersect(b.V4), a.V6.Intersect(b.V6)} }

// Minus is the addresses in a and not in b.
func (a Addrs) Minus(b Addrs) Addrs { return Addrs{a.V4.Minus(b.V4), a.V6.Minus(b.V6)} }

// Differ is a.Minus(b) and b.Minus(a), in one pass.
func (a Addrs) Differ(b Addrs) (only, other Addrs) {
	only.V4, other.V4 = a.V4.Differ(b.V4)
	only.V6, other.V6 = a.V6.Differ(b.V6)
	return only, other
}

// Overlaps tells whether a and b share an address.
func (a Addrs) Overlaps(b Addrs) bool { return a.V4.Overlaps(b.V4) || a.V6.Overlaps(b.V6) }

// Covers tells whether every address of b is in a.
func (a Addrs) Covers(b Addrs) bool { return a.V4.Covers(b.V4) && a.V6.Covers(b.V6) }

// IsEmpty tells whether a holds no address.
func (a Addrs) IsEmpty() bool { return a.V4.IsEmpty() && a.V6.IsEmpty() }

// IsAll tells whether a holds every address of both families.
func (a Addrs) IsAll() bool { return a.V4.IsAll() && a.V6.IsAll() }

// Equal tells whether a and b hold the same addresses.
func (a Addrs) Equal(b Addrs) bool { return a.V4.Equal(b.V4) && a.V6.Equal(b.V6) }

// Contains tells whether the address is in a. An IPv4-mapped IPv6 address counts as the IPv4 one.
func (a Addrs) Contains(ip netip.Addr) bool {
	ip = ip.Unmap()
	if ip.Is4() {
		return a.V4.Contains(V4(ip))
	}
	return a.V6.Contains(V6(ip))
}

// Len is the number of ranges in both families.
func (a Addrs) Len() int { return a.V4.Len() + a.V6.Len() }

// OfPrefix is the addresses of a prefix, host bits ignored.
func OfPrefix(p netip.Prefix) Addrs {
	p = p.Masked()
	return OfRange(p.Addr(), LastOf(p))
}

// OfRange is the addresses from lo to hi, both included and of one family.
func OfRange(lo, hi netip.Addr) Addrs {
	if lo.Is4() {
		return Addrs{V4: Between(V4(lo), V4(hi))}
	}
	return Addrs{V6: Between(V6(lo), V6(hi))}
}

// LastOf is the highest address of a prefix.
func LastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
