package policy

import (
	"strings"

	"ringwall/rules/diag"
	"ringwall/rules/syntax"
)

// agree notes a setting that files may repeat but not change. It tells whether this is the first and good.
func (l *loader) agree(path string, v value) bool {
	first, ok := l.written[path]
	if !ok {
		l.written[path] = setting{v.text, v.at}
		return true
	}
	if first.text != v.text {
		l.errorf(v.at, "differs", "`%s` is %s here and %s elsewhere", path, v.text, first.text).
			Also(first.at, "it is %s here", first.text).
			WithHint("write it in one file")
	}
	return false
}

// defaults reads what becomes of packets that no rule matches.
func (l *loader) defaults(n *syntax.Node) {
	l.fields(n, "defaults", func(key, value *syntax.Node) {
		v, ok := l.single(value)
		if !ok {
			return
		}
		verdict, ok := l.verdict(v)
		if !ok || !l.agree("defaults."+key.Text, v) {
			return
		}
		for _, dir := range Dirs {
			if dir.String() == key.Text {
				l.p.Defaults[dir], l.p.DefaultsAt[dir] = verdict, v.at
			}
		}
	})
}

// verdict reads `allow`, `deny` or `reject`.
func (l *loader) verdict(v value) (Verdict, bool) {
	verdicts := []Verdict{Allow, Deny, Reject}
	for _, verdict := range verdicts {
		if v.text == verdict.String() {
			return verdict, true
		}
	}
	d := l.errorf(v.at, "bad-verdict", "%s is no verdict", quote(v.text))
	switch strings.ToLower(v.text) {
	case "drop", "block", "closed":
		d.WithHint("write `deny`")
	case "accept", "permit", "pass", "open":
		d.WithHint("write `allow`")
	default:
		d.WithHint("write `allow`, `deny` or `reject`")
	}
	return 0, false
}

// base reads the switches of what stands before the rules.
func (l *loader) base(n *syntax.Node) {
	l.fields(n, "base", func(key, value *syntax.Node) {
		on, ok := l.boolean(value)
		if !ok {
			return
		}
		if v, _ := l.single(value); !l.agree("base."+key.Text, v) {
			return
		}
		*l.p.Base.key(key.Text) = on
	})
}

// key is the switch of a key.
func (b *Base) key(name string) *bool {
	switch name {
	case ByLoopback:
		return &b.Loopback
	case ByEstablished:
		return &b.Established
	case ByNeighbour:
		return &b.Neighbour
	case ByMulticast:
		return &b.Multicast
	case ByICMPErrors:
		return &b.ICMPErrors
	case ByDHCPClient:
		return &b.DHCPClient
	case ByInvalid:
		return &b.Invalid
	default:
		return &b.ReversePath
	}
}

// established reads what becomes of connections when the policy changes.
func (l *loader) established(n *syntax.Node) {
	v, ok := l.single(n)
	if !ok {
		return
	}
	switch v.text {
	case "keep", "cut":
		if l.agree("established", v) {
			l.p.Cut = v.text == "cut"
		}
	default:
		l.errorf(v.at, "bad-established", "%s is not known", quote(v.text)).WithHint("write `keep` or `cut`")
	}
}

// failsafe reads what is always admitted.
func (l *loader) failsafe(n *syntax.Node) {
	if n.Kind != syntax.Map {
		l.errorf(n.At, "not-a-mapping", "`failsafe` is a mapping of WHAT to addresses, got %s", describe(n)).
			WithHint("write for example `ssh: [10.0.0.0/8]` below it")
		return
	}
	for _, pair := range n.Pairs {
		if pair.Value.Kind == syntax.Null {
			l.noValue(pair.Key)
			continue
		}
		w, ok := l.what(pair.Key)
		from, vs := l.match(pair.Value)
		if ok && len(vs) > 0 {
			l.p.Failsafe = append(l.p.Failsafe, Failsafe{
				Text: strings.Join(w.items, ", "), At: pair.Key.At, What: w.What, From: from, Builtin: w.builtin,
			})
		}
	}
	ranges := 0
	for _, f := range l.p.Failsafe {
		ranges += f.From.Static().Len()
	}
	if ranges > maxFailsafe {
		l.errorf(n.At, "too-large", "failsafe holds %d address ranges, at most %d are allowed", ranges, maxFailsafe)
	}
}

// block reads what is refused in both directions. The lists of several files unite, each a whole by itself, so that
// a fragment can't open what another file blocks.
func (l *loader) block(key, n *syntax.Node) {
	a, _ := l.match(n)
	if l.p.BlockAt == (diag.Span{}) {
		l.p.Block, l.p.BlockAt = a, key.At
		return
	}
	if l.spend(l.p.Block.weight()+a.weight(), key.At) {
		l.p.Block = l.p.Block.union(a, &l.effort)
	}
	if len(l.p.Block.Terms) > maxTerms {
		l.tooComplex(key.At)
	}
}

// checkTransit finds out whether transit is judged, and demands its default where it has rules.
func (l *loader) checkTransit() {
	_, set := l.written["defaults.forward"]
	l.p.Transit = set
	for _, f := range l.files {
		key, n := pairOf(f.tree, Forward.String())
		if n == nil {
			continue
		}
		l.p.Transit = true
		if !set {
			l.errorf(key.At, "no-forward-default", "`forward` needs `defaults: {forward: ...}`").
				WithHint("`deny` refuses what no rule admits, that of containers and guests too; `allow` lets it pass")
			return
		}
	}
}
