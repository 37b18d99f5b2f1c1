package policy_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
	"ringwall/rules/source"
)

func TestWhatTexts(t *testing.T) {
	key := policy.Key
	ports := func(proto uint8, lo, hi uint16) addrset.Set[addrset.U32] {
		return addrset.Between(key(proto, lo), key(proto, hi))
	}
	both := func(sets ...addrset.Set[addrset.U32]) policy.What {
		var s addrset.Set[addrset.U32]
		for _, t := range sets {
			s = s.Union(t)
		}
		return policy.What{V4: s, V6: s}
	}
	ssh := ports(policy.ProtoTCP, 22, 22)
	tests := []struct {
		what policy.What
		want string
		ok   bool
	}{
		{policy.What{}, "", true},
		{policy.AnyWhat(), "any", true},
		{policy.What{V6: policy.AnyWhat().V6}, "any", true},
		{both(ssh), "tcp/22", true},
		{policy.What{V4: ssh}, "tcp/22", true},
		{policy.What{V4: ssh, V6: ports(policy.ProtoTCP, 23, 23)}, "", false},
		{both(ssh, ports(policy.ProtoUDP, 22, 22), ports(policy.ProtoUDP, 60000, 61000)), "tcp+udp/22, udp/60000-61000", true},
		{both(ports(policy.ProtoTCP, 0, 65535), ports(policy.ProtoSCTP, 5, 5), ports(47, 0, 65535)), "tcp, gre, sctp/5", true},
		{both(ports(2, 0, 65535), ports(3, 0, 65535), ports(50, 0, 65535)), "proto/2-3, esp", true},
		{policy.What{V4: ports(policy.ProtoICMP, 8<<8, 8<<8|0xff), V6: ports(policy.ProtoICMPv6, 128<<8, 128<<8|0xff)}, "icmp/echo-request", true},
		{policy.What{V4: ports(policy.ProtoICMP, 8<<8, 8<<8|0xff).Union(ssh), V6: ssh}, "tcp/22, icmp/8", true},
		{policy.What{V4: ports(policy.ProtoICMP, 0, 65535), V6: ports(policy.ProtoICMPv6, 0, 65535)}, "icmp", true},
		{policy.What{V4: ports(policy.ProtoICMP, 3<<8|4, 5<<8|1)}, "icmp/3/4-255, icmp/4, icmp/5/0-1", true},
		{policy.What{V6: ports(policy.ProtoICMPv6, 133<<8, 136<<8|0xff)}, "icmpv6/133-136", true},
	}
	for _, tt := range tests {
		got, ok := tt.what.Texts()
		if strings.Join(got, ", ") != tt.want || ok != tt.ok {
			t.Errorf("%v: %v, %v; want %s, %v", tt.what, got, ok, tt.want, tt.ok)
		}
	}
}

// TestWhatTextsReadBack: what policies can say comes back as words that mean the same.
func TestWhatTextsReadBack(t *testing.T) {
	wordless := regexp.MustCompile(`/0\b|^proto/.*-|^icmp(v6)?/[0-9/]*-`) // port 0 (and type 0), ranges of protocols and types
	only4 := addrset.Between(policy.Key(policy.ProtoICMP, 0), policy.Key(policy.ProtoIGMP, 65535))
	only6 := addrset.Between(policy.Key(policy.ProtoICMPv6, 0), policy.Key(policy.ProtoICMPv6, 65535))
	read := 0
	rapid.Check(t, func(t *rapid.T) {
		w := policytest.What(t)
		items, ok := w.Texts()
		if w.V4.Overlaps(only6) || w.V6.Overlaps(only4) {
			return // protocols of the other family
		}
		if !ok || slices.ContainsFunc(items, wordless.MatchString) {
			return
		}
		read++
		text := "version: 1\nin: [{allow: [" + strings.Join(items, ", ") + "]}]\n"
		p, diags := policy.Load(source.Memory{"p.yaml": text}, "p.yaml", policy.Options{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		got := p.Lists[policy.In][0].Match.What
		if !w.V4.IsEmpty() && !got.V4.Equal(w.V4) || !w.V6.IsEmpty() && !got.V6.Equal(w.V6) {
			t.Fatalf("%v is written %v, and read %v", w, items, got)
		}
	})
	if read < 20 {
		t.Errorf("only %d were read back", read)
	}
}
