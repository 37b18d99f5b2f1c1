package check

import (
	"fmt"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// Service is a port of this host on which something listens.
type Service struct {
	Proto uint8
	Port  uint16
	To    addrset.Addrs // the addresses that it listens on
}

// DiffServices is Diff for each of some services alone: among the first packets to it that come by anything but loopback. The
// work is that of all of them together.
func DiffServices(before, after *policy.Policy, services []Service, opt DiffOptions) []*Difference {
	out := make([]*Difference, len(services))
	d := &differ{now: opt.Now, boxes: opt.Boxes, liveLeft: opt.Work}
	d.old, d.new = withSameOwners(before, after)
	var s *sides
	var err error
	if d.space, err = space.NewFree(d.old, d.new); err == nil {
		d.naming = newNaming(d.space, opt.Now, d.old, d.new)
		s, err = d.sides(policy.In)
	}
	work := opt.Work
	for i, service := range services {
		d.out = &Difference{}
		if out[i] = d.out; err != nil {
			d.out.Undecided = []Packets{{Text: fmt.Sprintf("any packet: the policies are %v", err)}}
			continue
		}
		all, open, used := d.among(s, policy.In, work/(len(services)-i), func(rules, six bool) (space.Box, bool) { return d.service(service, rules, six) })
		work -= used
		for _, f := range d.few(s, all) {
			d.add(f)
		}
		d.reportOpen(open)
	}
	return out
}

// service is the first packets to a service. To the rules loopback is not known as such: what stands before them takes it.
func (d *differ) service(s Service, rules, six bool) (space.Box, bool) {
	b := d.space.Whole(policy.In, six)
	ok := b.Limit(space.Key, addrset.One(policy.Key(s.Proto, s.Port))) && b.LimitAddrs(space.Dst, s.To) &&
		b.Limit(space.State, addrset.One(addrset.U32(policy.New))) && b.Limit(space.Spoofed, addrset.One[addrset.U32](0))
	if ok && !rules {
		ok = b.Limit(space.IIf, b.Set(space.IIf).Minus(d.space.Named(policy.Loopback)))
	}
	return b, ok
}

// Admits tells whether a policy admits anybody to a service, by anything but loopback. It says yes, too, where finding out would
// take too long.
func Admits(p *policy.Policy, s Service, now int64) bool {
	closed := &policy.Policy{Defaults: [3]policy.Verdict{policy.Deny, policy.Deny, policy.Deny}, Base: p.Base}
	closed.Base.Established, closed.Base.Loopback = false, false
	d := DiffServices(closed, p, []Service{s}, DiffOptions{Now: now, Work: DiffWork / 8})[0]
	for _, v := range d.Verdicts {
		if v.New == policy.Allow.String() {
			return true
		}
	}
	return len(d.Undecided) > 0
}
