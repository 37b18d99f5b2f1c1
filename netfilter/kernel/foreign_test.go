package kernel

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"ringwall/netfilter/nstest"
)

func TestTables(t *testing.T) {
	ns := nstest.Enter(t)
	apply(t, dial(t, Options{}), small("in.ssh"))
	if out, err := ns.Input(t, `
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state vmap { established : accept, invalid : drop }
		tcp dport { 22, 80 } jump admitted
		iifname "lo" accept
	}
	chain admitted { ip saddr 192.0.2.1 reject
		tcp dport vmap @ports
		counter
	}
	map ports { type inet_service : verdict; elements = { 22 : goto other, 80 : drop
}
}
	chain other {
		return
	}
}
table ip nat {
	chain pre { type nat hook prerouting priority dstnat; tcp dport 8080 dnat to 10.0.0.1:80; tcp dport 81 redirect to :82; }
	chain post { type nat hook postrouting priority srcnat; masquerade; ip daddr 10.0.0.9 snat to 10.0.0.7; }
}
table ip6 raw { chain pre { type filter hook prerouting priority raw
 udp dport 53 notrack

}
}
table bridge b { chain f { type filter hook forward priority -200
 drop

}
}
table netdev d { chain i { type filter hook ingress device "lo" priority 5; fwd to "lo"

}
}
table inet sleeps { flags dormant; chain c { type filter hook forward priority 0; policy drop;
}
}
`, "nft", "-f", "-"); err != nil {
		t.Fatal(err, out)
	}
	got, err := Tables(t.Context(), "ringwall")
	if err != nil {
		t.Fatal(err)
	}
	hook := func(point, kind string, priority int32) *TableHook {
		return &TableHook{Point: point, Type: kind, Priority: priority}
	}
	rules := func(deeds ...[]Deed) (out []TableRule) {
		for _, d := range deeds {
			out = append(out, TableRule{Does: d})
		}
		return out
	}
	one := func(k DeedKind) []Deed { return []Deed{{Kind: k}} }
	input := hook("input", "filter", 0)
	input.Drop = true
	ingress := hook("ingress", "filter", 5)
	ingress.Devices = []string{"lo"}
	sleeping := hook("forward", "filter", 0)
	sleeping.Drop = true
	want := []Table{
		{Family: "inet", Name: "filter", Chains: []TableChain{
			{Name: "input", Hook: input, Rules: rules([]Deed{{Kind: Drop}, {Kind: Accept}}, []Deed{{Jump, "admitted"}}, one(Accept))},
			{Name: "admitted", Rules: rules(one(Reject), []Deed{{Kind: Drop}, {Goto, "other"}}, nil)},
			{Name: "other", Rules: rules(nil)},
		}},
		{Family: "ip", Name: "nat", Chains: []TableChain{
			{Name: "pre", Hook: hook("prerouting", "nat", -100), Rules: rules(one(DNAT), one(DNAT))},
			{Name: "post", Hook: hook("postrouting", "nat", 100), Rules: rules(one(SNAT), one(SNAT))},
		}},
		{Family: "ip6", Name: "raw", Chains: []TableChain{{Name: "pre", Hook: hook("prerouting", "filter", -300), Rules: rules(one(NoTrack))}}},
		{Family: "bridge", Name: "b", Chains: []TableChain{{Name: "f", Hook: hook("forward", "filter", -200), Rules: rules(one(Drop))}}},
		{Family: "netdev", Name: "d", Chains: []TableChain{{Name: "i", Hook: ingress, Rules: rules(one(Forward))}}},
		{Family: "inet", Name: "sleeps", Dormant: true, Chains: []TableChain{{Name: "c", Hook: sleeping}}},
	}
	if len(got) != len(want)+1 || got[0].Name != "ringwall" || len(got[0].Chains) == 0 || got[0].Chains[0].Rules != nil {
		t.Fatalf("%d tables: %+v", len(got), got)
	}
	for _, table := range got[1:] {
		for i := range table.Chains {
			for j := range table.Chains[i].Rules {
				if table.Chains[i].Rules[j].Handle == 0 {
					t.Errorf("table %s: a rule without a handle", table.Name)
				}
				table.Chains[i].Rules[j].Handle = 0
			}
		}
	}
	for _, w := range want { // in any order of the families
		for _, g := range got {
			if g.Name == w.Name && g.Family == w.Family {
				if diff := cmp.Diff(w, g); diff != "" {
					t.Errorf("table %s %s: %s", w.Family, w.Name, diff)
				}
			}
		}
	}
}
