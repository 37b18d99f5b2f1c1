package compile

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"

	"ringwall/netfilter/classify"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// line is one way to match a rule, for packets of one family: they are in a box, and do what is asked besides.
type line struct {
	classify.Box
	bound [2]bool // the box's addresses are but a bound: what is asked besides holds them
	rest  conj
}

// mostBoxes is how many boxes one rule may be. What would be more is one box of everything a line, of which all else is asked.
const mostBoxes = 64

// width is the number of bits of a family's addresses.
func (f family) width() int {
	if f == ipv6 {
		return 128
	}
	return 32
}

// boxes matches what a rule matches of a family: each line is enough.
func (c *compiler) boxes(r *policy.Rule, f family) ([]line, error) {
	m, owner := &r.Match, ChainName(r)
	if m.Sport.IsEmpty() {
		return nil, nil
	}
	keys, err := keyLines(m)
	if err != nil {
		return nil, err
	}
	if r.Expires != 0 {
		keys = product(keys, expiry(r))
	}
	from := c.spans(m.From, f, f.saddr(), owner+"/from")
	to := c.spans(m.To, f, f.daddr(), owner+"/to")
	if len(from) == 0 || len(to) == 0 {
		return nil, nil
	}
	whats := trafficBoxes(traffic{what: m.What, sport: m.Sport}, f)
	if len(keys)*len(whats)*len(from)*len(to) > mostBoxes {
		return c.coarse(r, f)
	}
	var out []line
	for _, w := range whats {
		for _, src := range from {
			for _, dst := range to {
				for _, k := range keys {
					l := w
					l.Addr = [2]classify.Span{src.Span, dst.Span}
					l.bound = [2]bool{src.rest != nil, dst.rest != nil}
					l.rest = and(w.rest, k, src.rest, dst.rest)
					out = append(out, l)
				}
			}
		}
	}
	return out, nil
}

// coarse is boxes of everything, and all that a rule matches asked besides.
func (c *compiler) coarse(r *policy.Rule, f family) ([]line, error) {
	exprs, err := c.familyLines(&r.Match, ChainName(r), f)
	if err != nil {
		return nil, err
	}
	var out []line
	for _, e := range product(exprs, expiry(r)) {
		out = append(out, line{Box: classify.Everything(f.width()), rest: e})
	}
	return out, nil
}

// span is addresses that follow one another, and what is asked of them besides; the span is but a bound then.
type span struct {
	classify.Span
	rest conj
}

// spans is addresses of a family: those few that a rule names by themselves, sets whole.
func (c *compiler) spans(a policy.Addrs, f family, field ruleset.Field, name string) (out []span) {
	if a.IsAny() {
		return []span{{Span: classify.Everything(f.width()).Addr[0]}}
	}
	for i := range a.Terms {
		t := &a.Terms[i]
		var ranges []classify.Span
		if f == ipv6 {
			ranges = spansOf(t.Static.V6)
		} else {
			ranges = spansOf(t.Static.V4)
		}
		if len(ranges) == 0 {
			continue
		}
		if few := len(ranges) == 1 || len(ranges) <= maxAnonymous && a.Set == ""; few && t.IsStatic() {
			for _, s := range ranges {
				out = append(out, span{Span: s})
			}
			continue
		}
		hull := classify.Span{Lo: ranges[0].Lo, Hi: ranges[len(ranges)-1].Hi}
		for _, rest := range c.term(a, i, f, field, name) {
			out = append(out, span{hull, rest})
		}
	}
	return out
}

func spansOf[K addrset.Address[K]](s addrset.Set[K]) []classify.Span {
	out := make([]classify.Span, s.Len())
	for i, r := range s.Ranges() {
		out[i] = classify.Span{Lo: wide(r.Lo), Hi: wide(r.Hi)}
	}
	return out
}

// wide is an address as a number of 128 bits.
func wide[K addrset.Address[K]](k K) classify.Key {
	switch k := any(k).(type) {
	case addrset.U32:
		return classify.Key{Lo: uint64(k)}
	case addrset.U128:
		return k
	}
	return classify.Key{}
}

// trafficBoxes is traffic of a family: protocols and ports in boxes, ICMP types and long lists asked besides.
func trafficBoxes(t traffic, f family) (out []line) {
	whole := line{Box: classify.Everything(f.width())}
	keys := t.what.V4
	if f == ipv6 {
		keys = t.what.V6
	}
	if keys.IsAll() && t.sport.IsAll() {
		return []line{whole}
	}
	const many = 8 // protocols, or ranges of ports
	details := detailsOf(keys, f)
	if !t.sport.IsAll() {
		details = slices.DeleteFunc(details, func(d detail) bool { return !policy.HasPorts(d.proto) })
	}
	if len(details) > many {
		for _, rest := range t.of(details, f) {
			l := whole
			l.rest = rest
			out = append(out, l)
		}
		return out
	}
	for _, d := range details {
		l := whole
		l.Proto = int16(d.proto)
		switch {
		case isICMP(d.proto, f) && !d.low.IsAll():
			for _, rest := range types(d.low, f, t.reply) {
				l.rest = and(conj{equal(ruleset.L4Proto, uint64(d.proto))}, rest)
				out = append(out, l)
			}
		case !policy.HasPorts(d.proto):
			out = append(out, l)
		case d.low.Len()*t.sport.Len() > many:
			l.rest = and(conj{equal(ruleset.L4Proto, uint64(d.proto))}, t.ports(d.low))
			out = append(out, l)
		default:
			for _, dport := range d.low.Ranges() {
				for _, sport := range t.sport.Ranges() {
					l.Port = [2]classify.Ports{{Lo: uint16(dport.Lo), Hi: uint16(dport.Hi)}, {Lo: uint16(sport.Lo), Hi: uint16(sport.Hi)}}
					out = append(out, l)
				}
			}
		}
	}
	return out
}

// asks is the expressions that let only the packets of a line on, of those that are in a cell: what sorts out most comes first.
func (l *line) asks(f family, within *classify.Box, cell *classify.Box) conj {
	asked := func(i int) bool { return within.Addr[i] != cell.Addr[i] && !l.bound[i] }
	sport, dport := within.Port[classify.Sport] != cell.Port[classify.Sport], within.Port[classify.Dport] != cell.Port[classify.Dport]
	out := make(conj, 0, 5+len(l.rest))
	if asked(classify.Src) || asked(classify.Dst) || len(l.rest) > 0 {
		out = append(out, f.guard()...) // what is asked besides may be of the family, too
	}
	order := [2]int{classify.Src, classify.Dst}
	if span := func(i int) int { return classify.Bits(within.Addr[i], f.width()) }; span(classify.Dst) > span(classify.Src) {
		order = [2]int{classify.Dst, classify.Src}
	}
	fields := [2]ruleset.Field{classify.Src: f.saddr(), classify.Dst: f.daddr()}
	for _, i := range order {
		if asked(i) {
			out = append(out, f.between(fields[i], l.Addr[i]))
		}
	}
	if within.Proto != cell.Proto || sport || dport {
		out = append(out, equal(ruleset.L4Proto, uint64(within.Proto)))
	}
	if sport { // as nft puts them
		out = append(out, between(ruleset.Sport, uint64(l.Port[classify.Sport].Lo), uint64(l.Port[classify.Sport].Hi)))
	}
	if dport {
		out = append(out, between(ruleset.Dport, uint64(l.Port[classify.Dport].Lo), uint64(l.Port[classify.Dport].Hi)))
	}
	return append(out, l.rest...)
}

// between matches a span of addresses.
func (f family) between(field ruleset.Field, s classify.Span) ruleset.Expr {
	if f == ipv6 {
		return oneRange(field, addrset.Range[addrset.U128]{Lo: s.Lo, Hi: s.Hi}, false)
	}
	return oneRange(field, addrset.Range[addrset.U32]{Lo: addrset.U32(s.Lo.Lo), Hi: addrset.U32(s.Hi.Lo)}, false)
}

// appendBytes appends an address as the kernel has it.
func (f family) appendBytes(dst []byte, k classify.Key) []byte {
	if f == ipv6 {
		dst = binary.BigEndian.AppendUint64(dst, k.Hi)
		return binary.BigEndian.AppendUint64(dst, k.Lo)
	}
	return binary.BigEndian.AppendUint32(dst, uint32(k.Lo))
}

// appendText appends a prefix of so many bits as a part of a name.
func (f family) appendText(dst []byte, k classify.Key, bits int) []byte {
	if f == ipv6 {
		digits := hex.EncodeToString(f.appendBytes(nil, k))
		dst = append(dst, digits[:max(1, (bits+3)/4)]...)
	} else {
		dst = addrset.U32(k.Lo).Addr().AppendTo(dst)
	}
	return strconv.AppendUint(append(dst, '-'), uint64(bits), 10)
}
