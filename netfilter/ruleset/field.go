package ruleset

import "fmt"

// Field is something of a packet that an expression can load.
type Field uint8

// The fields. Each has an entry in the table below.
const (
	NFProto      Field = iota // the family: 2 is IPv4, 10 IPv6
	L4Proto                   // the transport protocol, extension headers skipped
	IIfName                   // the interface it came in by
	OIfName                   // the interface it goes out by
	MetaMark                  // the packet's mark
	SkUID                     // the user of the socket that sent it
	SkGID                     // that socket's group
	Time                      // nanoseconds since 1970
	Saddr4                    // IPv4 source
	Daddr4                    // IPv4 destination
	Saddr6                    // IPv6 source
	Daddr6                    // IPv6 destination
	HopLimit                  // IPv6 hop limit
	Sport                     // source port
	Dport                     // destination port
	ICMPType                  // ICMP type
	ICMPCode                  // ICMP code
	ICMP6Type                 // ICMPv6 type
	ICMP6Code                 // ICMPv6 code
	EtherSaddr                // Ethernet source
	IIfType                   // ARPHRD_* of the interface it came in by: 1 is Ethernet
	CtState                   // bits: invalid 1, established 2, related 4, new 8, untracked 64
	CtStatus                  // bits of enum ip_conntrack_status: snat 16, dnat 32
	CtDirection               // original 0, reply 1
	FibDaddrType              // RTN_* of the destination: local 2, broadcast 3, anycast 4, multicast 5
	FibSaddrOIf               // the interface back to the source if it is the one it came in by, else 0
)

// Values of fields that have names.
const (
	IPv4, IPv6 = 2, 10 // of NFProto

	StateInvalid, StateEstablished, StateRelated, StateNew, StateUntracked = 1, 2, 4, 8, 64 // of CtState

	StatusSNAT, StatusDNAT = 0x10, 0x20 // of CtStatus

	TypeUnicast, TypeLocal, TypeBroadcast, TypeAnycast, TypeMulticast = 1, 2, 3, 4, 5 // of FibDaddrType

	IfEther = 1 // of IIfType
)

// form is how nft writes a field's values.
type form uint8

const (
	number    form = iota // decimal
	hex                   // hexadecimal
	name                  // a quoted string
	address4              // an IPv4 address
	address6              // an IPv6 address
	ether                 // an Ethernet address
	seconds               // nanoseconds, written as whole seconds, which no time zone changes
	bits                  // names of bits, joined by commas
	wordNames             // a name for each value
)

// need is what must have matched before a field can be loaded; values says which of the needed field's values will do.
type need struct {
	field  Field
	values []uint64
}

// fieldInfo is an entry of the table of fields.
type fieldInfo struct {
	nft   string // nft's spelling
	size  int    // bytes
	host  bool   // the kernel loads it in the host's byte order
	form  form
	needs []need
	words map[uint64]string // of forms bits and wordNames
}

// info is the table of fields; false for a field that is not in it.
func (f Field) info() (fieldInfo, bool) {
	v4 := need{NFProto, []uint64{IPv4}}
	v6 := need{NFProto, []uint64{IPv6}}
	ports := need{L4Proto, []uint64{6, 17, 33, 132, 136}}
	switch f {
	case NFProto:
		return fieldInfo{"meta nfproto", 1, false, wordNames, nil, map[uint64]string{IPv4: "ipv4", IPv6: "ipv6"}}, true
	case L4Proto:
		return fieldInfo{"meta l4proto", 1, false, number, nil, nil}, true
	case IIfName:
		return fieldInfo{"iifname", 16, false, name, nil, nil}, true
	case OIfName:
		return fieldInfo{"oifname", 16, false, name, nil, nil}, true
	case MetaMark:
		return fieldInfo{"meta mark", 4, true, hex, nil, nil}, true
	case SkUID:
		return fieldInfo{"meta skuid", 4, true, number, nil, nil}, true
	case SkGID:
		return fieldInfo{"meta skgid", 4, true, number, nil, nil}, true
	case Time:
		return fieldInfo{"meta time", 8, true, seconds, nil, nil}, true
	case Saddr4:
		return fieldInfo{"ip saddr", 4, false, address4, []need{v4}, nil}, true
	case Daddr4:
		return fieldInfo{"ip daddr", 4, false, address4, []need{v4}, nil}, true
	case Saddr6:
		return fieldInfo{"ip6 saddr", 16, false, address6, []need{v6}, nil}, true
	case Daddr6:
		return fieldInfo{"ip6 daddr", 16, false, address6, []need{v6}, nil}, true
	case HopLimit:
		return fieldInfo{"ip6 hoplimit", 1, false, number, []need{v6}, nil}, true
	case Sport:
		return fieldInfo{"th sport", 2, false, number, []need{ports}, nil}, true
	case Dport:
		return fieldInfo{"th dport", 2, false, number, []need{ports}, nil}, true
	case ICMPType:
		return fieldInfo{"icmp type", 1, false, number, []need{v4, {L4Proto, []uint64{1}}}, nil}, true
	case ICMPCode:
		return fieldInfo{"icmp code", 1, false, number, []need{v4, {L4Proto, []uint64{1}}}, nil}, true
	case ICMP6Type:
		return fieldInfo{"icmpv6 type", 1, false, number, []need{v6, {L4Proto, []uint64{58}}}, nil}, true
	case ICMP6Code:
		return fieldInfo{"icmpv6 code", 1, false, number, []need{v6, {L4Proto, []uint64{58}}}, nil}, true
	case EtherSaddr:
		return fieldInfo{"ether saddr", 6, false, ether, []need{{IIfType, []uint64{IfEther}}}, nil}, true
	case IIfType:
		return fieldInfo{"meta iiftype", 2, true, wordNames, nil, map[uint64]string{IfEther: "ether"}}, true
	case CtState:
		return fieldInfo{"ct state", 4, true, bits, nil, map[uint64]string{StateInvalid: "invalid", StateEstablished: "established",
			StateRelated: "related", StateNew: "new", StateUntracked: "untracked"}}, true
	case CtStatus:
		return fieldInfo{"ct status", 4, true, bits, nil, map[uint64]string{1: "expected", 2: "seen-reply", 4: "assured",
			8: "confirmed", StatusSNAT: "snat", StatusDNAT: "dnat", 0x200: "dying"}}, true
	case CtDirection:
		return fieldInfo{"ct direction", 1, false, wordNames, nil, map[uint64]string{0: "original", 1: "reply"}}, true
	case FibDaddrType:
		return fieldInfo{"fib daddr type", 4, true, wordNames, nil, map[uint64]string{TypeUnicast: "unicast", TypeLocal: "local",
			TypeBroadcast: "broadcast", TypeAnycast: "anycast", TypeMulticast: "multicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}}, true
	case FibSaddrOIf:
		return fieldInfo{"fib saddr . iif oif", 4, true, number, nil, nil}, true
	}
	return fieldInfo{}, false
}

// Fields is every field.
func Fields() []Field {
	fs := make([]Field, 0, FibSaddrOIf+1)
	for f := Field(0); f <= FibSaddrOIf; f++ {
		fs = append(fs, f)
	}
	return fs
}

// String is nft's spelling of the field.
func (f Field) String() string {
	if i, ok := f.info(); ok {
		return i.nft
	}
	return fmt.Sprintf("field %d", uint8(f))
}

// Size is the length of a value in bytes, 0 for a field that is not known.
func (f Field) Size() int {
	i, _ := f.info()
	return i.size
}

// HostEndian tells whether the kernel loads the field in the host's byte order. Values in this package are big-endian all the same.
func (f Field) HostEndian() bool {
	i, _ := f.info()
	return i.host
}

// IsName tells whether values are interface names.
func (f Field) IsName() bool { return f == IIfName || f == OIfName }

// Value is a number as a value of the field, big-endian and as long as Size says; higher bits are lost.
func (f Field) Value(n uint64) []byte {
	v := make([]byte, f.Size())
	for i := len(v) - 1; i >= 0 && n != 0; i-- {
		v[i] = byte(n)
		n >>= 8
	}
	return v
}

// num is a big-endian value as a number; of values longer than 8 bytes the last 8 count.
func num(v []byte) (n uint64) {
	for _, b := range v {
		n = n<<8 | uint64(b)
	}
	return n
}

// nameOf is the name of an enumeration's value, or its number where it has none.
func nameOf[E ~uint8](e E, names ...string) string {
	if int(e) < len(names) {
		return names[e]
	}
	return fmt.Sprintf("%T(%d)", e, uint8(e))
}
