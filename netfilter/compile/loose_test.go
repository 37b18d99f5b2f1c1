package compile

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringwall/netfilter/ruleset"
)

// TestPlacesTryWhatElseIsAsked shows that the witnesses of places alone notice where one copy of a rule asks for a mark, owner, interface,
// Ethernet address or type of ICMP that is next to the right one, wherever the copy stands.
func TestPlacesTryWhatElseIsAsked(t *testing.T) {
	var hosts, nets string
	for i := range 50 {
		hosts += fmt.Sprintf("  - {allow: any, from: 10.1.%d.0/24}\n", i)
		nets += fmt.Sprintf("  - {deny: any, to: 10.9.%d.0/24}\n", i)
	}
	p := load(t, `
version: 1
in:
  - {reject: any, mark: [not 7], mac: "02:00:00:00:00:05"}
  - {deny: any, mark: 0x10/0xf0, iface: eth1, expires: 2027-01-01}
  - {reject: icmp/echo-request, iface: [not eth2]}
`+hosts+nets+`
out:
  - {reject: any, mark: [not 7], user: 1}
  - {deny: any, group: 3, to: [10.9.0.0/16]}
`+hosts+nets)
	rs, err := Compile(p, Options{Linear: -1})
	if err != nil {
		t.Fatal(err)
	}
	proved := func() error {
		m, err := ruleset.NewMachine(rs, nil)
		if err != nil {
			t.Fatal(err)
		}
		pr := newProof(p, nil)
		pr.ask(rs, m, m.Indexed())
		_, err = work(context.Background(), pr.placeJobs(newPlaces(p, rs), shares{1, 1}), 0)
		return err
	}
	if err := proved(); err != nil {
		t.Fatal(err)
	}
	tried := make(map[ruleset.Field]int)
	inRest := 0
	for _, ch := range rs.Chains {
		for i, r := range ch.Rules {
			for k, e := range r.Exprs {
				c, is := e.(ruleset.Cmp)
				if !is || !looksUp(ch.Name) || !isLoose(c.Field) || c.Field == ruleset.Time {
					continue
				}
				at := len(c.Value) - 1
				c.Value = slices.Clone(c.Value)
				c.Value[at] ^= 1
				if c.Mask != nil {
					c.Value[at] ^= 1 ^ c.Mask[at]&-c.Mask[at] // a bit that counts
				}
				broken := &ruleset.Rule{Exprs: slices.Clone(r.Exprs)}
				broken.Exprs[k] = c
				ch.Rules[i] = broken
				if proved() == nil {
					text, err := broken.Text()
					t.Errorf("no witness of chain %s notices %q: %v", ch.Name, text, err)
				}
				ch.Rules[i] = r
				tried[c.Field]++
				if strings.HasSuffix(ch.Name, "/rest") {
					inRest++
				}
			}
		}
	}
	t.Log(tried, inRest)
	if len(tried) < 7 || inRest < 6 {
		t.Errorf("fields tried: %v, %d times in what late lines share", tried, inRest)
	}
}
