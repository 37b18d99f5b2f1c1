package check

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
)

func TestDiffServices(t *testing.T) {
	const before = `version: 1
in:
  - {allow: ssh, from: 198.51.100.0/24, id: ssh}
  - {allow: tcp/80, from: any, id: web}
  - {allow: tcp/9090, from: 192.0.2.1, to: 192.0.2.17, id: metrics}
`
	const after = `version: 1
block: [203.0.113.7]
in:
  - {allow: ssh, from: 198.51.100.0/25, id: ssh}
  - {allow: [tcp/80, tcp/8443], from: any, id: web}
  - {allow: tcp/9090, from: 192.0.2.1, to: 192.0.2.17, id: metrics}
`
	all := addrset.AllAddrs()
	four := addrset.Addrs{V4: all.V4}
	services := []Service{{policy.ProtoTCP, 22, all}, {policy.ProtoTCP, 80, all}, {policy.ProtoTCP, 8443, four}, {policy.ProtoTCP, 9090, all}, {policy.ProtoUDP, 8443, all}}
	want := [][]string{
		{"in tcp/22 from 198.51.100.128/25: allow → deny, was rule ssh, now default"},
		{"in tcp/80 from 203.0.113.7: allow → deny, was rule web, now block"},
		{"in IPv4 tcp/8443: deny → allow, was default, now rule web"},
		nil, nil,
	}
	for i, d := range DiffServices(load(t, before), load(t, after), services, DiffOptions{Work: DiffWork}) {
		if got := d.Lines(); !slices.Equal(got, want[i]) {
			t.Errorf("%v: %q, want %q", services[i].Port, got, want[i])
		}
	}
}

func TestAdmits(t *testing.T) {
	for text, want := range map[string]bool{
		"in: [{allow: ssh, from: 10.0.0.1, id: a}]":                                       true,
		"in: [{deny: any, from: 10.0.0.0/8, id: d}, {allow: ssh, from: 10.0.0.1, id: a}]": false,
		"in: [{allow: ssh, from: 10.0.0.1, iface: lo, id: a}]":                            false,
		"in: [{allow: ssh, from: any, expires: 2001-01-01, id: a}]":                       false,
		"in: [{allow: http, from: any, id: a}]":                                           false,
		"defaults: {in: allow}":                                                           true,
		"failsafe: {ssh: [10.0.0.1]}":                                                     true,
		"block: [0.0.0.0/0]\nin: [{allow: ssh, from: 0.0.0.0/0, id: a}]":                  false,
		"defaults: {in: deny}":                                                            false,
	} {
		if got := Admits(load(t, "version: 1\n"+text+"\n"), Service{policy.ProtoTCP, 22, addrset.AllAddrs()}, 1_900_000_000); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// What Admits denies, no packet shows.
func TestAdmitsAgreesWithDecide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := policytest.Policy(t, 6)
		pkt := policytest.Packet(t, policy.In)
		pkt.State, pkt.Spoofed = policy.New, false
		if !policy.HasPorts(pkt.Proto) || pkt.IIf == policy.Loopback {
			return
		}
		s := Service{pkt.Proto, pkt.Dport, addrset.OfRange(pkt.Dst, pkt.Dst)}
		if d := p.Decide(&pkt); d.Verdict == policy.Allow && !Admits(p, s, pkt.Time) {
			t.Errorf("%+v is allowed by %s, and nobody is admitted", pkt, d.By)
		}
	})
}
