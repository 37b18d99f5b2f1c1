package cost_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// foretold enforces a workload as Ringwall does, but for how a packet finds its rule: by one lookup of all that tells packets apart, in
// maps of just those that are measured. What a packet costs then is the base and its rule's own chain, and no classifier is cheaper.
func foretold(t testing.TB, h *host, w *workload.Workload) {
	t.Helper()
	p := w.Policy()
	rs, err := compile.Compile(p, compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	root, family := "in/4", foretoldFamily{ruleset.Saddr4, ruleset.Daddr4, 2}
	if w.Shape == workload.Six {
		root, family = "in/6", foretoldFamily{ruleset.Saddr6, ruleset.Daddr6, 10}
	}
	maps := family.maps(w, p)
	rs.Maps = nil
	rs.Chains = slices.DeleteFunc(rs.Chains, func(c *ruleset.Chain) bool { return strings.HasPrefix(c.Name, root+"/") })
	at := slices.IndexFunc(rs.Chains, func(c *ruleset.Chain) bool { return c.Name == root })
	if at < 0 {
		t.Fatalf("%d rules of the shape %s are not looked up", len(w.Rules), w.Shape)
	}
	rs.Chains[at].Rules = nil
	for _, m := range maps {
		if len(m.Elems) == 0 {
			continue
		}
		ref := ruleset.VMapRef{Map: m.Name}
		for _, f := range m.Keys {
			ref.Keys = append(ref.Keys, ruleset.Key{Field: f})
		}
		rs.Maps = append(rs.Maps, m)
		rs.Chains[at].Rules = append(rs.Chains[at].Rules, &ruleset.Rule{
			Exprs: []ruleset.Expr{ruleset.Cmp{Field: ruleset.NFProto, Value: []byte{family.number}}, ref}})
	}
	h.apply(t, rs)
}

type foretoldFamily struct {
	saddr, daddr ruleset.Field
	number       byte
}

// maps is the measured packets of protocols that have ports, and of others, each with the chain of the rule that decides it.
func (f foretoldFamily) maps(w *workload.Workload, p *policy.Policy) []*ruleset.Map {
	ports := &ruleset.Map{Name: "ports", Keys: []ruleset.Field{f.saddr, f.daddr, ruleset.L4Proto, ruleset.Dport, ruleset.Sport}}
	other := &ruleset.Map{Name: "other", Keys: ports.Keys[:3:3]}
	packets := w.Packets(traceLength, 1)
	for i := range packets {
		q := &packets[i]
		rule := w.Decide(q)
		if rule < 0 {
			continue
		}
		key := slices.Concat(q.Src.AsSlice(), q.Dst.AsSlice(), []byte{q.Proto})
		m := other
		if policy.HasPorts(q.Proto) {
			m = ports
			key = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(key, q.Dport), q.Sport)
		}
		to := ruleset.Verdict{Kind: ruleset.Goto, Chain: compile.ChainName(p.Lists[policy.In][rule])}
		m.Elems = append(m.Elems, ruleset.MapElem{Interval: ruleset.Interval{Lo: key, Hi: key}, Verdict: to})
	}
	for _, m := range []*ruleset.Map{ports, other} {
		slices.SortFunc(m.Elems, func(x, y ruleset.MapElem) int { return bytes.Compare(x.Lo, y.Lo) })
		m.Elems = slices.CompactFunc(m.Elems, func(x, y ruleset.MapElem) bool { return bytes.Equal(x.Lo, y.Lo) })
		m.Size = uint32(2 * len(m.Elems))
	}
	return []*ruleset.Map{ports, other}
}
