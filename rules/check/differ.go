package check

import (
	"fmt"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// differ is one Diff under way.
type differ struct {
	old, new *policy.Policy
	now      int64
	space    *space.Space
	boxes    bool // each box by itself
	liveLeft int  // work that live may still do
	naming   *naming
	out      *Difference
	exact    bool // what is found is not made wider for the sake of its words
}

// side is how one policy judges the packets of a direction.
type side struct {
	entries []space.Entry
	does    []int
	first   int // the first entry that is a rule, or stands for all rules
}

// sides is both policies in a direction. Treatments are numbered over both.
type sides struct {
	old, new   side
	treatments []treatment
	numbers    map[treatment]int
	pairs      [][2]int
}

func (s *sides) side(sp *space.Space, p *policy.Policy, dir policy.Dir) (side, error) {
	entries, err := sp.Entries(p, dir)
	out := side{entries: entries, first: len(entries)}
	for i, e := range entries {
		t := treated(e.Decision)
		n, ok := s.numbers[t]
		if !ok {
			n = len(s.treatments)
			s.numbers[t], s.treatments = n, append(s.treatments, t)
		}
		out.does = append(out.does, n)
		if d := e.Decision; d.Rule != nil || d.By == policy.ByDefault || d.By == policy.ByUnjudged {
			out.first = min(out.first, i)
		}
	}
	return out, err
}

// pair finds the entries of both sides that have the same name and do the same, in the same order.
func (s *sides) pair() {
	names := func(es []space.Entry) []string {
		count := map[string]int{}
		var out []string
		for _, e := range es {
			by := e.Decision.By
			out = append(out, fmt.Sprint(by, " ", count[by])) // there may be several failsafe lines
			count[by]++
		}
		return out
	}
	old := map[string]int{}
	for i, name := range names(s.old.entries) {
		old[name] = i
	}
	var pairs [][2]int
	var places []int
	for j, name := range names(s.new.entries) {
		if i, ok := old[name]; ok && s.old.does[i] == s.new.does[j] {
			pairs = append(pairs, [2]int{i, j})
			places = append(places, i)
		}
	}
	for _, n := range longestRise(places) {
		s.pairs = append(s.pairs, pairs[n])
	}
}

// found is packets that are treated differently, before they are put into words.
type found struct {
	dir      policy.Dir
	rules    bool // what stands before the rules is taken out
	box      space.Box
	live     *space.Box // some of them that nothing before the rules takes
	old, new int        // what decides about the first of them, by entry
	was, now []Decider
	from, to treatment
	both     bool       // of both families: box is of IPv4, and other of IPv6
	other    *space.Box // what differs from box in protocols and addresses only
	sum      int        // the boxes that this one stands for, which is wider; 0 where it is exact
}

// direction compares what the policies do to the packets of a direction. It returns the work done.
func (d *differ) direction(dir policy.Dir, work int) (int, error) {
	s, all, open, used, err := d.search(dir, work)
	if err != nil {
		return used, err
	}
	for _, f := range d.few(s, all) {
		d.add(f)
	}
	d.reportOpen(open)
	return used, nil
}

// search finds the packets of a direction that are treated differently, and those left undecided.
func (d *differ) search(dir policy.Dir, work int) (s *sides, all, open []found, used int, err error) {
	if s, err = d.sides(dir); err != nil {
		return nil, nil, nil, 0, err
	}
	all, open, used = d.among(s, dir, work, func(_, six bool) (space.Box, bool) { return d.space.Whole(dir, six), true })
	return s, all, open, used, nil
}

// sides is how both policies judge the packets of a direction.
func (d *differ) sides(dir policy.Dir) (s *sides, err error) {
	s = &sides{numbers: map[treatment]int{}}
	if s.old, err = s.side(d.space, d.old, dir); err != nil {
		return nil, err
	}
	if s.new, err = s.side(d.space, d.new, dir); err != nil {
		return nil, err
	}
	s.pair()
	return s, nil
}

// among is search among the packets of a box of each family, for what stands before the rules and for the rules. The box is false
// where none of the family is meant.
func (d *differ) among(s *sides, dir policy.Dir, work int, box func(rules, six bool) (space.Box, bool)) (all, open []found, used int) {
	for _, rules := range []bool{false, true} {
		c := s.before()
		if rules {
			c = s.after()
		}
		for _, six := range []bool{false, true} {
			whole, some := box(rules, six)
			if !some || !whole.Limit(space.Time, d.space.From(d.now)) {
				continue
			}
			c.Left = (work - used) * 2 / 3
			left := c.Left
			pieces, rest := c.Run(whole)
			used += left - c.Left
			taken := s.taken(six, rules)
			for _, p := range pieces {
				f := d.piece(s, dir, rules, p)
				if live, ok, err := d.live(&p.Box, taken); err != nil {
					open = append(open, f)
				} else if ok {
					f.live = &live
					if !d.exact {
						d.widen(&f.box, &whole, taken)
					}
					all = append(all, f)
				}
			}
			for _, b := range rest {
				if _, ok, err := d.live(&b, taken); ok || err != nil {
					open = append(open, found{dir: dir, rules: rules, box: b})
				}
			}
		}
	}
	return all, open, used
}

// before is the comparison of what stands before the rules: of all packets that it decides about on either side.
func (s *sides) before() *space.Comparison {
	return &space.Comparison{Old: s.old.entries, New: s.new.entries, OldDoes: s.old.does, NewDoes: s.new.does, Pairs: s.pairs,
		OldFirst: s.old.first, NewFirst: s.new.first}
}

// after is the comparison of the rules, as if every packet reached them. That is how people speak of rules, and what
// stands before them would cut each result into splinters.
func (s *sides) after() *space.Comparison {
	c := &space.Comparison{Old: s.old.entries[s.old.first:], New: s.new.entries[s.new.first:],
		OldDoes: s.old.does[s.old.first:], NewDoes: s.new.does[s.new.first:]}
	c.OldFirst, c.NewFirst = len(c.Old), len(c.New)
	for _, p := range s.pairs {
		if p[0] >= s.old.first && p[1] >= s.new.first {
			c.Pairs = append(c.Pairs, [2]int{p[0] - s.old.first, p[1] - s.new.first})
		}
	}
	return c
}

// taken is what of a family never reaches the rules, on either side.
func (s *sides) taken(six, rules bool) []*space.Box {
	if !rules {
		return nil
	}
	var out []*space.Box
	for _, side := range []side{s.old, s.new} {
		for _, e := range side.entries[:side.first] {
			for i := range e.Boxes {
				if e.Boxes[i].Six == six {
					out = append(out, &e.Boxes[i])
				}
			}
		}
	}
	return out
}

// liveWork bounds the search for packets of one piece that reach the rules.
const liveWork = 2_000_000

// live finds packets of a box that nothing takes before.
func (d *differ) live(b *space.Box, taken []*space.Box) (space.Box, bool, error) {
	before := min(liveWork, d.liveLeft)
	search := space.Search{Left: before}
	w, found, err := search.Outside(b, taken)
	d.liveLeft -= before - max(0, search.Left)
	return w, found, err
}

// widen takes into a box, along the dimensions of dynamic sets and interfaces, what is taken before anyhow: nobody wants
// to read that what is blocked is no part of it.
func (d *differ) widen(b, whole *space.Box, taken []*space.Box) {
	for _, dim := range []space.Dim{space.SrcIn, space.DstIn, space.IIf, space.OIf} {
		rest := whole.Set(dim).Minus(b.Set(dim))
		if rest.IsEmpty() || len(taken) == 0 {
			continue
		}
		more := b.With(dim, rest)
		if _, found, err := d.live(&more, taken); !found && err == nil {
			*b = b.With(dim, whole.Set(dim))
		}
	}
}

// piece is what was found, with what decides.
func (d *differ) piece(s *sides, dir policy.Dir, rules bool, p space.Piece) found {
	if rules {
		p.Old, p.New = p.Old+s.old.first, p.New+s.new.first
	}
	return found{dir: dir, rules: rules, box: p.Box, old: p.Old, new: p.New,
		was: []Decider{decider(s.old.entries[p.Old].Decision)}, now: []Decider{decider(s.new.entries[p.New].Decision)},
		from: s.treatments[s.old.does[p.Old]], to: s.treatments[s.new.does[p.New]]}
}

// add takes up what was found, after holding one packet of it against Decide.
func (d *differ) add(f found) {
	pkt, given := d.example(&f)
	was, is := d.old.With(given).Decide(&pkt), d.new.With(given).Decide(&pkt)
	packets := d.naming.packets(&f)
	if treated(was) != f.from || treated(is) != f.to { // the boxes and Decide disagree: neither answer is safe
		packets.Text += " (the answer contradicts itself at " + d.new.Words(&pkt) + ")"
		d.out.Undecided = append(d.out.Undecided, packets)
		return
	}
	if pkt.Time == d.now { // as explain takes it
		pkt.Time = 0
	}
	s := Shift{Packets: packets, Sum: f.sum, Old: f.from.verdict.String(), New: f.to.verdict.String(), Was: f.was, Now: f.now, Example: d.new.Words(&pkt)}
	if s.Old != s.New {
		d.out.Verdicts = append(d.out.Verdicts, s)
		return
	}
	s.Verdict = s.Old
	s.Old, s.New = differences(f.from, f.to)
	d.out.Actions = append(d.out.Actions, s)
}

// example is one of the packets, and what dynamic sets must hold for it.
func (d *differ) example(f *found) (policy.Packet, map[string]addrset.Addrs) {
	pkt := d.space.Packet(f.dir, f.live)
	given := map[string]addrset.Addrs{}
	src, _ := f.live.Set(space.SrcIn).Min()
	dst, _ := f.live.Set(space.DstIn).Min()
	for i, name := range d.space.Held() {
		if src>>i&1 == 1 {
			given[name] = given[name].Union(addrset.OfRange(pkt.Src, pkt.Src))
		}
		if dst>>i&1 == 1 {
			given[name] = given[name].Union(addrset.OfRange(pkt.Dst, pkt.Dst))
		}
	}
	if pkt.Time == 0 {
		pkt.Time = d.now
	}
	return pkt, given
}
