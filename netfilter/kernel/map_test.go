package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
)

// everyMap is maps of every field, alone and with another, of ranges and of keys as long as they get, each with a rule.
func everyMap() (maps []*ruleset.Map, rules []*ruleset.Rule) {
	add := func(m *ruleset.Map, masks ...[]byte) {
		ref := ruleset.VMapRef{Map: m.Name}
		var before []ruleset.Expr
		for i, f := range m.Keys {
			k := ruleset.Key{Field: f}
			if i < len(masks) {
				k.Mask = masks[i]
			}
			ref.Keys = append(ref.Keys, k)
			for _, e := range needs(f) {
				if !slices.ContainsFunc(before, func(b ruleset.Expr) bool { return cmp.Equal(b, e) }) {
					before = append(before, e)
				}
			}
		}
		slices.SortFunc(m.Elems, func(a, b ruleset.MapElem) int { return bytes.Compare(a.Lo, b.Lo) })
		maps = append(maps, m)
		rules = append(rules, &ruleset.Rule{Exprs: append(before, ref), Comment: m.Name})
	}
	jump := ruleset.Verdict{Kind: ruleset.Jump, Chain: "in.ssh"}
	leave := ruleset.Verdict{Kind: ruleset.Goto, Chain: "in.ssh"}
	accept, drop, back := ruleset.Verdict{}, ruleset.Verdict{Kind: ruleset.Drop}, ruleset.Verdict{Kind: ruleset.Return}
	port := ruleset.Dport.Value
	tcp, udp := []byte{6}, []byte{17}

	add(&ruleset.Map{Name: "in/m1", Keys: []ruleset.Field{ruleset.Saddr4, ruleset.L4Proto, ruleset.Dport}, Size: 64, Elems: []ruleset.MapElem{
		key(jump, ip("10.0.0.0"), tcp, port(22)), key(leave, ip("10.0.0.0"), udp, port(53)), key(accept, ip("10.0.1.0"), tcp, port(80)),
		key(drop, ip("192.0.2.0"), tcp, port(80)), key(back, ip("192.0.2.0"), tcp, port(443)),
	}}, ip("255.255.255.0"))
	add(&ruleset.Map{Name: "in/m2", Keys: []ruleset.Field{ruleset.Saddr4, ruleset.Daddr4, ruleset.L4Proto, ruleset.Dport}, Elems: []ruleset.MapElem{
		key(jump, ip("10.0.0.1"), ip("192.0.2.1"), tcp, port(22)), key(drop, ip("0.0.0.0"), ip("255.255.255.255"), udp, port(65535)),
	}})
	add(&ruleset.Map{Name: "in/m3", Keys: []ruleset.Field{ruleset.Saddr6, ruleset.Daddr6, ruleset.L4Proto, ruleset.Dport}, Size: 10, Elems: []ruleset.MapElem{
		key(jump, ip("2001:db8::"), ip("2001:db8::1"), tcp, port(22)), key(drop, ip("2001:db8:1::"), ip("2001:db8::1"), udp, port(53)),
	}}, ip("ffff:ffff:ffff::"), nil, nil, port(0xfff0))
	add(&ruleset.Map{Name: "empty", Keys: []ruleset.Field{ruleset.Daddr6, ruleset.Sport}})
	add(&ruleset.Map{Name: "masked", Keys: []ruleset.Field{ruleset.Daddr4}, Elems: []ruleset.MapElem{key(jump, ip("10.0.0.0")), key(drop, ip("10.1.0.0"))}}, ip("255.255.0.0"))
	add(&ruleset.Map{Name: "ports", Keys: []ruleset.Field{ruleset.Dport}, Interval: true, Elems: []ruleset.MapElem{
		between(jump, port(0), port(21)), between(drop, port(22), port(22)), between(accept, port(23), port(79)),
		between(leave, port(1024), port(2047)), between(back, port(60000), port(65535)),
	}})
	add(&ruleset.Map{Name: "nets4", Keys: []ruleset.Field{ruleset.Daddr4}, Interval: true, Elems: []ruleset.MapElem{
		between(drop, ip("10.0.0.0"), ip("10.255.255.255")), between(jump, ip("192.0.2.1"), ip("192.0.2.5")),
	}})
	add(&ruleset.Map{Name: "nets6", Keys: []ruleset.Field{ruleset.Saddr6}, Interval: true, Elems: []ruleset.MapElem{
		between(drop, ip("::"), ip("::ffff")), between(jump, ip("ff00::"), ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
	}}, ip("ffff:ffff:ffff:ffff::"))
	for _, f := range ruleset.Fields() {
		if f == ruleset.Time || f == ruleset.HopLimit {
			continue
		}
		a, b, c := sample(f)
		mark := ruleset.MetaMark.Value(0x1020304)
		pad := make([]byte, f.Size()-len(a))
		padC := make([]byte, f.Size()-len(c))
		add(&ruleset.Map{Name: fmt.Sprintf("one/%d", f), Keys: []ruleset.Field{f}, Elems: []ruleset.MapElem{key(jump, a, pad), key(drop, b, pad), key(accept, c, padC)}})
		add(&ruleset.Map{Name: fmt.Sprintf("pair/%d", f), Keys: []ruleset.Field{f, ruleset.MetaMark, f}, Elems: []ruleset.MapElem{
			key(jump, a, pad, mark, c, padC), key(drop, c, padC, mark, a, pad),
		}}, nil, ruleset.MetaMark.Value(0xffffff0))
	}
	return maps, rules
}

func key(v ruleset.Verdict, parts ...[]byte) ruleset.MapElem {
	k := slices.Concat(parts...)
	return between(v, k, k)
}

func between(v ruleset.Verdict, lo, hi []byte) ruleset.MapElem {
	return ruleset.MapElem{Interval: ruleset.Interval{Lo: lo, Hi: hi}, Verdict: v}
}

// large is a rule set with a map of n elements, each of which leads to one of two chains.
func large(n int) *ruleset.Ruleset {
	m := &ruleset.Map{Name: "in/m1", Keys: []ruleset.Field{ruleset.Saddr4, ruleset.L4Proto, ruleset.Dport}, Size: uint32(n + n/2)}
	for i := range n {
		to := ruleset.Verdict{Kind: ruleset.Jump, Chain: []string{"in.a", "in.b"}[i%2]}
		m.Elems = append(m.Elems, key(to, binary.BigEndian.AppendUint32(nil, 10<<24+uint32(i)), []byte{6}, []byte{0, 22}))
	}
	ref := ruleset.VMapRef{Map: m.Name}
	for _, f := range m.Keys {
		ref.Keys = append(ref.Keys, ruleset.Key{Field: f})
	}
	return &ruleset.Ruleset{Maps: []*ruleset.Map{m}, Chains: []*ruleset.Chain{
		{Name: "in.a", Rules: []*ruleset.Rule{{Exprs: []ruleset.Expr{ruleset.Verdict{Kind: ruleset.Accept}}}}},
		{Name: "in.b", Rules: []*ruleset.Rule{{Exprs: []ruleset.Expr{ruleset.Verdict{Kind: ruleset.Drop}}}}},
		{Name: "input", Hook: &ruleset.Hook{Point: ruleset.Input}, Rules: []*ruleset.Rule{
			{Exprs: append(needs(ruleset.Saddr4), ref)},
		}},
	}}
}

// edited is a rule set with another first map.
func edited(r *ruleset.Ruleset, edit func(*ruleset.Map)) *ruleset.Ruleset {
	out, m := *r, *r.Maps[0]
	m.Elems = slices.Clone(m.Elems)
	edit(&m)
	out.Maps = []*ruleset.Map{&m}
	return &out
}

// TestLargeMap loads a map, changes an element of it, and has another Conn read it back.
func TestLargeMap(t *testing.T) {
	nstest.Enter(t)
	opt := Options{Without: Features{Persist: true}}
	c := dial(t, opt)
	first := large(30_000)
	apply(t, c, first)
	holds(t, dial(t, opt), first)
	second := edited(first, func(m *ruleset.Map) { m.Elems[15_000].Verdict = ruleset.Verdict{Kind: ruleset.Return} })
	ch := apply(t, c, second)
	if diff := cmp.Diff(Counts{EntriesAdded: 1, EntriesRemoved: 1}, ch.Counts()); diff != "" {
		t.Errorf("one element of many (-want +got):\n%s", diff)
	}
	b := newBatch(ruleset.TableName, 1, 0)
	for _, o := range ch.ops {
		o.encode(b, nil)
	}
	if len(b.buf) > 1000 {
		t.Errorf("one element of many takes %d bytes", len(b.buf))
	}
	holds(t, dial(t, opt), second)
}

func TestMapDescription(t *testing.T) {
	lines := []string{"make table inet ringwall", "add chain in.a", "add chain in.b", "add chain input",
		"add map in/m1", "add 3 entries of map in/m1", "add rule in chain in.a", "add rule in chain in.b", "add rule in chain input"}
	ch := Diff(nil, large(3))
	if diff := cmp.Diff(lines, ch.Lines()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got, want := ch.String(), "table made anew; 3 chains added; 3 rules added; 1 map added; 3 entries added"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestBusyMapsComeFirst has maps that many rules ask made before others, each with its elements, and those that are there edited first.
func TestBusyMapsComeFirst(t *testing.T) {
	table := func(elems int, asks ...string) *ruleset.Ruleset {
		rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{{Name: "in.a"}, {Name: "in"}}}
		for _, name := range []string{"m0", "m1", "m2", "m3"} {
			m := &ruleset.Map{Name: name, Keys: []ruleset.Field{ruleset.Saddr4}}
			for i := range elems {
				m.Elems = append(m.Elems, key(ruleset.Verdict{Kind: ruleset.Goto, Chain: "in.a"}, ip(fmt.Sprintf("10.0.0.%d", i))))
			}
			rs.Maps = append(rs.Maps, m)
		}
		for _, name := range asks {
			rs.Chains[1].Rules = append(rs.Chains[1].Rules, &ruleset.Rule{
				Exprs: append(needs(ruleset.Saddr4), ruleset.VMapRef{Map: name, Keys: []ruleset.Key{{Field: ruleset.Saddr4}}})})
		}
		return rs
	}
	maps := func(c *Change) (lines []string) {
		for _, l := range c.Lines() {
			if strings.Contains(l, "map ") {
				lines = append(lines, l)
			}
		}
		return lines
	}
	all := table(2, "m0", "m1", "m2", "m1", "m2", "m2")
	want := []string{
		"add map m2", "add 2 entries of map m2", "add map m1", "add 2 entries of map m1",
		"add map m0", "add 2 entries of map m0", "add map m3", "add 2 entries of map m3",
	}
	if diff := cmp.Diff(want, maps(Diff(nil, all))); diff != "" {
		t.Errorf("a new table (-want +got):\n%s", diff)
	}
	some := table(1, "m3")
	some.Maps = some.Maps[3:]
	want = append([]string{"add 1 entry of map m3"}, want[:6]...)
	if diff := cmp.Diff(want, maps(Diff(some, all))); diff != "" {
		t.Errorf("beside a map that stays (-want +got):\n%s", diff)
	}
}

// TestMapsChangeWithChains changes what maps are and hold in one transaction with the chains that they lead to.
func TestMapsChangeWithChains(t *testing.T) {
	nstest.Enter(t)
	opt := Options{Without: Features{Persist: true}}
	c := dial(t, opt)
	base := large(4)
	for _, step := range []struct {
		name  string
		to    *ruleset.Ruleset
		lines []string
	}{
		{"a chain that elements lead to goes", func() *ruleset.Ruleset {
			r := edited(base, func(m *ruleset.Map) { m.Elems = []ruleset.MapElem{m.Elems[0], m.Elems[2]} })
			r.Chains = []*ruleset.Chain{base.Chains[0], base.Chains[2]}
			return r
		}(), []string{"flush chain in.b", "delete 2 entries of map in/m1", "delete chain in.b"}},
		{"and comes back", base, []string{"add chain in.b", "add 2 entries of map in/m1", "add rule in chain in.b"}},
		{"the map has another size", edited(base, func(m *ruleset.Map) { m.Size = 99 }), []string{
			"flush chain input", "delete map in/m1", "add map in/m1", "add 4 entries of map in/m1", "add rule in chain input"}},
		{"a map goes, and a chain with it", func() *ruleset.Ruleset {
			r := *base
			r.Maps = nil
			r.Chains = []*ruleset.Chain{{Name: "in.a", Rules: base.Chains[0].Rules}, {Name: "input", Hook: base.Chains[2].Hook}}
			return &r
		}(), []string{"flush chain in.b", "flush chain input", "delete map in/m1", "delete chain in.b"}},
		{"a chain with rules and a map of other keys", func() *ruleset.Ruleset {
			r := edited(base, func(m *ruleset.Map) {
				m.Keys = []ruleset.Field{ruleset.Daddr4}
				m.Elems = []ruleset.MapElem{key(ruleset.Verdict{Kind: ruleset.Goto, Chain: "in.b"}, ip("10.0.0.1"))}
			})
			r.Chains = []*ruleset.Chain{base.Chains[0], base.Chains[1], {Name: "input", Hook: base.Chains[2].Hook, Rules: []*ruleset.Rule{
				{Exprs: append(needs(ruleset.Daddr4), ruleset.VMapRef{Map: "in/m1", Keys: []ruleset.Key{{Field: ruleset.Daddr4}}})},
			}}}
			return r
		}(), []string{"add chain in.b", "add map in/m1", "add 1 entry of map in/m1", "add rule in chain in.b", "add rule in chain input"}},
	} {
		if c.known == nil {
			apply(t, c, base)
		}
		ch := apply(t, c, step.to)
		if diff := cmp.Diff(step.lines, ch.Lines()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		holds(t, dial(t, opt), step.to)
	}
}

// TestChainOfMapIsMadeAnew has a base chain become a regular one that an element leads to, and back.
func TestChainOfMapIsMadeAnew(t *testing.T) {
	nstest.Enter(t)
	opt := Options{Without: Features{Persist: true}}
	c := dial(t, opt)
	regular := large(4)
	based := edited(regular, func(m *ruleset.Map) { m.Elems = []ruleset.MapElem{m.Elems[0], m.Elems[2]} })
	based.Chains = []*ruleset.Chain{regular.Chains[0], {Name: "in.b", Hook: &ruleset.Hook{Point: ruleset.Output}, Rules: regular.Chains[1].Rules}, regular.Chains[2]}
	for range 2 {
		for _, r := range []*ruleset.Ruleset{regular, based} {
			apply(t, c, r)
			holds(t, dial(t, opt), r)
		}
	}
}

// TestSameFieldsOfAnotherPlace has a map's rule look up the destination instead of the source: the map stays.
func TestSameFieldsOfAnotherPlace(t *testing.T) {
	a, b := large(4), large(4)
	b.Maps[0].Keys[0] = ruleset.Daddr4
	ref := b.Chains[2].Rules[0].Exprs[1].(ruleset.VMapRef)
	ref.Keys[0].Field = ruleset.Daddr4
	want := []string{"flush chain input", "add rule in chain input"}
	if diff := cmp.Diff(want, Diff(a, b).Lines()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestPacketsInMaps sends packets over the loopback through maps whose keys have to be turned for the kernel.
func TestPacketsInMaps(t *testing.T) {
	ns := nstest.Enter(t)
	ns.Run(t, "ip", "address", "add", "2001:db8::1/128", "dev", "lo")
	c := dial(t, Options{})
	const pings = 3
	icmp, icmp6 := []byte{1}, []byte{58}
	lo := append([]byte("lo"), make([]byte, 14)...)
	count := func(name string) ruleset.Verdict { return ruleset.Verdict{Kind: ruleset.Jump, Chain: name} }
	v4, v6 := needs(ruleset.Saddr4), needs(ruleset.Saddr6)
	r := new(ruleset.Ruleset)
	want := make(map[string]uint64)
	output := &ruleset.Chain{Name: "output", Hook: &ruleset.Hook{Point: ruleset.Output}}
	input := &ruleset.Chain{Name: "input", Hook: &ruleset.Hook{Point: ruleset.Input}}
	look := func(in *ruleset.Chain, name string, packets uint64, before []ruleset.Expr, keys []ruleset.Key, elems ...ruleset.MapElem) {
		want[name] = packets
		m := &ruleset.Map{Name: name, Elems: elems, Size: 16}
		for _, k := range keys {
			m.Keys = append(m.Keys, k.Field)
		}
		m.Interval = !bytes.Equal(elems[0].Lo, elems[0].Hi)
		r.Maps = append(r.Maps, m)
		r.Counters = append(r.Counters, ruleset.Counter{Name: name})
		r.Chains = append(r.Chains, &ruleset.Chain{Name: name, Rules: []*ruleset.Rule{{Exprs: []ruleset.Expr{ruleset.Count{Counter: name}}}}})
		in.Rules = append(in.Rules, &ruleset.Rule{Exprs: append(slices.Clone(before), ruleset.VMapRef{Map: name, Keys: keys})})
	}
	saddr := ruleset.Key{Field: ruleset.Saddr4, Mask: ip("255.255.255.0")}
	proto, typ := ruleset.Key{Field: ruleset.L4Proto}, ruleset.Key{Field: ruleset.ICMPType}
	isICMP := append(slices.Clone(v4), needs(ruleset.ICMPType)...)
	// Requests and replies both pass both chains.
	const all = 2 * pings
	look(input, "requests", pings, isICMP, []ruleset.Key{saddr, proto, typ}, key(count("requests"), ip("127.0.0.0"), icmp, []byte{8}))
	look(input, "other-net", 0, isICMP, []ruleset.Key{saddr, proto, typ}, key(count("other-net"), ip("127.0.1.0"), icmp, []byte{8}))
	look(input, "no-mask", 0, isICMP, []ruleset.Key{{Field: ruleset.Saddr4}, proto, typ}, key(count("no-mask"), ip("127.0.0.0"), icmp, []byte{8}))
	look(input, "name", all, v4, []ruleset.Key{{Field: ruleset.IIfName}, {Field: ruleset.Saddr4}}, key(count("name"), lo, ip("127.0.0.1")))
	look(input, "mark", all, v4, []ruleset.Key{{Field: ruleset.CtState, Mask: ruleset.CtState.Value(ruleset.StateUntracked)}, {Field: ruleset.CtDirection, Mask: []byte{0xfe}}, {Field: ruleset.FibDaddrType}, {Field: ruleset.IIfType}},
		key(count("mark"), ruleset.CtState.Value(0), []byte{0}, ruleset.FibDaddrType.Value(ruleset.TypeLocal), ruleset.IIfType.Value(772)))
	look(input, "alone", all, v4, []ruleset.Key{{Field: ruleset.IIfType}}, key(count("alone"), ruleset.IIfType.Value(772)))
	look(input, "range", all, v4, []ruleset.Key{{Field: ruleset.Daddr4}}, between(count("range"), ip("127.0.0.0"), ip("127.0.0.1")))
	look(input, "range-below", 0, v4, []ruleset.Key{{Field: ruleset.Daddr4}}, between(count("range-below"), ip("0.0.0.0"), ip("127.0.0.0")))
	look(output, "user", pings, v4, []ruleset.Key{{Field: ruleset.SkUID}, proto}, key(count("user"), ruleset.SkUID.Value(0), icmp))
	look(input, "long", all, v6, []ruleset.Key{{Field: ruleset.Saddr6, Mask: ip("ffff:ffff::")}, {Field: ruleset.Daddr6}, proto, {Field: ruleset.OIfName}},
		key(count("long"), ip("2001:db8::"), ip("2001:db8::1"), icmp6, make([]byte, 16)))
	// Whoever went to a chain and came back is still there for the last rule.
	look(input, "last", all, v4, []ruleset.Key{proto}, key(count("last"), icmp))
	r.Chains = append(r.Chains, input, output)
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	apply(t, c, r)
	for _, addr := range []string{"127.0.0.1", "2001:db8::1"} {
		if n := ns.Ping(t, addr, pings, 5*time.Second); n != pings {
			t.Fatalf("%s: %d answers", addr, n)
		}
	}
	got := counters(t, c)
	for name, packets := range want {
		if got[name].Packets != packets {
			t.Errorf("%s counted %d packets, want %d", name, got[name].Packets, packets)
		}
	}
}

// TestMapVerdictsOfPackets has a map let packets through, drop them, and return from a chain.
func TestMapVerdictsOfPackets(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{})
	for _, try := range []struct {
		verdict ruleset.Verdict
		answers int
	}{
		{ruleset.Verdict{Kind: ruleset.Accept}, 1},
		{ruleset.Verdict{Kind: ruleset.Drop}, 0},
		{ruleset.Verdict{Kind: ruleset.Return}, 1}, // to where the chain was jumped to from
		{ruleset.Verdict{Kind: ruleset.Jump, Chain: "nothing"}, 0},
		{ruleset.Verdict{Kind: ruleset.Goto, Chain: "nothing"}, 1},
	} {
		m := &ruleset.Map{Name: "nets", Keys: []ruleset.Field{ruleset.Saddr4, ruleset.L4Proto}, Elems: []ruleset.MapElem{key(try.verdict, ip("127.0.0.0"), []byte{1})}}
		ref := ruleset.VMapRef{Map: "nets", Keys: []ruleset.Key{{Field: ruleset.Saddr4, Mask: ip("255.0.0.0")}, {Field: ruleset.L4Proto}}}
		rule := func(e ...ruleset.Expr) *ruleset.Rule { return &ruleset.Rule{Exprs: e} }
		apply(t, c, &ruleset.Ruleset{Maps: []*ruleset.Map{m}, Chains: []*ruleset.Chain{
			{Name: "nothing"},
			{Name: "classify", Rules: []*ruleset.Rule{rule(append(needs(ruleset.Saddr4), ref)...), rule(ruleset.Verdict{Kind: ruleset.Drop})}},
			{Name: "input", Hook: &ruleset.Hook{Point: ruleset.Input, Drop: true}, Rules: []*ruleset.Rule{
				rule(ruleset.Verdict{Kind: ruleset.Jump, Chain: "classify"}), rule(ruleset.Verdict{Kind: ruleset.Accept}),
			}},
		}})
		if got := ns.Ping(t, "127.0.0.1", 1, time.Second); got != try.answers {
			t.Errorf("%v: %d answers, want %d", try.verdict, got, try.answers)
		}
	}
}
