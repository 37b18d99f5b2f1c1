package compile

import (
	"net/netip"
	"testing"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// TestOtherTablesDNAT walks packets whose destination another table rewrites between prerouting and the next hook.
func TestOtherTablesDNAT(t *testing.T) {
	const transit = "version: 1\ndefaults: {forward: deny}\n"
	const noBase = "base: {established: false}\n"
	host, container, foreign := "198.51.100.1", "172.17.0.2", "203.0.113.9"
	tests := []struct {
		name     string
		policy   string
		noLabels bool
		dst      string // as the sender wrote it
		to       string // where DNAT sends it
		reply    bool   // the packet is the first answer that goes the other way
		want     policy.Verdict
	}{
		{"published, by its rule", transit + "in: [{allow: tcp/8443}]", false, host, container, false, policy.Allow},
		{"published, with a rule for the port inside", transit + "in: [{allow: tcp/443}]", false, host, container, false, policy.Deny},
		{"published, without a rule", transit, false, host, container, false, policy.Deny},
		{"published, transit not judged", "version: 1\nin: [{allow: tcp/8443}]", false, host, container, false, policy.Allow},
		{"published, transit not judged, without a rule", "version: 1\n", false, host, container, false, policy.Deny},
		{"published by the default", "version: 1\ndefaults: {in: allow, forward: deny}\n", false, host, container, false, policy.Allow},
		{"published, a failsafe", transit + "failsafe: {tcp/8443: any}", false, host, container, false, policy.Allow},
		{"published, without labels", transit + "in: [{allow: tcp/8443}]", true, host, container, false, policy.Deny},
		{"published, without labels, with a rule in forward", transit + "in: [{allow: tcp/8443}]\nforward: [{allow: tcp/443}]", true, host, container, false, policy.Allow},
		{"its answer without base.established", transit + noBase + "in: [{allow: tcp/8443}]", false, container, foreign, true, policy.Deny},
		{"redirected to a local port", "version: 1\nin: [{allow: tcp/8443}]", false, host, host, false, policy.Allow},
		{"redirected, with a rule for the target", "version: 1\nin: [{allow: tcp/443}]", false, host, host, false, policy.Deny},
		{"redirected, without labels", "version: 1\nin: [{allow: tcp/8443}]", true, host, host, false, policy.Deny},
		{"a foreign address sent here, with a rule for the target", "version: 1\nin: [{allow: tcp/443}]", false, foreign, host, false, policy.Allow},
		{"a foreign address sent here, with a rule for what was written", "version: 1\nin: [{allow: tcp/8443}]", false, foreign, host, false, policy.Deny},
		{"a foreign address sent here, without labels", "version: 1\nin: [{allow: tcp/443}]", true, foreign, host, false, policy.Allow},
		{"a foreign address sent on", transit + "forward: [{allow: tcp/443, to: 172.17.0.0/16}]", false, foreign, container, false, policy.Allow},
		{"a foreign address sent on, without a rule", transit + "in: [{allow: any}]", false, foreign, container, false, policy.Deny},
		{"a foreign address sent to what is blocked", "version: 1\nblock: 172.17.0.0/16\n", false, foreign, container, false, policy.Deny},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rs, err := Compile(load(t, tt.policy), Options{NoLabels: tt.noLabels})
			if err != nil {
				t.Fatal(err)
			}
			m, err := ruleset.NewMachine(rs, nil)
			if err != nil {
				t.Fatal(err)
			}
			pkt := policy.Packet{Dir: policy.In, Src: netip.MustParseAddr("192.0.2.5"), Dst: netip.MustParseAddr(tt.dst), IIf: "eth0",
				Proto: policy.ProtoTCP, Sport: 40000, Dport: 8443}
			var label ruleset.Bits
			if tt.reply {
				pkt.State, pkt.Src = policy.Established, netip.MustParseAddr(container)
				label.Set(labelBit)
			}
			after := pkt
			after.Dst, after.Dport = netip.MustParseAddr(tt.to), 443
			kind := func(addr string) uint32 {
				if addr == host {
					return ruleset.TypeLocal
				}
				return ruleset.TypeUnicast
			}
			hook := ruleset.ForwardHook
			if tt.to == host {
				hook = ruleset.Input
			} else {
				after.OIf = "docker0"
			}
			got := m.Walk(label,
				ruleset.Stage{Hook: ruleset.Prerouting, Pkt: &pkt, DaddrType: kind(tt.dst), Reply: tt.reply},
				ruleset.Stage{Hook: hook, Pkt: &after, DaddrType: kind(tt.to), DNAT: true, Reply: tt.reply})
			if got.Verdict != tt.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestNothingEntersUnjudged sends packets to the input hook that prerouting took for transit, as a routing rule or TPROXY does.
func TestNothingEntersUnjudged(t *testing.T) {
	for _, base := range []string{"", "base: {established: false, loopback: false}\n"} {
		rs, err := Compile(load(t, "version: 1\n"+base+"in: [{allow: tcp/443}]\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		m, err := ruleset.NewMachine(rs, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, state := range []policy.State{policy.New, policy.Untracked, policy.Invalid} {
			for port, want := range map[uint16]policy.Verdict{22: policy.Deny, 443: policy.Allow} {
				if state == policy.Invalid {
					want = policy.Deny
				}
				pkt := policy.Packet{State: state, Src: netip.MustParseAddr("192.0.2.5"), Dst: netip.MustParseAddr("203.0.113.9"), IIf: "eth0",
					Proto: policy.ProtoTCP, Dport: port}
				got := m.Walk(ruleset.Bits{},
					ruleset.Stage{Hook: ruleset.Prerouting, Pkt: &pkt, DaddrType: ruleset.TypeUnicast},
					ruleset.Stage{Hook: ruleset.Input, Pkt: &pkt, DaddrType: ruleset.TypeUnicast})
				if got.Verdict != want {
					t.Errorf("%stcp/%d, %s: %s", base, port, state, got)
				}
			}
		}
	}
}

// TestEveryChainEnds shows that no chain that packets are sent to for good ends without a verdict: its end would be that of the
// base chain they came from. Those that are jumped to may end: packets go back.
func TestEveryChainEnds(t *testing.T) {
	for seed := range uint64(rounds(t, 200)) {
		rs, err := Compile(newGenerator(seed).policy(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		left := gone(rs)
		for _, ch := range rs.Chains {
			if ch.Hook == nil && !left[ch.Name] || ch.Hook != nil && (ch.Hook.Drop || ch.Hook.Priority == priorityRaw || ch.Name == chainForward) {
				continue
			}
			last := ch.Rules[len(ch.Rules)-1].Exprs
			for _, e := range last[:len(last)-1] {
				switch e.(type) {
				case ruleset.Count, ruleset.SetLabel:
				default:
					t.Errorf("seed %d: chain %s ends with a rule that asks for something: %T", seed, ch.Name, e)
				}
			}
			switch v := last[len(last)-1].(type) {
			case ruleset.Reject:
			case ruleset.Verdict:
				if v.Kind == ruleset.Return || v.Kind == ruleset.Jump {
					t.Errorf("seed %d: chain %s ends in no verdict", seed, ch.Name)
				}
			default:
				t.Errorf("seed %d: chain %s ends with %T", seed, ch.Name, v)
			}
		}
	}
}

// gone is the chains that packets go to and do not come back from.
func gone(rs *ruleset.Ruleset) map[string]bool {
	out := make(map[string]bool)
	visit := func(v ruleset.Verdict) {
		if v.Kind == ruleset.Goto {
			out[v.Chain] = true
		}
	}
	for _, m := range rs.Maps {
		for _, e := range m.Elems {
			visit(e.Verdict)
		}
	}
	for _, ch := range rs.Chains {
		for _, r := range ch.Rules {
			if v, is := r.Exprs[len(r.Exprs)-1].(ruleset.Verdict); is {
				visit(v)
			}
		}
	}
	return out
}
