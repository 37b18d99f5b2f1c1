package kernel

import (
	"encoding/binary"
	"net"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
)

// field is how the kernel knows a ruleset.Field.
type field struct {
	size int
	host bool   // loaded in the host's byte order
	typ  uint32 // nft's number of the data type, by which it prints sets
	load expr.Any

	register uint32 // that load loads to
}

// register is the one that everything is loaded to and looked up from, but for what follows the first field of a map's key.
const register = unix.NFT_REG_1

// nft's numbers of data types.
const (
	typeInteger   = 4
	typeNFProto   = 2
	typeIPv4      = 7
	typeIPv6      = 8
	typeEther     = 9
	typeInetProto = 12
	typeService   = 13
	typeICMPType  = 14
	typeMark      = 19
	typeIfIndex   = 20
	typeARPHRD    = 21
	typeUID       = 24
	typeGID       = 25
	typeCtState   = 26
	typeCtDir     = 27
	typeCtStatus  = 28
	typeICMP6Type = 29
	typeICMPCode  = 32
	typeICMP6Code = 33
	typeFibAddr   = 38
	typeIfName    = 41
	typeTime      = 43
)

// metaTime is NFT_META_TIME_NS, which the libraries do not name.
const metaTime expr.MetaKey = 30

// fieldOf is how the kernel knows a field. ok is false for a field that is not known here.
func fieldOf(f ruleset.Field) (_ field, ok bool) { return fieldTo(f, register) }

// fieldTo is fieldOf, loaded to a register.
func fieldTo(f ruleset.Field, register uint32) (_ field, ok bool) {
	var typ uint32
	var load expr.Any
	meta := func(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: register} }
	ct := func(key expr.CtKey) expr.Any { return &expr.Ct{Key: key, Register: register} }
	payload := func(base expr.PayloadBase, offset, n uint32) expr.Any {
		return &expr.Payload{DestRegister: register, Base: base, Offset: offset, Len: n}
	}
	const (
		link      = expr.PayloadBaseLLHeader
		network   = expr.PayloadBaseNetworkHeader
		transport = expr.PayloadBaseTransportHeader
	)
	switch f {
	case ruleset.NFProto:
		typ, load = typeNFProto, meta(expr.MetaKeyNFPROTO)
	case ruleset.L4Proto:
		typ, load = typeInetProto, meta(expr.MetaKeyL4PROTO)
	case ruleset.IIfName:
		typ, load = typeIfName, meta(expr.MetaKeyIIFNAME)
	case ruleset.OIfName:
		typ, load = typeIfName, meta(expr.MetaKeyOIFNAME)
	case ruleset.MetaMark:
		typ, load = typeMark, meta(expr.MetaKeyMARK)
	case ruleset.SkUID:
		typ, load = typeUID, meta(expr.MetaKeySKUID)
	case ruleset.SkGID:
		typ, load = typeGID, meta(expr.MetaKeySKGID)
	case ruleset.Time:
		typ, load = typeTime, meta(metaTime)
	case ruleset.Saddr4:
		typ, load = typeIPv4, payload(network, 12, 4)
	case ruleset.Daddr4:
		typ, load = typeIPv4, payload(network, 16, 4)
	case ruleset.Saddr6:
		typ, load = typeIPv6, payload(network, 8, 16)
	case ruleset.Daddr6:
		typ, load = typeIPv6, payload(network, 24, 16)
	case ruleset.HopLimit:
		typ, load = typeInteger, payload(network, 7, 1)
	case ruleset.Sport:
		typ, load = typeService, payload(transport, 0, 2)
	case ruleset.Dport:
		typ, load = typeService, payload(transport, 2, 2)
	case ruleset.ICMPType:
		typ, load = typeICMPType, payload(transport, 0, 1)
	case ruleset.ICMPCode:
		typ, load = typeICMPCode, payload(transport, 1, 1)
	case ruleset.ICMP6Type:
		typ, load = typeICMP6Type, payload(transport, 0, 1)
	case ruleset.ICMP6Code:
		typ, load = typeICMP6Code, payload(transport, 1, 1)
	case ruleset.EtherSaddr:
		typ, load = typeEther, payload(link, 6, 6)
	case ruleset.IIf:
		typ, load = typeIfIndex, meta(expr.MetaKeyIIF)
	case ruleset.OIf:
		typ, load = typeIfIndex, meta(expr.MetaKeyOIF)
	case ruleset.IIfType:
		typ, load = typeARPHRD, meta(expr.MetaKeyIIFTYPE)
	case ruleset.CtState:
		typ, load = typeCtState, ct(expr.CtKeySTATE)
	case ruleset.CtStatus:
		typ, load = typeCtStatus, ct(expr.CtKeySTATUS)
	case ruleset.CtDirection:
		typ, load = typeCtDir, ct(expr.CtKeyDIRECTION)
	case ruleset.FibDaddrType:
		typ, load = typeFibAddr, &expr.Fib{Register: register, ResultADDRTYPE: true, FlagDADDR: true}
	case ruleset.FibSaddrOIf:
		typ, load = typeIfIndex, &expr.Fib{Register: register, ResultOIF: true, FlagSADDR: true, FlagIIF: true}
	}
	return field{size: f.Size(), host: f.HostEndian(), typ: typ, load: load, register: register}, load != nil
}

// addresses is the fields of which the beginning alone can be compared.
var addresses = []ruleset.Field{ruleset.Saddr4, ruleset.Daddr4, ruleset.Saddr6, ruleset.Daddr6}

// beginning is of how many bytes at its beginning a field is compared with a prefix, as nft does it; 0 where the whole field is loaded and
// masked. Fewer bytes are less to load and to keep, and no mask; but the kernel is slow to load three.
func beginning(c ruleset.Cmp) int {
	size := c.Field.Size()
	bits, all := net.IPMask(c.Mask).Size()
	if !slices.Contains(addresses, c.Field) || c.Op > ruleset.Ne || all != 8*size || len(c.Value) != size || bits == 0 || bits == all || bits%8 != 0 || bits == 24 && size == 4 {
		return 0
	}
	return bits / 8
}

// loadFirst loads the first bytes of an address.
func (f field) loadFirst(n int) expr.Any {
	load := *f.load.(*expr.Payload)
	load.Len = uint32(n)
	return &load
}

// isLast tells whether a value is the highest of its length.
func isLast(v []byte) bool { return !slices.ContainsFunc(v, func(b byte) bool { return b != 0xff }) }

// alike is the first field that the kernel loads in the same way: which of the ICMP fields is meant, only the protocol tells.
func alike(f ruleset.Field) ruleset.Field {
	switch f {
	case ruleset.ICMP6Type:
		return ruleset.ICMPType
	case ruleset.ICMP6Code:
		return ruleset.ICMPCode
	}
	return f
}

// kernel turns a value into the kernel's form: interface names padded, numbers of the host in its byte order unless they were
// turned big-endian, as comparing by size needs.
func (f field) kernel(v []byte, swapped bool) []byte {
	if f.typ == typeIfName && len(v) < f.size {
		return append(slices.Clone(v), make([]byte, f.size-len(v))...)
	}
	if f.host && !swapped {
		return hostOrder(v)
	}
	return v
}

// hostOrder turns a big-endian number into the host's order, or back.
func hostOrder(v []byte) []byte {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return v
	}
	v = slices.Clone(v)
	slices.Reverse(v)
	return v
}

// toBigEndian is the expression that turns a number of the host big-endian.
func (f field) toBigEndian() expr.Any {
	return &expr.Byteorder{SourceRegister: register, DestRegister: register, Op: expr.ByteorderHton, Len: uint32(f.size), Size: uint32(f.size)}
}
