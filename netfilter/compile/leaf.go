package compile

import (
	"bytes"
	"net/netip"
	"slices"
	"sort"

	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// Where rules are looked up, one stands in many places: in its own, and as a guard before others. So there are witnesses for each
// place, too: packets that come there and are what the compiled rule there asks for, or just not; that are what another rule of the
// chain asks for, too; and that come by each way.

// places is the chains that lists begin with, all that follow them up to the rules' own, and by which ways packets come there.
type places struct {
	chains map[string]*ruleset.Chain
	maps   map[string]*ruleset.Map
	ways   map[string][]region
	order  []*ruleset.Chain        // those before that lead to a chain
	rules  map[string]*policy.Rule // by their own chains
}

// How many ways to a chain are looked at: of those that rules or lookups lead to, and of those that many chains call.
const (
	mostWays  = 4
	mostCalls = 256
)

func newPlaces(p *policy.Policy, rs *ruleset.Ruleset) *places {
	g := &places{
		chains: make(map[string]*ruleset.Chain), maps: make(map[string]*ruleset.Map), ways: make(map[string][]region), rules: make(map[string]*policy.Rule),
	}
	for _, ch := range rs.Chains {
		g.chains[ch.Name] = ch
	}
	for _, m := range rs.Maps {
		g.maps[m.Name] = m
	}
	for _, list := range p.Lists {
		for _, r := range list {
			g.rules[ChainName(r)] = r
		}
	}
	seen := make(map[string]bool)
	for dir, base := range [...]string{policy.In: chainPre, policy.Out: chainOutput, policy.Forward: chainForward} {
		if g.chains[base] != nil {
			g.sort(base, seen)
			g.ways[base] = []region{anywhere(policy.Dir(dir))}
		}
	}
	slices.Reverse(g.order)
	for _, ch := range g.order {
		g.follow(ch)
	}
	return g
}

// next gives the verdicts of a rule that lead to chains which are looked at, with the element where the rule is a lookup.
func (g *places) next(r *ruleset.Rule, give func(chain string, ref *ruleset.VMapRef, e *ruleset.MapElem)) {
	leads := func(v ruleset.Verdict) bool {
		return v.Chain != "" && g.rules[v.Chain] == nil && g.chains[v.Chain] != nil
	}
	switch end := last(r).(type) {
	case ruleset.Verdict:
		if leads(end) {
			give(end.Chain, nil, nil)
		}
	case ruleset.VMapRef:
		elems := g.maps[end.Map].Elems
		for i := range elems {
			if leads(elems[i].Verdict) {
				give(elems[i].Verdict.Chain, &end, &elems[i])
			}
		}
	}
}

// last is how a rule ends.
func last(r *ruleset.Rule) ruleset.Expr { return r.Exprs[len(r.Exprs)-1] }

// matches is what a rule asks, and where it counts or logs, that.
func matches(r *ruleset.Rule) []ruleset.Expr { return r.Exprs[:len(r.Exprs)-1] }

// sort appends a chain after those that it leads to.
func (g *places) sort(chain string, seen map[string]bool) {
	if seen[chain] {
		return
	}
	seen[chain] = true
	for _, r := range g.chains[chain].Rules {
		g.next(r, func(to string, _ *ruleset.VMapRef, _ *ruleset.MapElem) { g.sort(to, seen) })
	}
	g.order = append(g.order, g.chains[chain])
}

// follow takes the ways to a chain on to those that it leads to.
func (g *places) follow(ch *ruleset.Chain) {
	ways := g.ways[ch.Name]
	for i, r := range ch.Rules {
		g.next(r, func(to string, ref *ruleset.VMapRef, e *ruleset.MapElem) {
			most := mostWays
			if ref == nil && last(r).(ruleset.Verdict).Kind == ruleset.Jump {
				most = mostCalls
			}
			for n := range ways {
				if len(g.ways[to]) >= most {
					return
				}
				if n == mostWays && most == mostCalls {
					return // others call it, too
				}
				way, ok := ways[(i+n)%len(ways)].all(matches(r))
				if ok && ref != nil {
					way, ok = way.keyed(ref, e)
				}
				if ok {
					g.ways[to] = append(g.ways[to], way)
				}
			}
		})
	}
}

// keyed is the packets of r that have the key of an element.
func (r region) keyed(ref *ruleset.VMapRef, e *ruleset.MapElem) (region, bool) {
	lo, ok := e.Lo, true
	for i := range ref.Keys {
		k := &ref.Keys[i]
		n := k.Field.Size()
		axis, proto, has := axisOf(k.Field)
		if has {
			ok = r.of(proto) && r.narrow(axis, under(lo[:n], k.Mask))
		} else {
			r, ok = r.asked(ruleset.Cmp{Field: k.Field, Mask: k.Mask, Value: lo[:n]})
		}
		if !ok {
			return r, false
		}
		lo = lo[n:]
	}
	return r, true
}

// size is about how many witnesses a chain has.
func (g *places) size(ch *ruleset.Chain) (n int) {
	const each = 4
	for _, r := range ch.Rules {
		n += each
		if ref, is := last(r).(ruleset.VMapRef); is {
			n += 2 * len(g.maps[ref.Map].Elems)
		}
	}
	return n
}

// corners is about how many witnesses there are.
func (g *places) corners() (n int) {
	for _, ch := range g.order {
		n += g.size(ch)
	}
	return n
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
				if err := v.visit(ch); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return out
}

// visitor has the witnesses of places judged.
type visitor struct {
	*witness
	*places
	share float64
	chain *ruleset.Chain
	own   []region // what each rule of the chain asks
	ok    []bool   // whether that is anything
}

// visit has the witnesses of a chain's places judged.
func (v *visitor) visit(ch *ruleset.Chain) error {
	ways := v.ways[ch.Name]
	if len(ways) == 0 {
		return nil
	}
	v.chain, v.own, v.ok = ch, v.own[:0], v.ok[:0]
	for _, r := range ch.Rules {
		own, ok := anywhere(ways[0].dir).all(matches(r))
		v.own, v.ok = append(v.own, own), append(v.ok, ok)
	}
	for i, r := range ch.Rules {
		var err error
		switch end := last(r).(type) {
		case ruleset.Verdict:
			if end.Kind == ruleset.Return {
				err = v.guard(i)
			} else {
				err = v.rule(i, end)
			}
		case ruleset.VMapRef:
			err = v.lookup(i, &end)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// way is the packets of the chain's way with a number, or one after it, that are in regions; false where there are none.
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

// few is how many other rules a place is tried with.
const few = 3

// guard has packets judged that a guard sends back, and that are what rules behind it ask for; and those that are just not the
// guard's.
func (v *visitor) guard(i int) error {
	met := 0
	for j := i + 1; j < len(v.own) && met < few; j++ {
		if e, is := last(v.chain.Rules[j]).(ruleset.Verdict); is && e.Kind == ruleset.Return || !v.ok[i] || !v.ok[j] {
			continue
		}
		both, ok := v.way(i+j, &v.own[i], &v.own[j])
		if !ok {
			continue
		}
		for _, at := range []spot{atFirst, atLast} {
			if err := v.aim(&both, i, at, nil); err != nil {
				return err
			}
		}
		if met++; met == 1 {
			if err := v.beside(i, &v.own[j]); err != nil {
				return err
			}
		}
	}
	return nil
}

// rule has packets judged that come to a rule with a verdict; and those that are just not the rule's, and that are another's.
func (v *visitor) rule(i int, end ruleset.Verdict) error {
	here, ok := v.way(i, &v.own[i])
	if !ok || !v.ok[i] {
		return nil
	}
	if end.Kind == ruleset.Jump && v.chains[end.Chain] != nil {
		for n := range few {
			if err := v.descend(i, &v.own[i], end.Chain, n == 0); err != nil {
				return err
			}
		}
		return nil
	}
	for _, at := range []spot{atFirst, atLast} {
		if err := v.aim(&here, i, at, v.rules[end.Chain]); err != nil {
			return err
		}
	}
	if err := v.beside(i, nil); err != nil {
		return err
	}
	// Where it meets another rule of the chain, their order shows.
	met := 0
	for j := i + 1; j < len(v.own) && met < few; j++ {
		if !v.ok[j] {
			continue
		}
		if both, ok := v.way(i+j, &v.own[i], &v.own[j]); ok {
			met++
			if err := v.aim(&both, i, atAny, v.rules[end.Chain]); err != nil {
				return err
			}
		}
	}
	return nil
}

// aim has packets of a region judged until one comes to rule i of the chain and is decided by the rule that is wanted, if any. Of what
// rule i asks it is at the spot.
func (v *visitor) aim(r *region, i int, at spot, want *policy.Rule) error {
	if v.skips(v.share) {
		return nil
	}
	const tries = 4
	for range tries {
		pkt, ok := v.drawIn(r, at, &v.own[i])
		if !ok || v.taken(&pkt, i) {
			continue
		}
		d, err := v.hold(&pkt)
		if err != nil {
			return err
		}
		if (want == nil || d.Rule == want) && slices.Contains(v.path, v.chain.Name) {
			break
		}
	}
	return nil
}

// taken tells whether one of the chain's rules before rule i may take a packet.
func (v *visitor) taken(pkt *policy.Packet, i int) bool {
	for k := range v.own[:i] {
		if _, looks := last(v.chain.Rules[k]).(ruleset.VMapRef); !looks && v.ok[k] && v.own[k].has(pkt) {
			return true
		}
	}
	return false
}

// beside has packets judged that are what rule i of the chain asks but for one field, which is just not; within a region if that is
// not nil.
func (v *visitor) beside(i int, within *region) error {
	all := anywhere(0)
	for axis, s := range v.own[i].spans {
		if s == all.spans[axis] || axis == axisProto {
			continue
		}
		for _, out := range []extent{{Lo: s.Lo.Prev(), Hi: s.Lo.Prev()}, {Lo: s.Hi.Next(), Hi: s.Hi.Next()}} {
			not := v.own[i]
			not.spans[axis] = out
			in := []*region{&not}
			if within != nil {
				in = append(in, within)
			}
			r, ok := v.way(i, in...)
			if !ok {
				continue
			}
			if err := v.aim(&r, i, atAny, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// lookup has packets judged that have the keys of a map's elements.
func (v *visitor) lookup(i int, ref *ruleset.VMapRef) error {
	if !v.ok[i] {
		return nil
	}
	elems := v.maps[ref.Map].Elems
	for n := range elems {
		e := &elems[n]
		key, ok := v.own[i].keyed(ref, e)
		if !ok {
			continue
		}
		if to := e.Verdict.Chain; v.chains[to] != nil && v.rules[to] == nil {
			if err := v.descend(i, &key, to, false); err != nil {
				return err
			}
			continue
		}
		here, ok := v.way(n, &key)
		if !ok {
			continue
		}
		own := v.own[i]
		v.own[i] = key
		for _, at := range []spot{atFirst, atLast} {
			if err := v.aim(&here, i, at, v.rules[e.Verdict.Chain]); err != nil {
				return err
			}
		}
		v.own[i] = own
	}
	return nil
}

// descend has packets judged that are in a region, come from rule i of the chain to another one, and go on from there to a rule, which
// is one of the last where late; until one is decided by it.
func (v *visitor) descend(i int, in *region, chain string, late bool) error {
	if v.skips(v.share) {
		return nil
	}
	const tries = 6
	for range tries {
		way, ok := v.way(v.rng.IntN(len(v.ways[v.chain.Name])), in)
		if !ok {
			return nil
		}
		want, ok := v.goOn(&way, chain, late)
		if !ok {
			continue
		}
		pkt, ok := v.drawIn(&way, atAny, nil)
		if !ok || v.taken(&pkt, i) {
			continue
		}
		d, err := v.hold(&pkt)
		if err != nil {
			return err
		}
		if d.Rule == want && slices.Contains(v.path, chain) && slices.Contains(v.path, v.chain.Name) {
			break
		}
	}
	return nil
}

// goOn narrows a way to packets that go from a chain to a rule, at random; nil where it leads to none.
func (v *visitor) goOn(way *region, chain string, late bool) (to *policy.Rule, ok bool) {
	const deep = 8
	for range deep {
		ch := v.chains[chain]
		if to := v.rules[chain]; to != nil || ch == nil || len(ch.Rules) == 0 {
			return to, true
		}
		from := v.rng.IntN(len(ch.Rules))
		found := false
		for n := range ch.Rules {
			i := (from + n) % len(ch.Rules)
			if late {
				i = len(ch.Rules) - 1 - n
			}
			r := ch.Rules[i]
			next, ok := way.all(matches(r))
			if !ok {
				continue
			}
			switch end := last(r).(type) {
			case ruleset.Verdict:
				if end.Kind != ruleset.Return {
					*way, chain, found = next, end.Chain, true
				}
			case ruleset.VMapRef:
				if e := v.elem(&next, &end); e != nil {
					*way, chain, found = next, e.Verdict.Chain, true
				}
			}
			if found {
				break
			}
		}
		if !found {
			return nil, false
		}
	}
	return nil, true
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

// masked is a number as the value of a field of so many bytes, under a mask; of more bytes all are set.
func masked(n addrset.U128, size int, mask []byte) []byte {
	b := n.Addr().AsSlice()
	if size < 8 && n.Compare(addrset.U128{Lo: 1<<(8*size) - 1}) > 0 {
		b = bytes.Repeat([]byte{0xff}, size)
	}
	b = b[len(b)-size:]
	for i, m := range mask {
		b[i] &= m
	}
	return b
}

// meet makes a packet of a region what an expression asks for, where it can.
func (w *witness) meet(pkt *policy.Packet, r *region, e ruleset.Expr) {
	switch e := e.(type) {
	case ruleset.Cmp:
		switch {
		case e.Op == ruleset.Eq && e.Wildcard:
			w.set(pkt, e.Field, append(slices.Clone(e.Value), '7'), nil)
		case e.Op == ruleset.Eq:
			w.set(pkt, e.Field, e.Value, e.Mask)
		}
	case ruleset.In:
		if e.Not {
			return
		}
		axis, _, spans := axisOf(e.Field)
		from := w.rng.IntN(len(e.Elems))
		for n := range e.Elems {
			i := e.Elems[(from+n)%len(e.Elems)]
			if !spans {
				w.set(pkt, e.Field, [][]byte{i.Lo, i.Hi}[w.rng.IntN(2)], nil)
				return
			}
			if s, ok := meet(r.spans[axis], extent{Lo: number(i.Lo), Hi: number(i.Hi)}); ok {
				w.set(pkt, e.Field, masked(w.within(s, atAny), len(i.Lo), nil), nil)
				return
			}
		}
	}
}

// set gives a packet a field's value, under a mask.
func (w *witness) set(pkt *policy.Packet, f ruleset.Field, v, mask []byte) {
	n := uint64(0)
	for _, b := range v {
		n = n<<8 | uint64(b)
	}
	addr := func(a *netip.Addr) {
		b := a.AsSlice()
		if len(b) != len(v) {
			return
		}
		for i := range b {
			m := byte(0xff)
			if mask != nil {
				m = mask[i]
			}
			b[i] = b[i]&^m | v[i]&m
		}
		*a, _ = netip.AddrFromSlice(b)
	}
	switch f {
	case ruleset.Saddr4, ruleset.Saddr6:
		addr(&pkt.Src)
	case ruleset.Daddr4, ruleset.Daddr6:
		addr(&pkt.Dst)
	case ruleset.L4Proto:
		pkt.Proto = uint8(n)
	case ruleset.Dport:
		pkt.Dport = uint16(n)
	case ruleset.Sport:
		pkt.Sport = uint16(n)
	case ruleset.ICMPType, ruleset.ICMP6Type:
		pkt.Type = uint8(n)
	case ruleset.ICMPCode, ruleset.ICMP6Code:
		pkt.Code = uint8(n)
	case ruleset.IIfName:
		pkt.IIf = string(v)
	case ruleset.OIfName:
		pkt.OIf = string(v)
	case ruleset.MetaMark:
		pkt.Mark = uint32(n)
	case ruleset.SkUID:
		pkt.UID = uint32(n)
	case ruleset.SkGID:
		pkt.GID = uint32(n)
	case ruleset.EtherSaddr:
		copy(pkt.MAC[:], v)
	}
}
