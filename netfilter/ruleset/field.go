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
	IIf                       // the number of the interface it came in by, 0 for none
	OIf                       // the number of the interface it goes out by, 0 for none
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

	IfLoopback = 1 // of IIf and OIf: the first interface of every network namespace

	Original, Reply = 0, 1 // of CtDirection
)

// form is how nft writes a field's values.
type form uint8

const (
	decimal form = iota
	hex
	name    // quoted
	address // of either family
	ether
	seconds // nanoseconds, written as whole seconds: a number, which no time zone changes
	bits    // names of bits, joined by commas
	word    // a name, where the value has one
)

// wordOf is the name of a value, or of a bit.
type wordOf struct {
	value uint64
	name  string
}

// need is what must have matched before a field means anything: another field that is one of some values.
type need struct {
	field Field
	octets
}

func needOf(f Field, values ...byte) need {
	n := need{field: f}
	for _, v := range values {
		n.add(v, v)
	}
	return n
}

// What fields need.
var (
	needIPv4  = needOf(NFProto, IPv4)
	needIPv6  = needOf(NFProto, IPv6)
	needPorts = needOf(L4Proto, 6, 17, 33, 132, 136)
	needICMP  = needOf(L4Proto, 1)
	needICMP6 = needOf(L4Proto, 58)
	needEther = needOf(IIfType, IfEther)
)

// fieldInfo is an entry of the table of fields.
type fieldInfo struct {
	nft   string // nft's spelling
	typ   string // nft's name of the type, by which a map is declared; empty where it has none
	size  int    // bytes
	host  bool   // the kernel loads it in the host's byte order
	form  form
	needs []need
	words []wordOf // of the forms bits and word
}

// table is the table of fields.
var table = [...]fieldInfo{
	NFProto: {nft: "meta nfproto", typ: "nf_proto", size: 1, form: word, words: []wordOf{{IPv4, "ipv4"}, {IPv6, "ipv6"}}},
	L4Proto: {nft: "meta l4proto", typ: "inet_proto", size: 1, form: decimal},

	IIfName:  {nft: "iifname", typ: "ifname", size: 16, form: name},
	IIf:      {nft: "iif", typ: "iface_index", size: 4, host: true, form: word, words: []wordOf{{IfLoopback, "lo"}}},
	OIf:      {nft: "oif", typ: "iface_index", size: 4, host: true, form: word, words: []wordOf{{IfLoopback, "lo"}}},
	OIfName:  {nft: "oifname", typ: "ifname", size: 16, form: name},
	MetaMark: {nft: "meta mark", typ: "mark", size: 4, host: true, form: hex},
	SkUID:    {nft: "meta skuid", typ: "uid", size: 4, host: true, form: decimal},
	SkGID:    {nft: "meta skgid", typ: "gid", size: 4, host: true, form: decimal},
	Time:     {nft: "meta time", size: 8, host: true, form: seconds},

	Saddr4:   {nft: "ip saddr", typ: "ipv4_addr", size: 4, form: address, needs: []need{needIPv4}},
	Daddr4:   {nft: "ip daddr", typ: "ipv4_addr", size: 4, form: address, needs: []need{needIPv4}},
	Saddr6:   {nft: "ip6 saddr", typ: "ipv6_addr", size: 16, form: address, needs: []need{needIPv6}},
	Daddr6:   {nft: "ip6 daddr", typ: "ipv6_addr", size: 16, form: address, needs: []need{needIPv6}},
	HopLimit: {nft: "ip6 hoplimit", size: 1, form: decimal, needs: []need{needIPv6}},

	Sport:     {nft: "th sport", typ: "inet_service", size: 2, form: decimal, needs: []need{needPorts}},
	Dport:     {nft: "th dport", typ: "inet_service", size: 2, form: decimal, needs: []need{needPorts}},
	ICMPType:  {nft: "icmp type", typ: "icmp_type", size: 1, form: decimal, needs: []need{needIPv4, needICMP}},
	ICMPCode:  {nft: "icmp code", typ: "icmp_code", size: 1, form: decimal, needs: []need{needIPv4, needICMP}},
	ICMP6Type: {nft: "icmpv6 type", typ: "icmpv6_type", size: 1, form: decimal, needs: []need{needIPv6, needICMP6}},
	ICMP6Code: {nft: "icmpv6 code", typ: "icmpv6_code", size: 1, form: decimal, needs: []need{needIPv6, needICMP6}},

	EtherSaddr: {nft: "ether saddr", typ: "ether_addr", size: 6, form: ether, needs: []need{needEther}},
	IIfType:    {nft: "meta iiftype", typ: "iface_type", size: 2, host: true, form: word, words: []wordOf{{IfEther, "ether"}}},

	CtState: {nft: "ct state", typ: "ct_state", size: 4, host: true, form: bits, words: []wordOf{{StateInvalid, "invalid"},
		{StateEstablished, "established"}, {StateRelated, "related"}, {StateNew, "new"}, {StateUntracked, "untracked"}}},
	CtStatus: {nft: "ct status", typ: "ct_status", size: 4, host: true, form: bits, words: []wordOf{{1, "expected"}, {2, "seen-reply"},
		{4, "assured"}, {8, "confirmed"}, {StatusSNAT, "snat"}, {StatusDNAT, "dnat"}, {0x200, "dying"}}},
	CtDirection: {nft: "ct direction", typ: "ct_dir", size: 1, form: word, words: []wordOf{{Original, "original"}, {Reply, "reply"}}},

	FibDaddrType: {nft: "fib daddr type", typ: "fib_addrtype", size: 4, host: true, form: word, words: []wordOf{{TypeUnicast, "unicast"},
		{TypeLocal, "local"}, {TypeBroadcast, "broadcast"}, {TypeAnycast, "anycast"}, {TypeMulticast, "multicast"},
		{6, "blackhole"}, {7, "unreachable"}, {8, "prohibit"}}},
	FibSaddrOIf: {nft: "fib saddr . iif oif", typ: "iface_index", size: 4, host: true, form: decimal},
}

// info is the field's entry; false for a field that has none.
func (f Field) info() (*fieldInfo, bool) {
	if int(f) >= len(table) || table[f].nft == "" {
		return &fieldInfo{}, false
	}
	return &table[f], true
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
