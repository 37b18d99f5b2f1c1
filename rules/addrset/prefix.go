package addrset

import (
	"math/bits"
	"net/netip"
)

// Address is a Key that stands for an IP address.
type Address[K any] interface {
	Key[K]
	Addr() netip.Addr
	wide() U128
	width() int
	narrow(U128) K
}

// Prefixes is the shortest list of prefixes that together hold exactly the addresses of r, in order: at most
// 62 in IPv4 and 254 in IPv6. It is empty where Lo is above Hi.
func Prefixes[K Address[K]](r Range[K]) []netip.Prefix {
	var out []netip.Prefix
	lo, hi, width := r.Lo.wide(), r.Hi.wide(), r.Lo.width()
	for lo.Compare(hi) <= 0 {
		free := min(lo.trailingZeros(), width)
		for lo.or(free).Compare(hi) > 0 {
			free--
		}
		out = append(out, netip.PrefixFrom(r.Lo.narrow(lo).Addr(), width-free))
		last := lo.or(free)
		if last == hi {
			break
		}
		lo = last.Next()
	}
	return out
}

// Prefix is the one prefix that holds exactly the addresses of r, false where there is none.
func Prefix[K Address[K]](r Range[K]) (netip.Prefix, bool) {
	lo, hi, width := r.Lo.wide(), r.Hi.wide(), r.Lo.width()
	free := U128{lo.Hi ^ hi.Hi, lo.Lo ^ hi.Lo}.len()
	if lo.or(free) != hi || min(lo.trailingZeros(), width) < free {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(r.Lo.Addr(), width-free), true
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

func (k U32) wide() U128        { return U128{Lo: uint64(k)} }
func (U32) width() int          { return 32 }
func (U32) narrow(w U128) U32   { return U32(w.Lo) }
func (k U128) wide() U128       { return k }
func (U128) width() int         { return 128 }
func (U128) narrow(w U128) U128 { return w }

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

// or is the number with its n lowest bits set.
func (k U128) or(n int) U128 {
	if n > 64 {
		return U128{k.Hi | (1<<(n-64) - 1), ^uint64(0)}
	}
	return U128{k.Hi, k.Lo | (1<<n - 1)}
}
