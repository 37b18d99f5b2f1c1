package enforce

import (
	"net/netip"
	"testing"

	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// TestEmergencyText loads what would be enforced in an emergency and asks it who may come in.
func TestEmergencyText(t *testing.T) {
	const full = `version: 1
services:
  admin: [tcp/8443, udp/51820]
sets:
  office: [203.0.113.0/25, "2001:db8:1::/48", not 203.0.113.7]
  guests: {dynamic: true}
failsafe:
  ssh: office
  admin: [198.51.100.5, guests]
in: [{allow: http, from: any}]
`
	load := func(text string) *policy.Policy {
		p, diags := policy.Load(source.Memory{emergencyFile: text}, emergencyFile, policy.Options{})
		if p == nil {
			t.Fatalf("%v\n%s", diags, text)
		}
		return p
	}
	for _, c := range []struct {
		name, text, from string
		port             uint16
		want             policy.Verdict
	}{
		{"nothing known", policy.EmergencyText(nil), "192.0.2.1", 22, policy.Allow},
		{"nothing known", policy.EmergencyText(nil), "192.0.2.1", 80, policy.Deny},
		{"no failsafe", policy.EmergencyText(load("version: 1\nin: [{allow: http, from: any}]\n").Failsafe), "2001:db8::1", 22, policy.Allow},
		{"failsafe", policy.EmergencyText(load(full).Failsafe), "203.0.113.9", 22, policy.Allow},
		{"failsafe", policy.EmergencyText(load(full).Failsafe), "203.0.113.7", 22, policy.Deny},
		{"failsafe", policy.EmergencyText(load(full).Failsafe), "2001:db8:1::9", 22, policy.Allow},
		{"failsafe", policy.EmergencyText(load(full).Failsafe), "192.0.2.1", 22, policy.Deny},
		{"failsafe", policy.EmergencyText(load(full).Failsafe), "198.51.100.5", 8443, policy.Allow},
		{"failsafe", policy.EmergencyText(load(full).Failsafe), "203.0.113.9", 8443, policy.Deny},
		{"failsafe", policy.EmergencyText(load(full).Failsafe), "203.0.113.9", 80, policy.Deny},
	} {
		src := netip.MustParseAddr(c.from)
		dst := netip.MustParseAddr("198.51.100.1")
		if src.Is6() {
			dst = netip.MustParseAddr("2001:db8:2::1")
		}
		d := load(c.text).Decide(&policy.Packet{Dir: policy.In, Src: src, Dst: dst, Proto: policy.ProtoTCP, Sport: 40000, Dport: c.port, IIf: "eth0"})
		if d.Verdict != c.want {
			t.Errorf("%s: tcp/%d from %s: %s by %s, not %s\n%s", c.name, c.port, c.from, d.Verdict, d.By, c.want, c.text)
		}
	}
	out := load(policy.EmergencyText(nil)).Decide(&policy.Packet{
		Dir: policy.Out, Src: netip.MustParseAddr("198.51.100.1"), Dst: netip.MustParseAddr("192.0.2.1"), Proto: policy.ProtoUDP, Dport: 53, OIf: "eth0",
	})
	if out.Verdict != policy.Allow {
		t.Error("the host itself is shut in")
	}
}
