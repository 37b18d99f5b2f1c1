package impact

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/host"
	"ringwall/rules/addrset"
	"ringwall/rules/check"
)

// flow is a TCP connection without NAT.
func flow(src, dst string) host.Flow {
	s, d := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
	return host.Flow{Proto: unix.IPPROTO_TCP, Orig: host.Tuple{Src: s, Dst: d}, Reply: host.Tuple{Src: d, Dst: s}}
}

func with(f host.Flow, change func(*host.Flow)) host.Flow {
	change(&f)
	return f
}

// TestJudge has flows be judged in the direction, and with the addresses, that the table judges their first packets with.
func TestJudge(t *testing.T) {
	const all = `defaults: {in: deny, out: deny, forward: deny}
sets: {banned: {dynamic: true}}
block: [198.51.100.66, banned]
in:
  - {allow: tcp/80, from: any, id: web}
  - {allow: tcp/81, from: any, iface: lan, id: lan}
  - {allow: tcp/82, from: any, mark: 7, id: marked}
  - {allow: icmp/8, from: any, id: ping}
  - {allow: udp/5353, from: any, to: [224.0.0.251, 10.255.255.255], id: mdns}
out:
  - {allow: tcp/443, to: any, id: https}
  - {allow: tcp/25, to: any, user: 33, id: mail}
forward:
  - {allow: tcp/8080, from: 10.0.0.0/8, iif: lan, oif: wan, id: guests}
`
	scene := scene()
	scene.Given = map[string]addrset.Addrs{"banned": addrset.OfPrefix(netip.MustParsePrefix("198.51.100.77/32"))}
	owner := uint32(33)
	scene.Owner = func(f *host.Flow) (uint32, bool) { return owner, f.Orig.Src.Port() == 3333 }
	j := NewJudge(load(t, all), scene)
	for _, c := range []struct {
		name string
		flow host.Flow
		want string // direction, verdict, what decides and what it depends on
	}{
		{"to a service", flow("203.0.113.9:5000", "192.0.2.17:80"), "in allow web"},
		{"to none", flow("203.0.113.9:5000", "192.0.2.17:22"), "in deny default"},
		{"the interface is where the peer is", flow("10.1.2.3:5000", "10.0.0.1:81"), "in allow lan"},
		{"or is not", flow("203.0.113.9:5000", "192.0.2.17:81"), "in deny default"},
		{"what depends on a mark", flow("203.0.113.9:5000", "192.0.2.17:82"), "in allow marked mark"},
		{"a blocked source", flow("198.51.100.66:5000", "192.0.2.17:80"), "in deny block"},
		{"a banned destination", flow("192.0.2.17:5000", "198.51.100.77:443"), "out deny block"},
		{"opened by the host", flow("192.0.2.17:5000", "203.0.113.9:443"), "out allow https"},
		{"opened by the host, v6", flow("[2001:db8::17]:5000", "[2001:db8:9::1]:80"), "out deny default"},
		{"of the right user", flow("192.0.2.17:3333", "203.0.113.9:25"), "out allow mail"},
		{"of a user that is not known any more", flow("192.0.2.17:4444", "203.0.113.9:25"), "out allow mail user"},
		{"from a host to itself", flow("192.0.2.17:5000", "192.0.2.17:22"), "in allow loopback"},
		{"transit", flow("10.1.2.3:5000", "203.0.113.9:8080"), "forward allow guests"},
		{"transit the other way", flow("203.0.113.9:5000", "10.1.2.3:8080"), "forward deny default"},
		{"another table's DNAT of a port of this host", with(flow("203.0.113.9:5000", "192.0.2.17:80"), func(f *host.Flow) {
			f.Reply.Src = netip.MustParseAddrPort("172.17.0.2:8080")
		}), "in allow web"},
		{"transit whose destination another table rewrites", with(flow("10.1.2.3:5000", "203.0.113.9:80"), func(f *host.Flow) {
			f.Reply.Src = netip.MustParseAddrPort("198.51.100.1:8080")
		}), "forward allow guests"},
		{"transit that is sent here", with(flow("203.0.113.9:5000", "203.0.113.10:99"), func(f *host.Flow) {
			f.Reply.Src = netip.MustParseAddrPort("192.0.2.17:80")
		}), "in allow web"},
		{"what another connection announced", with(flow("203.0.113.9:5000", "192.0.2.17:20"), func(f *host.Flow) { f.Expected = true }), "in allow established"},
		{"a ping", with(flow("203.0.113.9:0", "192.0.2.17:0"), func(f *host.Flow) { f.Proto, f.Type = unix.IPPROTO_ICMP, 8 }), "in allow ping"},
		{"multicast", with(flow("10.1.2.3:5353", "224.0.0.251:5353"), func(f *host.Flow) { f.Proto = unix.IPPROTO_UDP }), "in allow mdns"},
		{"directed broadcast", with(flow("10.1.2.3:5353", "10.255.255.255:5353"), func(f *host.Flow) { f.Proto = unix.IPPROTO_UDP }), "in allow mdns"},
	} {
		a := j.Flow(&c.flow)
		if got := strings.TrimSpace(fmt.Sprintf("%s %s %s %s", a.Dir, a.Verdict, a.By, a.Depends)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}

	scene.Way = nil
	blind := flow("203.0.113.9:5000", "192.0.2.17:81")
	if a := NewJudge(load(t, all), scene).Flow(&blind); a.Refused() || a.Depends != "interface" {
		t.Errorf("without routes: %+v", a)
	}
}

func TestJudgeFlows(t *testing.T) {
	before, after := load(t, "in: [{allow: [tcp/80, tcp/81], from: any, id: web}]"),
		load(t, "established: cut\nblock: [198.51.100.66]\nin:\n  - {deny: tcp/82, from: any, id: no}\n  - {allow: tcp/80, from: any, id: web}\n  - {allow: tcp/99, from: any, mark: 1, id: marked}")
	flows := []host.Flow{
		flow("203.0.113.9:1", "192.0.2.17:80"), flow("203.0.113.9:2", "192.0.2.17:81"), flow("203.0.113.9:3", "192.0.2.17:81"),
		flow("203.0.113.9:4", "192.0.2.17:82"), flow("198.51.100.66:5", "192.0.2.17:80"), flow("203.0.113.9:6", "192.0.2.17:99"),
	}
	c := JudgeFlows(before, after, flows, scene())
	if c.Judged != len(flows) || !c.Cut || len(c.Refused) != 3 || len(c.Unclear) != 1 || c.Unclear[0].Depends != "mark" || c.Unclear[0].Count != 1 {
		t.Fatalf("%+v", c)
	}
	for i, want := range []Refused{
		{Decider: Decider{By: "default"}, List: "in", Count: 2, Ends: true, Flows: []string{"tcp 203.0.113.9:2 -> 192.0.2.17:81", "tcp 203.0.113.9:3 -> 192.0.2.17:81"}},
		{Decider: Decider{By: "block", At: "p.yaml:3"}, List: "in", Count: 1, Ends: true, Flows: []string{"tcp 198.51.100.66:5 -> 192.0.2.17:80"}},
		{Decider: Decider{By: "no", Rule: true, At: "p.yaml:5"}, List: "in", Count: 1, Already: 1, Ends: true, Flows: []string{"tcp 203.0.113.9:4 -> 192.0.2.17:82"}},
	} {
		got := c.Refused[i]
		if got.Decider != want.Decider || got.List != want.List || got.Count != want.Count || got.Already != want.Already || got.Ends != want.Ends || !slices.Equal(got.Flows, want.Flows) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	if c := JudgeFlows(nil, load(t, "block: [198.51.100.66]"), flows, scene()); c.Refused[0].Ends || c.Refused[0].Count != 5 || !c.Refused[1].Ends || c.Refused[1].By != "block" {
		t.Errorf("kept: %+v", c)
	}
}

func TestListeners(t *testing.T) {
	udp := func(local string) host.Socket {
		return host.Socket{Proto: unix.IPPROTO_UDP, Local: netip.MustParseAddrPort(local), Listens: true}
	}
	sockets := []host.Socket{
		listener(22, 7), listener(80, 8), listener(8443, 8), listener(9090, 0),
		{Proto: unix.IPPROTO_TCP, Local: netip.MustParseAddrPort("127.0.0.1:25"), Listens: true},
		{Proto: unix.IPPROTO_TCP, Local: netip.MustParseAddrPort("192.0.2.17:5432"), Listens: true},
		udp("0.0.0.0:53"), udp("192.0.2.17:53"),
	}
	before := load(t, "in:\n  - {allow: ssh, from: any, id: ssh}\n  - {allow: tcp/80, from: any, id: web}\n  - {allow: tcp/5432, from: any, to: 192.0.2.18, id: db}")
	after := load(t, "in:\n  - {allow: ssh, from: 10.0.0.0/8, id: ssh}\n  - {allow: [tcp/80, tcp/8443], from: any, limit: 10/second, id: web}\n  - {allow: [tcp/25, dns], from: 198.51.100.0/24, id: mail}")
	var got []string
	for _, l := range Listeners(before, after, sockets, map[uint64]string{7: "ssh.service", 8: "nginx.service"}, check.DiffOptions{Work: check.DiffWork}) {
		for _, s := range l.Reachable {
			got = append(got, "+ "+l.String()+": "+s.String())
		}
		for _, s := range l.Unreachable {
			got = append(got, "- "+l.String()+": "+s.String())
		}
	}
	want := []string{
		"- tcp/22 (ssh.service): in tcp/22 from not 10.0.0.0/8: allow → deny, was rule ssh, now default",
		"+ tcp/8443 (nginx.service): in tcp/8443: deny → allow, was default, now rule web",
		"+ udp/53: in udp/53 from 198.51.100.0/24: deny → allow, was default, now rule mail",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	// Where nothing is enforced everything is reachable.
	first := Listeners(nil, after, sockets[:1], nil, check.DiffOptions{Work: check.DiffWork})
	if len(first) != 1 || len(first[0].Unreachable) == 0 || len(first[0].Reachable) != 0 {
		t.Errorf("%+v", first)
	}
}

func BenchmarkJudge(b *testing.B) {
	var text strings.Builder
	text.WriteString("in:\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "  - {allow: tcp/%d, from: 203.%d.%d.0/24, id: r%d}\n", 1000+i, i/256, i%256, i)
	}
	p := load(b, text.String())
	flows := make([]host.Flow, 100_000)
	for i := range flows {
		flows[i] = flow(fmt.Sprintf("203.%d.%d.9:5000", i%4, i%256), fmt.Sprintf("192.0.2.17:%d", 1000+i%1100))
	}
	for b.Loop() {
		JudgeFlows(p, p, flows, scene())
	}
}
