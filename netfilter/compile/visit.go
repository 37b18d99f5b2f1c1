package compile

import (
	"bytes"
	"slices"
	"sort"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// Where rules are looked up, one stands in many places: in its own, and as a guard before others. What is missing there shows where
// the policy's rules meet, see meeting.go. What is there and should not, or leads elsewhere, shows to packets that come to each place.

// visitor has packets judged that come to the places of the compiled form.
type visitor struct {
	*witness
	*places
	share float64
	err   error // the first; nothing is judged after it

	chain *ruleset.Chain
	own   []region // what each rule of the chain asks
	ok    []bool   // whether any packets are that
}

// placeJobs is the work of places in parts; of a share below one, not every place has its witnesses.
func (pr *proof) placeJobs(g *places, share float64) (out []job) {
	const part = 2000 // witnesses
	for from := 0; from < len(g.order); {
		to, n := from, 0
		for to < len(g.order) && n < part {
			n += g.size(g.order[to])
			to++
		}
		some := g.order[from:to]
		from = to
		out = append(out, func(w *witness) error {
			w.judge = pr.newJudge()
			w.rng.pool4, w.rng.pool6 = pr.pool4, pr.pool6
			defer func() { w.packets += w.count }()
			v := &visitor{witness: w, places: g, share: share}
			for _, ch := range some {
				v.visit(ch)
			}
			return v.err
		})
	}
	return out
}

// visit has packets judged that come to a chain's places.
func (v *visitor) visit(ch *ruleset.Chain) {
	ways := v.ways[ch.Name]
	if len(ways) == 0 {
		return
	}
	v.chain, v.own, v.ok = ch, v.own[:0], v.ok[:0]
	for _, r := range ch.Rules {
		own, ok := anywhere(ways[0].dir).all(matches(r))
		v.own, v.ok = append(v.own, own), append(v.ok, ok)
	}
	for i, r := range ch.Rules {
		if !v.ok[i] {
			continue
		}
		switch end := last(r).(type) {
		case ruleset.Verdict:
			if end.Kind == ruleset.Return {
				v.guard(i)
			} else {
				v.place(i, &v.own[i], end.Chain)
			}
			v.beside(i)
		case ruleset.VMapRef:
			v.lookup(i, &end)
		}
	}
}

// way is the packets of one of the chain's ways that are in regions; false where there are none. The ways are tried from one with a
// number on.
func (v *visitor) way(n int, in ...*region) (out region, ok bool) {
	ways := v.ways[v.chain.Name]
	for k := range ways {
		out, ok = ways[(n+k)%len(ways)], true
		for _, r := range in {
			if out, ok = out.and(r); !ok {
				break
			}
		}
		if ok {
			return out, true
		}
	}
	return out, false
}

// place has packets judged that are in a region of rule i of the chain, at both its ends, and go from there to a chain.
func (v *visitor) place(i int, in *region, to string) {
	here, ok := v.way(i, in)
	if !ok {
		return
	}
	for _, at := range []spot{atFirst, atLast} {
		v.aim(&here, i, at, in, v.rules[to])
	}
}

// behind is the next rule behind rule j of the chain that decides, or leads to where it is decided, and may get packets of a region;
// with those. False where there is none.
func (v *visitor) behind(j int, in *region) (int, region, bool) {
	for j++; j < len(v.own); j++ {
		if e, is := last(v.chain.Rules[j]).(ruleset.Verdict); is && e.Kind == ruleset.Return || !v.ok[j] {
			continue
		}
		if both, ok := v.way(j, in, &v.own[j]); ok {
			return j, both, true
		}
	}
	return 0, region{}, false
}

// guard has packets judged that a guard sends back, and that rules behind it would take.
func (v *visitor) guard(i int) {
	const few = 3
	j := i
	for range few {
		var both region
		var ok bool
		if j, both, ok = v.behind(j, &v.own[i]); !ok {
			return
		}
		for _, at := range []spot{atFirst, atLast} {
			v.aim(&both, i, at, &v.own[i], nil)
		}
	}
}

// beside has packets judged that are what rule i of the chain asks but for one field, which is just not: such that a rule behind it
// takes, where there are any.
func (v *visitor) beside(i int) {
	all := anywhere(v.own[i].dir)
	for axis, s := range v.own[i].spans {
		if s == all.spans[axis] || axis == axisProto {
			continue
		}
		for _, out := range []extent{{Lo: s.Lo.Prev(), Hi: s.Lo.Prev()}, {Lo: s.Hi.Next(), Hi: s.Hi.Next()}} {
			not := v.own[i]
			not.spans[axis] = out
			var want *policy.Rule
			j, r, ok := v.behind(i, &not)
			if ok {
				e, _ := last(v.chain.Rules[j]).(ruleset.Verdict)
				want = v.rules[e.Chain]
			} else if r, ok = v.way(i, &not); !ok {
				continue
			}
			v.aim(&r, i, atAny, &v.own[i], want)
		}
	}
}

// lookup has packets judged that have the keys of a map's elements.
func (v *visitor) lookup(i int, ref *ruleset.VMapRef) {
	elems := v.maps[ref.Map].Elems
	for n := range elems {
		key, ok := v.own[i].keyed(ref, &elems[n])
		switch to := elems[n].Verdict.Chain; {
		case !ok:
		case v.chains[to] != nil && v.rules[to] == nil:
			v.back(i, &key)
		default:
			v.place(i, &key, to)
		}
	}
}

// aim has packets of a region judged until one comes to rule i of the chain and, where a rule is wanted, is decided by it. In what own
// asks it is at the spot.
func (v *visitor) aim(r *region, i int, at spot, own *region, want *policy.Rule) {
	if v.skips(v.share) {
		return
	}
	const tries = 4
	for range tries {
		if v.hits(r, i, at, own, want) {
			return
		}
	}
}

// hits has a packet of a region judged, and tells whether it came to rule i of the chain and was decided by the rule that is wanted, if
// any.
func (v *visitor) hits(r *region, i int, at spot, own *region, want *policy.Rule) bool {
	if v.err != nil {
		return true
	}
	pkt, ok := v.drawIn(r, at, own)
	if !ok || v.taken(&pkt, i) {
		return false
	}
	d, err := v.hold(&pkt)
	v.err = err
	return (want == nil || d.Rule == want) && slices.Contains(v.path, v.number[v.chain])
}

// taken tells whether one of the chain's rules before rule i takes a packet, or sends it back, by its spans alone.
func (v *visitor) taken(pkt *policy.Packet, i int) bool {
	for k := range v.own[:i] {
		own := &v.own[k]
		if e, is := last(v.chain.Rules[k]).(ruleset.Verdict); is && e.Kind != ruleset.Jump && v.ok[k] && own.rest == nil && own.has(pkt) {
			return true
		}
	}
	return false
}

// back has packets judged that are in a region, go from rule i of the chain elsewhere, and come back to be decided by a later one.
func (v *visitor) back(i int, in *region) {
	if v.skips(v.share) {
		return
	}
	const tries = 4
	for range tries {
		way, ok := v.way(v.rng.IntN(len(v.ways[v.chain.Name])), in)
		if !ok {
			return
		}
		if want, ok := v.onwards(&way, v.chain, i+1); ok && v.hits(&way, i, atAny, nil, want) {
			return
		}
	}
}

// onwards narrows a way to packets that go from rule i of a chain or a later one to a policy's rule, by places drawn; false where it finds
// none.
func (v *visitor) onwards(way *region, ch *ruleset.Chain, i int) (*policy.Rule, bool) {
	const deep = 8
	for range deep {
		to, ok := v.step(way, ch, i)
		if !ok {
			break
		}
		if r := v.rules[to]; r != nil {
			return r, true
		}
		if ch, i = v.chains[to], 0; ch == nil {
			break
		}
	}
	return nil, false
}

// step narrows a way to packets that go from rule i of a chain or a later one to another chain.
func (v *visitor) step(way *region, ch *ruleset.Chain, i int) (to string, ok bool) {
	n := len(ch.Rules) - i
	if n <= 0 {
		return "", false
	}
	from := v.rng.IntN(n)
	for k := range n {
		r := ch.Rules[i+(from+k)%n]
		next, ok := way.all(matches(r))
		if !ok {
			continue
		}
		switch end := last(r).(type) {
		case ruleset.Verdict:
			if end.Kind != ruleset.Return {
				*way = next
				return end.Chain, true
			}
		case ruleset.VMapRef:
			if e := v.elem(&next, &end); e != nil {
				*way = next
				return e.Verdict.Chain, true
			}
		}
	}
	return "", false
}

// elem draws an element of a map whose key packets of a region may have, and leaves those of them that have it; nil where it finds
// none.
func (v *visitor) elem(way *region, ref *ruleset.VMapRef) *ruleset.MapElem {
	elems := v.maps[ref.Map].Elems
	from, to := 0, len(elems)
	if k := &ref.Keys[0]; len(elems) > 0 {
		if axis, _, ok := axisOf(k.Field); ok { // elements are in its order
			n := k.Field.Size()
			lo, hi := masked(way.spans[axis].Lo, n, k.Mask), masked(way.spans[axis].Hi, n, k.Mask)
			from = sort.Search(len(elems), func(i int) bool { return bytes.Compare(elems[i].Lo[:n], lo) >= 0 })
			to = sort.Search(len(elems), func(i int) bool { return bytes.Compare(elems[i].Lo[:n], hi) > 0 })
		}
	}
	if from >= to {
		return nil
	}
	const most = 64
	start := v.rng.IntN(to - from)
	for n := range min(most, to-from) {
		e := &elems[from+(start+n)%(to-from)]
		if next, ok := way.keyed(ref, e); ok {
			*way = next
			return e
		}
	}
	return nil
}
