package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ringwall/rules/policy"
)

// walked is what becomes of a packet at the input hook.
func walked(t testing.TB, r *Ruleset, pkt *policy.Packet) Outcome {
	t.Helper()
	m, err := NewMachine(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.Walk(Bits{}, Stage{Hook: Input, Pkt: pkt})
}

func TestMapsFindVerdicts(t *testing.T) {
	byService := VMapRef{Map: "services", Keys: []Key{{Field: Saddr4, Mask: []byte{255, 255, 0, 0}}, {Field: L4Proto}, {Field: Dport}}}
	byPort := VMapRef{Map: "ports", Keys: []Key{{Field: Dport}}}
	for _, tt := range []struct {
		ref   VMapRef
		src   string
		proto uint8
		port  uint16
		want  string
	}{
		{byService, "10.1.2.3", policy.ProtoTCP, 22, "deny by [input there]"}, // by goto
		{byService, "10.1.0.0", policy.ProtoUDP, 53, "allow by [input]"},      // accept
		{byService, "10.1.2.3", policy.ProtoUDP, 22, "deny by [input last]"},  // not in it
		{byService, "10.2.2.3", policy.ProtoTCP, 22, "deny by [input last]"},
		{byService, "10.1.2.3", policy.ProtoICMP, 22, "deny by [input last]"}, // no port to look up
		{byPort, "10.1.2.3", policy.ProtoTCP, 0, "deny by [input]"},           // drop
		{byPort, "10.1.2.3", policy.ProtoTCP, 21, "deny by [input]"},
		{byPort, "10.1.2.3", policy.ProtoTCP, 22, "deny by [input there]"}, // jump
		{byPort, "10.1.2.3", policy.ProtoTCP, 23, "deny by [input last]"},
		{byPort, "10.1.2.3", policy.ProtoTCP, 79, "deny by [input last]"},
		{byPort, "10.1.2.3", policy.ProtoTCP, 80, "allow by [input]"}, // return
		{byPort, "10.1.2.3", policy.ProtoTCP, 65535, "allow by [input]"},
	} {
		r := around(&Rule{Exprs: []Expr{needIPv4.expr(), In{Field: L4Proto, Elems: []Interval{{[]byte{6}, []byte{6}}, {[]byte{17}, []byte{17}}}}, tt.ref}},
			&Rule{Exprs: []Expr{Verdict{Jump, "last"}}})
		r.Chains = append(r.Chains, &Chain{Name: "last", Rules: []*Rule{{Exprs: []Expr{Verdict{Kind: Drop}}}}})
		pkt := policy.Packet{Src: netip.MustParseAddr(tt.src), Dst: netip.MustParseAddr("10.0.0.1"), Proto: tt.proto, Dport: tt.port}
		if got := walked(t, r, &pkt).String(); got != tt.want {
			t.Errorf("%v of %s, protocol %d, port %d: %s, want %s", tt.ref, tt.src, tt.proto, tt.port, got, tt.want)
		}
	}
}

// TestMapsJumpAndReturn walks through chains that maps lead to, each of which names the next.
func TestMapsJumpAndReturn(t *testing.T) {
	look := func(name string) Expr { return VMapRef{Map: name, Keys: []Key{{Field: MetaMark}}} }
	to := func(name string, v Verdict) *Map {
		return &Map{Name: name, Keys: []Field{MetaMark}, Elems: []MapElem{mapElem(v, 0, 0, 0, 7)}}
	}
	r := &Ruleset{
		Maps: []*Map{to("first", Verdict{Jump, "outer"}), to("second", Verdict{Jump, "inner"}), to("back", Verdict{Kind: Return}), to("away", Verdict{Goto, "end"})},
		Chains: []*Chain{
			{Name: "input", Hook: &Hook{Point: Input}, Rules: []*Rule{
				{Exprs: []Expr{look("first")}}, {Exprs: []Expr{look("away")}}, {Exprs: []Expr{Verdict{Kind: Drop}}},
			}},
			{Name: "outer", Rules: []*Rule{{Exprs: []Expr{look("second")}}, {Exprs: []Expr{Verdict{Jump, "end"}}}}},
			{Name: "inner", Rules: []*Rule{{Exprs: []Expr{look("back")}}, {Exprs: []Expr{Verdict{Kind: Drop}}}}},
			{Name: "end"},
		},
	}
	pkt := policy.Packet{Src: netip.MustParseAddr("10.1.2.3"), Dst: netip.MustParseAddr("10.0.0.1"), Mark: 7}
	if got, want := walked(t, r, &pkt).String(), "allow by [input outer inner end end]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	pkt.Mark = 8
	if got, want := walked(t, r, &pkt).String(), "deny by [input]"; got != want {
		t.Errorf("a mark that no map has: %s, want %s", got, want)
	}
}

func TestMapsOfNamesAndIPv6(t *testing.T) {
	key := slices.Concat([]byte("eth0"), make([]byte, 12), netip.MustParseAddr("2001:db8::").AsSlice())
	r := &Ruleset{
		Maps: []*Map{{Name: "links", Keys: []Field{IIfName, Saddr6}, Elems: []MapElem{mapElem(Verdict{Kind: Drop}, key...)}}},
		Chains: []*Chain{{Name: "input", Hook: &Hook{Point: Input}, Rules: []*Rule{{Exprs: []Expr{needIPv6.expr(), VMapRef{
			Map: "links", Keys: []Key{{Field: IIfName}, {Field: Saddr6, Mask: netip.MustParseAddr("ffff:ffff::").AsSlice()}},
		}}}}}},
	}
	for iif, want := range map[string]policy.Verdict{"eth0": policy.Deny, "eth": policy.Allow, "eth01": policy.Allow} {
		pkt := policy.Packet{Src: netip.MustParseAddr("2001:db8::5"), Dst: netip.MustParseAddr("2001:db8::1"), IIf: iif}
		if got := walked(t, r, &pkt); got.Verdict != want {
			t.Errorf("%s: %s, want %s", iif, got, want)
		}
	}
}

func TestMapsPrint(t *testing.T) {
	var b strings.Builder
	if err := around(&Rule{Exprs: []Expr{needIPv4.expr(), VMapRef{Map: "services", Keys: []Key{{Field: Saddr4, Mask: []byte{255, 255, 0, 0}}, {Field: L4Proto}, {Field: Dport}}}}}).WriteNFT(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`	map services {
		type ipv4_addr . inet_proto . inet_service : verdict
		elements = {
			10.1.0.0 . 6 . 22 : goto there,
			10.1.0.0 . 17 . 53 : accept
		}
	}
	map ports {
		type inet_service : verdict
		flags interval
		elements = {
			0-21 : drop,
			22 : jump there,
			80-65535 : return
		}
	}
`,
		"\t\tmeta nfproto ipv4 ip saddr & 255.255.0.0 . meta l4proto . th dport vmap @services\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("printed\n%s\nwithout\n%s", b.String(), want)
		}
	}
}

// largeMap is a map of sources of the net 10.0.0.0/8 by their first so many addresses, and ports.
func largeMap(n int) *Map {
	m := &Map{Name: "large", Keys: []Field{Saddr4, Dport}}
	for i := range n {
		m.Elems = append(m.Elems, mapElem(Verdict{Kind: Drop}, 10, byte(i>>16), byte(i>>8), byte(i), 0, 22))
	}
	return m
}

// looking is a machine whose first rule is a lookup in a map.
func looking(m *Map, ref VMapRef) *Machine {
	r := around(&Rule{Exprs: []Expr{ref}})
	r.Maps = []*Map{m}
	return &Machine{program: newProgram(r)}
}

func TestMapLookupAllocatesNothing(t *testing.T) {
	for _, m := range []*Map{largeMap(1000), around().Maps[1]} {
		ref := VMapRef{Map: m.Name}
		for _, f := range m.Keys {
			ref.Keys = append(ref.Keys, Key{Field: f})
		}
		machine := looking(m, ref)
		pkt := policy.Packet{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.1"), Proto: policy.ProtoTCP, Dport: 22}
		w := walk{Machine: machine, Stage: Stage{Hook: Input, Pkt: &pkt}}
		var got way
		if n := testing.AllocsPerRun(100, func() { got = w.rule(machine.steps[:machine.begins[1]]) }); n != 0 || got.how == goesOn {
			t.Errorf("map %s: %v allocations, ending %d", m.Name, n, got.how)
		}
	}
}

// BenchmarkMapLookup looks one key up in maps of few and of many elements.
func BenchmarkMapLookup(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			machine := looking(largeMap(n), VMapRef{Map: "large", Keys: []Key{{Field: Saddr4}, {Field: Dport}}})
			pkt := policy.Packet{Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.1"), Proto: policy.ProtoTCP, Dport: 22}
			w := walk{Machine: machine, Stage: Stage{Hook: Input, Pkt: &pkt}}
			b.ReportAllocs()
			for b.Loop() {
				w.rule(machine.steps[:machine.begins[1]])
			}
		})
	}
}
