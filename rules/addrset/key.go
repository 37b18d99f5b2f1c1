// Package addrset is an algebra of sets of addresses, ports and other whole numbers, as sorted disjoint intervals.
//
// Be aware: a Set is a value; no operation changes its operands, and results may share their memory.
package addrset

import (
	"cmp"
	"encoding/binary"
	"net/netip"
)

// Key is a whole number with a first and a last value.
type Key[K any] interface {
	comparable
	Compare(K) int
	Next() K // the value plus one; of the last value, the first
	Prev() K // the value minus one; of the first value, the last
	First() K
	Last() K
}

// U8, U16 and U32 are the keys of 8, 16 and 32 bits: protocols, ports, IPv4 addresses.
type (
	U8  uint8
	U16 uint16
	U32 uint32
)

// U128 is an IPv6 address as a number.
type U128 struct{ Hi, Lo uint64 }

// Compare orders numbers.
func (k U8) Compare(o U8) int { return cmp.Compare(k, o) }

// Next is the number plus one.
func (k U8) Next() U8 { return k + 1 }

// Prev is the number minus one.
func (k U8) Prev() U8 { return k - 1 }

// First is the smallest number.
func (U8) First() U8 { return 0 }

// Last is the largest number.
func (U8) Last() U8 { return 1<<8 - 1 }

// Compare orders numbers.
func (k U16) Compare(o U16) int { return cmp.Compare(k, o) }

// Next is the number plus one.
func (k U16) Next() U16 { return k + 1 }

// Prev is the number minus one.
func (k U16) Prev() U16 { return k - 1 }

// First is the smallest number.
func (U16) First() U16 { return 0 }

// Last is the largest number.
func (U16) Last() U16 { return 1<<16 - 1 }

// Compare orders numbers.
func (k U32) Compare(o U32) int { return cmp.Compare(k, o) }

// Next is the number plus one.
func (k U32) Next() U32 { return k + 1 }

// Prev is the number minus one.
func (k U32) Prev() U32 { return k - 1 }

// First is the smallest number.
func (U32) First() U32 { return 0 }

// Last is the largest number.
func (U32) Last() U32 { return 1<<32 - 1 }

// Compare orders numbers.
func (k U128) Compare(o U128) int {
	if c := cmp.Compare(k.Hi, o.Hi); c != 0 {
		return c
	}
	return cmp.Compare(k.Lo, o.Lo)
}

// Next is the number plus one.
func (k U128) Next() U128 {
	k.Lo++
	if k.Lo == 0 {
		k.Hi++
	}
	return k
}

// Prev is the number minus one.
func (k U128) Prev() U128 {
	if k.Lo == 0 {
		k.Hi--
	}
	k.Lo--
	return k
}

// First is the smallest number.
func (U128) First() U128 { return U128{} }

// Last is the largest number.
func (U128) Last() U128 { return U128{^uint64(0), ^uint64(0)} }

// V4 is the number of an IPv4 address. It panics on any other.
func V4(a netip.Addr) U32 {
	b := a.As4()
	return U32(binary.BigEndian.Uint32(b[:]))
}

// V6 is the number of an IPv6 address; of an IPv4 address, that of its mapped form.
func V6(a netip.Addr) U128 {
	b := a.As16()
	return U128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Addr is the IPv4 address of a number.
func (k U32) Addr() netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(k))
	return netip.AddrFrom4(b)
}

// Addr is the IPv6 address of a number.
func (k U128) Addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.Hi)
	binary.BigEndian.PutUint64(b[8:], k.Lo)
	return netip.AddrFrom16(b)
}

// Append appends the four bytes of an IPv4 address.
func (k U32) Append(b []byte) []byte { return binary.BigEndian.AppendUint32(b, uint32(k)) }

// Append appends the sixteen bytes of an IPv6 address.
func (k U128) Append(b []byte) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, k.Hi), k.Lo)
}
