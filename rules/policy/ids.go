package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringwall/rules/diag"
)

// naming is a rule that gets its final id when all rules are read.
type naming struct {
	rule *Rule
	at   diag.Span // of the id, where it is written
}

// derivedID is the id of a rule without one: verdict, what, and a hash of list, match, time and verdict as they are
// written. The order of values counts for nothing, nor do notes, logs, limits and the place of the rule.
func derivedID(r *draft) string {
	const room = 30 // for WHAT; the rest is the verdict, the hash and "~" with a number
	h := sha256.New()
	sorted := func(values []string) []string { return slices.Compact(slices.Sorted(slices.Values(values))) }
	items := sorted(r.what.items)
	fmt.Fprintf(h, "%s %s %d %q\n", r.List, r.Action.Verdict, r.Expires, items)
	for _, p := range r.phrases {
		fmt.Fprintf(h, "%s %q\n", p.key, sorted(p.values))
	}
	name := strings.Trim(strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' {
			return c
		}
		return '-'
	}, strings.Join(items, "-")), "-")
	if len(name) > room {
		name = strings.TrimRight(name[:room], "-")
	}
	return r.Action.Verdict.String() + "-" + name + "-" + hex.EncodeToString(h.Sum(nil)[:3])
}

// nameRules makes ids unique: a written one that stands twice is an error, later equal derived ones get ~2 and so on.
func (l *loader) nameRules() {
	l.ids = map[string]*Rule{}
	for _, n := range l.naming {
		if !n.rule.Named {
			continue
		}
		if first, ok := l.ids[n.rule.ID]; ok {
			l.errorf(n.at, "redefined", "id %s stands twice", quote(n.rule.ID)).Also(first.At, "the first rule with it is here")
			continue
		}
		l.ids[n.rule.ID] = n.rule
	}
	equal := map[string]int{}
	for _, n := range l.naming {
		if n.rule.Named {
			continue
		}
		id := n.rule.ID
		for l.ids[n.rule.ID] != nil {
			equal[id]++
			n.rule.ID = id + "~" + strconv.Itoa(equal[id]+1)
		}
		l.ids[n.rule.ID] = n.rule
	}
}

// dateText is a day as policies write it.
func dateText(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.DateOnly) }
