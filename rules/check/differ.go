package check

import (
	"fmt"
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// differ is one Diff under way.
type differ struct {
	old, new *policy.Policy
	now      int64
	space    *space.Space
	naming   *naming
	out      *Difference
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
	live     space.Box // some of them that nothing before the rules takes
	old, new int       // what decides about the first of them, by entry
	was, now []Decider
	from, to treatment
	both     bool      // of both families: box is of IPv4, and other of IPv6
	other    space.Box // what differs from box in protocols and addresses only
}

// direction compares what the policies do to the packets of a direction. It returns the work done.
func (d *differ) direction(dir policy.Dir, work int) (int, error) {
	s := &sides{numbers: map[treatment]int{}}
	var err error
	if s.old, err = s.side(d.space, d.old, dir); err != nil {
		return 0, err
	}
	if s.new, err = s.side(d.space, d.new, dir); err != nil {
		return 0, err
	}
	s.pair()
	used := 0
	var all []found
	var open []found
	for _, rules := range []bool{false, true} {
		c := s.before()
		if rules {
			c = s.after()
		}
		for n, six := range []bool{false, true} {
			c.Left = (work - used) / (map[bool]int{false: 4, true: 2}[rules] - n)
			left := c.Left
			whole := d.space.Whole(dir, six)
			whole.Limit(space.Time, d.space.From(d.now))
			pieces, rest := c.Run(whole)
			used += left - c.Left
			taken := s.taken(six, rules)
			for _, p := range pieces {
				f := d.piece(s, dir, rules, p)
				if live, ok, err := d.live(&p.Box, taken); err != nil {
					open = append(open, f)
				} else if ok {
					f.live = live
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
	d.report(s, all)
	d.reportOpen(open)
	return used, nil
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
const liveWork = 100_000

// live finds packets of a box that nothing takes before.
func (d *differ) live(b *space.Box, taken []*space.Box) (space.Box, bool, error) {
	search := space.Search{Left: liveWork}
	return search.Outside(b, taken)
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

// few is how many lines of a direction are read one by one; where there are more, the shortest list is best.
const few = 8

// report unites what was found, and puts it into words.
func (d *differ) report(s *sides, all []found) {
	same := map[int]bool{}
	for _, p := range s.pairs {
		if s.old.entries[p[0]].Equal(&s.new.entries[p[1]]) {
			same[p[1]] = true
		}
	}
	type label struct {
		rules    bool
		from, to treatment
		cause    int // the entry that is new or changed, from -1 down that of the old policy that was
	}
	by := func(causes bool) func(f *found) label {
		return func(f *found) label {
			l := label{rules: f.rules, from: f.from, to: f.to}
			switch {
			case !causes:
			case same[f.new]:
				l.cause = -1 - f.old
			default:
				l.cause = f.new
			}
			return l
		}
	}
	list := unite(all, by(true))
	if len(list) > few {
		if shorter := unite(all, by(false)); len(shorter) < len(list) {
			list = shorter
		}
	}
	slices.SortStableFunc(list, byPlace)
	for _, f := range list {
		d.add(f)
	}
}

// unite puts together what has the same label and makes one box, of one family or of both.
func unite[L comparable](all []found, label func(*found) L) []found {
	groups := map[L]int{}
	var members [][]found
	for _, f := range all {
		l := label(&f)
		i, ok := groups[l]
		if !ok {
			i = len(members)
			groups[l] = i
			members = append(members, nil)
		}
		members[i] = append(members[i], f)
	}
	var out []found
	for _, group := range members {
		boxes := make([]space.Box, len(group))
		for i := range group {
			boxes[i] = group[i].box
		}
		united, from := space.Merge(boxes)
		for i, b := range united {
			slices.Sort(from[i])
			f := group[from[i][0]]
			f.box, f.was, f.now = b, nil, nil
			for _, n := range from[i] {
				f.was, f.now = addDeciders(f.was, group[n].was), addDeciders(f.now, group[n].now)
			}
			out = append(out, f)
		}
	}
	return joined(out, label)
}

// joined makes one of what is found of each family where one list of words says both.
func joined[L comparable](list []found, label func(*found) L) []found {
	var out []found
next:
	for _, f := range list {
		if f.box.Six {
			for i := range out {
				o := &out[i]
				if !o.both && !o.box.Six && label(o) == label(&f) && alike(&o.box, &f.box) {
					o.both, o.other = true, f.box
					if _, ok := o.what().Texts(); ok {
						o.was, o.now = addDeciders(o.was, f.was), addDeciders(o.now, f.now)
						continue next
					}
					o.both = false
				}
			}
		}
		out = append(out, f)
	}
	return out
}

// alike tells whether two boxes differ in protocols and addresses at most.
func alike(a, b *space.Box) bool {
	for d := space.Sport; d <= space.DstIn; d++ {
		if !a.Set(d).Equal(b.Set(d)) {
			return false
		}
	}
	return true
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
	s := Shift{Packets: packets, Old: f.from.verdict.String(), New: f.to.verdict.String(), Was: f.was, Now: f.now, Example: d.new.Words(&pkt)}
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
	pkt := d.space.Packet(f.dir, &f.live)
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

// reportOpen names what is left undecided, at most few boxes.
func (d *differ) reportOpen(open []found) {
	list := unite(open, func(f *found) bool { return f.rules })
	if len(list) > few {
		var boxes [2][]space.Box
		for _, f := range list {
			n := 0
			if f.box.Six {
				n = 1
			}
			boxes[n] = append(boxes[n], f.box)
		}
		dir := list[0].dir
		list = nil
		for _, group := range boxes {
			if len(group) > 0 {
				list = append(list, found{dir: dir, rules: true, box: space.Hull(group)})
			}
		}
	}
	for _, f := range list {
		d.out.Undecided = append(d.out.Undecided, d.naming.packets(&f))
	}
}
