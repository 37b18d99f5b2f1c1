package enforce

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// emergencyFile is the name under which the emergency policy is loaded and shown.
const emergencyFile = "emergency.yaml"

// emergencyText is the policy for when there is no other: what the base admits, the failsafe of p spelled out without
// its sets, and nothing else from outside. A policy without failsafe leaves SSH, from anywhere: who was never told
// whom to let in must not lock everybody out. A nil p is such a policy.
func emergencyText(p *policy.Policy) string {
	var b strings.Builder
	b.WriteString("version: 1\ndefaults: {in: deny, out: allow}\n")
	var words []string
	var from map[string][]string
	if p != nil {
		words, from = spelledOut(p.Failsafe)
	}
	if len(words) == 0 {
		b.WriteString("in:\n  - allow: ssh\n    from: any\n    id: emergency-ssh\n    note: no failsafe was ever known\n")
		return b.String()
	}
	b.WriteString("failsafe:\n")
	for _, word := range words {
		fmt.Fprintf(&b, "  %s: [%s]\n", word, strings.Join(from[word], ", "))
	}
	return b.String()
}

// spelledOut is what a failsafe admits, in words that need no definition, and from where, as quoted YAML values. What
// depends on a dynamic set counts by its static part, without what such a set takes away: in an emergency nobody
// knows what they hold.
func spelledOut(list []policy.Failsafe) (words []string, from map[string][]string) {
	from = map[string][]string{}
	for _, f := range list {
		var addrs []string
		for _, t := range f.From.Terms {
			if len(t.In) > 0 {
				continue
			}
			for _, p := range append(prefixes(t.Static.V4), prefixes(t.Static.V6)...) {
				addrs = append(addrs, strconv.Quote(p.String()))
			}
		}
		if len(addrs) == 0 {
			continue
		}
		for _, word := range f.Builtin {
			if from[word] == nil {
				words = append(words, word)
			}
			from[word] = append(from[word], addrs...)
		}
	}
	return words, from
}

// emergency loads the emergency policy: the stored one, or that of a host about which nothing is known.
func (e *Enforcer) emergency() (*Candidate, error) {
	stored, err := e.dir.Emergency()
	texts := []string{stored, emergencyText(nil)}
	if err != nil {
		texts = texts[1:]
		if !errors.Is(err, fs.ErrNotExist) {
			e.opt.Log.Error("the stored emergency policy can't be used", "error", err)
		}
	}
	for _, text := range texts {
		c := Load(source.Memory{emergencyFile: text}, emergencyFile, e.trusted())
		if c.OK() {
			return c, nil
		}
		err = fmt.Errorf("emergency policy: %s", c.Problem())
		e.opt.Log.Error("the stored emergency policy can't be used", "error", err)
	}
	return nil, err
}
