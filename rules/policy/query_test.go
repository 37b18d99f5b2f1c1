package policy_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
)

func asking() *policy.Query {
	web := addrset.Of(addrset.Range[addrset.U32]{Lo: policy.Key(policy.ProtoTCP, 80), Hi: policy.Key(policy.ProtoTCP, 81)},
		addrset.Range[addrset.U32]{Lo: policy.Key(policy.ProtoUDP, 443), Hi: policy.Key(policy.ProtoUDP, 443)})
	p := &policy.Policy{
		Services: map[string]*policy.Service{"web": {Name: "web", What: policy.What{V4: web, V6: web}}},
		Users:    map[string]uint32{"postfix": 1 << 31},
	}
	return policy.NewQuery(p, policy.Options{Now: 1000, User: func(name string) (uint32, bool) { return 7, name == "daemon" }})
}

func TestQueryWords(t *testing.T) {
	const at = " at 1970-01-01T00:16:40Z"
	tests := []struct{ words, want string }{
		{"in tcp/22 from 203.0.113.9", "in tcp/22 from 203.0.113.9 to 198.18.0.1 sport 40000"},
		{"in ssh from 2001:db8::9", "in tcp/22 from 2001:db8::9 to 2001:2::1 sport 40000"},
		{"in ssh from ::1", "in tcp/22 from ::1 to 2001:2::1 sport 40000 iface lo"},
		{"in tcp/22 from 203.0.113.9 to 198.51.100.1 sport 5 iface eth0 mac AA:bb:cc:00:01:02 mark 0x10",
			"in tcp/22 from 203.0.113.9 to 198.51.100.1 sport 5 iface eth0 mac aa:bb:cc:00:01:02 mark 0x10"},
		{"in dns from 203.0.113.9", "in tcp/53 from 203.0.113.9 to 198.18.0.1 sport 40000; in udp/53 from 203.0.113.9 to 198.18.0.1 sport 40000"},
		{"out web to 203.0.113.9 sport 1", "out tcp/80 from 198.18.0.1 to 203.0.113.9 sport 1; out tcp/81 from 198.18.0.1 to 203.0.113.9 sport 1; out udp/443 from 198.18.0.1 to 203.0.113.9 sport 1"},
		{"in icmp/echo-request from 203.0.113.9", "in icmp/8/0 from 203.0.113.9 to 198.18.0.1"},
		{"in icmp/echo-request from 2001:db8::9", "in icmpv6/128/0 from 2001:db8::9 to 2001:2::1"},
		{"in icmp/3/6 from 203.0.113.9", "in icmp/3/6 from 203.0.113.9 to 198.18.0.1"},
		{"in gre from 203.0.113.9", "in gre from 203.0.113.9 to 198.18.0.1"},
		{"in proto/200 from 203.0.113.9", "in proto/200 from 203.0.113.9 to 198.18.0.1"},
		{"in icmpv6/neighbour-solicitation from fe80::1 hops 64", "in icmpv6/135/0 from fe80::1 to 2001:2::1 hops 64"},
		{"out tcp/25 to 203.0.113.9 user postfix", "out tcp/25 from 198.18.0.1 to 203.0.113.9 sport 40000 user 2147483648"},
		{"out tcp/25 to 203.0.113.9 user daemon group 5", "out tcp/25 from 198.18.0.1 to 203.0.113.9 sport 40000 user 7 group 5"},
		{"forward tcp/25 from 10.0.0.1 to 203.0.113.9 iif eth1 oif eth0 state established spoofed true",
			"forward tcp/25 from 10.0.0.1 to 203.0.113.9 sport 40000 iif eth1 oif eth0 state established spoofed true"},
		{"in tcp/22 from 203.0.113.9 at 1970-01-01T00:16:40Z", "in tcp/22 from 203.0.113.9 to 198.18.0.1 sport 40000"},

		{"", "error: the direction is missing: in, out or forward, and what, for example: in tcp/22"},
		{"in", "error: in: a value is missing"},
		{"in tcp/22", "error: from is missing: the address that the packet comes from"},
		{"out tcp/22", "error: to is missing: the address that the packet goes to"},
		{"forward tcp/22 from 10.0.0.1", "error: to is missing: the address that the packet goes to"},
		{"in tcp/22 out tcp/25 from 10.0.0.1", "error: in and out: a packet has one direction"},
		{"in any from 10.0.0.1", "error: in: a packet is of one protocol, and `any` is all: write for example tcp/22"},
		{"in tcp from 10.0.0.1", "error: in: tcp is every port, and a packet has one: write for example tcp/22"},
		{"in icmp from 10.0.0.1", "error: in: icmp is every type, and a packet has one: write for example icmp/echo-request"},
		{"in tcp/8000-8999 from 10.0.0.1", "error: in: tcp/8000-8999 is too many ports or types to answer for: name one"},
		{"in icmpv6/135 from 10.0.0.1", "error: in: icmpv6/135 does not occur in IPv4"},
		{"in tcp/22 from 10.0.0.0/8", `error: from: "10.0.0.0/8" is more than one address, and a packet has one`},
		{"in tcp/22 from 10.0.0.1 to 2001:db8::1", "error: from and to are of two families"},
		{"in tcp/22 form 10.0.0.1", `error: unknown key "form", did you mean "from"?`},
		{"in tcp/22 from 10.0.0.1 from 10.0.0.2", "error: from: given twice"},
		{"in tcp/22 from 10.0.0.1 sport", "error: sport: a value is missing"},
		{"in tcp/22 from 10.0.0.1 sport 65536", `error: sport: "65536" is no number from 0 to 65535`},
		{"in gre from 10.0.0.1 sport 5", "error: sport: gre has no ports"},
		{"in tcp/22 from 10.0.0.1 user root", "error: user and group: only packets of `out` have them"},
		{"out tcp/22 to 10.0.0.1 user nosuch", `error: this host has no user "nosuch"`},
		{"out tcp/22 to 10.0.0.1 mac 02:00:00:00:00:01", "error: mac: what leaves has no sender's address yet"},
		{"in tcp/22 from 10.0.0.1 mac 02-00-00-00-00-01", `error: mac: "02-00-00-00-00-01" is not of the form aa:bb:cc:dd:ee:ff`},
		{"in tcp/22 from 10.0.0.1 oif eth0", "error: oif: what arrives goes out nowhere"},
		{"forward tcp/22 from 10.0.0.1 to 10.0.0.2 iface eth0", "error: iface: transit has two, write iif or oif"},
		{"in tcp/22 from 10.0.0.1 state old", `error: state: "old" is not new, established, related, invalid or untracked`},
		{"in tcp/22 from 10.0.0.1 at noon", `error: at: "noon" is no date, write 2027-01-31 or 2027-01-31T18:30Z`},
	}
	for _, tt := range tests {
		pkts, err := asking().Words(strings.Fields(tt.words))
		got := ""
		for i, p := range pkts {
			if i > 0 {
				got += "; "
			}
			if p.Time != 1000 {
				t.Errorf("%s: at %d", tt.words, p.Time)
			}
			got += strings.TrimSuffix(p.String(), at)
		}
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.words, got, tt.want)
		}
	}
}

func TestQueryJSON(t *testing.T) {
	tests := []struct{ line, want string }{
		{`{"in":"tcp/22","from":"203.0.113.9","to":"198.51.100.1","sport":40000,"iface":"eth0","mark":16}`,
			"in tcp/22 from 203.0.113.9 to 198.51.100.1 sport 40000 iface eth0 mark 0x10 at 1970-01-01T00:16:40Z"},
		{`{"user":0,"group":"5","to":"203.0.113.9","out":"smtp"}`, "out tcp/25 from 198.18.0.1 to 203.0.113.9 sport 40000 user 0 group 5 at 1970-01-01T00:16:40Z"},
		{` {"in" : "tcp/22", "from": "203.0.113.9", "spoofed": true} ` + "\n", "in tcp/22 from 203.0.113.9 to 198.18.0.1 sport 40000 spoofed true at 1970-01-01T00:16:40Z"},
		{`{"in":"tcp/22","in":"tcp/23"}`, "error: in: given twice"},
		{`{"in":["tcp/22"],"from":"203.0.113.9"}`, "error: in: expected a string or a number"},
		{`{"in":null}`, "error: in: expected a string or a number"},
		{`{"in":"tcp/22","from":"203.0.113.9"`, "error: the JSON object is cut short"},
		{`{"in":"tcp/22","from":"203.0.113.9"} {}`, "error: something follows the JSON object"},
		{`{}`, "error: the direction is missing: in, out or forward, and what, for example: in tcp/22"},
		{``, "error: the JSON object is cut short"},
		{`"in"`, "error: expected a JSON object"},
		{`in tcp/22`, "error: not JSON: invalid character 'i' looking for beginning of value"},
	}
	for _, tt := range tests {
		pkts, err := asking().JSON(nil, tt.line)
		got := ""
		for _, p := range pkts {
			got += p.String()
		}
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.line, got, tt.want)
		}
	}
}

// TestPacketWords: what a packet prints as is read back as the same packet.
func TestPacketWords(t *testing.T) {
	q := policy.NewQuery(&policy.Policy{}, policy.Options{})
	rapid.Check(t, func(t *rapid.T) {
		want := policytest.Packet(t, rapid.SampledFrom(policy.Dirs[:]).Draw(t, "dir"))
		if policy.HasPorts(want.Proto) && want.Dport == 0 {
			return // no policy can write port 0
		}
		got, err := q.Words(strings.Fields(want.String()))
		if err != nil || len(got) != 1 || got[0] != want {
			t.Fatalf("%s\n got %+v, %v\nwant %+v", want, got, err, want)
		}
	})
}

// TestQueryJSONAllocatesNothing holds for lines as programs write them, once their WHATs are known.
func TestQueryJSONAllocatesNothing(t *testing.T) {
	q := asking()
	packets := make([]policy.Packet, 0, 4)
	for _, line := range []string{
		`{"in":"tcp/22","from":"203.0.113.9","to":"198.51.100.1","sport":40000,"iface":"eth0","mac":"02:00:00:00:00:01","mark":16}`,
		`{"in": "dns", "from": "2001:db8::9", "state": "established"}`,
		`{"out":"tcp/25","to":"203.0.113.9","user":"postfix","group":5}`,
		`{"forward":"icmp/echo-request","from":"10.0.0.1","to":"203.0.113.9","iif":"eth1","oif":"eth0","hops":3}`,
	} {
		n := testing.AllocsPerRun(100, func() {
			if _, err := q.JSON(packets, line); err != nil {
				t.Fatal(err)
			}
		})
		if n != 0 {
			t.Errorf("%s: %v allocations", line, n)
		}
	}
}

func BenchmarkQueryJSON(b *testing.B) {
	q := asking()
	var packets []policy.Packet
	for _, way := range []struct{ name, line string }{
		{"plain", `{"in":"tcp/22","from":"203.0.113.9","to":"198.51.100.1","sport":40000,"iface":"eth0"}`},
		{"otherwise", `{"in":"tcp/22",  "from":"203.0.113.9","to":"198.51.100.1","sport":40000,"iface":"eth0"}`},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if packets, err = q.JSON(packets[:0], way.line); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
