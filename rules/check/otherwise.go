package check

import (
	"fmt"
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// Otherwise is the packets that open a connection and that one policy decides otherwise than another, written as a policy of its
// own: where that denies a packet by a rule, the two differ. What it allows they decide alike, or cannot be told; see Notes.
type Otherwise struct {
	Policy *policy.Policy
	// Early is the same for what `block` refuses now: those packets are gone before Policy could see them. It asks for nothing that is
	// not known before connection tracking, and says nothing of transit. It is nil where there is nothing to say.
	Early *policy.Policy
	Cases []Case
	Of    map[*policy.Rule]int // the case of each rule that denies
	Notes []string             // what is not looked at, a sentence each
	// Until is the moment from which on all this is stale, since a rule expires then; in Unix seconds, 0 for never.
	Until int64
}

// Asks tells whether anything depends on a dynamic set.
func (o *Otherwise) Asks(set string) bool {
	return o.Policy.Sets[set] != nil || o.Early != nil && o.Early.Sets[set] != nil
}

// Case is packets that go from one decider to another.
type Case struct {
	List policy.Dir
	Was  Decider
	Now  Decider
	Old  policy.Verdict
	New  policy.Verdict
	// Rule is the new policy's rule that decides, nil where none does. Its limits are for the packets of the case: where both
	// verdicts are to allow, only what exceeds them is decided otherwise.
	Rule    *policy.Rule
	Packets string // in words
	// Example is one of the packets, which Decide tells apart while dynamic sets hold what is Given. Text says it in the words of
	// `ringwall explain`; it is empty where there is none.
	Example policy.Packet
	Given   map[string]addrset.Addrs
	Text    string
}

// mostOtherwise bounds the rules of an Otherwise.
const mostOtherwise = 5000

// Differ finds what the policy after would decide otherwise than the one before, at a moment in Unix seconds. It is an error where
// the two are too different to say: work bounds the search, see DiffWork.
func Differ(before, after *policy.Policy, now int64, work int) (*Otherwise, error) {
	o := &otherwise{Otherwise: &Otherwise{Of: map[*policy.Rule]int{}}, cases: map[caseKey]int{}}
	d := &o.differ
	d.now, d.liveLeft, d.out = now, work, &Difference{}
	d.old, d.new = withSameOwners(before, after)
	var err error
	if d.space, err = space.NewFree(d.old, d.new); err != nil {
		return nil, fmt.Errorf("the policies are %w", err)
	}
	d.naming = newNaming(d.space, now, d.old, d.new)
	d.exact = true
	o.frame()
	for _, dir := range policy.Dirs {
		if err := o.direction(dir, work/len(policy.Dirs)); err != nil {
			return nil, err
		}
	}
	o.Policy.Transit = len(o.Policy.Lists[policy.Forward]) > 0
	i, _ := d.space.At(now).Min()
	if times := d.space.Times(); int(i) < len(times) {
		o.Until = times[i]
		for _, p := range []*policy.Policy{o.Policy, o.Early} {
			if p == nil {
				continue
			}
			for _, list := range p.Lists {
				for _, r := range list {
					r.Expires = o.Until
				}
			}
		}
	}
	return o.Otherwise, nil
}

// otherwise is Differ at work.
type otherwise struct {
	*Otherwise
	differ
	cases map[caseKey]int
	rules int // written so far
	into  *policy.Policy
}

// caseKey is what makes packets one case.
type caseKey struct {
	dir      policy.Dir
	was, now Decider
	from, to treatment
}

// counted leaves out of a box what does not open a connection, and what the base of Otherwise takes whatever else it is.
func (o *otherwise) counted(dir policy.Dir, b *space.Box) {
	b.Limit(space.Time, o.space.At(o.differ.now))
	b.Limit(space.State, addrset.One(addrset.U32(policy.New)))
	b.Limit(space.HopLimit, addrset.One(addrset.U32(64)))
	if o.Policy.Base.ReversePath {
		b.Limit(space.Spoofed, addrset.One(addrset.U32(0)))
	}
	if o.Policy.Base.Loopback && dir != policy.Forward {
		lo := o.space.Named(policy.Loopback)
		b.Limit(space.IIf, b.Set(space.IIf).Minus(lo))
		b.Limit(space.OIf, b.Set(space.OIf).Minus(lo))
	}
}

// wide is a box with what counted left out, along dimensions where it makes no difference to say less.
func (o *otherwise) wide(dir policy.Dir, b *space.Box) *space.Box {
	out, whole := *b, o.space.Whole(dir, b.Six)
	for _, d := range []space.Dim{space.State, space.HopLimit, space.Spoofed, space.Time} {
		out = out.With(d, whole.Set(d))
	}
	if o.Policy.Base.Loopback && dir != policy.Forward {
		lo := o.space.Named(policy.Loopback)
		for _, d := range []space.Dim{space.IIf, space.OIf} {
			if all := whole.Set(d); out.Set(d).Equal(all.Minus(lo)) {
				out = out.With(d, all)
			}
		}
	}
	return &out
}

// frame is the policy without rules. What its base takes is out of consideration: what a match can't ask for.
func (o *otherwise) frame() {
	a, b := o.old.Base, o.new.Base
	base := policy.Base{
		Established: true,
		Loopback:    a.Loopback || b.Loopback,
		Neighbour:   a.Neighbour || b.Neighbour,
		Invalid:     a.Invalid || b.Invalid,
		ReversePath: a.ReversePath || b.ReversePath,
	}
	for _, k := range []struct {
		by       string
		old, new bool
	}{{policy.ByLoopback, a.Loopback, b.Loopback}, {policy.ByNeighbour, a.Neighbour, b.Neighbour}, {policy.ByInvalid, a.Invalid, b.Invalid},
		{policy.ByReversePath, a.ReversePath, b.ReversePath}, {policy.ByEstablished, a.Established, b.Established}} {
		if k.old != k.new {
			o.note(fmt.Sprintf("what `base: %s` decides otherwise is not counted", k.by))
		}
	}
	if o.old.Transit != o.new.Transit && base.ReversePath {
		o.note("what `base: reverse-path` decides otherwise about transit is not counted")
	}
	o.Policy = &policy.Policy{
		Entry: o.new.Entry, Base: base,
		Sets: map[string]*policy.Set{}, Given: map[string]addrset.Addrs{},
	}
}

// asks takes up the dynamic sets that addresses depend on.
func (o *otherwise) asks(a policy.Addrs) {
	for _, t := range a.Terms {
		for _, name := range slices.Concat(t.In, t.NotIn) {
			for _, p := range []*policy.Policy{o.old, o.new} {
				if set := p.Sets[name]; set != nil && set.Dynamic != nil {
					o.into.Sets[name] = set
				}
			}
		}
	}
}

// direction writes the rules of one direction: what is decided before the rules; what never reaches them; the rest.
func (o *otherwise) direction(dir policy.Dir, work int) error {
	s, err := o.sides(dir)
	if err != nil {
		return err
	}
	all, open, _ := o.among(s, dir, work, func(_, six bool) (space.Box, bool) {
		whole := o.space.Whole(dir, six)
		o.counted(dir, &whole)
		return whole, true
	})
	if len(open) > 0 {
		return fmt.Errorf("the policies are too different to say what is decided otherwise: not decided for %s", o.naming.packets(&open[0]).Text)
	}
	var early []found
	all = slices.DeleteFunc(all, func(f found) bool {
		if s.old.entries[f.old].Decision.By != policy.ByBlock {
			return !o.matters(&f)
		}
		if f.from.verdict != f.to.verdict {
			early = append(early, f)
		}
		return true
	})
	if err := o.early(s, dir, early); err != nil {
		return err
	}
	o.into = o.Policy
	for _, rules := range []bool{false, true} {
		if rules {
			o.passed(s, dir)
		}
		var part []found
		for _, f := range all {
			if f.rules == rules {
				part = append(part, f)
			}
		}
		if err := o.write(s, dir, part); err != nil {
			return err
		}
	}
	return nil
}

// early writes rules for what block refuses now.
func (o *otherwise) early(s *sides, dir policy.Dir, list []found) error {
	switch {
	case len(list) == 0:
		return nil
	case dir == policy.Forward:
		o.note("transit that `block` refuses now is not counted: it is dropped before it is known to be transit by which interface")
		return nil
	case o.Early == nil:
		o.Early = &policy.Policy{Entry: o.Policy.Entry, Base: policy.Base{Loopback: true}, Sets: map[string]*policy.Set{}, Given: map[string]addrset.Addrs{}}
	}
	o.into = o.Early
	return o.write(s, dir, list)
}

// matters tells whether packets get another verdict, or a limit that may refuse them.
func (o *otherwise) matters(f *found) bool {
	if f.from.verdict != f.to.verdict {
		return true
	}
	if f.from.verdict != policy.Allow || f.from.limit == f.to.limit && f.from.connections == f.to.connections {
		return false
	}
	if f.to.limit == "none" && f.to.connections == "none" {
		o.note("what a limit refuses now, and would not any more, is not counted")
		return false
	}
	return true
}

func (o *otherwise) note(text string) {
	if !slices.Contains(o.Notes, text) {
		o.Notes = append(o.Notes, text)
	}
}

// passed writes rules for what is decided before the rules on either side and alike, unless the base does that. What the running
// policy blocks has been dropped earlier.
func (o *otherwise) passed(s *sides, dir policy.Dir) {
	blocked := func(e *space.Entry) bool { return e.Decision.By == policy.ByBlock }
	same := slices.IndexFunc(s.old.entries, func(e space.Entry) bool { return blocked(&e) })
	for n, side := range []side{s.old, s.new} {
		for _, e := range side.entries[:side.first] {
			if o.inBase(e.Decision.By) || blocked(&e) && (n == 0 || same >= 0 && e.Equal(&s.old.entries[same])) {
				continue
			}
			for i := range e.Boxes {
				b, whole := e.Boxes[i], o.space.Whole(dir, e.Boxes[i].Six)
				o.counted(dir, &whole)
				if b, ok := b.Intersect(&whole); ok {
					w := o.space.Write(dir, o.wide(dir, &b))
					for _, m := range w.Has {
						o.add(dir, m, e.Decision, policy.Allow)
					}
				}
			}
		}
	}
}

// inBase tells whether the base takes what something before the rules decides.
func (o *otherwise) inBase(by string) bool {
	b := o.Policy.Base
	return map[string]bool{
		policy.ByLoopback: b.Loopback, policy.ByEstablished: b.Established, policy.ByNeighbour: b.Neighbour,
		policy.ByInvalid: b.Invalid, policy.ByReversePath: b.ReversePath,
	}[by]
}

// write writes rules for what was found, by case. What lacks something comes last.
func (o *otherwise) write(s *sides, dir policy.Dir, list []found) error {
	groups := map[caseKey][]found{}
	var order []caseKey
	for _, f := range list {
		k := caseKey{dir, f.was[0], f.now[0], f.from, f.to}
		if _, ok := groups[k]; !ok {
			order = append(order, k)
		}
		groups[k] = append(groups[k], f)
	}
	type lack struct {
		n int
		d policy.Decision
		space.Lack
	}
	var lacks []lack
	for _, k := range order {
		group := merge(slices.Clone(groups[k]))
		n, err := o.open(s, k, group)
		if err != nil {
			return err
		}
		d := s.new.entries[group[0].new].Decision
		for i := range group {
			for _, b := range group[i].families() {
				w := o.space.Write(dir, o.wide(dir, b))
				for _, m := range w.Has {
					o.Of[o.add(dir, m, d, policy.Deny)] = n
				}
				for _, l := range w.Lacks {
					lacks = append(lacks, lack{n, d, l})
				}
			}
		}
	}
	for _, l := range lacks {
		for _, m := range l.Buts {
			o.add(dir, m, l.d, policy.Allow)
		}
		o.Of[o.add(dir, l.Match, l.d, policy.Deny)] = l.n
	}
	if n := len(o.into.Lists[dir]); n > mostOtherwise {
		return fmt.Errorf("the policies are too different: `%s` has %d kinds of packets that they treat differently, and %d are the most", dir, n, mostOtherwise)
	}
	return nil
}

// families is the boxes of what was found: one, or one of each family.
func (f *found) families() []*space.Box {
	if f.both {
		return []*space.Box{&f.box, f.other}
	}
	return []*space.Box{&f.box}
}

// add adds a rule to the policy.
func (o *otherwise) add(dir policy.Dir, m policy.Match, d policy.Decision, v policy.Verdict) *policy.Rule {
	o.rules++
	r := &policy.Rule{ID: fmt.Sprint(o.rules), List: dir, At: d.At, Text: d.By, Match: m, Action: policy.Action{Verdict: v}}
	o.into.Lists[dir] = append(o.into.Lists[dir], r)
	o.asks(m.From)
	o.asks(m.To)
	return r
}

// open finds the number of a case, beginning it where it is new: with an example that Decide confirms.
func (o *otherwise) open(s *sides, k caseKey, group []found) (int, error) {
	n, ok := o.cases[k]
	if ok {
		return n, nil
	}
	f := &group[0]
	c := Case{List: k.dir, Was: k.was, Now: k.now, Old: f.from.verdict, New: f.to.verdict, Rule: s.new.entries[f.new].Decision.Rule, Packets: o.words(group)}
	for i := range group {
		pkt, given := o.example(&group[i])
		if pkt.Src == pkt.Dst && len(given) > 0 {
			continue // no set can hold one address and not hold it
		}
		was, is := o.old.With(given).Decide(&pkt), o.new.With(given).Decide(&pkt)
		if treated(was) != f.from || treated(is) != f.to {
			return 0, fmt.Errorf("what is decided otherwise contradicts itself at %s", o.new.Words(&pkt))
		}
		c.Example, c.Given = pkt, given
		pkt.Time = 0
		c.Text = o.new.Words(&pkt)
		break
	}
	o.cases[k] = len(o.Cases)
	o.Cases = append(o.Cases, c)
	return len(o.Cases) - 1, nil
}

// words is the packets of a case; of many boxes the first few.
func (o *otherwise) words(group []found) string {
	const few = 3
	var texts []string
	for i := range group {
		if i == few {
			break
		}
		f := group[i]
		f.box, f.rules = *o.wide(f.dir, &f.box), true
		texts = append(texts, o.naming.packets(&f).Text)
	}
	text := strings.Join(texts, "; ")
	if n := len(group) - len(texts); n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return text
}
