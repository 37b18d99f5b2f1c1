package check

import (
	"math/rand/v2"
	"net/netip"
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

// strangers is the fate of new packets from an address that the rules of `in` are not about, nor about anything else
// of it: its interface, mark and Ethernet address match no rule that asks for one. It is false where no such address
// is found.
func (l *linter) strangers(six bool) (fate, bool) {
	from, ok := l.stranger(six)
	if !ok {
		return fate{}, false
	}
	f := fate{by: map[*policy.Rule]addrset.Set[addrset.U32]{}}
	left := addrset.All[addrset.U32]()
	for _, r := range l.Lists[policy.In] {
		if !l.concerns(r, from) {
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

// stranger is an address that lies in the larger part of all addresses for each list of them: in it where it takes
// most, outside where it takes few. A few addresses are tried, the same each time.
func (l *linter) stranger(six bool) (netip.Addr, bool) {
	var terms []policy.Term
	var most []bool // by term: it takes more addresses than it leaves
	for _, r := range l.Lists[policy.In] {
		for _, t := range r.Match.From.Terms {
			terms = append(terms, t)
			if six {
				most = append(most, size(t.Static.V6, func(r addrset.Range[addrset.U128]) float64 { return float64(r.Hi.Hi-r.Lo.Hi) + 1 }) > 1<<63)
			} else {
				most = append(most, size(t.Static.V4, func(r addrset.Range[addrset.U32]) float64 { return float64(r.Hi-r.Lo) + 1 }) > 1<<31)
			}
		}
	}
	const tries = 64
	draw := rand.New(rand.NewPCG(1, 2))
	for range tries {
		ip := addrset.U32(1<<24 + draw.Uint32N(223<<24)).Addr() // below the multicast addresses
		if six {
			ip = addrset.U128{Hi: 1<<61 | draw.Uint64()>>3, Lo: draw.Uint64()}.Addr() // 2000::/3
		}
		strange := true
		for i := range terms {
			if terms[i].Static.Contains(ip) != most[i] {
				strange = false
				break
			}
		}
		if strange {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// size is how many numbers a set holds.
func size[K addrset.Key[K]](s addrset.Set[K], of func(addrset.Range[K]) float64) (n float64) {
	for _, r := range s.Ranges() {
		n += of(r)
	}
	return n
}

func (f *fate) take(r *policy.Rule, v policy.Verdict, keys addrset.Set[addrset.U32]) {
	f.by[r] = keys
	if v == policy.Allow {
		f.open = f.open.Union(keys)
	}
}

// concerns tells whether a rule matches whatever else an address sends, to wherever.
func (l *linter) concerns(r *policy.Rule, from netip.Addr) bool {
	m := &r.Match
	if !m.Sport.IsAll() || len(m.IIf.Yes) > 0 || !m.MAC.IsAny() || len(m.Mark.Yes) > 0 || r.Expires != 0 && r.Expires <= l.now {
		return false
	}
	to := m.To.Static()
	if from.Is6() && !to.V6.IsAll() || from.Is4() && !to.V4.IsAll() {
		return false
	}
	return slices.ContainsFunc(m.From.Terms, func(t policy.Term) bool { return len(t.In) == 0 && t.Static.Contains(from) })
}
