package neighbours

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
)

func own(name string) bool { return name == "ringwall" }

// around is the chains of a rule set of nft's, beside a table that looks like Ringwall's.
func around(t *testing.T, text string) []Chain {
	t.Helper()
	ns := nstest.Enter(t)
	const ringwall = `table inet ringwall {
	chain pre { type filter hook prerouting priority -110; policy drop; }
	chain input { type filter hook input priority 0; policy drop; }
	chain forward { type filter hook forward priority -10; policy drop; }
	chain output { type filter hook output priority -110; policy drop; }
}
`
	if out, err := ns.Input(t, ringwall+text, "nft", "-f", "-"); err != nil {
		t.Fatal(err, out)
	}
	tables, err := kernel.Tables(t.Context(), "ringwall")
	if err != nil {
		t.Fatal(err)
	}
	return Chains(tables, own)
}

// list is chains on a line each.
func list(chains []Chain) (out []string) {
	for _, c := range chains {
		line := fmt.Sprintf("%s %d %s %s", c.Hook, c.Priority, c.Table, c.Name)
		if c.Own {
			line += " own"
		}
		for _, d := range c.Refuses {
			line += "; " + d.String()
		}
		for _, d := range c.Past {
			line += "; past: " + d.String()
		}
		out = append(out, line)
	}
	return out
}

func TestOrderAndDeeds(t *testing.T) {
	got := list(around(t, `
table ip filter {
	chain INPUT {
		type filter hook input priority 0; policy accept;
		jump one
	}
	chain one {
		goto two
	}
	chain two {
		drop
		drop
		tcp dport 1 reject
	}
	chain unreached {
		drop
	}
	chain OUTPUT { type filter hook output priority -150; policy accept; }
	chain FORWARD { type filter hook forward priority 0; policy drop; }
}
table inet nat {
	chain early {
		type nat hook prerouting priority -150
		tcp dport 81 redirect to :80
	}
	chain usual {
		type nat hook prerouting priority dstnat
		tcp dport 81 redirect to :80
	}
	chain post {
		type nat hook postrouting priority srcnat
		masquerade
	}
}
table ip6 raw {
	chain pre {
		type filter hook prerouting priority raw
		notrack
	}
}
table netdev d {
	chain i {
		type filter hook ingress device "lo" priority 9
		drop
	}
}
table bridge b {
	chain f { type filter hook forward priority 5; policy drop; }
}
table inet sleeps {
	flags dormant
	chain c { type filter hook input priority 3; policy drop; }
}
table arp a {
	chain i { type filter hook input priority 0; policy drop; }
}
`))
	want := []string{
		"ingress 9 netdev d i; drop in i",
		"prerouting -300 ip6 raw pre; past: notrack in pre",
		"prerouting -150 inet nat early; past: dnat in early",
		"prerouting -110 inet ringwall pre own",
		"prerouting -100 inet nat usual",
		"input 0 inet ringwall input own",
		"input 0 ip filter INPUT; drop in two (2 rules); reject in two",
		"input 3 inet sleeps c",
		"forward 5 bridge b f; policy drop",
		"forward -10 inet ringwall forward own",
		"forward 0 ip filter FORWARD; policy drop",
		"output -150 ip filter OUTPUT",
		"output -110 inet ringwall output own",
		"postrouting 100 inet nat post",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestOwners(t *testing.T) {
	for _, c := range []struct {
		name, text string
		owners     []string
		intended   bool
	}{
		{"a stranger", "table inet filter {\n chain input { type filter hook input priority 0; policy drop; }\n}", nil, false},
		{"fail2ban", "table inet f2b-table {\n chain f2b-chain {\n type filter hook input priority filter - 1\n ip saddr 192.0.2.1 reject\n }\n}", []string{"fail2ban"}, true},
		{"firewalld", "table inet firewalld {\n chain filter_INPUT {\n type filter hook input priority filter + 10\n reject\n }\n}", []string{"firewalld"}, false},
		{"Docker", "table ip filter {\n chain DOCKER-USER { }\n chain FORWARD {\n type filter hook forward priority 0; policy drop\n jump DOCKER-USER\n }\n}", []string{"Docker"}, true},
		{"ufw and Docker", "table ip filter {\n chain DOCKER-USER { }\n chain ufw-user-forward { }\n chain FORWARD {\n type filter hook forward priority 0; policy drop\n }\n}", []string{"Docker", "ufw"}, false},
		{"ufw's rules beside Docker's", "table ip filter {\n chain DOCKER { }\n chain ufw-user-input {\n drop\n }\n chain INPUT {\n type filter hook input priority 0\n jump ufw-user-input\n }\n}", []string{"Docker", "ufw"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var found *Chain
			chains := around(t, c.text)
			for i := range chains {
				if len(chains[i].Refuses) > 0 {
					found = &chains[i]
				}
			}
			if found == nil {
				t.Fatalf("nothing refuses: %q", list(chains))
			}
			var owners []string
			for _, o := range found.Owners {
				owners = append(owners, o.Name)
			}
			slices.Sort(owners)
			if !slices.Equal(owners, c.owners) || found.Intended() != c.intended {
				t.Errorf("made by %q, intended %v", owners, found.Intended())
			}
			if advice := found.Advice(); len(advice) != max(1, len(c.owners)) || slices.Contains(advice, "") {
				t.Errorf("advice %q", advice)
			}
		})
	}
}

func TestLeftover(t *testing.T) {
	const left = "table ip filter {\n chain ufw-user-input { }\n chain INPUT {\n type filter hook input priority 0\n jump ufw-user-input\n }\n"
	if chains := around(t, left+"}"); !Leftover(chains, "ip filter") || Leftover(chains, "ip nat") {
		t.Errorf("empty chains of ufw are not recognised: %q", list(chains))
	}
	if chains := around(t, left+"chain FORWARD { type filter hook forward priority 0; policy drop; }\n}"); Leftover(chains, "ip filter") {
		t.Errorf("a table that refuses is called a leftover")
	}
}
