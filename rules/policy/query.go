package policy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"ringwall/rules/addrset"
)

// Query reads the packets that people ask about, in words (`in tcp/22 from 203.0.113.9 iface eth0`) or as a JSON
// object with the keys of a test. It keeps what it has read of WHATs, and may not be shared between goroutines.
//
// What is not said is filled in: the state is new; the address at this host's end is 198.18.0.1 or 2001:2::1, which
// are for benchmarks and in no sensible policy; the source port of a protocol with ports is 40000; the interface is
// lo where the other end is a loopback address, else one without a name, which only the pattern * takes; there is no
// MAC address and the mark is 0; hop limits are what the protocol asks for, else 64; the time is Options.Now. A packet
// without user and group has no socket; one with either has a number that nobody has for the other. ICMP types
// without code have the code 0.
type Query struct {
	policy *Policy
	opt    Options
	whats  map[string]answer
}

// answer is the keys of the packets of each family that a WHAT stands for, or why it is none of a packet.
type answer struct {
	keys [2][]addrset.U32 // of IPv4 and of IPv6
	errs [2]error
}

// NewQuery reads packets for a policy: its services and the names of its rules are known. Of the options it uses
// User, Group and Now; where User or Group is nil, names that no rule has stand for nobody in particular.
func NewQuery(p *Policy, opt Options) *Query {
	return &Query{policy: p, opt: opt, whats: make(map[string]answer)}
}

// mostPackets is how many packets one query may stand for.
const mostPackets = 16

// The keys of a query, the directions first.
const (
	askIn = iota
	askOut
	askForward
	askFrom
	askTo
	askSport
	askIface
	askIIf
	askOIf
	askMAC
	askMark
	askUser
	askGroup
	askAt
	askState
	askHops
	askSpoofed
	asks
)

// asked is the values of a query by key, empty where not given.
type asked [asks]string

// askKeys is the names of the keys.
func askKeys() []string {
	return []string{"in", "out", "forward", "from", "to", "sport", "iface", "iif", "oif", "mac", "mark", "user", "group",
		"at", "state", "hops", "spoofed"}
}

// set takes a key and its value up.
func (a *asked) set(key, value string) error {
	i := slices.Index(askKeys(), key)
	switch {
	case i < 0:
		err := fmt.Errorf("unknown key %s", quote(key))
		if best := nearest(key, askKeys()); best != "" {
			err = fmt.Errorf("%w, did you mean %q?", err, best)
		}
		return err
	case value == "":
		return fmt.Errorf("%s: a value is missing", key)
	case a[i] != "":
		return fmt.Errorf("%s: given twice", key)
	}
	a[i] = value
	return nil
}

// Words reads a packet from words: a direction, WHAT, then keys and values. A WHAT of several ports or protocols (dns
// is tcp/53 and udp/53) gives as many packets, at most 16.
func (q *Query) Words(words []string) ([]Packet, error) {
	var a asked
	for i := 0; i < len(words); i += 2 {
		value := ""
		if i+1 < len(words) {
			value = words[i+1]
		}
		if err := a.set(words[i], value); err != nil {
			return nil, err
		}
	}
	return q.packets(nil, &a)
}

// packets appends the packets of what was asked.
func (q *Query) packets(dst []Packet, a *asked) ([]Packet, error) {
	p := Packet{Dir: Dir(asks), Time: q.opt.Now}
	for i, text := range a[:askFrom] {
		switch {
		case text == "":
		case p.Dir != Dir(asks):
			return dst, fmt.Errorf("%s and %s: a packet has one direction", p.Dir, Dir(i))
		default:
			p.Dir = Dir(i)
		}
	}
	if p.Dir == Dir(asks) {
		return dst, errors.New("the direction is missing: in, out or forward, and what, for example: in tcp/22")
	}
	err := q.addresses(&p, a)
	if err == nil {
		err = q.interfaces(&p, a)
	}
	if err == nil {
		err = q.numbers(&p, a)
	}
	if err == nil {
		err = q.owners(&p, a)
	}
	if err != nil {
		return dst, err
	}
	keys, err := q.what(a[p.Dir], p.Is6())
	if err != nil {
		return dst, fmt.Errorf("%s: %w", p.Dir, err)
	}
	for _, k := range keys {
		pkt := p
		pkt.Proto = uint8(k >> 16)
		switch {
		case HasPorts(pkt.Proto):
			pkt.Dport = uint16(k)
		case a[askSport] != "":
			return dst, fmt.Errorf("sport: %s has no ports", a[p.Dir])
		default:
			pkt.Sport, pkt.Type, pkt.Code = 0, uint8(k>>8), uint8(k)
		}
		if pkt.HopLimit == 0 {
			pkt.HopLimit = hops(&pkt)
		}
		dst = append(dst, pkt)
	}
	return dst, nil
}

// hops is the hop limit that a packet of its protocol has: 255 of neighbour discovery (RFC 4861), 1 of MLD (RFC 3810)
// and IGMP (RFC 3376).
func hops(p *Packet) uint8 {
	switch {
	case p.Proto == ProtoIGMP && !p.Is6():
		return 1
	case p.Proto != ProtoICMPv6 || !p.Is6():
	case p.Type >= 133 && p.Type <= 137:
		return 255
	case p.Type >= 130 && p.Type <= 132, p.Type == 143:
		return 1
	}
	return 64
}

// addresses fills in source and destination.
func (q *Query) addresses(p *Packet, a *asked) error {
	read := func(key string, text string, ip *netip.Addr) error {
		if text == "" {
			return nil
		}
		got, c := parseAddress(text)
		if c == nil {
			*ip = got
			return nil
		}
		if _, other := literal(text); other == nil {
			return fmt.Errorf("%s: %s is more than one address, and a packet has one", key, quote(text))
		}
		return fmt.Errorf("%s: %s", key, c.message)
	}
	if err := read("from", a[askFrom], &p.Src); err != nil {
		return err
	}
	if err := read("to", a[askTo], &p.Dst); err != nil {
		return err
	}
	here, there := netip.AddrFrom4([4]byte{198, 18, 0, 1}), netip.AddrFrom16([16]byte{0x20, 1, 0, 2, 15: 1})
	own := func(peer netip.Addr) netip.Addr {
		if peer.Is6() {
			return there
		}
		return here
	}
	switch {
	case p.Dir != Out && !p.Src.IsValid():
		return errors.New("from is missing: the address that the packet comes from")
	case p.Dir != In && !p.Dst.IsValid():
		return errors.New("to is missing: the address that the packet goes to")
	case !p.Dst.IsValid():
		p.Dst = own(p.Src)
	case !p.Src.IsValid():
		p.Src = own(p.Dst)
	}
	if p.Src.Is6() != p.Dst.Is6() {
		return errors.New("from and to are of two families")
	}
	return nil
}

// interfaces fills in the interfaces.
func (q *Query) interfaces(p *Packet, a *asked) error {
	switch {
	case p.Dir == Forward && a[askIface] != "":
		return errors.New("iface: transit has two, write iif or oif")
	case p.Dir == In && a[askOIf] != "":
		return errors.New("oif: what arrives goes out nowhere")
	case p.Dir == Out && a[askIIf] != "":
		return errors.New("iif: what leaves came in nowhere")
	case a[askIface] != "" && (a[askIIf] != "" || a[askOIf] != ""):
		return errors.New("iface: given twice")
	}
	p.IIf, p.OIf = a[askIIf], a[askOIf]
	switch p.Dir {
	case In:
		p.IIf += a[askIface]
		if p.IIf == "" && p.Src.IsLoopback() {
			p.IIf = Loopback
		}
	case Out:
		p.OIf += a[askIface]
		if p.OIf == "" && p.Dst.IsLoopback() {
			p.OIf = Loopback
		}
	}
	return nil
}

// numbers fills in what is counted or named: ports, marks, hop limits, state and time.
func (q *Query) numbers(p *Packet, a *asked) error {
	p.Sport = 40000
	for _, n := range []struct {
		key  int
		most uint64
		set  func(uint64)
	}{
		{askSport, 1<<16 - 1, func(n uint64) { p.Sport = uint16(n) }},
		{askHops, 1<<8 - 1, func(n uint64) { p.HopLimit = uint8(n) }},
		{askMark, 1<<32 - 1, func(n uint64) { p.Mark = uint32(n) }},
	} {
		text := a[n.key]
		if text == "" {
			continue
		}
		v, err := strconv.ParseUint(text, 10, 64)
		if hex, ok := strings.CutPrefix(text, "0x"); ok && n.key == askMark {
			v, err = strconv.ParseUint(hex, 16, 64)
		}
		if err != nil || v > n.most {
			return fmt.Errorf("%s: %s is no number from 0 to %d", askKeys()[n.key], quote(text), n.most)
		}
		n.set(v)
	}
	if text := a[askMAC]; text != "" {
		var ok bool
		switch p.MAC, ok = parseMAC(text); {
		case !ok:
			return fmt.Errorf("mac: %s is not of the form aa:bb:cc:dd:ee:ff", quote(text))
		case p.Dir == Out:
			return errors.New("mac: what leaves has no sender's address yet")
		}
		p.HasMAC = true
	}
	if text := a[askState]; text != "" {
		for p.State = New; p.State.String() != text; p.State++ {
			if p.State == Untracked {
				return fmt.Errorf("state: %s is not new, established, related, invalid or untracked", quote(text))
			}
		}
	}
	if text := a[askAt]; text != "" {
		var ok bool
		if p.Time, ok = moment(text); !ok {
			return fmt.Errorf("at: %s is no date, write 2027-01-31 or 2027-01-31T18:30Z", quote(text))
		}
	}
	if text := a[askSpoofed]; text != "" {
		if text != "true" && text != "false" {
			return fmt.Errorf("spoofed: %s is neither true nor false", quote(text))
		}
		p.Spoofed = text == "true"
	}
	return nil
}

// nobody is a number that no user or group has.
const nobody = 1<<32 - 1

// owners fills in user and group.
func (q *Query) owners(p *Packet, a *asked) error {
	if a[askUser] == "" && a[askGroup] == "" {
		return nil
	}
	if p.Dir != Out {
		return fmt.Errorf("user and group: only packets of `out` have them")
	}
	var err error
	if p.UID, err = owner("user", a[askUser], q.policy.Users, q.opt.User); err != nil {
		return err
	}
	p.GID, err = owner("group", a[askGroup], q.policy.Groups, q.opt.Group)
	p.Socket = err == nil
	return err
}

// owner is the number of a user or group: its own, the policy's, or the host's.
func owner(kind, text string, known map[string]uint32, lookup func(string) (uint32, bool)) (uint32, error) {
	if text == "" {
		return nobody, nil
	}
	if isDigits(text) {
		if n, err := strconv.ParseUint(text, 10, 32); err == nil {
			return uint32(n), nil
		}
	}
	if id, ok := known[text]; ok {
		return id, nil
	}
	if lookup == nil {
		return nobody, nil
	}
	id, ok := lookup(text)
	if !ok {
		return 0, fmt.Errorf("this host has no %s %s", kind, quote(text))
	}
	return id, nil
}

// what is the keys of the packets of a family that a WHAT stands for. A WHAT is read once.
func (q *Query) what(text string, six bool) ([]addrset.U32, error) {
	a, ok := q.whats[text]
	if !ok {
		text = strings.Clone(text)
		a = q.policy.answer(text)
		if len(q.whats) < 1<<16 {
			q.whats[text] = a
		}
	}
	family := 0
	if six {
		family = 1
	}
	return a.keys[family], a.errs[family]
}

func (p *Policy) answer(text string) (a answer) {
	what, err := p.what(text)
	for family := range a.keys {
		if a.errs[family] = err; err == nil {
			a.keys[family], a.errs[family] = what.packets(text, family == 1)
		}
	}
	return a
}

// what reads one item of a WHAT: a service of the policy, a built-in one, or a protocol.
func (p *Policy) what(text string) (What, error) {
	if text == "any" {
		return What{}, errors.New("a packet is of one protocol, and `any` is all: write for example tcp/22")
	}
	if s, ok := p.Services[text]; ok {
		return s.What, nil
	}
	if s, ok := builtinService(text); ok {
		return s.what(), nil
	}
	w, c := protoItem(text)
	switch {
	case c == nil:
		return w, nil
	case c.hint != "":
		return w, fmt.Errorf("%s: %s", c.message, c.hint)
	}
	return w, errors.New(c.message)
}

// packets is the keys of the packets of one family that w, written as text, stands for.
func (w What) packets(text string, six bool) ([]addrset.U32, error) {
	set, family := w.V4, "IPv4"
	if six {
		set, family = w.V6, "IPv6"
	}
	if set.IsEmpty() {
		return nil, fmt.Errorf("%s does not occur in %s", text, family)
	}
	var keys []addrset.U32
	real := addrset.Between(Key(0, 0), Key(255, 1<<16-1))
	for _, r := range set.Intersect(real).Ranges() {
		for lo := r.Lo; ; {
			proto := uint8(lo >> 16)
			end, step := Key(proto, 1<<16-1), addrset.U32(1)
			detail := HasPorts(proto)
			switch {
			case detail && uint16(lo) == 0 && r.Hi >= end:
				return nil, fmt.Errorf("%s is every port, and a packet has one: write for example %s/22", text, protoText(proto, six))
			case proto == ProtoICMP && !six, proto == ProtoICMPv6 && six:
				if uint16(lo) == 0 && r.Hi >= end {
					return nil, fmt.Errorf("%s is every type, and a packet has one: write for example %s/echo-request", text, protoText(proto, six))
				}
				if lo&0xff == 0 && r.Hi >= lo|0xff {
					step = 256
				}
			case !detail:
				step = end - lo + 1
			}
			keys = append(keys, lo)
			if len(keys) > mostPackets {
				return nil, fmt.Errorf("%s is too many ports or types to answer for: name one", text)
			}
			if r.Hi-lo < step {
				break
			}
			lo += step
		}
	}
	return keys, nil
}
