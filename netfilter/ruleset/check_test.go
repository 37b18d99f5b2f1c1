package ruleset

import (
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
		{"the comment is longer", func(r *Ruleset) { r.Chains[1].Rules[0].Comment = long }},
		{"the log prefix is longer", rule(Log{Prefix: long})},
		{"has elements", func(r *Ruleset) { r.Sets[0].Elems4 = r.Sets[0].Elems4.Complement() }},
		{"other family", func(r *Ruleset) { r.Sets[1].Elems6 = r.Sets[1].Elems6.Complement() }},
		{"leads back to itself", func(r *Ruleset) { r.Chains[1].Rules = []*Rule{{Exprs: []Expr{Verdict{Jump, "there"}}}} }},
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
