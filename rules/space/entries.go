package space

import (
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Entry is one thing in a policy that can decide: a packet belongs to the first entry that holds it.
type Entry struct {
	Decision policy.Decision
	Boxes    []Box
}

// Equal tells whether two entries are made of the same boxes, in the same order.
func (e *Entry) Equal(f *Entry) bool {
	return slices.EqualFunc(e.Boxes, f.Boxes, func(a, b Box) bool { return a.Equal(&b) })
}

// work bounds what making the entries of a policy may cost.
const work = 1 << 20

// Entries is how a policy judges the packets of a direction, in order. The last entry holds every packet. It says
// with boxes what Policy.Decide says with packets. The error is ErrTooComplex.
func (s *Space) Entries(p *policy.Policy, dir policy.Dir) ([]Entry, error) {
	e := entries{Space: s, p: p, dir: dir}
	if err := e.block(); err != nil {
		return nil, err
	}
	if dir == policy.Forward && !p.Transit {
		e.add(policy.Decision{Verdict: policy.Allow, By: policy.ByUnjudged}, e.both()...)
		return e.list, nil
	}
	e.base()
	for _, r := range p.Lists[dir] {
		e.add(policy.Decision{Verdict: r.Action.Verdict, By: r.ID, Rule: r, At: r.At}, e.rule(r)...)
	}
	e.add(policy.Decision{Verdict: p.Defaults[dir], By: policy.ByDefault, At: p.DefaultsAt[dir]}, e.both()...)
	return e.list, nil
}

// entries is Entries at work.
type entries struct {
	*Space
	p    *policy.Policy
	dir  policy.Dir
	list []Entry
}

func (e *entries) add(d policy.Decision, boxes ...Box) {
	if len(boxes) > 0 {
		e.list = append(e.list, Entry{d, boxes})
	}
}

// both is every packet of the direction.
func (e *entries) both() []Box { return []Box{e.Whole(e.dir, false), e.Whole(e.dir, true)} }

// some is the packets of one family that limit keeps.
func (e *entries) some(six bool, limit func(*Box) bool) []Box {
	b := e.Whole(e.dir, six)
	if !limit(&b) {
		return nil
	}
	return []Box{b}
}

// each is some of both families.
func (e *entries) each(limit func(*Box) bool) []Box {
	return append(e.some(false, limit), e.some(true, limit)...)
}

// iface is the dimension of the interface that loopback goes by.
func (e *entries) iface() Dim {
	if e.dir == policy.Out {
		return OIf
	}
	return IIf
}

// where is the packets whose address along Src or Dst is one of a's.
func (e *entries) where(d Dim, a policy.Addrs) []Box {
	var out []Box
	for _, c := range e.cases(a, e.p.Given) {
		out = append(out, e.each(func(b *Box) bool { return c.limit(b, d) })...)
	}
	return out
}

// block is one entry or none: what failsafe admits is taken out of it.
func (e *entries) block() error {
	var boxes, safe []Box
	if e.dir == policy.Forward {
		boxes = append(e.where(Src, e.p.Block), e.where(Dst, e.p.Block)...)
	} else {
		lo := e.names.set(policy.Loopback)
		for _, b := range e.where(e.peer(), e.p.Block) {
			if b.Limit(e.iface(), b.sets[e.iface()].Minus(lo)) {
				boxes = append(boxes, b)
			}
		}
		if len(boxes) > 0 {
			for i := range e.p.Failsafe {
				safe = append(safe, e.failsafe(&e.p.Failsafe[i])...)
			}
		}
	}
	search := Search{Left: work}
	boxes, err := search.Subtract(boxes, safe)
	e.add(policy.Decision{Verdict: policy.Deny, By: policy.ByBlock, At: e.p.BlockAt}, boxes...)
	return err
}

// peer is the dimension of the address at the other end.
func (e *entries) peer() Dim {
	if e.dir == policy.Out {
		return Dst
	}
	return Src
}

// failsafe is what looks like a packet of a failsafe connection, whatever its state.
func (e *entries) failsafe(f *policy.Failsafe) []Box {
	var out []Box
	for _, b := range e.where(e.peer(), f.From) {
		if e.dir == policy.In {
			if b.Limit(Key, what(f.What, b.Six)) {
				out = append(out, b)
			}
			continue
		}
		for _, r := range replies(what(f.What, b.Six), b.Six) {
			if c := b; c.Limit(Key, r.key) && c.Limit(Sport, r.sport) {
				out = append(out, c)
			}
		}
	}
	return out
}

func what(w policy.What, six bool) Set {
	if six {
		return w.V6
	}
	return w.V4
}

// reply is packets that answer others.
type reply struct{ key, sport Set }

// replies is the packets whose policy.Packet.ReplyKey is in a set: of a protocol with ports those from the ports of
// the set, of ICMP those of the answering types, of others the same.
func replies(keys Set, six bool) []reply {
	ports := []uint8{policy.ProtoTCP, policy.ProtoUDP, policy.ProtoDCCP, policy.ProtoSCTP, policy.ProtoUDPLite}
	rest := keys
	var out []reply
	for _, proto := range ports {
		all := addrset.Between(policy.Key(proto, 0), policy.Key(proto, 1<<16-1))
		rest = rest.Minus(all)
		var sports []addrset.Range[addrset.U32]
		for _, r := range keys.Intersect(all).Ranges() {
			sports = append(sports, addrset.Range[addrset.U32]{Lo: r.Lo & 0xffff, Hi: r.Hi & 0xffff})
		}
		if len(sports) > 0 {
			out = append(out, reply{all, addrset.Of(sports...)})
		}
	}
	proto, answer := uint8(policy.ProtoICMP), policy.ReplyType
	if six {
		proto, answer = policy.ProtoICMPv6, policy.ReplyType6
	}
	turned := rest.Minus(addrset.Between(policy.Key(proto, 0), policy.Key(proto, 1<<16-1)))
	for t := range 256 {
		of := rest.Intersect(icmpTypes(proto, uint8(t), uint8(t)))
		for _, r := range of.Ranges() {
			to := policy.Key(proto, uint16(answer(uint8(t)))<<8)
			turned = turned.Union(addrset.Between(to|r.Lo&0xff, to|r.Hi&0xff))
		}
	}
	if !turned.IsEmpty() {
		out = append(out, reply{turned, addrset.All[addrset.U32]()})
	}
	return out
}

// icmpTypes is the keys of ICMP types, every code.
func icmpTypes(proto, first, last uint8) Set {
	return addrset.Between(policy.Key(proto, uint16(first)<<8), policy.Key(proto, uint16(last)<<8|0xff))
}

// states is a set along State.
func states(ss ...policy.State) Set {
	return union(ss, func(s policy.State) Set { return addrset.One(addrset.U32(s)) })
}

// base adds what stands between block and the rules, in the order of Policy.Decide.
func (e *entries) base() {
	on := &e.p.Base
	here := e.dir != policy.Forward
	admit := func(is bool, by string, boxes ...Box) {
		if is {
			e.add(policy.Decision{Verdict: policy.Allow, By: by}, boxes...)
		}
	}
	admit(here && on.Loopback, policy.ByLoopback, e.each(func(b *Box) bool { return b.Limit(e.iface(), e.names.set(policy.Loopback)) })...)
	for i := range e.p.Failsafe {
		f := &e.p.Failsafe[i]
		if !here {
			break
		}
		var boxes []Box
		for _, b := range e.failsafe(f) {
			if e.dir == policy.In || b.Limit(State, states(policy.Established)) {
				boxes = append(boxes, b)
			}
		}
		e.add(policy.Decision{Verdict: policy.Allow, By: policy.ByFailsafe, At: f.At}, boxes...)
	}
	admit(on.Established, policy.ByEstablished, e.each(func(b *Box) bool { return b.Limit(State, states(policy.Established, policy.Related)) })...)
	admit(here && on.Neighbour, policy.ByNeighbour, e.some(true, func(b *Box) bool {
		return b.Limit(Key, icmpTypes(policy.ProtoICMPv6, 133, 136)) && b.Limit(HopLimit, addrset.One(addrset.U32(255)))
	})...)
	admit(here && on.Multicast, policy.ByMulticast, append(
		e.some(false, func(b *Box) bool {
			return b.Limit(Key, addrset.Between(policy.Key(policy.ProtoIGMP, 0), policy.Key(policy.ProtoIGMP, 1<<16-1)))
		}),
		e.some(true, func(b *Box) bool {
			unspecified := addrset.Addrs{V6: addrset.One(addrset.U128{})}
			return b.Limit(Key, icmpTypes(policy.ProtoICMPv6, 130, 132).Union(icmpTypes(policy.ProtoICMPv6, 143, 143))) &&
				b.LimitAddrs(Src, linkLocal().Union(unspecified))
		})...)...)
	admit(on.ICMPErrors, policy.ByICMPErrors, append(
		e.some(false, func(b *Box) bool {
			return b.Limit(Key, icmpTypes(policy.ProtoICMP, 3, 3).Union(icmpTypes(policy.ProtoICMP, 11, 12)))
		}),
		e.some(true, func(b *Box) bool { return b.Limit(Key, icmpTypes(policy.ProtoICMPv6, 1, 4)) })...)...)
	admit(here && on.DHCPClient, policy.ByDHCPClient, append(e.dhcp(false, 67, 68), e.dhcp(true, 547, 546)...)...)
	if e.dir == policy.Out {
		return
	}
	if on.Invalid {
		e.add(policy.Decision{Verdict: policy.Deny, By: policy.ByInvalid}, e.each(func(b *Box) bool { return b.Limit(State, states(policy.Invalid)) })...)
	}
	if on.ReversePath {
		e.add(policy.Decision{Verdict: policy.Deny, By: policy.ByReversePath}, e.each(func(b *Box) bool { return b.Limit(Spoofed, addrset.One(addrset.U32(1))) })...)
	}
}

// dhcp is what a DHCP client of this host hears, or says.
func (e *entries) dhcp(six bool, server, client uint16) []Box {
	from, to := server, client
	if e.dir == policy.Out {
		from, to = client, server
	}
	return e.some(six, func(b *Box) bool {
		return b.Limit(Key, addrset.One(policy.Key(policy.ProtoUDP, to))) && b.Limit(Sport, addrset.One(addrset.U32(from))) &&
			(!six || e.dir == policy.Out || b.LimitAddrs(Src, linkLocal()))
	})
}

// linkLocal is fe80::/10.
func linkLocal() addrset.Addrs {
	return addrset.Addrs{V6: addrset.Between(addrset.U128{Hi: 0xfe80 << 48}, addrset.U128{Hi: 0xfec0<<48 - 1, Lo: ^uint64(0)})}
}

// rule is the packets that a rule matches. Those of rules without dynamic sets are kept.
func (e *entries) rule(r *policy.Rule) []Box {
	if boxes, ok := e.static[r]; ok {
		return boxes
	}
	var boxes []Box
	for _, b := range e.Match(e.dir, &r.Match, e.p.Given) {
		if r.Expires == 0 || b.Limit(Time, e.before(r.Expires)) {
			boxes = append(boxes, b)
		}
	}
	if e.free || isStatic(r.Match.From) && isStatic(r.Match.To) {
		e.static[r] = boxes
	}
	return boxes
}

func isStatic(a policy.Addrs) bool {
	for _, t := range a.Terms {
		if !t.IsStatic() {
			return false
		}
	}
	return true
}
