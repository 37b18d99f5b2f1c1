package check

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/rules/policy"
	"ringwall/rules/source"
)

func TestLintHost(t *testing.T) {
	h := &Host{
		Interfaces: []string{"lo", "eth0", "enp3s0", "docker0"},
		Bridges:    []string{"docker0"},
		Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("198.51.100.17/24"),
			netip.MustParsePrefix("2001:db8:7::11/64"), netip.MustParsePrefix("fe80::1/64")},
		Gateways:  []netip.Addr{netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("fe80::1%eth0")},
		Resolvers: []netip.Addr{netip.MustParseAddr("203.0.113.53"), netip.MustParseAddr("127.0.0.53")},
	}
	const dns = "in:\n- {allow: dns, from: any}\n"
	tests := map[string]struct{ text, want string }{
		"clean": {dns, ""},
		"blocks a network": {"block: 198.51.100.128/25\n" + dns,
			"2 `block` holds 198.51.100.0/24, of which this host is a part [blocks-own]\n"},
		"blocks all": {"block: [198.51.100.0/24, 2001:db8::/32, 203.0.113.0/24, fe80::/10, 127.0.0.0/8]\n" + dns,
			"2 `block` holds 198.51.100.0/24 and 2001:db8:7::/64, of which this host is a part [blocks-own]\n" +
				"2 `block` holds 198.51.100.1, this host's gateway [blocks-own]\n" +
				"2 `block` holds 203.0.113.53, which this host asks for names [blocks-own]\n"},
		"blocks others":      {"block: [192.0.2.0/24, 10.0.0.0/8]\n" + dns, ""},
		"blocks all but own": {"block: [203.0.113.0/24, not 203.0.113.53]\n" + dns, ""},
		"bans":               {"sets: {d: {dynamic: true}}\nblock: d\n" + dns, ""},
		"near misses": {dns + "- {allow: http, iface: ehto, id: a}\n- {allow: http, iface: eth1}\n- {allow: http, iface: [eth0, enp3s1, 'eht*', wlan0]}\n" +
			"- {allow: http, iface: not eht0, id: b}\n- {allow: http, iface: eht0, id: c, ignore: interface-near-miss}\n- {allow: http, iface: lan}\n" +
			"interfaces: {lan: [etho, enp3s0]}\n",
			"7 rule \"b\" names the interface \"eht0\", and this host has \"eth0\" [interface-near-miss]\n" +
				"10 group \"lan\" names the interface \"etho\", and this host has \"eth0\" [interface-near-miss]\n"},
		"deaf guests":      {"in:\n- {allow: dns, iface: eth0}\n", "1 what guests on docker0 ask of this host, such as DNS and DHCP, no rule admits [guests]\n"},
		"deaf but meant":   {"in:\n- {deny: any, iface: 'docker*'}\n", ""},
		"heard":            {"in:\n- {allow: udp/67, iface: [not eth0]}\n", ""},
		"open to everyone": {"defaults: {in: allow}\n", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, diags := policy.Load(source.Memory{"p": "version: 1\n" + tt.text}, "p", policy.Options{})
			if p == nil {
				t.Fatal(diags)
			}
			var b strings.Builder
			for _, d := range LintHost(p, h) {
				fmt.Fprintf(&b, "%d %s [%s]\n", d.At.Line, d.Message, d.Code)
			}
			if d := cmp.Diff(tt.want, b.String()); d != "" {
				t.Errorf("-want +got:\n%s\n%s", d, tt.text)
			}
		})
	}
}

func TestSlip(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"eth0", "eht0", true}, {"eth0", "et0", true}, {"eth0", "etth0", true}, {"eth0", "etho", true}, {"eth0", "eth0", false},
		{"eth0", "wlan", false}, {"eth0", "0hte", false}, {"br", "b", true}, {"", "a", true}, {"ab", "ba", true}, {"abc", "cba", false},
	} {
		if got := slip(tt.a, tt.b); got != tt.want || slip(tt.b, tt.a) != got {
			t.Errorf("%s, %s: %v", tt.a, tt.b, got)
		}
	}
}
