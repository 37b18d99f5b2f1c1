package kernel

import (
	"encoding/binary"
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
}

// register is the one that everything is loaded to and looked up from.
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

// fieldOf is the field's entry. ok is false for a field that is not known here.
func fieldOf(f ruleset.Field) (_ field, ok bool) {
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
		return field{1, false, typeNFProto, meta(expr.MetaKeyNFPROTO)}, true
	case ruleset.L4Proto:
		return field{1, false, typeInetProto, meta(expr.MetaKeyL4PROTO)}, true
	case ruleset.IIfName:
		return field{16, false, typeIfName, meta(expr.MetaKeyIIFNAME)}, true
	case ruleset.OIfName:
		return field{16, false, typeIfName, meta(expr.MetaKeyOIFNAME)}, true
	case ruleset.MetaMark:
		return field{4, true, typeMark, meta(expr.MetaKeyMARK)}, true
	case ruleset.SkUID:
		return field{4, true, typeUID, meta(expr.MetaKeySKUID)}, true
	case ruleset.SkGID:
		return field{4, true, typeGID, meta(expr.MetaKeySKGID)}, true
	case ruleset.Time:
		return field{8, true, typeTime, meta(metaTime)}, true
	case ruleset.Saddr4:
		return field{4, false, typeIPv4, payload(network, 12, 4)}, true
	case ruleset.Daddr4:
		return field{4, false, typeIPv4, payload(network, 16, 4)}, true
	case ruleset.Saddr6:
		return field{16, false, typeIPv6, payload(network, 8, 16)}, true
	case ruleset.Daddr6:
		return field{16, false, typeIPv6, payload(network, 24, 16)}, true
	case ruleset.HopLimit:
		return field{1, false, typeInteger, payload(network, 7, 1)}, true
	case ruleset.Sport:
		return field{2, false, typeService, payload(transport, 0, 2)}, true
	case ruleset.Dport:
		return field{2, false, typeService, payload(transport, 2, 2)}, true
	case ruleset.ICMPType:
		return field{1, false, typeICMPType, payload(transport, 0, 1)}, true
	case ruleset.ICMPCode:
		return field{1, false, typeICMPCode, payload(transport, 1, 1)}, true
	case ruleset.ICMP6Type:
		return field{1, false, typeICMP6Type, payload(transport, 0, 1)}, true
	case ruleset.ICMP6Code:
		return field{1, false, typeICMP6Code, payload(transport, 1, 1)}, true
	case ruleset.EtherSaddr:
		return field{6, false, typeEther, payload(link, 6, 6)}, true
	case ruleset.IIfType:
		return field{2, true, typeARPHRD, meta(expr.MetaKeyIIFTYPE)}, true
	case ruleset.CtState:
		return field{4, true, typeCtState, ct(expr.CtKeySTATE)}, true
	case ruleset.CtStatus:
		return field{4, true, typeCtStatus, ct(expr.CtKeySTATUS)}, true
	case ruleset.CtDirection:
		return field{1, false, typeCtDir, ct(expr.CtKeyDIRECTION)}, true
	case ruleset.FibDaddrType:
		return field{4, true, typeFibAddr, &expr.Fib{Register: register, ResultADDRTYPE: true, FlagDADDR: true}}, true
	case ruleset.FibSaddrOIf:
		return field{4, true, typeIfIndex, &expr.Fib{Register: register, ResultOIF: true, FlagSADDR: true, FlagIIF: true}}, true
	}
	return field{}, false
}

// fields is how many fields there are: they are numbered from 0.
const fields = int(ruleset.FibSaddrOIf) + 1

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

// isName tells whether a field is an interface name.
func isName(f ruleset.Field) bool { return f == ruleset.IIfName || f == ruleset.OIfName }

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
