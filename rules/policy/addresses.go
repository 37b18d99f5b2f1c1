package policy

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// lastOf is the highest address of a prefix.
func lastOf(p netip.Prefix) netip.Addr { return addrset.LastOf(p) }

// addressList is the positive or the negative half of a list of addresses while it is read.
type addressList struct {
	v4    []addrset.Range[addrset.U32]
	v6    []addrset.Range[addrset.U128]
	named []*Addrs // what its names stand for
}

// add takes a literal up.
func (a *addressList) add(b addrRange) {
	if b.lo.Is4() {
		a.v4 = append(a.v4, addrset.Range[addrset.U32]{Lo: addrset.V4(b.lo), Hi: addrset.V4(b.hi)})
	} else {
		a.v6 = append(a.v6, addrset.Range[addrset.U128]{Lo: addrset.V6(b.lo), Hi: addrset.V6(b.hi)})
	}
}

// sum is all addresses of the list, or some of them where that takes too much effort.
func (a *addressList) sum(e *effort) Addrs {
	sets := make([]addrset.Addrs, 1, 1+len(a.named))
	sets[0] = addrset.Addrs{V4: addrset.Of(a.v4...), V6: addrset.Of(a.v6...)}
	var dynamic []Term
	for _, n := range a.named {
		for _, t := range n.Terms {
			if t.IsStatic() {
				sets = append(sets, t.Static)
			} else {
				dynamic = append(dynamic, t)
			}
		}
	}
	out := static(unite(sets, e))
	if len(dynamic) == 0 {
		return out
	}
	return out.union(Addrs{Terms: dynamic}, e)
}

// unite is the union of sets, or of some where that takes too much effort. It unites them by twos, and those again, so
// that none is walked through as often as there are sets.
func unite(sets []addrset.Addrs, e *effort) addrset.Addrs {
	for len(sets) > 1 {
		united := sets[:0]
		for pair := range slices.Chunk(sets, 2) {
			if len(pair) == 2 && e.spend(weigh(pair[0])+weigh(pair[1])) {
				pair[0] = pair[0].Union(pair[1])
			}
			united = append(united, pair[0])
		}
		sets = united
	}
	return sets[0]
}

// element is what one item of a list stands for.
type element struct {
	addrs addrRange
	named *Addrs // where the item is a name
}

// addresses reads a list of addresses, prefixes, ranges, sets and `any`, with `not`. Base, where not nil, is what the
// list adds to. What is wrong is reported and left out; ok tells that nothing is.
func (l *loader) addresses(vs []value, base *Addrs) (out Addrs, ok bool) {
	var pos, neg addressList
	if base != nil {
		pos.named = append(pos.named, base)
	}
	positive, good := base != nil, true
	for _, v := range vs {
		half := &pos
		if v.not {
			half = &neg
		}
		positive = positive || !v.not
		e, ok := l.element(v)
		if !ok {
			good = false
			continue
		}
		if e.named != nil {
			half.named = append(half.named, e.named)
		} else {
			half.add(e.addrs)
		}
	}
	if len(vs) == 1 && base == nil && len(pos.named) == 1 {
		return *pos.named[0], good
	}
	sum := pos.sum(&l.effort)
	if !positive {
		sum = l.all.match.From
	}
	out, ok = sum, true
	if minus := neg.sum(&l.effort); !minus.IsEmpty() {
		if out, ok = sum.minus(minus, &l.effort); ok {
			l.subtracted(vs, minus, out)
		}
	}
	if l.effort.over() {
		l.tooMuch(vs[0].at)
		return Addrs{}, false
	}
	if !ok || len(out.Terms) > maxTerms {
		l.tooComplex(vs[0].at)
		return Addrs{}, false
	}
	return out, good
}

func (l *loader) tooComplex(at diag.Span) {
	l.errorf(at, "too-complex", "dynamic sets make more than %d cases of this list", maxTerms).
		WithHint("use fewer dynamic sets together")
}

// element reads one item of a list of addresses.
func (l *loader) element(v value) (element, bool) {
	switch {
	case v.text == "any" && v.not:
		l.errorf(v.at, "bad-not", "`not any` leaves nothing")
		return element{}, false
	case v.text == "any":
		return element{named: &l.all.match.From}, true
	case isName(v.text):
		a, ok := l.setNamed(v)
		return element{named: &a}, ok
	}
	b, c := literal(v.text)
	if c != nil {
		c.report(l.errorf, v.at)
		return element{}, false
	}
	if b.masked.IsValid() {
		hostBits(l.warnf, v.at, v.text, b)
	}
	return element{addrs: b}, true
}

// hostBits warns of a prefix with bits set below its length.
func hostBits(warnf reporter, at diag.Span, text string, b addrRange) {
	warnf(at, LintHostBits, "%s has bits set below its length", quote(text)).
		WithHint("it is read as `%s`; write that, or the address alone", b.masked)
}

// subtracted warns of items that other items of the same list take away whole.
func (l *loader) subtracted(vs []value, minus, rest Addrs) {
	if rest.IsEmpty() {
		return // one finding says more than one an item
	}
	for _, v := range vs {
		if !v.not && l.isSubtracted(v, minus) {
			l.warnf(v.at, LintSubtracted, "%s is wholly subtracted by `not` in the same list", quote(v.text)).
				WithHint("leave it out: `not` wins wherever it stands")
		}
	}
}

// isSubtracted tells whether nothing is left of an item that was read before.
func (l *loader) isSubtracted(v value, minus Addrs) bool {
	var whole Addrs
	if b, c := literal(v.text); c == nil {
		return coversBlock(minus, b)
	} else if a, ok := l.builtinSet(v.text); ok {
		whole = a
	} else if d := l.sets[v.text]; d != nil && d.set != nil {
		whole = d.set.Addrs
	}
	left, ok := whole.minus(minus, &l.spare)
	return ok && left.IsEmpty() && !whole.IsEmpty()
}

// coversBlock tells whether the static part of a holds the whole of b.
func coversBlock(a Addrs, b addrRange) bool {
	if len(a.Terms) == 0 || !a.Terms[0].IsStatic() {
		return false
	}
	if b.lo.Is4() {
		return coversRange(a.Terms[0].Static.V4, addrset.V4(b.lo), addrset.V4(b.hi))
	}
	return coversRange(a.Terms[0].Static.V6, addrset.V6(b.lo), addrset.V6(b.hi))
}

// coversRange tells whether one range of s holds all from lo to hi.
func coversRange[K addrset.Key[K]](s addrset.Set[K], lo, hi K) bool {
	rs := s.Ranges()
	i, _ := slices.BinarySearchFunc(rs, lo, func(r addrset.Range[K], k K) int { return r.Hi.Compare(k) })
	return i < len(rs) && rs[i].Lo.Compare(lo) <= 0 && rs[i].Hi.Compare(hi) >= 0
}

// match reads the addresses of a rule's or test's key, and warns where they come to nothing.
func (l *loader) match(n *syntax.Node) (Addrs, []value) {
	vs := l.values(n)
	if len(vs) == 0 {
		return Addrs{}, nil
	}
	a, ok := l.addresses(vs, nil)
	if ok && a.IsEmpty() {
		l.warnf(n.At, LintEmptyAddresses, "these addresses come to nothing: %s", written(vs))
	}
	return a, vs
}

// builtinSet is what a set that the language itself names stands for.
func builtinSet(name string) (addrset.Addrs, bool) {
	var prefixes []string
	switch name {
	case "private":
		prefixes = []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}
	case "loopback":
		prefixes = []string{"127.0.0.0/8", "::1/128"}
	case "link-local":
		prefixes = []string{"169.254.0.0/16", "fe80::/10"}
	case "multicast":
		prefixes = []string{"224.0.0.0/4", "ff00::/8"}
	default:
		return addrset.Addrs{}, false
	}
	var a addrset.Addrs
	for _, p := range prefixes {
		a = a.Union(addrset.OfPrefix(netip.MustParsePrefix(p)))
	}
	return a, true
}

// builtinSet is builtinSet, made once.
func (l *loader) builtinSet(name string) (Addrs, bool) {
	a, ok := l.builtin[name]
	if ok || !isBuiltinSet(name) {
		return a, ok
	}
	set, _ := builtinSet(name)
	l.builtin[name] = static(set)
	return l.builtin[name], true
}

// builtinSets is the names of the built-in sets.
func builtinSets() []string { return []string{"link-local", "loopback", "multicast", "private"} }

// isBuiltinSet tells whether the language itself names a set so.
func isBuiltinSet(name string) bool { return slices.Contains(builtinSets(), name) }

// BuiltinSets is the sets that need no definition, sorted by name.
func BuiltinSets() []Set {
	var out []Set
	for _, name := range builtinSets() {
		a, _ := builtinSet(name)
		out = append(out, Set{Name: name, Addrs: static(a)})
	}
	return out
}

// setNamed is what a name in a list of addresses stands for.
func (l *loader) setNamed(v value) (Addrs, bool) {
	if a, ok := l.builtinSet(v.text); ok {
		return a, true
	}
	d, ok := l.sets[v.text]
	if !ok {
		l.unknownSet(v)
		return Addrs{}, false
	}
	d.used = true
	l.resolveSet(d)
	if d.set == nil {
		return Addrs{}, false
	}
	return d.set.Addrs, true
}

// unknownSet reports a name that no set bears.
func (l *loader) unknownSet(v value) {
	d := l.errorf(v.at, "unknown-set", "unknown set %s", quote(v.text))
	l.suggest(d, v.text, func() []string { return slices.AppendSeq(builtinSets(), maps.Keys(l.sets)) })
	switch v.text {
	case "localhost":
		d.WithHint("write `loopback`")
	case "all", "anywhere", "everywhere", "everyone", "internet", "world":
		d.WithHint("write `any`")
	}
	_, service := l.services[v.text]
	switch {
	case d.Hint != "":
	case service || isBuiltinWhat(v.text):
		d.WithHint("it is a service, and stands with the verdict: `allow: %s`", v.text)
	case strings.Contains(v.text, "."):
		d.Message = quote(v.text) + " is no set, and host names are not looked up"
		d.WithHint("write its addresses, or make a set of them (`dns` sets are not built yet)")
	}
}
