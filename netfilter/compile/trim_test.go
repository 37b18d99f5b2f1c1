package compile

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// trimmed is what policies that are looked up become without anything that is known.
func trimmed(t *testing.T) map[string]*ruleset.Ruleset {
	t.Helper()
	out := make(map[string]*ruleset.Ruleset)
	add := func(name string, p *policy.Policy) {
		rs, err := Compile(p, Options{LogGroup: 7, Linear: -1, Brief: 1})
		if err != nil {
			t.Fatal(err)
		}
		out[name] = rs
	}
	for _, shape := range workload.Shapes {
		add(string(shape), workload.Generate(shape, 400, 1).Policy())
	}
	add("services", services(120).Policy())
	add("both families", newGenerator(7000).long())
	return out
}

// loadsUnasked is the fields that need something and are loaded in a rule that does not ask for it.
func loadsUnasked(r *ruleset.Rule) (addresses, ports bool) {
	var family, proto bool
	for _, e := range r.Exprs {
		var f ruleset.Field
		switch e := e.(type) {
		case ruleset.Cmp:
			f = e.Field
		case ruleset.In:
			f = e.Field
		case ruleset.Lookup:
			f = e.Field
		}
		switch f {
		case ruleset.NFProto:
			family = true
		case ruleset.L4Proto:
			proto = true
		case ruleset.Saddr4, ruleset.Daddr4, ruleset.Saddr6, ruleset.Daddr6:
			addresses = addresses || !family
		case ruleset.Dport, ruleset.Sport:
			ports = ports || !proto
		}
	}
	return addresses, ports
}

// asksFor tells whether an expression compares a field.
func asksFor(e ruleset.Expr, f ruleset.Field) bool {
	switch e := e.(type) {
	case ruleset.Cmp:
		return e.Field == f
	case ruleset.In:
		return e.Field == f
	}
	return false
}

// TestTrimLeavesOutWhatIsKnown looks for both in structures: what is left out, and what need not be there.
func TestTrimLeavesOutWhatIsKnown(t *testing.T) {
	for name, rs := range trimmed(t) {
		addresses, ports := 0, 0
		for _, ch := range rs.Chains {
			if !looksUp(ch.Name) {
				continue
			}
			for _, r := range ch.Rules {
				a, p := loadsUnasked(r)
				if a {
					addresses++
				}
				if p {
					ports++
				}
				protos := 0
				for _, e := range r.Exprs {
					if asksFor(e, ruleset.NFProto) && loadsBack(r, ruleset.NFProto) {
						t.Errorf("%s: a test of chain %s asks for the family", name, ch.Name)
					}
					if asksFor(e, ruleset.L4Proto) {
						protos++
					}
				}
				if protos > 1 {
					t.Errorf("%s: a rule of chain %s asks for the protocol twice", name, ch.Name)
				}
			}
		}
		t.Logf("%s: %d rules load addresses, and %d ports, of which only the chain knows that they are there", name, addresses, ports)
		if addresses == 0 || ports == 0 && name != "services" && name != string(workload.Host) {
			t.Errorf("%s: nothing is left out", name)
		}
	}
	rs, err := Compile(workload.Generate(workload.FW, 400, 1).Policy(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range rs.Chains {
		for _, r := range ch.Rules {
			if addresses, _ := loadsUnasked(r); addresses {
				t.Fatalf("a rule of chain %s loads addresses without the family in a structure that people read", ch.Name)
			}
		}
	}
}

// TestNoOtherPacketGetsIn breaks trimmed rule sets so that packets of another family or protocol come where only one is expected, in each
// way and at each place. Check must refuse all of them: what the kernel would load there is something else.
func TestNoOtherPacketGetsIn(t *testing.T) {
	refused := make(map[string]int)
	for name, rs := range trimmed(t) {
		chains := make(map[string]*ruleset.Chain)
		unasked := make(map[string][2]bool) // of a chain, whether it loads addresses or ports
		for _, ch := range rs.Chains {
			chains[ch.Name] = ch
			for _, r := range ch.Rules {
				a, p := loadsUnasked(r)
				u := unasked[ch.Name]
				unasked[ch.Name] = [2]bool{u[0] || a, u[1] || p}
			}
		}
		try := func(way string, broken *ruleset.Ruleset) {
			t.Helper()
			if err := broken.Check(); err == nil || !strings.Contains(err.Error(), " without meta ") {
				t.Errorf("%s, %s: %v", name, way, err)
			}
			refused[way]++
		}
		// with is the rule set with another chain of a name.
		with := func(ch string, rules []*ruleset.Rule) *ruleset.Ruleset {
			b := *rs
			b.Chains = slices.Clone(rs.Chains)
			i := slices.Index(b.Chains, chains[ch])
			b.Chains[i] = &ruleset.Chain{Name: ch, Hook: chains[ch].Hook, Rules: rules}
			return &b
		}
		jump := func(to string, asks ...ruleset.Expr) *ruleset.Rule {
			return rule(asks, ruleset.Verdict{Kind: ruleset.Jump, Chain: to})
		}
		for _, ch := range rs.Chains {
			for i, r := range ch.Rules {
				v, is := last(r).(ruleset.Verdict)
				within := func(name string) bool { return unasked[name][0] && strings.HasPrefix(name, v.Chain) }
				if !is || looksUp(ch.Name) || !looksUp(v.Chain) || !slices.ContainsFunc(slices.Collect(maps.Keys(unasked)), within) {
					continue
				}
				other := func(e ruleset.Expr) []*ruleset.Rule {
					rules := slices.Clone(ch.Rules)
					rules[i] = rule(conj{e}, v)
					return rules
				}
				asked := r.Exprs[0].(ruleset.Cmp)
				not := asked
				not.Op, not.Value = ruleset.Ne, []byte{ruleset.IPv4 + ruleset.IPv6 - asked.Value[0]}
				wide := ruleset.In{Field: ruleset.NFProto, Elems: []ruleset.Interval{{Lo: []byte{ruleset.IPv4}, Hi: []byte{ruleset.IPv6}}}}
				rules := slices.Clone(ch.Rules)
				rules[i] = jump(v.Chain)
				try("the way in asks for no family", with(ch.Name, rules))
				try("the way in asks for the other family", with(ch.Name, other(ruleset.Cmp{Field: ruleset.NFProto, Value: not.Value})))
				try("the way in excludes the other family", with(ch.Name, other(not)))
				try("the way in asks for both families", with(ch.Name, other(wide)))
				try("another way in", with(ch.Name, append(slices.Clone(ch.Rules), jump(v.Chain))))
			}
		}
		every := max(1, len(unasked)/60)
		n := 0
		for _, ch := range rs.Chains {
			is := unasked[ch.Name]
			if n++; n%every > 0 || !looksUp(ch.Name) {
				continue
			}
			family := equal(ruleset.NFProto, map[bool]uint64{true: ruleset.IPv6, false: ruleset.IPv4}[strings.Contains(ch.Name, "/6")])
			if is[0] {
				try("a way to a chain from outside", with(chainBaseIn, append([]*ruleset.Rule{jump(ch.Name)}, chains[chainBaseIn].Rules...)))
			}
			if is[1] {
				try("a way of all protocols", with(chainBaseIn, append([]*ruleset.Rule{jump(ch.Name, family)}, chains[chainBaseIn].Rules...)))
				try("a way of another protocol",
					with(chainBaseIn, append([]*ruleset.Rule{jump(ch.Name, family, equal(ruleset.L4Proto, policy.ProtoICMP))}, chains[chainBaseIn].Rules...)))
			}
			for root, other := range map[string]string{"in/4": "in/6", "in/6": "in/4"} {
				if is[0] && chains[root] != nil && strings.HasPrefix(ch.Name, other) {
					try("a chain of both families", with(root, append(slices.Clone(chains[root].Rules), jump(ch.Name))))
				}
			}
		}
		for at, m := range rs.Maps {
			proto := slices.Index(m.Keys, ruleset.L4Proto)
			if proto < 0 || strings.Count(m.Name, "/") > 2 { // elsewhere more may be known where the map is asked
				continue
			}
			offset := 0
			for _, f := range m.Keys[:proto] {
				offset += f.Size()
			}
			for _, e := range m.Elems {
				if !unasked[e.Verdict.Chain][1] {
					continue
				}
				e.Lo = slices.Clone(e.Lo)
				e.Lo[offset] = 200 // nothing that has ports
				e.Hi = e.Lo
				b := *rs
				b.Maps = slices.Clone(rs.Maps)
				n := *m
				n.Size, n.Elems = 0, append(slices.Clone(m.Elems), e)
				slices.SortFunc(n.Elems, func(x, y ruleset.MapElem) int { return slices.Compare(x.Lo, y.Lo) })
				b.Maps[at] = &n
				try("an element of another protocol", &b)
				break
			}
		}
	}
	for way, n := range refused {
		t.Logf("%s: %d", way, n)
	}
	const ways = 10
	if len(refused) != ways {
		t.Errorf("%d ways were tried, want %d", len(refused), ways)
	}
}

// TestBriefIsRead shows that the kernel's table is read back as it was written where rules do not ask for the family, and that nft loads
// what it lists of it.
func TestBriefIsRead(t *testing.T) {
	for name, rs := range trimmed(t) {
		loaded := nstest.New(t)
		applied := enforced(t, rs, func(conn *kernel.Conn) {
			if change, err := conn.Plan(context.Background(), rs); err != nil || !change.Empty() {
				t.Errorf("%s: read back: %v, %v", name, change, err)
			}
		})
		list := []string{"list", "table", "inet", ruleset.TableName}
		listed := applied.Run(t, "nft", list...)
		if out, err := loaded.Input(t, listed, "nft", "-f", "-"); err != nil {
			t.Fatalf("%s: nft does not load what it lists: %v\n%.400s", name, err, out)
		}
		if diff := cmp.Diff(listed, loaded.Run(t, "nft", list...)); diff != "" {
			t.Errorf("%s: listed (-before +after loading):\n%.2000s", name, diff)
		}
	}
}
