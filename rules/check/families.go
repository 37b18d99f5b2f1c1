package check

import (
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// oneFamily reports what `in` opens to strangers in one family and keeps closed in the other.
func (l *linter) oneFamily() {
	four, ok4 := l.strangers(false)
	six, ok6 := l.strangers(true)
	if !ok4 || !ok6 {
		return
	}
	ports := policy.PortWhat()
	for _, f := range []struct {
		open, closed   fate
		family, other  string
		all            string
		openly, wholly func(*policy.Match) bool // written for the one family, or the other
	}{
		{four, six, "IPv4", "IPv6", "::/0", onlyFour, onlySix},
		{six, four, "IPv6", "IPv4", "0.0.0.0/0", onlySix, onlyFour},
	} {
		for _, r := range l.Lists[policy.In] {
			opened := f.open.by[r].Intersect(ports.V4)
			if r.Action.Verdict != policy.Allow || opened.IsEmpty() {
				continue
			}
			for c, keys := range f.closed.by {
				if f.openly(&r.Match) && c != nil && f.wholly(&c.Match) {
					opened = opened.Minus(keys) // somebody thought of both
				}
			}
			if !opened.Minus(f.closed.open).IsEmpty() {
				l.warn(r, policy.LintOneFamily, "rule %q opens to all of %s what is closed in %s", r.ID, f.family, f.other).
					WithHint("admit `%s` as well, or write `ignore: [one-family]` if it is meant", f.all)
			}
		}
	}
}

// onlyFour and onlySix tell whether a rule is written for one family alone.
func onlyFour(m *policy.Match) bool { return reach(m).V6.IsEmpty() }
func onlySix(m *policy.Match) bool  { return reach(m).V4.IsEmpty() }

// fate is what becomes of one family's packets from strangers, by policy.Key.
type fate struct {
	by   map[*policy.Rule]addrset.Set[addrset.U32] // what a rule decides; under nil what the default does
	open addrset.Set[addrset.U32]                  // what is admitted
}

// strangers is the fate of new packets from an address that the rules of `in` name nowhere, nor anything else about it:
// its interface, mark and Ethernet address match no rule that asks for one. It is false where the rules name all
// addresses.
func (l *linter) strangers(six bool) (fate, bool) {
	var v4 []addrset.Range[addrset.U32]
	var v6 []addrset.Range[addrset.U128]
	for _, r := range l.Lists[policy.In] {
		for _, t := range r.Match.From.Terms { // what it takes, or what it leaves out: the smaller part is what it is about
			v4 = append(v4, smaller(t.Static.V4, func(r addrset.Range[addrset.U32]) float64 { return float64(r.Hi-r.Lo) + 1 }).Ranges()...)
			v6 = append(v6, smaller(t.Static.V6, func(r addrset.Range[addrset.U128]) float64 { return float64(r.Hi.Hi-r.Lo.Hi) + 1 }).Ranges()...)
		}
	}
	named := addrset.Addrs{V4: addrset.Of(v4...), V6: addrset.Of(v6...)}
	stranger := addrset.Addrs{V4: named.V4.Complement(), V6: named.V6.Complement()}
	if six && stranger.V6.IsEmpty() || !six && stranger.V4.IsEmpty() {
		return fate{}, false
	}
	f := fate{by: map[*policy.Rule]addrset.Set[addrset.U32]{}}
	left := addrset.All[addrset.U32]()
	for _, r := range l.Lists[policy.In] {
		if !l.concerns(r, stranger, six) {
			continue
		}
		keys := r.Match.What.V4
		if six {
			keys = r.Match.What.V6
		}
		if keys = keys.Intersect(left); !keys.IsEmpty() {
			f.take(r, r.Action.Verdict, keys)
			left = left.Minus(keys)
		}
	}
	f.take(nil, l.Defaults[policy.In], left)
	return f, true
}

func (f *fate) take(r *policy.Rule, v policy.Verdict, keys addrset.Set[addrset.U32]) {
	f.by[r] = keys
	if v == policy.Allow {
		f.open = f.open.Union(keys)
	}
}

// concerns tells whether a rule matches all strangers, whatever else they send.
func (l *linter) concerns(r *policy.Rule, stranger addrset.Addrs, six bool) bool {
	m := &r.Match
	if !m.Sport.IsAll() || len(m.IIf.Yes) > 0 || !m.MAC.IsAny() || len(m.Mark.Yes) > 0 || r.Expires != 0 && r.Expires <= l.now {
		return false
	}
	to := m.To.Static()
	if six && !to.V6.IsAll() || !six && !to.V4.IsAll() {
		return false
	}
	return slices.ContainsFunc(m.From.Terms, func(t policy.Term) bool {
		return len(t.In) == 0 && (six && t.Static.V6.Covers(stranger.V6) || !six && t.Static.V4.Covers(stranger.V4))
	})
}

// smaller is a set or all that is not in it, whichever is less.
func smaller[K addrset.Key[K]](s addrset.Set[K], size func(addrset.Range[K]) float64) addrset.Set[K] {
	rest := s.Complement()
	var in, out float64
	for _, r := range s.Ranges() {
		in += size(r)
	}
	for _, r := range rest.Ranges() {
		out += size(r)
	}
	if in < out {
		return s
	}
	return rest
}
