package impact

import (
	"net/netip"
	"slices"

	"ringwall/netfilter/host"
	"ringwall/rules/decide"
	"ringwall/rules/policy"
)

// Judge judges what a host has by one policy. It belongs to one goroutine.
type Judge struct {
	scene  *Scene
	places places
	policy *policy.Policy
	asked  int           // so often
	asker  *decide.Asker // once that pays, nil before
	open   [3]open       // by direction
}

// indexFrom is how many packets of a policy are decided before its index pays: to make that takes hundreds of times as long as to go
// through the rules for one.
const indexFrom = 100

// decide is what becomes of a packet.
func (j *Judge) decide(pkt *policy.Packet) policy.Decision {
	if j.asked++; j.asked < indexFrom {
		return j.policy.Decide(pkt)
	}
	if j.asker == nil {
		j.asker = decide.New(j.policy).Asker()
	}
	return j.asker.Decide(pkt)
}

// open is what a policy's rules of a direction ask for and nobody can know of a connection afterwards: the values to try.
type open struct {
	ifaces bool
	marks  []uint32
	macs   []policy.MAC
	users  []uint32
	groups []uint32
}

// NewJudge prepares a policy.
func NewJudge(p *policy.Policy, scene *Scene) *Judge {
	j := &Judge{scene: scene, places: newPlaces(scene.Addresses), policy: p.With(scene.Given)}
	for dir, list := range p.Lists {
		o := &j.open[dir]
		for _, r := range list {
			m := &r.Match
			o.ifaces = o.ifaces || !m.IIf.IsAny() || !m.OIf.IsAny()
			for _, k := range slices.Concat(m.Mark.Yes, m.Mark.No) {
				o.marks = append(o.marks, k.Value)
			}
			o.macs = append(append(o.macs, m.MAC.Yes...), m.MAC.No...)
			o.users = append(o.users, ids(m.User)...)
			o.groups = append(o.groups, ids(m.Group)...)
		}
	}
	return j
}

func ids(c policy.Choice[policy.Owner]) (out []uint32) {
	for _, o := range slices.Concat(c.Yes, c.No) {
		out = append(out, o.ID)
	}
	return out
}

// Answer is what would become of a connection if it began now.
type Answer struct {
	policy.Decision
	Dir policy.Dir
	// Depends is what decides and is not known, as rules call it: "mark". Then Decision is one that admits.
	Depends string
}

// Refused tells whether the connection would certainly be refused.
func (a Answer) Refused() bool { return a.Verdict != policy.Allow }

// Flow judges the first packet of a flow as if it came now: by its original addresses, before anybody's NAT, but for transit, which
// is judged after DNAT. What the host says to itself is judged as it leaves, and as it arrives.
func (j *Judge) Flow(f *host.Flow) Answer {
	pkt := policy.Packet{
		Src: f.Orig.Src.Addr(), Dst: f.Orig.Dst.Addr(), Proto: f.Proto, Sport: f.Orig.Src.Port(), Dport: f.Orig.Dst.Port(),
		Type: f.Type, Code: f.Code, HopLimit: 64, Time: j.scene.Now,
	}
	if f.Expected {
		pkt.State = policy.Related
	}
	switch {
	case j.places.local(pkt.Src):
		pkt.Dir, pkt.OIf = policy.Out, j.way(policy.Out, pkt.Dst)
		known := false
		if j.scene.Owner != nil && len(j.open[policy.Out].users)+len(j.open[policy.Out].groups) > 0 {
			pkt.UID, known = j.scene.Owner(f)
			pkt.Socket = known
		}
		a := j.judge(pkt, known)
		if a.Refused() || pkt.OIf != policy.Loopback {
			return a
		}
		pkt.Dir, pkt.IIf, pkt.OIf, pkt.Socket, pkt.UID = policy.In, policy.Loopback, "", false, 0
	case j.places.toHost(pkt.Dst):
		pkt.Dir, pkt.IIf = policy.In, j.way(policy.In, pkt.Src)
	default:
		pkt.Dst, pkt.Dport = f.Reply.Src.Addr(), f.Reply.Src.Port()
		if pkt.Dir = policy.Forward; j.places.local(pkt.Dst) {
			pkt.Dir = policy.In
		} else {
			pkt.OIf = j.way(pkt.Dir, pkt.Dst)
		}
		pkt.IIf = j.way(pkt.Dir, pkt.Src)
	}
	return j.judge(pkt, false)
}

// Arrival judges the first packet of a TCP connection that comes from a peer. device is the interface, empty for the one by which
// packets go to the peer.
func (j *Judge) Arrival(peer, local netip.AddrPort, device string) Answer {
	pkt := policy.Packet{
		Dir: policy.In, Src: peer.Addr(), Dst: local.Addr(), Proto: policy.ProtoTCP, Sport: peer.Port(), Dport: local.Port(),
		HopLimit: 64, IIf: device, Time: j.scene.Now,
	}
	if device == "" {
		pkt.IIf = j.way(policy.In, pkt.Src)
	}
	return j.judge(pkt, false)
}

// way is the interface by which packets go to an address, empty where that is not known, or nobody asks.
func (j *Judge) way(dir policy.Dir, a netip.Addr) string {
	switch {
	case j.places.local(a):
		return policy.Loopback
	case j.scene.Way == nil, !j.open[dir].ifaces:
		return ""
	}
	return j.scene.Way(a)
}

// maxTries bounds the packets that are asked about for one connection.
const maxTries = 4096

// judge asks about a packet with every value of what is not known of it. It is refused only where all of them are.
func (j *Judge) judge(pkt policy.Packet, owner bool) Answer {
	first := Answer{Decision: j.decide(&pkt), Dir: pkt.Dir}
	o := &j.open[pkt.Dir]
	packets := []policy.Packet{pkt}
	var depends string
	vary := func(name string, values int, set func(p *policy.Packet, i int)) {
		if values == 0 || depends != "" {
			return
		}
		for _, p := range packets {
			for i := range values {
				if p := p; len(packets) < maxTries {
					set(&p, i)
					packets = append(packets, p)
				}
			}
		}
		for i := range packets {
			if d := j.decide(&packets[i]); (d.Verdict == policy.Allow) != (first.Verdict == policy.Allow) {
				depends = name
				if d.Verdict == policy.Allow {
					first.Decision = d
				}
				return
			}
		}
	}
	if o.ifaces && pkt.Dir != policy.Out && pkt.IIf == "" {
		vary("interface", len(j.scene.Devices), func(p *policy.Packet, i int) { p.IIf = j.scene.Devices[i] })
	}
	if o.ifaces && pkt.Dir != policy.In && pkt.OIf == "" {
		vary("interface", len(j.scene.Devices), func(p *policy.Packet, i int) { p.OIf = j.scene.Devices[i] })
	}
	if !owner && pkt.Dir == policy.Out {
		vary("user", len(o.users), func(p *policy.Packet, i int) { p.Socket, p.UID = true, o.users[i] })
	}
	if pkt.Dir == policy.Out {
		vary("group", len(o.groups), func(p *policy.Packet, i int) { p.Socket, p.GID = true, o.groups[i] })
	}
	vary("mark", len(o.marks), func(p *policy.Packet, i int) { p.Mark = o.marks[i] })
	if pkt.Dir != policy.Out {
		vary("mac", len(o.macs), func(p *policy.Packet, i int) { p.HasMAC, p.MAC = true, o.macs[i] })
	}
	first.Depends = depends
	return first
}
