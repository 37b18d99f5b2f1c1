package addrset

import (
	"math"
	"math/bits"
	"net/netip"
)

// Address is a Key that stands for an IP address.
type Address[K any] interface {
	Key[K]
	Addr() netip.Addr
	// Append appends the address, big-endian.
	Append([]byte) []byte
	// Bits is the length of the family's addresses, 32 or 128.
	Bits() int
	// Prefix is the widest prefix that begins with the address and goes no further than hi, which is not below it: its length,
	// and its last address.
	Prefix(hi K) (length int, last K)
	// Prefixes is how many prefixes of a length there are from the one that holds the address to the one that holds hi, which is not below it.
	Prefixes(hi K, length int) int
	// Mask is the address with all bits after the first so many cleared.
	Mask(length int) K
	// Top is the address with those bits set instead: the last one of its prefix of that length.
	Top(length int) K
}

// EachPrefix calls each for every prefix of the shortest list that holds exactly the addresses of s, in order, by its first
// address and its length.
func EachPrefix[K Address[K]](s Set[K], each func(first K, length int)) {
	var k K
	whole := k.Bits()
	for _, r := range s.ranges {
		if r.Lo == r.Hi {
			each(r.Lo, whole)
		} else {
			eachPrefix(r, each)
		}
	}
}

func eachPrefix[K Address[K]](r Range[K], each func(first K, length int)) {
	for r.Lo.Compare(r.Hi) <= 0 {
		length, last := r.Lo.Prefix(r.Hi)
		each(r.Lo, length)
		if last == r.Hi {
			return
		}
		r.Lo = last.Next()
	}
}

// Prefixes is the shortest list of prefixes that together hold exactly the addresses of r, in order: at most
// 62 in IPv4 and 254 in IPv6. It is empty where Lo is above Hi.
func Prefixes[K Address[K]](r Range[K]) []netip.Prefix {
	var out []netip.Prefix
	eachPrefix(r, func(first K, length int) { out = append(out, netip.PrefixFrom(first.Addr(), length)) })
	return out
}

// Prefix is the one prefix that holds exactly the addresses of r, false where there is none.
func Prefix[K Address[K]](r Range[K]) (netip.Prefix, bool) {
	if r.Lo.Compare(r.Hi) > 0 {
		return netip.Prefix{}, false
	}
	length, last := r.Lo.Prefix(r.Hi)
	return netip.PrefixFrom(r.Lo.Addr(), length), last == r.Hi
}

// AppendRange appends r as policies write it: an address, a prefix, or a-b.
func AppendRange[K Address[K]](b []byte, r Range[K]) []byte {
	if r.Lo == r.Hi {
		return r.Lo.Addr().AppendTo(b)
	}
	if p, ok := Prefix(r); ok {
		return p.AppendTo(b)
	}
	b = append(r.Lo.Addr().AppendTo(b), '-')
	return r.Hi.Addr().AppendTo(b)
}

// Texts is the first ranges of s, at most limit, each as AppendRange writes it.
func Texts[K Address[K]](s Set[K], limit int) []string {
	var out []string
	for _, r := range s.Ranges() {
		if len(out) >= limit {
			break
		}
		out = append(out, string(AppendRange(nil, r)))
	}
	return out
}

// Bits is the length of an IPv4 address.
func (U32) Bits() int { return 32 }

// Bits is the length of an IPv6 address.
func (U128) Bits() int { return 128 }

// Prefix is the widest prefix that begins with k and goes no further than hi.
func (k U32) Prefix(hi U32) (length int, last U32) {
	length = 32 - min(bits.TrailingZeros32(uint32(k)), bits.Len64(uint64(hi)-uint64(k)+1)-1)
	return length, k.Top(length)
}

// Prefix is the widest prefix that begins with k and goes no further than hi.
func (k U128) Prefix(hi U128) (length int, last U128) {
	lo, borrow := bits.Sub64(hi.Lo, k.Lo, 0)
	more := U128{hi.Hi - k.Hi - borrow, lo} // addresses after k
	free := 128
	if n := more.Next(); n != (U128{}) {
		free = n.len() - 1
	}
	length = 128 - min(free, k.trailingZeros())
	return length, k.Top(length)
}

// Prefixes is how many prefixes of a length there are from that of k to that of hi.
func (k U32) Prefixes(hi U32, length int) int {
	return int(hi>>(32-length)) - int(k>>(32-length)) + 1
}

// Prefixes is how many prefixes of a length there are from that of k to that of hi; math.MaxInt where they are more.
func (k U128) Prefixes(hi U128, length int) int {
	k, hi = k.Mask(length), hi.Mask(length)
	lo, borrow := bits.Sub64(hi.Lo, k.Lo, 0)
	more, _ := bits.Sub64(hi.Hi, k.Hi, borrow)
	free := 128 - length
	if free < 64 {
		lo, more = lo>>free|more<<(64-free), more>>free
	} else {
		lo, more = more>>(free-64), 0
	}
	if more > 0 || lo >= math.MaxInt {
		return math.MaxInt
	}
	return int(lo) + 1
}

// Mask is the address with all bits after the first so many cleared.
func (k U32) Mask(length int) U32 { return k &^ (1<<(32-length) - 1) }

// Mask is the address with all bits after the first so many cleared.
func (k U128) Mask(length int) U128 {
	if length < 64 {
		return U128{Hi: k.Hi &^ (1<<(64-length) - 1)}
	}
	return U128{k.Hi, k.Lo &^ (1<<(128-length) - 1)}
}

// Top is the last address of the prefix of that length which holds k.
func (k U32) Top(length int) U32 { return k | (1<<(32-length) - 1) }

// Top is the last address of the prefix of that length which holds k.
func (k U128) Top(length int) U128 {
	if length < 64 {
		return U128{k.Hi | (1<<(64-length) - 1), ^uint64(0)}
	}
	return U128{k.Hi, k.Lo | (1<<(128-length) - 1)}
}

// trailingZeros is the number of zero bits below the lowest one; of zero, 128.
func (k U128) trailingZeros() int {
	if k.Lo == 0 {
		return 64 + bits.TrailingZeros64(k.Hi)
	}
	return bits.TrailingZeros64(k.Lo)
}

// len is the number of bits that the number takes; of zero, 0.
func (k U128) len() int {
	if k.Hi != 0 {
		return 64 + bits.Len64(k.Hi)
	}
	return bits.Len64(k.Lo)
}
