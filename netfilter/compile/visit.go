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
	share shares
	err   error // the first; nothing is judged after it

	at    int32 // the chain that it is at
	chain *ruleset.Chain
	here  []region // the ways to it; these and the following once they are needed
	own   []region // what each rule of the chain asks
	ok    []bool   // whether any packets are that
	ready bool
}

// shares is how many of the witnesses of places are tried, of 1: for spans and lookups, and for what is asked besides.
type shares struct{ spans, loose float64 }

// placeJobs is the work of places in parts; of a share below one, not every place has its witnesses.
func (pr *proof) placeJobs(g *places, share shares) (out []job) {
	const part = 2000 // witnesses, of which each has its share
	for from := 0; from < len(g.chains); {
		to, n := from, 0
		for to < len(g.chains) && n < part {
			spans, loose := g.size(int32(to))
			n += spans + loose
			to++
		}
		first := from
		from = to
		out = append(out, func(w *witness) error {
			w.judge = pr.newJudge()
			w.rng.pool4, w.rng.pool6 = pr.pool4, pr.pool6
			defer func() { w.packets += w.count }()
			v := &visitor{witness: w, places: g, share: share}
			for at := first; at < to; at++ {
				if n, _ := g.size(int32(at)); n > 0 {
					v.visit(int32(at))
				}
			}
			return v.err
		})
	}
	return out
}

// visit has packets judged that come to a chain's places.
func (v *visitor) visit(at int32) {
	v.at, v.chain, v.ready = at, v.chains[at], false
	for i, r := range v.chain.Rules {
		switch end := last(r).(type) {
		case ruleset.Verdict:
			if end.Kind == ruleset.Return {
				v.guard(i)
			} else {
				v.place(i, nil, nil, end)
			}
			v.beside(i)
			v.besides(i, end)
		case ruleset.VMapRef:
			elems := v.maps[end.Map].Elems
			for n := range elems {
				to := elems[n].Verdict
				if k, has := v.number[to.Chain]; has && v.rules[k] == nil {
					v.back(i, &end, &elems[n])
				} else {
					v.place(i, &end, &elems[n], to)
				}
			}
		}
	}
}

// wants tells whether the next witness of a rule of the chain is to be looked for, which may be none of the share or have no way there.
func (v *visitor) wants(rule int, share float64) bool {
	if v.err != nil || v.skips(share) {
		return false
	}
	if !v.ready {
		v.here, v.ready = v.waysTo(v.at), true
		v.own, v.ok = v.own[:0], v.ok[:0]
		if len(v.here) > 0 {
			for _, r := range v.chain.Rules {
				own, ok := anywhere(v.here[0].dir).all(matches(r))
				v.own, v.ok = append(v.own, own), append(v.ok, ok)
			}
		}
	}
	return len(v.here) > 0 && v.ok[rule]
}

// ruleOf is the policy's rule that decides where a verdict leads, nil for none.
func (v *visitor) ruleOf(to ruleset.Verdict) *policy.Rule {
	if k, has := v.number[to.Chain]; has {
		return v.rules[k]
	}
	return nil
}

// way is the packets of one of the chain's ways that are in regions, which meet; false where there are none. The ways are tried from
// one with a number on.
func (v *visitor) way(n int, in ...*region) (out region, ok bool) {
next:
	for k := range v.here {
		way := &v.here[(n+k)%len(v.here)]
		for _, r := range in {
			if !way.meets(r) {
				continue next
			}
		}
		out = *way
		for _, r := range in {
			out.and(r)
		}
		return out, true
	}
	return out, false
}

// place has packets judged that are what rule i of the chain asks, and where it is a lookup have the key of an element, at both
// ends, and go from there to where a verdict leads.
func (v *visitor) place(i int, ref *ruleset.VMapRef, e *ruleset.MapElem, to ruleset.Verdict) {
	for _, at := range []spot{atFirst, atLast} {
		if !v.wants(i, v.share.spans) {
			continue
		}
		in, ok := v.own[i], true
		if ref != nil {
			in, ok = in.keyed(ref, e)
		}
		if !ok {
			return
		}
		if here, ok := v.way(i, &in); ok {
			v.aim(&here, i, at, &in, v.ruleOf(to))
		}
	}
}

// behind is the next rule behind rule j of the chain that decides, or leads to where it is decided, and may get packets of a region;
// with those. False where there is none.
func (v *visitor) behind(j int, in *region) (int, region, bool) {
	for j++; j < len(v.own); j++ {
		if !v.ok[j] || !in.meets(&v.own[j]) {
			continue
		}
		if e, is := last(v.chain.Rules[j]).(ruleset.Verdict); is && e.Kind == ruleset.Return {
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
	for n := range 2 * few {
		if !v.wants(i, v.share.spans) {
			continue
		}
		j, both, ok := i, region{}, true
		for range 1 + n/2 {
			if j, both, ok = v.behind(j, &v.own[i]); !ok {
				return
			}
		}
		v.aim(&both, i, []spot{atFirst, atLast}[n%2], &v.own[i], nil)
	}
}

// beside has packets judged that are what rule i of the chain asks but for one field, which is just not: such that a rule behind it
// takes, where there are any.
func (v *visitor) beside(i int) {
	for axis := range axes {
		for _, below := range []bool{true, false} {
			if axis == axisProto || !v.wants(i, v.share.spans) {
				continue
			}
			not := v.own[i]
			s := &not.spans[axis]
			if *s == anywhere(not.dir).spans[axis] {
				continue
			}
			if below {
				s.Lo, s.Hi = s.Lo.Prev(), s.Lo.Prev()
			} else {
				s.Lo, s.Hi = s.Hi.Next(), s.Hi.Next()
			}
			if !v.crossing(i, &not) {
				if r, ok := v.way(i, &not); ok {
					v.aim(&r, i, atAny, &v.own[i], nil)
				}
			}
		}
	}
}

// besides has packets judged that are what rule i of the chain asks, but at a corner of what it asks besides spans, or beyond: there such
// that a rule behind it takes, where there are any.
func (v *visitor) besides(i int, end ruleset.Verdict) {
	const tries = 8
	want := v.ruleOf(end)
	for _, e := range matches(v.chain.Rules[i]) {
		for _, at := range v.loose(e) {
			if !v.wants(i, v.share.loose) {
				continue
			}
			in := v.own[i]
			in.at = &at
			if !at.in && v.crossing(i, &in) {
				continue
			}
			r, ok := v.way(i, &in)
			for n := 0; ok && n < tries; n++ {
				by, came := v.sent(&r, i, atAny, &in)
				if v.err != nil || came && (want == nil || by == want || !at.in && !v.precedes(by, want)) {
					break
				}
			}
		}
	}
}

// precedes tells whether a rule, if it is one, stands before another in the policy.
func (v *visitor) precedes(a, b *policy.Rule) bool {
	return a != nil && v.asker.Place(a) < v.asker.Place(b)
}

// crossing has packets of a region judged that the next rules behind rule i of the chain take, and tells whether there are any.
func (v *visitor) crossing(i int, in *region) bool {
	const few = 2
	j := i
	for range few {
		next, r, ok := v.behind(j, in)
		if !ok {
			break
		}
		j = next
		var want *policy.Rule
		if e, is := last(v.chain.Rules[j]).(ruleset.Verdict); is {
			want = v.ruleOf(e)
		}
		v.aim(&r, i, atAny, &v.own[i], want)
	}
	return j > i
}

// aim has packets of a region judged until one comes to rule i of the chain and, where a rule is wanted, is decided by it. In what own
// asks it is at the spot.
func (v *visitor) aim(r *region, i int, at spot, own *region, want *policy.Rule) {
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
	by, came := v.sent(r, i, at, own)
	return v.err != nil || came && (want == nil || by == want)
}

// sent has a packet of a region judged that none of the chain's rules before rule i takes by its spans, and returns the policy's rule that
// decides it, if any; false where it did not come to the chain, or there was none.
func (v *visitor) sent(r *region, i int, at spot, own *region) (by *policy.Rule, came bool) {
	if v.err != nil {
		return nil, false
	}
	pkt, ok := v.drawIn(r, at, own)
	if !ok || v.taken(&pkt, i) {
		return nil, false
	}
	d, err := v.hold(&pkt)
	v.err = err
	return d.Rule, slices.Contains(v.path, v.at)
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

// back has packets judged that have the key of an element where rule i of the chain is a lookup, go elsewhere, and come back to be decided
// by a later rule.
func (v *visitor) back(i int, ref *ruleset.VMapRef, e *ruleset.MapElem) {
	if !v.wants(i, v.share.spans) {
		return
	}
	in, ok := v.own[i].keyed(ref, e)
	if !ok {
		return
	}
	const tries = 4
	for range tries {
		way, ok := v.way(v.rng.IntN(len(v.here)), &in)
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
		name, ok := v.step(way, ch, i)
		if !ok {
			break
		}
		to, has := v.number[name]
		if !has {
			break
		}
		if r := v.rules[to]; r != nil {
			return r, true
		}
		ch, i = v.chains[to], 0
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
