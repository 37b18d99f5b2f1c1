package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

func contents(set string, prefixes ...string) map[string]addrset.Addrs {
	var a addrset.Addrs
	for _, p := range prefixes {
		a = a.Union(addrset.OfPrefix(netip.MustParsePrefix(p)))
	}
	return map[string]addrset.Addrs{set: a}
}

// chains makes a rule set of chains as text: a line each, "NAME [HOOK PRIORITY POLICY]: VERDICT, VERDICT ...".
func chains(t *testing.T, text string) *Machine {
	t.Helper()
	kinds := map[string]VerdictKind{"accept": Accept, "drop": Drop, "return": Return, "jump": Jump, "goto": Goto}
	var r Ruleset
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		head, verdicts, _ := strings.Cut(strings.TrimSpace(line), ":")
		words := strings.Fields(head)
		ch := &Chain{Name: words[0]}
		if len(words) == 4 {
			ch.Hook = &Hook{Drop: words[3] == "drop"}
			for p := Prerouting; p <= Postrouting; p++ {
				if p.String() == words[1] {
					ch.Hook.Point = p
				}
			}
			fmt.Sscan(words[2], &ch.Hook.Priority)
		}
		for v := range strings.SplitSeq(verdicts, ",") {
			kind, to, _ := strings.Cut(strings.TrimSpace(v), " ")
			switch kind {
			case "":
			case "reject":
				ch.Rules = append(ch.Rules, &Rule{Exprs: []Expr{Reject{AdminProhibited}}})
			default:
				ch.Rules = append(ch.Rules, &Rule{Exprs: []Expr{Verdict{kinds[kind], to}}})
			}
		}
		r.Chains = append(r.Chains, ch)
	}
	m, err := NewMachine(&r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestVerdictsOfChains(t *testing.T) {
	tests := []struct{ name, chains, want string }{
		{"accept ends its base chain alone", "b input 0 drop: accept\nc input 1 drop: drop", "deny by [b c]"},
		{"drop ends all", "b input 0 accept: drop\nc input 1 accept: accept", "deny by [b]"},
		{"reject ends all", "b input 0 accept: reject\nc input 1 accept: accept", "reject by [b]"},
		{"chains run by priority", "c input 1 accept:\nb input -5 accept:", "allow by [b c]"},
		{"policy drop", "b input 0 drop:", "deny by [b]"},
		{"other hooks have no part", "b forward 0 drop: drop", "allow by []"},
		{"a jump comes back", "x:\nb input 0 accept: jump x, drop", "deny by [b x]"},
		{"return comes back too", "x: return, accept\nb input 0 accept: jump x, drop", "deny by [b x]"},
		{"accept in a jump ends the base chain", "x: accept\nb input 0 drop: jump x, drop", "allow by [b x]"},
		{"goto does not come back", "x:\nb input 0 accept: goto x, drop", "allow by [b x]"},
		{"the end of a goto is the policy", "x:\nb input 0 drop: goto x, accept", "deny by [b x]"},
		{"goto within a jump returns to before the jump", "y:\nx: goto y, accept\nb input 0 accept: jump x, drop", "deny by [b x y]"},
		{"jump within a goto comes back to its chain", "y:\nx: jump y, accept\nb input 0 drop: goto x, drop", "allow by [b x y]"},
		{"return from the base chain is the policy", "b input 0 drop: return, accept", "deny by [b]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			pkt := policy.Packet{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")}
			if got := chains(t, tt.chains).Walk(Bits{}, Stage{Hook: Input, Pkt: &pkt}).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestHooksByDirection(t *testing.T) {
	m := chains(t, "pre prerouting 0 accept:\nin input 0 accept:\nfwd forward 0 accept:\nout output 0 accept:\npost postrouting 0 accept:")
	for dir, want := range map[policy.Dir][]string{
		policy.In: {"pre", "in"}, policy.Out: {"out"}, policy.Forward: {"pre", "fwd"},
	} {
		pkt := policy.Packet{Dir: dir, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")}
		if got := m.Eval(&pkt); !slices.Equal(got.Path(), want) {
			t.Errorf("%s goes through %v, not %v", dir, got.Path(), want)
		}
	}
}

func TestLabelStaysWithTheConnection(t *testing.T) {
	r := &Ruleset{Chains: []*Chain{
		{Name: "pre", Hook: &Hook{Point: Prerouting}, Rules: []*Rule{{Exprs: []Expr{SetLabel{9}}}}},
		{Name: "in", Hook: &Hook{Point: Input, Drop: true}, Rules: []*Rule{{Exprs: []Expr{Label{Bit: 9}, Verdict{Kind: Accept}}}}},
	}}
	m, err := NewMachine(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	for state, want := range map[policy.State]policy.Verdict{
		policy.New: policy.Allow, policy.Established: policy.Allow, policy.Untracked: policy.Deny, policy.Invalid: policy.Deny,
	} {
		pkt := policy.Packet{State: state, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")}
		if got := m.Eval(&pkt); got.Verdict != want || got.Label.Has(9) != (want == policy.Allow) {
			t.Errorf("%s: %s, label %v", state, got, got.Label)
		}
		var before Bits
		before.Set(9)
		if got := m.Walk(before, Stage{Hook: Input, Pkt: &pkt}); got.Verdict != want {
			t.Errorf("%s with the label from before: %s", state, got)
		}
	}
}

func TestConntrackComesAfterRaw(t *testing.T) {
	r := &Ruleset{
		Counters: []Counter{{Name: "new"}},
		Chains: []*Chain{
			{Name: "raw", Hook: &Hook{Point: Input, Priority: -300}},
			{Name: "late", Hook: &Hook{Point: Input, Priority: -110}},
		},
	}
	isNew := Cmp{Field: CtState, Mask: CtState.Value(StateNew), Op: Ne, Value: CtState.Value(0)}
	for _, c := range r.Chains {
		c.Rules = []*Rule{{Exprs: []Expr{isNew, Count{"new"}}}}
	}
	m, err := NewMachine(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	pkt := policy.Packet{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")}
	if got := m.Walk(Bits{}, Stage{Hook: Input, Pkt: &pkt}).Counters; len(got) != 1 {
		t.Errorf("counted %d times, want once", len(got))
	}
}

func TestComparisons(t *testing.T) {
	pkt := policy.Packet{Dir: policy.In, Src: netip.MustParseAddr("10.1.2.3"), Dst: netip.MustParseAddr("10.0.0.1"),
		Proto: policy.ProtoUDP, Dport: 53, IIf: "eth0", Mark: 0x1f, Time: 1000}
	port := func(lo, hi uint64) Interval { return Interval{Dport.Value(lo), Dport.Value(hi)} }
	for _, tt := range []struct {
		expr Expr
		want bool
	}{
		{Cmp{Field: Dport, Op: Lt, Value: Dport.Value(54)}, true},
		{Cmp{Field: Dport, Op: Lt, Value: Dport.Value(53)}, false},
		{Cmp{Field: Dport, Op: Le, Value: Dport.Value(53)}, true},
		{Cmp{Field: Dport, Op: Gt, Value: Dport.Value(53)}, false},
		{Cmp{Field: Dport, Op: Ge, Value: Dport.Value(53)}, true},
		{Cmp{Field: Dport, Op: Ne, Value: Dport.Value(53)}, false},
		{Cmp{Field: Time, Op: Lt, Value: Time.Value(1000_000_000_001)}, true},
		{Cmp{Field: Time, Op: Lt, Value: Time.Value(1000_000_000_000)}, false},
		{Cmp{Field: MetaMark, Mask: MetaMark.Value(0xf0), Value: MetaMark.Value(0x10)}, true},
		{Cmp{Field: MetaMark, Mask: MetaMark.Value(0xf0), Op: Ne, Value: MetaMark.Value(0x10)}, false},
		{Cmp{Field: IIfName, Value: []byte("eth0")}, true},
		{Cmp{Field: IIfName, Value: []byte("eth")}, false},
		{Cmp{Field: IIfName, Value: []byte("eth"), Wildcard: true}, true},
		{Cmp{Field: IIfName, Op: Ne, Value: []byte("eth"), Wildcard: true}, false},
		{Cmp{Field: IIfName, Op: Ne, Value: []byte("br-"), Wildcard: true}, true},
		{Cmp{Field: OIfName, Value: []byte("eth0")}, false},
		{In{Field: Dport, Elems: []Interval{port(22, 22), port(50, 60)}}, true},
		{In{Field: Dport, Elems: []Interval{port(22, 22), port(54, 60)}}, false},
		{In{Field: Dport, Not: true, Elems: []Interval{port(0, 52), port(54, 65535)}}, true},
		{Lookup{Field: Saddr4, Set: "net4"}, true},
		{Lookup{Field: Daddr4, Set: "net4"}, false},
		{Lookup{Field: Daddr4, Set: "net4", Not: true}, true},
		{Lookup{Field: Saddr4, Set: "meter4", Not: true}, false},
		// The packet has no such fields. What lies in their place in its headers is loaded, what is not there at all ends the rule.
		{Cmp{Field: Saddr6, Op: Ne, Value: make([]byte, 16)}, true},
		{Cmp{Field: Saddr6, Value: []byte{0, 17, 0, 0, 10, 1, 2, 3, 10, 0, 0, 1, 0, 0, 0, 53}}, true},
		{Cmp{Field: HopLimit, Value: []byte{0}}, true},
		{Cmp{Field: ICMPCode, Value: []byte{0}}, true},
		{Cmp{Field: SkUID, Op: Ne, Value: SkUID.Value(5)}, false},
		{Cmp{Field: EtherSaddr, Op: Ne, Value: EtherSaddr.Value(5)}, false},
	} {
		// The rule may lack what its field needs, so it is run as it is.
		m := (&Machine{program: newProgram(around(&Rule{Exprs: []Expr{tt.expr, Verdict{Kind: Accept}}}))}).With(contents("net4", "10.1.0.0/16"))
		w := walk{Machine: m, Stage: Stage{Hook: Input, Pkt: &pkt}}
		if got := w.rule(m.steps[:m.begins[1]]).how == accepts; got != tt.want {
			t.Errorf("%+v: got %v, want %v", tt.expr, got, tt.want)
		}
	}
}
