package policy

import (
	"fmt"
	"strconv"
	"strings"

	"ringwall/rules/addrset"
)

// Emergency is the policy that is enforced where no other can be: the base, and what failsafe admits; where that is
// nothing, SSH from anywhere. The host itself may open any connection.
func Emergency(failsafe []Failsafe) *Policy {
	p := &Policy{
		Entry:      "emergency",
		Defaults:   [3]Verdict{In: Deny, Out: Allow, Forward: Deny},
		Base:       DefaultBase(),
		Sets:       map[string]*Set{},
		Interfaces: map[string]*Interface{},
		Services:   map[string]*Service{},
		Users:      map[string]uint32{},
		Groups:     map[string]uint32{},
	}
	for _, f := range failsafe {
		if from := static(f.From.Static()); !from.IsEmpty() {
			f.From = from
			p.Failsafe = append(p.Failsafe, f)
		}
	}
	if len(p.Failsafe) == 0 {
		key := addrset.One(Key(ProtoTCP, 22))
		r := &Rule{ID: emergencyID, Named: true, List: In, Text: "allow ssh from any", AnyFrom: true}
		r.Match = newConditions().match
		r.Match.What = What{key, key}
		p.Lists[In] = []*Rule{r}
	}
	return p
}

const emergencyID = "emergency-ssh"

// EmergencyText is the policy text of Emergency(failsafe). It stands alone: addresses and services are spelled out,
// and what depends on dynamic sets is taken as if they were empty.
func EmergencyText(failsafe []Failsafe) string {
	var b strings.Builder
	b.WriteString("# Written by Ringwall, for when no other policy can be used.\nversion: 1\ndefaults: {in: deny, out: allow}\n")
	// One entry a word: words of several failsafe entries unite.
	admitted := map[string]addrset.Addrs{}
	var words []string
	for _, f := range failsafe {
		from := f.From.Static()
		if from.IsEmpty() {
			continue
		}
		for _, w := range f.Builtin {
			if _, ok := admitted[w]; !ok {
				words = append(words, w)
			}
			admitted[w] = admitted[w].Union(from)
		}
	}
	if len(words) == 0 {
		fmt.Fprintf(&b, "in:\n  - {allow: ssh, from: any, id: %s}\n", emergencyID)
		return b.String()
	}
	b.WriteString("failsafe:\n")
	for _, w := range words {
		b.WriteString("  " + strconv.Quote(w) + ":\n")
		a := admitted[w]
		for _, text := range addrset.Texts(a.V4, a.V4.Len()) {
			b.WriteString("    - " + strconv.Quote(text) + "\n")
		}
		for _, text := range addrset.Texts(a.V6, a.V6.Len()) {
			b.WriteString("    - " + strconv.Quote(text) + "\n")
		}
	}
	return b.String()
}
