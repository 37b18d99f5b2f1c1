package check

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/policy/policytest"
	"ringwall/rules/source"
	"ringwall/rules/space"
)

func load(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, diags := policy.Load(source.Memory{"p.yaml": text}, "p.yaml", policy.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

// compared is a Diff with what stands behind its lines: each found by direction, in the order of the lines.
type compared struct {
	*differ
	sides [3]*sides
	found [3][]found
	open  [3][]found
}

func compare(t *rapid.T, p, q *policy.Policy, boxes bool, now int64) *compared {
	c := &compared{differ: &differ{old: p, new: q, now: now, boxes: boxes, liveLeft: DiffWork, out: &Difference{}}}
	var err error
	if c.space, err = space.NewFree(p, q); err != nil {
		t.Fatal(err)
	}
	c.naming = newNaming(c.space, now, p, q)
	for _, dir := range policy.Dirs {
		s, all, open, _, err := c.search(dir, DiffWork)
		if err != nil {
			t.Fatal(err)
		}
		c.sides[dir], c.found[dir], c.open[dir] = s, c.few(s, all), open
	}
	return c
}

// point is the box of the packets that nothing tells from one, while dynamic sets hold what is given.
func (c *compared) point(t *rapid.T, pkt *policy.Packet, given map[string]addrset.Addrs) space.Box {
	b := c.space.Whole(pkt.Dir, pkt.Is6())
	one := func(n int) space.Set { return addrset.One(addrset.U32(n)) }
	ok := b.LimitAddrs(space.Src, addrset.OfRange(pkt.Src, pkt.Src)) && b.LimitAddrs(space.Dst, addrset.OfRange(pkt.Dst, pkt.Dst)) &&
		b.Limit(space.Key, addrset.One(pkt.Key())) && b.Limit(space.Sport, one(int(pkt.Sport))) &&
		b.Limit(space.HopLimit, one(int(pkt.HopLimit))) && b.Limit(space.State, one(int(pkt.State))) && b.Limit(space.Time, c.space.At(pkt.Time))
	for d, name := range map[space.Dim]string{space.IIf: pkt.IIf, space.OIf: pkt.OIf} {
		for _, p := range c.naming.patterns {
			if set := c.space.Named(p); name != "" && p.Matches(name) {
				ok = ok && b.Limit(d, set)
			} else if name != "" {
				ok = ok && b.Limit(d, set.Complement())
			}
		}
	}
	for _, m := range c.naming.marked {
		set := c.space.Marked(m)
		if pkt.Mark&m.Mask != m.Value {
			set = set.Complement()
		}
		ok = ok && b.Limit(space.Mark, set)
	}
	mac := 0
	if pkt.HasMAC {
		if mac = slices.Index(c.space.MACs(), pkt.MAC) + 2; mac == 1 {
			mac = 1 // any other
		}
	}
	ok = ok && b.Limit(space.MAC, one(mac))
	if pkt.Dir == policy.Out {
		socket := map[bool]int{true: 1}[pkt.Socket]
		ok = ok && b.Limit(space.Socket, one(socket))
		if pkt.Socket {
			ok = ok && b.Limit(space.UID, one(int(pkt.UID))) && b.Limit(space.GID, one(int(pkt.GID)))
		}
	}
	ok = ok && b.Limit(space.Spoofed, one(map[bool]int{true: 1}[pkt.Spoofed]))
	holders := func(ip netip.Addr) space.Set {
		n := 0
		for i, name := range c.space.Held() {
			if given[name].Contains(ip) {
				n |= 1 << i
			}
		}
		return one(n)
	}
	if !ok || !b.Limit(space.SrcIn, holders(pkt.Src)) || !b.Limit(space.DstIn, holders(pkt.Dst)) {
		t.Fatalf("%s is not in the space", pkt)
	}
	return b
}

// holds tells whether a line speaks of a packet, by what the documentation of Packets and Shift says.
func (c *compared) holds(f *found, point *space.Box, was, is policy.Decision) bool {
	if !f.box.Overlaps(point) && !(f.both && f.other.Overlaps(point)) {
		return false
	}
	beforeRules := func(d policy.Decision) bool {
		return d.Rule == nil && d.By != policy.ByDefault && d.By != policy.ByUnjudged
	}
	if f.rules && (beforeRules(was) || beforeRules(is)) {
		return false
	}
	return f.sum == 0 || slices.Contains(f.was, decider(was)) && slices.Contains(f.now, decider(is))
}

// TestDiffAgreesWithDecide: a packet is in a line exactly if it is treated differently, and the line says how; both ways
// round, whether lines sum up or not.
func TestDiffAgreesWithDecide(t *testing.T) {
	differ, alike, sums := 0, 0, 0
	rapid.Check(t, func(t *rapid.T) {
		p, q := policytest.Policy(t, 5), policytest.Policy(t, 5)
		given := p.Given
		if rapid.Bool().Draw(t, "an edit") {
			q = mutated(t, p)
		}
		for _, dir := range policy.Dirs {
			for _, r := range slices.Concat(p.Lists[dir], q.Lists[dir]) {
				r.Action.Log = rapid.IntRange(0, 7).Draw(t, "log") == 7
			}
		}
		now := rapid.SampledFrom([]int64{0, 1500}).Draw(t, "now")
		c := compare(t, p, q, rapid.Bool().Draw(t, "boxes"), now)
		for _, dir := range policy.Dirs {
			if len(c.open[dir]) > 0 {
				t.Fatal("some is left open")
			}
			for i := range c.found[dir] {
				sums += min(1, c.found[dir][i].sum)
			}
			check := func(pkt policy.Packet, given map[string]addrset.Addrs) {
				pkt.Time = max(pkt.Time, now)
				point := c.point(t, &pkt, given)
				was, is := p.With(given).Decide(&pkt), q.With(given).Decide(&pkt)
				from, to := treated(was), treated(is)
				var in []*found
				for i := range c.found[dir] {
					if f := &c.found[dir][i]; c.holds(f, &point, was, is) {
						in = append(in, f)
					}
				}
				if from == to {
					alike++
					if len(in) > 0 {
						t.Fatalf("%s: %v by %s, then by %s, but in %s", &pkt, from, was.By, is.By, c.naming.packets(in[0]).Text)
					}
					return
				}
				differ++
				if len(in) == 0 {
					t.Fatalf("%s: %v by %s, then %v by %s, but in no line", &pkt, from, was.By, to, is.By)
				}
				for _, f := range in {
					if f.from != from || f.to != to || !slices.Contains(f.was, decider(was)) || !slices.Contains(f.now, decider(is)) {
						t.Fatalf("%s: %v by %s, then %v by %s, but the line says %+v", &pkt, from, was.By, to, is.By, f)
					}
				}
			}
			for range 20 {
				check(policytest.Packet(t, dir), given)
			}
			for i := range c.found[dir] {
				check(c.example(&c.found[dir][i]))
			}
		}
	})
	if differ < 500 || alike < 500 || sums < 50 {
		t.Errorf("%d packets differ, %d do not, %d sums: too few of one to have tested much", differ, alike, sums)
	}
}

// TestAbsorb: what lies in something else goes into it with all that decides, wherever it stands in the list.
func TestAbsorb(t *testing.T) {
	sp, err := space.NewFree()
	if err != nil {
		t.Fatal(err)
	}
	whole := sp.Whole(policy.In, false)
	narrow := func(hi int) space.Box { return whole.With(space.Sport, addrset.Between(0, addrset.U32(hi))) }
	one := func(b space.Box, by string) found {
		return found{box: b, sum: 1, was: []Decider{{By: by}}, now: []Decider{{By: "new"}}}
	}
	boxes := []found{one(narrow(5), "a"), one(narrow(9), "b"), one(narrow(7), "c"), one(narrow(9), "d"), one(narrow(1), "e")}
	for range 5 {
		boxes = append(boxes[1:], boxes[0])
		got := absorb(slices.Clone(boxes))
		if len(got) != 1 || got[0].sum != 5 || len(got[0].was) != 5 || len(got[0].now) != 1 {
			t.Errorf("%+v", got)
		}
	}
}

// mutated is a policy with one edit.
func mutated(t *rapid.T, p *policy.Policy) *policy.Policy {
	q, other := *p, policytest.Policy(t, 3)
	for dir, list := range p.Lists {
		q.Lists[dir] = nil
		for _, r := range list {
			s := *r
			q.Lists[dir] = append(q.Lists[dir], &s)
		}
	}
	dir := rapid.SampledFrom(policy.Dirs[:]).Draw(t, "dir")
	list := q.Lists[dir]
	i := rapid.IntRange(0, max(0, len(list)-1)).Draw(t, "rule")
	switch rapid.IntRange(0, 8).Draw(t, "edit") {
	case 0:
		q.Block = other.Block
	case 1:
		q.Failsafe = other.Failsafe
	case 2:
		q.Base = other.Base
	case 3:
		q.Defaults, q.Transit = other.Defaults, other.Transit
	case 4:
		q.Lists[dir] = append(list, other.Lists[dir]...)
	case 5:
		if len(list) > 0 {
			q.Lists[dir] = slices.Delete(list, i, i+1)
		}
	case 6:
		if len(list) > 0 {
			list[0], list[i] = list[i], list[0]
		}
	case 7:
		if len(list) > 0 {
			list[i].Match.From = policytest.Addrs(t)
		}
	default:
		if len(list) > 0 {
			list[i].Expires = 2000
		}
	}
	return &q
}
