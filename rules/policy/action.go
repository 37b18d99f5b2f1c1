package policy

import (
	"strings"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// limit reads `N/UNIT [burst B] [per source]`.
func (l *loader) limit(n *syntax.Node) *Limit {
	v, ok := l.single(n)
	if !ok {
		return nil
	}
	bad := func(format string, args ...any) *Limit {
		l.errorf(v.at, "bad-limit", format, args...).WithHint("write `10/minute`, `20/second burst 40` or `10/minute per source`")
		return nil
	}
	text, perSource := strings.CutSuffix(v.text, " per source")
	if rate, burst, ok := strings.Cut(v.text, " per source burst "); ok {
		l.errorf(v.at, "bad-limit", "the burst stands before `per source`").WithHint("write `%s burst %s per source`", printable(rate), printable(burst))
		return nil
	}
	words := strings.Fields(text)
	if len(words) != 1 && (len(words) != 3 || words[1] != "burst") {
		return bad("%s is no limit", quote(v.text))
	}
	rate, unit, ok := strings.Cut(words[0], "/")
	if !ok {
		return bad("the limit %s has no unit of time", quote(v.text))
	}
	lim := &Limit{PerSource: perSource, Text: v.text}
	count, wrong := number(rate, maxRate)
	switch {
	case wrong != "":
		return bad("%s", wrong)
	case count == 0:
		return bad("a limit of nothing is a `deny`")
	}
	lim.Rate, lim.Burst = uint32(count), uint32(count)
	switch unit {
	case "second":
		lim.Unit = Second
	case "minute":
		lim.Unit = Minute
	case "hour":
		lim.Unit = Hour
	case "day":
		lim.Unit = Day
	default:
		return bad("%s is no unit of time: second, minute, hour or day", quote(unit))
	}
	if len(words) == 3 {
		burst, wrong := number(words[2], maxRate)
		switch {
		case wrong != "":
			return bad("%s", wrong)
		case burst == 0:
			return bad("a burst of nothing admits nothing")
		}
		lim.Burst = uint32(burst)
	}
	// The kernel counts tokens in nanoseconds, in a number of 64 bits.
	if perToken := lim.Unit.Seconds() * 1e9 / uint64(lim.Rate); uint64(lim.Burst) > 1<<62/perToken {
		return bad("the burst is too large for the rate: at most %d", 1<<62/perToken)
	}
	return lim
}

// connections reads `N [per source]`.
func (l *loader) connections(n *syntax.Node) *Connections {
	v, ok := l.single(n)
	if !ok {
		return nil
	}
	text, perSource := strings.CutSuffix(v.text, " per source")
	count, wrong := number(text, maxConnections)
	if wrong == "" && count == 0 {
		wrong = "a rule that admits no connection is a `deny`"
	}
	if wrong != "" {
		l.errorf(v.at, "bad-connections", "%s", wrong).WithHint("write `50` or `50 per source`")
		return nil
	}
	return &Connections{Max: uint32(count), PerSource: perSource}
}

// log reads `true`, `false` or a text.
func (l *loader) log(n *syntax.Node, a *Action) {
	v, ok := l.words(n, maxLogText)
	if !ok {
		return
	}
	if !v.quoted {
		switch v.text {
		case "true":
			a.Log = true
			return
		case "false":
			return
		}
		switch strings.ToLower(v.text) {
		case "yes", "on", "no", "off", "true", "false":
			l.errorf(v.at, "bad-boolean", "%s is neither `true` nor a text in quotes", quote(v.text)).
				WithHint("write `true`, or put the text into quotes")
			return
		}
	}
	a.Log, a.LogText = true, v.text
}

// checkAction demands that an action's parts fit its verdict. Places are of the keys.
func (l *loader) checkAction(a *Action, places map[string]diag.Span) {
	switch a.Verdict {
	case Deny:
		if a.Limit != nil {
			l.errorf(places["limit"], "bad-limit", "a `deny` has no limit: what exceeds it would be denied as well").
				WithHint("deny all, or write an `allow` with the limit")
		}
	case Allow:
		return
	}
	if a.Connections != nil {
		l.errorf(places["connections"], "bad-connections", "`connections` counts what a rule admits, and this one admits nothing").
			WithHint("write it on an `allow`")
	}
}
