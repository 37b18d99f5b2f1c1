package ruleset

import (
	"slices"
	"strings"
	"testing"
)

func TestCheckFindsMistakes(t *testing.T) {
	rule := func(e ...Expr) func(*Ruleset) {
		return func(r *Ruleset) { r.Chains[0].Rules = []*Rule{{Exprs: e}} }
	}
	long := strings.Repeat("x", 129)
	tests := []struct {
		want   string
		change func(*Ruleset)
	}{
		{"", func(*Ruleset) {}},
		{"chain input: it is there twice", func(r *Ruleset) { r.Chains = append(r.Chains, r.Chains[0]) }},
		{"counter hits: it is there twice", func(r *Ruleset) { r.Counters = append(r.Counters, r.Counters[0]) }},
		{"does not read such a name", func(r *Ruleset) { r.Chains[1].Name = "in.ssh~2" }},
		{"does not read such a name", func(r *Ruleset) { r.Sets[0].Name = "4net" }},
		{"there is no chain", rule(Verdict{Jump, "nowhere"})},
		{"is a base chain", rule(Verdict{Goto, "input"})},
		{"names chain", rule(Verdict{Accept, "there"})},
		{"there is no counter", rule(Count{"misses"})},
		{"there is no limit", rule(LimitRef{"fast"})},
		{"there is no set", rule(needIPv4.expr(), Lookup{Field: Saddr4, Set: "net5"})},
		{"cannot hold ip6 saddr", rule(needIPv6.expr(), Lookup{Field: Saddr6, Set: "net4"})},
		{"ip saddr without meta nfproto", rule(Lookup{Field: Saddr4, Set: "net4"})},
		{"th dport without meta l4proto", rule(Cmp{Field: L4Proto, Value: []byte{1}}, Cmp{Field: Dport, Value: []byte{0, 1}})},
		{"th dport without meta l4proto", rule(Cmp{Field: L4Proto, Op: Ne, Value: []byte{6}}, Cmp{Field: Dport, Value: []byte{0, 1}})},
		{"th dport without meta l4proto", rule(In{Field: L4Proto, Elems: []Interval{{[]byte{5}, []byte{6}}}}, Cmp{Field: Dport, Value: []byte{0, 1}})},
		{"a value of 1 bytes", rule(Cmp{Field: MetaMark, Value: []byte{1}})},
		{"a mask of 1 bytes", rule(Cmp{Field: MetaMark, Mask: []byte{1}, Value: MetaMark.Value(1)})},
		{"has no wildcard", rule(Cmp{Field: IIfName, Wildcard: true})},
		{"a value of 16 bytes", rule(Cmp{Field: IIfName, Value: []byte("abcdefghijklmnop")})},
		{"without elements", rule(In{Field: MetaMark})},
		{"out of order", rule(In{Field: L4Proto, Elems: []Interval{{[]byte{7}, []byte{7}}, {[]byte{6}, []byte{6}}}})},
		{"out of order", rule(In{Field: L4Proto, Elems: []Interval{{[]byte{7}, []byte{6}}}})},
		{"something follows its end", rule(Verdict{Kind: Accept}, Count{"hits"})},
		{"it says nothing", rule()},
		{"label has no bit", rule(SetLabel{128})},
		{"no rate", rule(Limit{Rate{Packets: 1, Unit: 7, Burst: 1}})},
		{"cannot add to set", rule(needIPv4.expr(), Meter{Field: Saddr4, Set: "net4", Conns: &ConnLimit{1}})},
		{"needs either", rule(needIPv4.expr(), Meter{Field: Saddr4, Set: "meter4"})},
		{"there is no map", rule(VMapRef{Map: "nowhere"})},
		{"without meta nfproto", rule(needPorts.expr(), VMapRef{Map: "services", Keys: serviceKeys()})},
		{"without meta nfproto", rule(VMapRef{Map: "services", Keys: serviceKeys()})},
		{"", rule(needIPv4.expr(), VMapRef{Map: "services", Keys: serviceKeys()})},
		{"th dport without meta l4proto", func(r *Ruleset) {
			rule(needIPv4.expr(), VMapRef{Map: "services", Keys: serviceKeys()})(r)
			r.Maps[0].Elems = append(r.Maps[0].Elems, mapElem(Verdict{Kind: Drop}, 10, 1, 0, 0, 132, 0, 1), mapElem(Verdict{Kind: Drop}, 10, 2, 0, 0, 1, 0, 1))
		}},
		{"th dport without meta l4proto", func(r *Ruleset) {
			keys := serviceKeys()
			keys[1].Mask = []byte{255}
			rule(needIPv4.expr(), VMapRef{Map: "services", Keys: keys})(r)
		}},
		{"th dport without meta l4proto", rule(VMapRef{Map: "ports", Keys: []Key{{Field: Dport}}})},
		{"map services is of", rule(needIPv4.expr(), needPorts.expr(), VMapRef{Map: "services", Keys: serviceKeys()[:2]})},
		{"map services is of", rule(needIPv4.expr(), needPorts.expr(), VMapRef{Map: "services", Keys: append(serviceKeys()[:2], Key{Field: Sport})})},
		{"a mask of 1 bytes", rule(needIPv4.expr(), needPorts.expr(), VMapRef{Map: "services", Keys: append([]Key{{Saddr4, []byte{1}}}, serviceKeys()[1:]...)})},
		{"map net4: it is there twice", func(r *Ruleset) { r.Maps[0].Name = "net4" }},
		{"map ports: it is there twice", func(r *Ruleset) { r.Maps[0].Name = "ports" }},
		{"cannot have the key", func(r *Ruleset) { r.Maps[0].Keys = nil }},
		{"cannot have the key", func(r *Ruleset) { r.Maps[0].Keys = []Field{HopLimit} }},
		{"cannot have the key", func(r *Ruleset) { r.Maps[0].Keys = []Field{L4Proto, L4Proto, L4Proto, L4Proto, L4Proto, L4Proto} }},
		{"cannot have the key", func(r *Ruleset) { r.Maps[0].Keys = []Field{Saddr6, Daddr6, IIfName, OIfName, L4Proto} }},
		{"cannot have ranges", func(r *Ruleset) { r.Maps[0].Interval = true }},
		{"cannot have ranges", func(r *Ruleset) { r.Maps[1].Keys = []Field{MetaMark} }},
		{"cannot have ranges", func(r *Ruleset) { r.Maps[1].Keys = []Field{IIfName} }},
		{"map services: it has 2 elements and room for 1", func(r *Ruleset) { r.Maps[0].Size = 1 }},
		{"", func(r *Ruleset) { r.Maps[0].Size = 2 }},
		{"a key of 6 and 6 bytes where it takes 7", func(r *Ruleset) { r.Maps[0].Elems = []MapElem{mapElem(Verdict{}, 1, 2, 3, 4, 5, 6)} }},
		{"a range in a map of single keys", func(r *Ruleset) { r.Maps[1].Interval = false }},
		{"map services: its elements are out of order", func(r *Ruleset) { slices.Reverse(r.Maps[0].Elems) }},
		{"map ports: its elements are out of order", func(r *Ruleset) { r.Maps[1].Elems[0].Hi = []byte{0, 22} }},
		{"map ports: there is no chain", func(r *Ruleset) { r.Maps[1].Elems[0].Verdict = Verdict{Jump, "nowhere"} }},
		{"map ports: chain input is a base chain", func(r *Ruleset) { r.Maps[1].Elems[0].Verdict = Verdict{Jump, "input"} }},
		{"the comment is longer", func(r *Ruleset) { r.Chains[1].Rules[0].Comment = long }},
		{"the log prefix is longer", rule(Log{Prefix: long})},
		{"has elements", func(r *Ruleset) { r.Sets[0].Elems4 = r.Sets[0].Elems4.Complement() }},
		{"other family", func(r *Ruleset) { r.Sets[1].Elems6 = r.Sets[1].Elems6.Complement() }},
		{"leads back to itself", func(r *Ruleset) { r.Chains[1].Rules = []*Rule{{Exprs: []Expr{Verdict{Jump, "there"}}}} }},
		{"leads back to itself", func(r *Ruleset) { byMap(r.Chains[1]) }},
		{"17 chains follow", func(r *Ruleset) {
			deep(r, 14)
			byMap(r.Chains[len(r.Chains)-1]) // to there
			r.Chains[1].Rules = []*Rule{{Exprs: []Expr{Verdict{Jump, "end"}}}}
			r.Chains = append(r.Chains, &Chain{Name: "end"})
		}},
		{"", func(r *Ruleset) {
			deep(r, 14)
			byMap(r.Chains[len(r.Chains)-1])
		}},
		{"17 chains follow", func(r *Ruleset) { deep(r, 16) }},
		{"", func(r *Ruleset) { deep(r, 15) }},
	}
	for _, tt := range tests {
		r := around(&Rule{Exprs: []Expr{Verdict{Kind: Accept}}})
		tt.change(r)
		err := r.Check()
		switch {
		case tt.want == "" && err != nil:
			t.Errorf("of a good rule set: %v", err)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}

// serviceKeys is the keys of the map of services.
func serviceKeys() []Key { return []Key{{Field: Saddr4}, {Field: L4Proto}, {Field: Dport}} }

// byMap sends a chain on to the chain there.
func byMap(c *Chain) {
	c.Rules = []*Rule{{Exprs: []Expr{needPorts.expr(), VMapRef{Map: "ports", Keys: []Key{{Field: Dport}}}}}}
}

// deep puts so many chains one behind the other after the base chain.
func deep(r *Ruleset, n int) {
	names := []string{"input"}
	for i := range n {
		name := "level" + strings.Repeat("x", i)
		r.Chains = append(r.Chains, &Chain{Name: name})
		names = append(names, name)
	}
	for _, c := range r.Chains {
		for i, name := range names[:len(names)-1] {
			if c.Name == name {
				c.Rules = []*Rule{{Exprs: []Expr{Verdict{Jump, names[i+1]}}}}
			}
		}
	}
}
