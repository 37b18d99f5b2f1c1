package check_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/check"
	"ringwall/rules/policy"
)

const before = `version: 1
failsafe: {ssh: 10.0.0.0/8}
interfaces: {lan: eth1}
sets:
  office: [203.0.113.0/24, 198.51.100.7]
  gone: 192.0.2.1
  banned: {dynamic: true, timeout: 1h}
block: [banned, gone]
in:
  - {allow: ssh, id: ssh, from: office}
  - {allow: http, id: web}
  - {allow: smtp, id: mail, limit: 10/minute}
  - {allow: tcp/1, id: one, iface: lan}
  - {allow: tcp/2, id: two, note: first}
  - {allow: tcp/3, id: three}
`

func TestCompare(t *testing.T) {
	tests := []struct {
		name    string
		replace []string
		want    []string
	}{
		{"nothing", nil, nil},
		{"places and tests", []string{"version: 1\n", "# a comment\nversion: 1\ntests: [{in: ssh, from: 10.0.0.1, expect: allow}]\n"}, nil},
		{"order of values", []string{"[203.0.113.0/24, 198.51.100.7]", "[198.51.100.7, 203.0.113.0/24]"}, nil},
		{"a rule comes", []string{"  - {allow: http,", "  - {allow: https, id: tls}\n  - {allow: http,"}, []string{"added rule in tls: allow https (p.yaml:11)"}},
		{"a rule goes", []string{"  - {allow: http, id: web}\n", ""}, []string{"removed rule in web: allow http (p.yaml:11)"}},
		{"a match", []string{"{allow: http,", "{allow: https,"}, []string{"changed rule in web: allow http -> allow https (p.yaml:11) [match]"}},
		{"a verdict", []string{"{allow: http,", "{reject: http,"}, []string{"changed rule in web: allow http -> reject http (p.yaml:11) [action]"}},
		{"a limit", []string{"10/minute", "20/minute"}, []string{"changed rule in mail: allow smtp limit 10/minute -> allow smtp limit 20/minute (p.yaml:12) [action]"}},
		{"an expiry", []string{"id: web}", "id: web, expires: 2040-01-01}"}, []string{"changed rule in web: allow http -> allow http expires 2040-01-01 (p.yaml:11) [expires]"}},
		{"a note", []string{"note: first", "note: second"}, []string{"changed rule in two: note (p.yaml:14) [note]"}},
		{"a set", []string{"198.51.100.7]", "198.51.100.8, 198.51.100.10]"}, []string{
			"changed set office +2 -1 (p.yaml:5)", "changed rule in ssh: values (p.yaml:10) [values]"}},
		{"an interface", []string{"lan: eth1", "lan: eth2"}, []string{"changed rule in one: values (p.yaml:13) [values]"}},
		{"a dynamic set", []string{"timeout: 1h", "timeout: 2h"}, []string{"changed set banned: dynamic, for 3600 s, at most 65536 -> dynamic, for 7200 s, at most 65536 (p.yaml:7)"}},
		{"block", []string{"block: [banned, gone]", "block: gone"}, []string{"changed block: 192.0.2.1, banned -> gone (p.yaml:8)"}},
		{"no block", []string{"block: [banned, gone]\n", ""}, []string{"removed block +0 -1 (p.yaml:8)"}},
		{"a set goes", []string{"  gone: 192.0.2.1\n", "", "[banned, gone]", "banned"}, []string{"changed block +0 -1 (p.yaml:7)", "removed set gone +0 -1 (p.yaml:6)"}},
		{"failsafe", []string{"{ssh: 10.0.0.0/8}", "{ssh: 10.0.0.0/9, http: 10.0.0.0/8}"}, []string{
			"added failsafe http +1 -0 (p.yaml:2)", "changed failsafe ssh +0 -1 (p.yaml:2)"}},
		{"defaults and base", []string{"version: 1\n", "version: 1\ndefaults: {in: reject, forward: deny}\nbase: {neighbour: false}\n"}, []string{
			"changed default in: deny -> reject (p.yaml:2)", "changed default forward: not judged -> deny (p.yaml:2)", "changed base neighbour: on -> off"}},
		{"established", []string{"version: 1\n", "version: 1\nestablished: cut\n"}, []string{"changed established: keep -> cut"}},
		{"a move", []string{"  - {allow: http, id: web}\n", "", "id: three}\n", "id: three}\n  - {allow: http, id: web}\n"}, []string{"moved rule in web from place 2 to 6 (p.yaml:15)"}},
		{"a move to the front, changed", []string{"  - {allow: tcp/3, id: three}\n", "", "in:\n", "in:\n  - {deny: tcp/3, id: three}\n"}, []string{
			"changed rule in three: allow tcp/3 -> deny tcp/3 (p.yaml:10) [action]", "moved rule in three from place 6 to 1 (p.yaml:10)"}},
	}
	p := load(t, before)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := load(t, strings.NewReplacer(tt.replace...).Replace(before))
			var got []string
			for _, c := range check.Compare(p, q) {
				text := c.String()
				if len(c.Parts) > 0 {
					text += " [" + strings.Join(c.Parts, " ") + "]"
				}
				got = append(got, text)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func TestCompareWithNothing(t *testing.T) {
	p := load(t, before)
	count := map[check.Subject]int{}
	for _, c := range check.Compare(nil, p) {
		if c.Kind != check.Added {
			t.Errorf("%s", c)
		}
		count[c.Subject]++
	}
	if count[check.SubjectRule] != 6 || count[check.SubjectSet] != 3 || count[check.SubjectBlock] != 1 || count[check.SubjectFailsafe] != 1 {
		t.Errorf("%v", count)
	}
	j, err := json.Marshal(check.Change{Kind: check.Moved, Subject: check.SubjectRule, List: "in", Name: "web", From: 2, To: 6, At: "p.yaml:15"})
	if want := `{"kind":"moved","subject":"rule","list":"in","name":"web","from":2,"to":6,"at":"p.yaml:15"}`; err != nil || string(j) != want {
		t.Errorf("%s, %v", j, err)
	}
}

// TestMovesAreFewest: putting the moved rules where they went turns the old list into the new one, and no smaller
// number of moves would.
func TestMovesAreFewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 7).Draw(t, "rules")
		order := rapid.Permutation(numbers(n)).Draw(t, "order")
		p, q := &policy.Policy{}, &policy.Policy{}
		for i := range n {
			p.Lists[policy.In] = append(p.Lists[policy.In], &policy.Rule{ID: string(rune('a' + i))})
			q.Lists[policy.In] = append(q.Lists[policy.In], &policy.Rule{ID: string(rune('a' + order[i]))})
		}
		moved := map[int]bool{}
		for _, c := range check.Compare(p, q) {
			if c.Kind != check.Moved {
				t.Fatalf("%s", c)
			}
			if order[c.To-1] != c.From-1 {
				t.Fatalf("%v: %s", order, c)
			}
			moved[c.From-1] = true
		}
		var stay []int
		for _, i := range order {
			if !moved[i] {
				stay = append(stay, i)
			}
		}
		if !slices.IsSorted(stay) {
			t.Fatalf("%v: what stays, %v, is out of order", order, stay)
		}
		most := 0
		for subset := range 1 << n {
			var run []int
			for at, i := range order {
				if subset>>at&1 == 1 {
					run = append(run, i)
				}
			}
			if slices.IsSorted(run) {
				most = max(most, len(run))
			}
		}
		if len(stay) != most {
			t.Fatalf("%v: %d stay, %d could", order, len(stay), most)
		}
	})
}

func numbers(n int) []int {
	ns := make([]int, n)
	for i := range ns {
		ns[i] = i
	}
	return ns
}
