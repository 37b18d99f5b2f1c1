package policy

import (
	"slices"
	"strconv"
	"strings"
)

// phrase is a match key with its values as they are written.
type phrase struct {
	key    string
	values []string
}

// phrases is the match keys of a rule or test in the order of pages, whatever theirs in the file.
type phrases []phrase

// matchOrder is that order.
func matchOrder() []string {
	return []string{"from", "to", "sport", "iface", "iif", "oif", "mac", "mark", "user", "group"}
}

// add takes a key up.
func (p *phrases) add(key string, vs []value) {
	ph := phrase{key: key}
	for _, v := range vs {
		ph.values = append(ph.values, v.String())
	}
	*p = append(*p, ph)
}

// sort puts the keys in order.
func (p phrases) sort() {
	order := matchOrder()
	slices.SortStableFunc(p, func(a, b phrase) int { return slices.Index(order, a.key) - slices.Index(order, b.key) })
}

// text is the keys on one line, each preceded by a blank.
func (p phrases) text() string {
	var b strings.Builder
	for _, ph := range p {
		b.WriteString(" " + ph.key + " " + listText(ph.values))
	}
	return b.String()
}

// listText is one value, or several in brackets; of many, the first and how many there are.
func listText(values []string) string {
	const most = 8
	switch n := len(values); {
	case n == 1:
		return values[0]
	case n > most:
		values = append(slices.Clone(values[:most-2]), "... "+strconv.Itoa(n)+" in all")
	}
	return "[" + strings.Join(values, ", ") + "]"
}

// written is values as a message shows them.
func written(vs []value) string {
	var p phrases
	p.add("", vs)
	return printable(listText(p[0].values))
}

// text is the action on one line, each part preceded by a blank.
func (a Action) text() string {
	var b strings.Builder
	if a.Limit != nil {
		b.WriteString(" limit " + a.Limit.Text)
	}
	if c := a.Connections; c != nil {
		b.WriteString(" connections " + strconv.FormatUint(uint64(c.Max), 10))
		if c.PerSource {
			b.WriteString(" per source")
		}
	}
	if a.Log {
		b.WriteString(" log")
		if a.LogText != "" {
			b.WriteString(" " + strconv.Quote(a.LogText))
		}
	}
	return b.String()
}
