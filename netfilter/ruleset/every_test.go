package ruleset

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ringwall/rules/policy"
)

// every is an expression of each type, which all go on, but for those that end a rule.
func every() []Expr {
	over := Rate{Packets: 10, Unit: 60, Burst: 10, Over: true}
	v4 := needIPv4.expr()
	return []Expr{
		v4,
		Cmp{Field: Saddr4, Mask: []byte{255, 0, 0, 0}, Value: []byte{10, 0, 0, 0}},
		In{Field: L4Proto, Elems: []Interval{{Lo: []byte{6}, Hi: []byte{6}}, {Lo: []byte{17}, Hi: []byte{17}}}},
		Lookup{Field: Saddr4, Set: "net4"},
		Count{"hits"},
		LimitRef{"slow"},
		Limit{Rate{Packets: 10, Unit: 1, Burst: 10}},
		Meter{Field: Saddr4, Set: "meter4", Rate: &Rate{Packets: 10, Unit: 60, Burst: 10}},
		Log{Group: 5, Prefix: "in.ssh"},
		SetLabel{7},
		Label{Bit: 7},
		// From here on each ends its rule, or does not go on where limits are not exceeded.
		ConnLimit{20},
		Meter{Field: Saddr4, Set: "meter4", Rate: &over},
		VMap{Field: Dport, Elems: []VMapElem{{Interval{[]byte{0, 22}, []byte{0, 22}}, Verdict{Kind: Goto, Chain: "there"}}}},
		VMapRef{Map: "services", Keys: []Key{{Field: Saddr4, Mask: []byte{255, 255, 0, 0}}, {Field: L4Proto}, {Field: Dport}}},
		Reject{TCPReset},
		Verdict{Kind: Accept},
	}
}

// expr is an expression that meets the need.
func (n need) expr() Expr {
	for v := uint64(0); ; v++ {
		if n.has(byte(v)) {
			return Cmp{Field: n.field, Value: n.field.Value(v)}
		}
	}
}

func mapElem(v Verdict, key ...byte) MapElem { return MapElem{Interval{key, key}, v} }

// around is a rule set with one chain at the input hook.
func around(rules ...*Rule) *Ruleset {
	return &Ruleset{
		Counters: []Counter{{Name: "hits"}},
		Limits:   []LimitObject{{Name: "slow", Rate: Rate{Packets: 10, Unit: 60, Burst: 10}}},
		Sets: []*Set{
			{Name: "net4", Interval: true, Dynamic: true, Timed: true},
			{Name: "meter4", Dynamic: true, Packets: true, Timed: true, Timeout: 60, Size: 100},
		},
		Maps: []*Map{
			{Name: "services", Keys: []Field{Saddr4, L4Proto, Dport}, Elems: []MapElem{
				mapElem(Verdict{Kind: Goto, Chain: "there"}, 10, 1, 0, 0, 6, 0, 22),
				mapElem(Verdict{Kind: Accept}, 10, 1, 0, 0, 17, 0, 53),
			}},
			{Name: "ports", Keys: []Field{Dport}, Interval: true, Elems: []MapElem{
				{Interval{[]byte{0, 0}, []byte{0, 21}}, Verdict{Kind: Drop}},
				{Interval{[]byte{0, 22}, []byte{0, 22}}, Verdict{Kind: Jump, Chain: "there"}},
				{Interval{[]byte{0, 80}, []byte{255, 255}}, Verdict{Kind: Return}},
			}},
		},
		Chains: []*Chain{
			{Name: "input", Hook: &Hook{Point: Input}, Rules: rules},
			{Name: "there", Rules: []*Rule{{Exprs: []Expr{Verdict{Kind: Drop}}}}},
		},
	}
}

// TestEveryExprIsHandled holds the list above against the types of the package, and each of them against all that must know it.
func TestEveryExprIsHandled(t *testing.T) {
	tried := make(map[string]bool)
	for _, e := range every() {
		tried[reflect.TypeOf(e).Name()] = true
		text, err := (&Rule{Exprs: []Expr{e}}).Text()
		if err != nil || text == "" {
			t.Errorf("%T prints %q, %v", e, text, err)
		}
		if err := around(&Rule{Exprs: []Expr{needIPv4.expr(), needPorts.expr(), e}}).Check(); err != nil {
			t.Errorf("%T: %v", e, err)
		}
	}
	for name := range exprTypes(t) {
		if !tried[name] {
			t.Errorf("no test knows the expression %s", name)
		}
	}
	unknown := struct{ Cmp }{}
	if _, err := (&Rule{Exprs: []Expr{unknown}}).Text(); err == nil {
		t.Error("an unknown expression prints")
	}
	if around(&Rule{Exprs: []Expr{unknown}}).Check() == nil {
		t.Error("an unknown expression passes the check")
	}
}

// exprTypes is the names of the types with the method that makes an expression.
func exprTypes(t *testing.T) map[string]bool {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == "expr" {
				if recv, ok := f.Recv.List[0].Type.(*ast.Ident); ok {
					names[recv.Name] = true
				}
			}
		}
	}
	if len(names) == 0 {
		t.Fatal("found no expressions")
	}
	return names
}

// TestEveryExprIsRun shows by the counter at its end how far a rule with the expression goes.
func TestEveryExprIsRun(t *testing.T) {
	pkt := policy.Packet{Src: netip.MustParseAddr("10.1.2.3"), Dst: netip.MustParseAddr("10.0.0.1"), Proto: policy.ProtoTCP, Dport: 22}
	for i, e := range every() {
		exprs := []Expr{needIPv4.expr(), needPorts.expr(), e}
		ends := false
		switch e.(type) {
		case Verdict, Reject:
			ends = true
		case VMap, VMapRef:
		case Label:
			exprs = []Expr{SetLabel{7}, e}
		}
		if !ends {
			exprs = append(exprs, Count{"hits"})
		}
		m, err := NewMachine(around(&Rule{Exprs: exprs}), contents("net4", "10.0.0.0/8"))
		if err != nil {
			t.Fatal(err)
		}
		got := m.Walk(Bits{}, Stage{Hook: Input, Pkt: &pkt})
		want := policy.Allow // the policy of the chain
		switch e.(type) {
		case Reject:
			want = policy.Reject
		case VMap, VMapRef: // the chain that they go to drops
			want = policy.Deny
		}
		if got.Verdict != want {
			t.Errorf("%T: %s, want %s", e, got, want)
		}
		const goOn = 11
		if counted := len(got.Counters) > 0; counted != (i < goOn) {
			t.Errorf("%T: the rule goes on: %v", e, counted)
		}
	}
}

// TestEveryFieldIsHandled holds each field against all that must know it.
func TestEveryFieldIsHandled(t *testing.T) {
	texts := make(map[string]Field)
	for _, f := range Fields() {
		i, ok := f.info()
		if !ok || i.size == 0 {
			t.Fatalf("%s has no entry in the table", f)
		}
		if other, taken := texts[i.nft]; taken {
			t.Errorf("%s and %s print alike", f, other)
		}
		texts[i.nft] = f
		if noType := f == Time || f == HopLimit; (i.typ == "") != noType {
			t.Errorf("%s has the type %q", f, i.typ)
		}
		value := f.Value(0)
		if f.IsName() {
			value = []byte("eth0")
		}
		cmp := Cmp{Field: f, Value: value}
		if text, err := (&Rule{Exprs: []Expr{cmp}}).Text(); err != nil || !strings.HasPrefix(text, i.nft+" ") {
			t.Errorf("%s prints %q, %v", f, text, err)
		}
		var exprs []Expr
		for _, n := range i.needs {
			exprs = append(exprs, n.expr())
		}
		if err := around(&Rule{Exprs: append(exprs, cmp)}).Check(); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if len(i.needs) > 0 && around(&Rule{Exprs: []Expr{cmp}}).Check() == nil {
			t.Errorf("%s passes without what it needs", f)
		}
		if v, ok := loadAny(f); !ok || v != under(v, maskOf(bytes.Repeat([]byte{0xff}, i.size))) {
			t.Errorf("%s: no packet has it, or its value %x is longer than %d bytes", f, v, i.size)
		}
	}
	if _, ok := (FibSaddrOIf + 1).info(); ok {
		t.Error("Fields misses the last")
	}
}

// loadAny loads a field of the first packet that has it.
func loadAny(f Field) (v value, ok bool) {
	for _, addr := range []string{"10.0.0.1", "2001:db8::1"} {
		for _, proto := range []uint8{policy.ProtoTCP, policy.ProtoICMP, policy.ProtoICMPv6} {
			w := walk{Stage: Stage{Hook: ForwardHook, Pkt: &policy.Packet{
				Src: netip.MustParseAddr(addr), Dst: netip.MustParseAddr(addr), Proto: proto, Socket: true, HasMAC: true,
			}}}
			if v, ok = w.load(f); ok {
				return v, ok
			}
		}
	}
	return v, false
}
