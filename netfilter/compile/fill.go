package compile

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// fillings is contents for the dynamic sets, several in turn: addresses at the corners of what asks for the sets. Any two sets hold
// an address both, neither, and one without the other, in some of the fillings; up to four sets any three of them.
func fillings(p *policy.Policy) []map[string]addrset.Addrs {
	asked := askers{rng: &picker{Rand: rand.New(rand.NewPCG(1, 0))}}
	rules := 0
	for _, list := range p.Lists {
		rules += len(list)
	}
	asked.few = fewIn(rules)
	asked.take(p.Block)
	for _, f := range p.Failsafe {
		asked.take(f.From)
	}
	for _, list := range p.Lists {
		for _, r := range list {
			asked.take(r.Match.From)
			asked.take(r.Match.To)
		}
	}
	asked.add(elsewhere4)
	asked.add(elsewhere6)
	slices.Sort(asked.names)
	names := slices.Compact(asked.names)
	// In filling f the set with column c holds an address where the bits of f&c are odd in number, or for every other address
	// where they are even: an orthogonal array.
	columns := []uint{1, 2, 3}
	if len(names) > 2 {
		columns = []uint{1, 2, 4, 7, 3, 5, 6}
	}
	out := make([]map[string]addrset.Addrs, len(columns)+1)
	for f := range out {
		out[f] = make(map[string]addrset.Addrs)
		for j, name := range names {
			odd := bits.OnesCount(uint(f)&columns[j%len(columns)])%2 == 1
			var v4 []addrset.Range[addrset.U32]
			var v6 []addrset.Range[addrset.U128]
			for i, a := range asked.addrs {
				switch {
				case (asked.coins[i]>>(j%64)&1 == 1) == odd:
				case a.Is4():
					v4 = append(v4, addrset.Range[addrset.U32]{Lo: addrset.V4(a), Hi: addrset.V4(a)})
				default:
					v6 = append(v6, addrset.Range[addrset.U128]{Lo: addrset.V6(a), Hi: addrset.V6(a)})
				}
			}
			out[f][name] = addrset.Addrs{V4: addrset.Of(v4...), V6: addrset.Of(v6...)}
		}
	}
	return out
}

// extremes is contents under which every rule is worth another look: everything, where something is for those that a dynamic set
// does not hold, for what stands after it may be reached by no one else; and nothing, where there is something now.
func extremes(p *policy.Policy) (out []map[string]addrset.Addrs) {
	everything, nothing := make(map[string]addrset.Addrs), make(map[string]addrset.Addrs)
	shuts, holds := false, false
	for _, name := range dynamicSets(p) {
		everything[name], nothing[name] = addrset.AllAddrs(), addrset.Addrs{}
		holds = holds || !p.Given[name].IsEmpty()
	}
	look := func(a policy.Addrs) {
		for _, t := range a.Terms {
			shuts = shuts || len(t.NotIn) > 0
		}
	}
	look(p.Block)
	for _, list := range p.Lists {
		for _, r := range list {
			look(r.Match.From)
			look(r.Match.To)
		}
	}
	if shuts {
		out = append(out, everything)
	}
	if holds {
		out = append(out, nothing)
	}
	return out
}

// askers is what asks for dynamic sets.
type askers struct {
	rng   *picker
	few   int // ranges of each part
	names []string
	addrs []netip.Addr // at its corners
	coins []uint64     // of each address
	seen  map[netip.Addr]bool
}

// take takes up the dynamic sets of some addresses, and the corners of what stands beside them.
func (k *askers) take(a policy.Addrs) {
	if !slices.ContainsFunc(a.Terms, func(t policy.Term) bool { return !t.IsStatic() }) {
		return
	}
	for _, t := range a.Terms {
		k.names = append(append(k.names, t.In...), t.NotIn...)
		few := k.few
		if t.IsStatic() {
			few = fewIn(1) // witnesses are at every corner of it
		}
		static := fewOf(t.Static, few)
		for _, r := range static.V4.Ranges() {
			for _, key := range []addrset.U32{r.Lo.Prev(), r.Lo, r.Hi, r.Hi.Next()} {
				k.add(key.Addr())
			}
		}
		for _, r := range static.V6.Ranges() {
			for _, key := range []addrset.U128{r.Lo.Prev(), r.Lo, r.Hi, r.Hi.Next()} {
				k.add(key.Addr())
			}
		}
		for range 2 {
			if !static.V4.IsEmpty() {
				k.add(within(k.rng, static.V4, k.rng.plain4).Addr())
			}
			if !static.V6.IsEmpty() {
				k.add(within(k.rng, static.V6, k.rng.plain6).Addr())
			}
		}
	}
}

func (k *askers) add(a netip.Addr) {
	const most = 4000
	if k.seen[a] || len(k.addrs) == most {
		return
	}
	if k.seen == nil {
		k.seen = make(map[netip.Addr]bool)
	}
	k.seen[a] = true
	k.addrs, k.coins = append(k.addrs, a), append(k.coins, k.rng.Uint64())
}
