package policy

import (
	"fmt"
	"net/netip"
	"testing"

	"ringwall/rules/addrset"
)

// here is a policy with every kind of thing before its rules.
func here() *Policy {
	ssh := addrset.One(Key(ProtoTCP, 22))
	return &Policy{
		Defaults: [3]Verdict{In: Deny, Out: Allow, Forward: Reject},
		Transit:  true,
		Base:     DefaultBase(),
		Block:    Addrs{Terms: []Term{{Static: addrs("192.0.2.0/24", "10.9.0.0/16", "2001:db8:bad::/48")}}},
		Failsafe: []Failsafe{
			{Text: "ssh", What: What{ssh, ssh}, From: Addrs{Terms: []Term{{Static: addrs("10.0.0.0/8", "2001:db8:bad:5::/64")}}}},
			{Text: "icmp/echo-request", What: What{addrset.Between(Key(ProtoICMP, 0x800), Key(ProtoICMP, 0x8ff)),
				addrset.Between(Key(ProtoICMPv6, 0x8000), Key(ProtoICMPv6, 0x80ff))},
				From: Addrs{Terms: []Term{{Static: addrs("10.0.0.0/8", "2001:db8:bad:5::/64")}}}},
		},
	}
}

// addrs is the addresses of some prefixes.
func addrs(prefixes ...string) addrset.Addrs {
	var a addrset.Addrs
	for _, p := range prefixes {
		a = a.Union(addrset.OfPrefix(netip.MustParsePrefix(p)))
	}
	return a
}

// arriving is a first TCP packet to port 22 from an address.
func arriving(src string) Packet {
	p := Packet{Dir: In, Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr("198.51.100.1"), Proto: ProtoTCP,
		Sport: 40000, Dport: 22, HopLimit: 64, IIf: "eth0"}
	if p.Src.Is6() {
		p.Dst = netip.MustParseAddr("2001:db8::1")
	}
	return p
}

// turned is a packet the other way round, in a direction.
func turned(p Packet, dir Dir) Packet {
	p.Src, p.Dst, p.Sport, p.Dport, p.IIf, p.OIf, p.Dir = p.Dst, p.Src, p.Dport, p.Sport, p.OIf, p.IIf, dir
	return p
}

func with(p Packet, change func(*Packet)) Packet {
	change(&p)
	return p
}

func icmp(src string, typ, hops uint8) Packet {
	p := arriving(src)
	p.Proto, p.Sport, p.Dport, p.Type, p.HopLimit = ProtoICMP, 0, 0, typ, hops
	if p.Src.Is6() {
		p.Proto = ProtoICMPv6
	}
	return p
}

func udp(src string, sport, dport uint16) Packet {
	p := arriving(src)
	p.Proto, p.Sport, p.Dport = ProtoUDP, sport, dport
	return p
}

func out(p Packet) Packet {
	p.Dir, p.OIf, p.IIf = Out, "eth0", ""
	return p
}

func through(p Packet) Packet {
	p.Dir, p.OIf = Forward, "eth1"
	return p
}

func TestBeforeTheRules(t *testing.T) {
	type change = func(*Packet)
	var (
		established = change(func(p *Packet) { p.State = Established })
		related     = change(func(p *Packet) { p.State = Related })
		invalid     = change(func(p *Packet) { p.State = Invalid })
		untracked   = change(func(p *Packet) { p.State = Untracked })
		lo          = change(func(p *Packet) {
			if p.Dir == Out {
				p.OIf = "lo"
			} else {
				p.IIf = "lo"
			}
		})
	)
	const blocked, blocked6 = "192.0.2.1", "2001:db8:bad::1"
	const safe, safe6 = "10.1.1.1", "2001:db8:bad:5::1" // safe6 is in block too
	tests := []struct {
		name   string
		policy changePolicy
		pkt    Packet
		want   string
	}{
		{"block: source in", nil, arriving(blocked), "deny block"},
		{"block: source in, v6", nil, arriving(blocked6), "deny block"},
		{"block: established too", nil, with(arriving(blocked), established), "deny block"},
		{"block: invalid too", nil, with(arriving(blocked), invalid), "deny block"},
		{"block: destination of what arrives is not looked at", nil, with(arriving("203.0.113.1"), func(p *Packet) { p.Dst = netip.MustParseAddr(blocked) }), "deny default"},
		{"block: destination out", nil, turned(arriving(blocked), Out), "deny block"},
		{"block: source of what leaves is not looked at", nil, out(arriving(blocked)), "allow default"},
		{"block: source of transit", nil, through(arriving(blocked)), "deny block"},
		{"block: destination of transit", nil, turned(through(arriving(blocked)), Forward), "deny block"},
		{"block: transit that is not judged", func(p *Policy) { p.Transit = false }, through(arriving(blocked)), "deny block"},
		{"block: never loopback in", nil, with(arriving(blocked), lo), "allow loopback"},
		{"block: never loopback out", nil, with(turned(arriving(blocked), Out), lo), "allow loopback"},
		{"block: never loopback, which the rules judge", func(p *Policy) { p.Base.Loopback = false }, with(arriving(blocked), lo), "deny default"},
		{"block: never failsafe in", nil, arriving(safe6), "allow failsafe"},
		{"block: never a failsafe reply", nil, with(turned(arriving(safe6), Out), established), "allow failsafe"},
		{"block: neighbours of the base", nil, icmp(blocked6, 135, 255), "deny block"},
		{"block: failsafe address, other port", nil, with(arriving(safe6), func(p *Packet) { p.Dport = 23 }), "deny block"},
		{"block: failsafe does not help transit", nil, through(arriving(safe6)), "deny block"},

		{"loopback in", nil, with(arriving("127.0.0.1"), lo), "allow loopback"},
		{"loopback out", nil, with(out(arriving("127.0.0.1")), lo), "allow loopback"},
		{"loopback off", func(p *Policy) { p.Base.Loopback = false }, with(arriving("127.0.0.1"), lo), "deny default"},

		{"failsafe in", nil, arriving(safe), "allow failsafe"},
		{"failsafe in, whatever the state", nil, with(arriving(safe), invalid), "allow failsafe"},
		{"failsafe stands before established", nil, with(arriving(safe), established), "allow failsafe"},
		{"failsafe reply without base.established", func(p *Policy) { p.Base.Established, p.Defaults[Out] = false, Deny }, with(turned(arriving(safe), Out), established), "allow failsafe"},
		{"failsafe reply of ping", nil, with(turned(icmp(safe, 0, 64), Out), established), "allow failsafe"},
		{"failsafe reply of ping, v6", nil, with(turned(icmp(safe6, 129, 64), Out), established), "allow failsafe"},
		{"failsafe: no reply", nil, turned(arriving(safe), Out), "allow default"},
		{"failsafe: ping of one's own is none", func(p *Policy) { p.Base.Established = false }, with(turned(icmp(safe, 8, 64), Out), established), "allow default"},
		{"failsafe has no part in transit", nil, through(arriving(safe)), "reject default"},

		{"established in", nil, with(arriving("203.0.113.1"), established), "allow established"},
		{"related out", nil, with(out(arriving("203.0.113.1")), related), "allow established"},
		{"established transit", nil, with(through(arriving("203.0.113.1")), established), "allow established"},
		{"established transit that is not judged", func(p *Policy) { p.Transit = false }, with(through(arriving("203.0.113.1")), established), "allow unjudged"},
		{"established off", func(p *Policy) { p.Base.Established = false }, with(arriving("203.0.113.1"), established), "deny default"},
		{"untracked is no connection", nil, with(arriving("203.0.113.1"), untracked), "deny default"},

		{"neighbour in", nil, with(icmp("fe80::1", 136, 255), untracked), "allow neighbour"},
		{"neighbour solicitation from ::", nil, icmp("::", 135, 255), "allow neighbour"},
		{"router solicitation out", nil, out(icmp("fe80::1", 133, 255)), "allow neighbour"},
		{"neighbour from afar", nil, icmp("fe80::1", 136, 254), "deny default"},
		{"redirect is not neighbour", nil, icmp("fe80::1", 137, 255), "deny default"},
		{"neighbour never in transit", nil, through(icmp("fe80::1", 135, 255)), "reject default"},
		{"neighbour off", func(p *Policy) { p.Base.Neighbour = false }, icmp("fe80::1", 135, 255), "deny default"},

		{"MLD from link-local", nil, icmp("fe80::1", 143, 1), "allow multicast"},
		{"MLD from the last of link-local", nil, icmp("febf::1", 130, 1), "allow multicast"},
		{"MLD from ::", nil, out(icmp("::", 131, 1)), "allow multicast"},
		{"MLD from a global address", nil, icmp("2001:db8::9", 132, 1), "deny default"},
		{"MLD just outside link-local", nil, icmp("fec0::1", 132, 1), "deny default"},
		{"IGMP", nil, with(arriving("203.0.113.1"), func(p *Packet) { p.Proto = ProtoIGMP }), "allow multicast"},
		{"IGMP is IPv4", nil, with(arriving("fe80::1"), func(p *Packet) { p.Proto = ProtoIGMP }), "deny default"},
		{"IGMP never in transit", nil, through(with(arriving("203.0.113.1"), func(p *Packet) { p.Proto = ProtoIGMP })), "reject default"},
		{"multicast off", func(p *Policy) { p.Base.Multicast = false }, icmp("fe80::1", 143, 1), "deny default"},

		{"unreachable stands before invalid", nil, with(icmp("203.0.113.1", 3, 64), invalid), "allow icmp-errors"},
		{"time exceeded out", nil, out(icmp("203.0.113.1", 11, 64)), "allow icmp-errors"},
		{"too big in transit", nil, through(icmp("2001:db8::9", 2, 64)), "allow icmp-errors"},
		{"parameter problem v6", nil, icmp("2001:db8::9", 4, 64), "allow icmp-errors"},
		{"source quench is none", nil, icmp("203.0.113.1", 4, 64), "deny default"},
		{"ping is none", nil, icmp("203.0.113.1", 8, 64), "deny default"},
		{"ICMP in IPv6 is none", nil, with(icmp("2001:db8::9", 3, 64), func(p *Packet) { p.Proto = ProtoICMP }), "deny default"},
		{"icmp-errors off", func(p *Policy) { p.Base.ICMPErrors = false }, with(icmp("203.0.113.1", 3, 64), invalid), "deny invalid"},

		{"DHCP in", nil, udp("203.0.113.1", 67, 68), "allow dhcp-client"},
		{"DHCP out", func(p *Policy) { p.Defaults[Out] = Deny }, out(udp("0.0.0.0", 68, 67)), "allow dhcp-client"},
		{"DHCP is not served", nil, udp("0.0.0.0", 68, 67), "deny default"},
		{"DHCPv6 in", nil, udp("fe80::1", 547, 546), "allow dhcp-client"},
		{"DHCPv6 from afar", nil, udp("2001:db8::9", 547, 546), "deny default"},
		{"DHCPv6 out", func(p *Policy) { p.Defaults[Out] = Deny }, out(udp("2001:db8::9", 546, 547)), "allow dhcp-client"},
		{"DHCP ports in the other family", nil, udp("fe80::1", 67, 68), "deny default"},
		{"DHCP never in transit", nil, through(udp("203.0.113.1", 67, 68)), "reject default"},
		{"dhcp-client off", func(p *Policy) { p.Base.DHCPClient = false }, udp("203.0.113.1", 67, 68), "deny default"},

		{"invalid in", nil, with(arriving("203.0.113.1"), invalid), "deny invalid"},
		{"invalid transit", nil, with(through(arriving("203.0.113.1")), invalid), "deny invalid"},
		{"invalid out", nil, with(out(arriving("203.0.113.1")), invalid), "allow default"},
		{"invalid off", func(p *Policy) { p.Base.Invalid, p.Defaults[In] = false, Allow }, with(arriving("203.0.113.1"), invalid), "allow default"},

		{"reverse path is off unless written", nil, with(arriving("203.0.113.1"), func(p *Packet) { p.Spoofed = true }), "deny default"},
		{"reverse path", func(p *Policy) { p.Base.ReversePath = true }, with(arriving("203.0.113.1"), func(p *Packet) { p.Spoofed = true }), "deny reverse-path"},
		{"reverse path out", func(p *Policy) { p.Base.ReversePath = true }, with(out(arriving("203.0.113.1")), func(p *Packet) { p.Spoofed = true }), "allow default"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := here()
			if tt.policy != nil {
				tt.policy(p)
			}
			d := p.Decide(&tt.pkt)
			if got := d.Verdict.String() + " " + d.By; got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			explained, steps := p.Explain(&tt.pkt)
			if explained != d {
				t.Errorf("Explain says %v, Decide %v", explained, d)
			}
			for _, s := range steps {
				if s.Reason == "" {
					t.Errorf("step %s has no reason", s.By)
				}
			}
		})
	}
}

type changePolicy = func(*Policy)

// anything is a rule that matches every packet.
func anything(id string, v Verdict) *Rule {
	return &Rule{ID: id, Action: Action{Verdict: v}, Match: Match{What: AnyWhat(), From: AnyAddrs(), To: AnyAddrs(),
		Sport: addrset.All[addrset.U16]()}}
}

func TestRules(t *testing.T) {
	tcp80 := addrset.One(Key(ProtoTCP, 80))
	office := Addrs{Terms: []Term{{Static: addrs("10.0.0.0/8"), NotIn: []string{"banned"}}, {Static: addrset.AllAddrs(), In: []string{"guests"}}}}
	given := map[string]addrset.Addrs{"banned": addrs("10.0.0.9/32"), "guests": addrs("203.0.113.7/32", "2001:db8::7/128")}
	tests := []struct {
		name string
		rule func(*Match)
		pkt  Packet
		miss string // the reason; empty where the rule matches
	}{
		{"any", func(*Match) {}, arriving("203.0.113.1"), ""},
		{"what", func(m *Match) { m.What = What{tcp80, tcp80} }, arriving("203.0.113.1"), "port tcp/22 is not tcp/80"},
		{"protocol 255", func(*Match) {}, with(arriving("203.0.113.1"), func(p *Packet) { p.Proto = 255 }), ""},
		{"family", func(m *Match) { m.What.V6 = addrset.Set[addrset.U32]{} }, arriving("2001:db8::9"), "matches IPv4 only"},
		{"family 6", func(m *Match) { m.What.V4 = addrset.Set[addrset.U32]{} }, arriving("203.0.113.1"), "matches IPv6 only"},
		{"icmp", func(m *Match) {
			m.What = What{V4: addrset.Between(Key(ProtoICMP, 0x800), Key(ProtoICMP, 0x8ff))}
		}, icmp("203.0.113.1", 13, 64), "icmp/13/0 is not icmp/8"},
		{"sport", func(m *Match) { m.Sport = addrset.Between[addrset.U16](1024, 2047) }, arriving("203.0.113.1"), "source port 40000 is not 1024-2047"},
		{"from", func(m *Match) { m.From = Addrs{Terms: []Term{{Static: addrs("10.0.0.0/8")}}} }, arriving("203.0.113.1"), "source 203.0.113.1 is not in 10.0.0.0/8"},
		{"to", func(m *Match) { m.To = Addrs{Set: "home", Terms: []Term{{Static: addrs("10.0.0.0/8")}}} }, arriving("203.0.113.1"), "destination 198.51.100.1 is not in home"},
		{"dynamic: in", func(m *Match) { m.From = office }, arriving("203.0.113.7"), ""},
		{"dynamic: in, v6", func(m *Match) { m.From = office }, arriving("2001:db8::7"), ""},
		{"dynamic: taken out", func(m *Match) { m.From = office }, arriving("10.0.0.9"), "source 10.0.0.9 is not in 10.0.0.0/8, not banned, guests"},
		{"dynamic: not taken out", func(m *Match) { m.From = office }, with(arriving("10.0.0.8"), func(p *Packet) { p.Dport = 1 }), ""},
		{"interface", func(m *Match) { m.IIf.Yes = []Pattern{"lan", "br-*"} }, arriving("203.0.113.1"), "interface eth0 is not lan, br-*"},
		{"interface wildcard", func(m *Match) { m.IIf.Yes = []Pattern{"lan", "eth*"} }, arriving("203.0.113.1"), ""},
		{"not interface", func(m *Match) { m.IIf.No = []Pattern{"eth0"} }, arriving("203.0.113.1"), "interface eth0 is not wanted: not eth0"},
		{"interface and not", func(m *Match) { m.IIf = Choice[Pattern]{[]Pattern{"eth*"}, []Pattern{"eth0"}} }, arriving("203.0.113.1"), "interface eth0 is not eth* without eth0"},
		{"mac", func(m *Match) { m.MAC.Yes = []MAC{{1, 2, 3, 4, 5, 6}} }, with(arriving("203.0.113.1"), func(p *Packet) { p.HasMAC = true }), "MAC address 00:00:00:00:00:00 is not 01:02:03:04:05:06"},
		{"mac, none there", func(m *Match) { m.MAC.No = []MAC{{1, 2, 3, 4, 5, 6}} }, arriving("203.0.113.1"), "the packet has no MAC address"},
		{"mark", func(m *Match) { m.Mark.Yes = []Mark{{0x10, 0xf0}} }, with(arriving("203.0.113.1"), func(p *Packet) { p.Mark = 0xff1f }), ""},
		{"mark, other", func(m *Match) { m.Mark.Yes = []Mark{{0x10, 0xf0}} }, with(arriving("203.0.113.1"), func(p *Packet) { p.Mark = 0x20 }), "mark 0x20 is not 0x10/0xf0"},
		{"user, no socket", func(m *Match) { m.User.No = []Owner{{"root", 0}} }, arriving("203.0.113.1"), "the packet has no socket, so no user"},
		{"user", func(m *Match) { m.User.Yes = []Owner{{"root", 0}} }, with(arriving("203.0.113.1"), func(p *Packet) { p.Socket, p.UID = true, 5 }), "user 5 is not root"},
		{"not user", func(m *Match) { m.User.No = []Owner{{"root", 0}} }, with(arriving("203.0.113.1"), func(p *Packet) { p.Socket, p.UID = true, 5 }), ""},
		{"group, no socket", func(m *Match) { m.Group.Yes = []Owner{{"root", 0}} }, arriving("203.0.113.1"), "the packet has no socket, so no group"},
		{"group", func(m *Match) { m.Group.Yes = []Owner{{"adm", 4}} }, with(arriving("203.0.113.1"), func(p *Packet) { p.Socket, p.GID = true, 4 }), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := anything("r1", Allow)
			tt.rule(&r.Match)
			p := &Policy{Defaults: [3]Verdict{Deny, Deny, Deny}, Base: DefaultBase(), Given: given}
			p.Lists[In] = []*Rule{r, anything("last", Reject)}
			d, steps := p.Explain(&tt.pkt)
			reason := ""
			if d.Rule != r {
				reason = steps[len(steps)-1].Reason
			}
			if reason != tt.miss {
				t.Errorf("got %q, want %q", reason, tt.miss)
			}
			if d != p.Decide(&tt.pkt) {
				t.Error("Decide and Explain differ")
			}
		})
	}
}

func TestExpires(t *testing.T) {
	r := anything("r1", Allow)
	r.Expires = 86400
	p := &Policy{Defaults: [3]Verdict{Deny, Deny, Deny}}
	p.Lists[In] = []*Rule{r}
	pkt := arriving("203.0.113.1")
	for time, want := range map[int64]string{0: "r1", 86399: "r1", 86400: ByDefault} {
		pkt.Time = time
		if d := p.Decide(&pkt); d.By != want {
			t.Errorf("at %d: %s, want %s", time, d.By, want)
		}
	}
	pkt.Time = 86400
	if _, steps := p.Explain(&pkt); steps[len(steps)-1].Reason != "expired on 1970-01-02" {
		t.Errorf("got %q", steps[len(steps)-1].Reason)
	}
}

// thousand is a policy of a thousand rules that the packet of arriving passes.
func thousand() *Policy {
	p := here()
	for i := range 1000 {
		r := anything(fmt.Sprintf("r%d", i), Allow)
		if i%2 == 0 {
			set := addrset.One(Key(ProtoTCP, uint16(1000+i)))
			r.Match.What = What{set, set}
		} else {
			r.Match.From = Addrs{Terms: []Term{{Static: addrs(fmt.Sprintf("100.64.%d.0/24", i%256))}}}
		}
		p.Lists[In] = append(p.Lists[In], r)
	}
	return p
}

func TestDecideDoesNotAllocate(t *testing.T) {
	p, pkt := thousand(), arriving("203.0.113.1")
	if n := testing.AllocsPerRun(10, func() { p.Decide(&pkt) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}

func BenchmarkDecide1000(b *testing.B) {
	p, pkt := thousand(), arriving("203.0.113.1")
	for b.Loop() {
		p.Decide(&pkt)
	}
}
