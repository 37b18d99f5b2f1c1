package policy

import (
	"strconv"
	"strings"

	"ringwall/rules/addrset"
)

// EmergencyText is the text of the policy that is enforced where no other can be: the base, and what failsafe admits;
// where that is nothing, SSH from anywhere, since who was never told whom to let in must not lock everybody out. The
// host itself may open any connection. The text stands alone: addresses and services are spelled out, and what depends
// on dynamic sets is taken as if they were empty.
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
		b.WriteString("in:\n  - {allow: ssh, from: any, id: emergency-ssh}\n")
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
