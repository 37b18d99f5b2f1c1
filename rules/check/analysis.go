package check

import (
	"slices"

	"ringwall/rules/addrset"
	"ringwall/rules/decide"
	"ringwall/rules/policy"
	"ringwall/rules/space"
)

// analysis is what the rules of one list do to each other, exactly: over all that packets are looked at for, whatever
// dynamic sets hold, from now on.
type analysis struct {
	*policy.Policy
	space   *space.Space
	dir     policy.Dir
	now     int64 // in Unix seconds; 0: all times
	budget  *budget
	entries []space.Entry // what stands before the rules, the rules that can match, the default
	first   int           // the index of the first rule's entry
	last    int           // the index of the default's entry
	start   []int         // by entry: the number of its first box in the index; one more for the end
	index   *space.Index
	owners  []int32              // by box of the index: its entry
	decider *decide.Index        // of this list
	own     [][]space.Box        // by entry: of a rule, what of its boxes gets past the base
	whole   [][]*space.Box       // by entry: the boxes that those are part of
	gone    []bool               // by entry: rules that never match
	cover   [][]int              // by entry of those: what holds all of it together, nil where that is not known
	idle    []bool               // by entry: rules that change nothing
	blamed  []bool               // by entry: rules that a pair lint is about
	place   map[*policy.Rule]int // the entries of rules
	hot     []int                // entries that covered others lately, the last first
	numbers []int32              // scratch
}

// budget bounds the work of all analyses of a policy, in comparisons of boxes.
type budget struct {
	left int
	each int // for one question
}

// newBudget is enough for policies whose rules have few others around them, and takes a few seconds at most.
func newBudget() *budget { return &budget{left: 40_000_000, each: 400_000} }

// search begins a question. What it takes is settled by done.
func (b *budget) search() *space.Search { return &space.Search{Left: min(b.each, b.left)} }

func (b *budget) done(s *space.Search) { b.left -= min(b.each, b.left) - max(s.Left, 0) }

// newAnalysis lays out a list. The error is space.ErrTooComplex.
func newAnalysis(p *policy.Policy, s *space.Space, dir policy.Dir, now int64, b *budget) (*analysis, error) {
	entries, err := s.Entries(p, dir)
	if err != nil {
		return nil, err
	}
	a := &analysis{Policy: p, space: s, dir: dir, now: now, budget: b, entries: entries, last: len(entries) - 1}
	a.first = slices.IndexFunc(entries, func(e space.Entry) bool { return e.Decision.Rule != nil })
	if a.first < 0 {
		a.first = a.last
	}
	reach := [2]space.Box{s.Whole(dir, false), s.Whole(dir, true)}
	var boxes []*space.Box
	for i := range entries {
		a.start = append(a.start, len(boxes))
		for j := range entries[i].Boxes {
			box := &entries[i].Boxes[j]
			if d, ok := box.Sole(); i < a.first && ok && d > space.Dst {
				r := &reach[family(box.Six)] // simpler than a box that all others have to be held against
				r.Limit(d, box.Set(d).Complement())
				continue
			}
			boxes = append(boxes, box)
			a.owners = append(a.owners, int32(i))
		}
	}
	a.start = append(a.start, len(boxes))
	a.index = space.NewIndex(boxes)
	a.own, a.whole = make([][]space.Box, len(entries)), make([][]*space.Box, len(entries))
	a.cover = make([][]int, len(entries))
	a.gone, a.idle, a.blamed = make([]bool, len(entries)), make([]bool, len(entries)), make([]bool, len(entries))
	a.place = make(map[*policy.Rule]int, a.last-a.first)
	for i := a.first; i < a.last; i++ {
		a.place[a.rule(i)] = i
		for j := range entries[i].Boxes {
			box := &entries[i].Boxes[j]
			own, ok := box.Intersect(&reach[family(box.Six)])
			if ok && (now == 0 || own.Limit(space.Time, s.Since(now))) {
				a.own[i] = append(a.own[i], own)
				a.whole[i] = append(a.whole[i], box)
			}
		}
	}
	return a, nil
}

func family(six bool) int {
	if six {
		return 1
	}
	return 0
}

// rule is the rule of an entry, nil where it is none.
func (a *analysis) rule(i int) *policy.Rule { return a.entries[i].Decision.Rule }

// owner is the entry that a box of the index belongs to.
func (a *analysis) owner(box int32) int { return int(a.owners[box]) }

// near is the numbers of the boxes that overlap b and belong to entries from lo to below hi which are not gone. They
// are good until the next call. The error is space.ErrTooComplex.
func (a *analysis) near(s *space.Search, b *space.Box, lo, hi int) ([]int32, error) {
	var err error
	a.numbers, err = a.index.Near(s, b, a.start[lo], a.start[hi], a.numbers[:0])
	return slices.DeleteFunc(a.numbers, func(n int32) bool { return a.gone[a.owner(n)] }), err
}

// boxes is the boxes with some numbers.
func (a *analysis) boxes(numbers []int32) []*space.Box {
	out := make([]*space.Box, len(numbers), len(numbers)+1)
	for i, n := range numbers {
		out[i] = a.index.Box(n)
	}
	return out
}

// alive finds packets that an entry decides. The error is space.ErrTooComplex.
func (a *analysis) alive(i int) (space.Box, bool, error) {
	if a.held(i, a.recent(i)) {
		return space.Box{}, false, nil
	}
	if len(a.space.Held()) > 0 { // while dynamic sets are empty first: easier to find, and to read
		var sure []space.Box
		for j := range a.own[i] {
			if b, ok := a.space.Sure(&a.own[i][j]); ok {
				sure = append(sure, b)
			}
		}
		if w, found, err := a.left(i, sure); found || err != nil {
			return w, found, err
		}
	}
	return a.left(i, a.own[i])
}

// left finds packets of some boxes that no entry before one decides.
func (a *analysis) left(i int, boxes []space.Box) (space.Box, bool, error) {
	s := a.budget.search()
	defer a.budget.done(s)
	for j := range boxes {
		numbers, err := a.near(s, &boxes[j], 0, i)
		if err != nil {
			return space.Box{}, false, err
		}
		if w, found, err := s.Outside(&boxes[j], a.boxes(numbers)); found || err != nil {
			return w, found, err
		}
	}
	return space.Box{}, false, nil
}

// recent is the entries before one that lately covered others: what covered one rule often covers the next.
func (a *analysis) recent(i int) []int {
	return slices.DeleteFunc(slices.Sorted(slices.Values(a.hot)), func(k int) bool { return k >= i || a.gone[k] })
}

// remember puts entries that cover a rule to the front of the recent ones.
func (a *analysis) remember(entries []int) {
	const most = 48
	rest := slices.DeleteFunc(a.hot, func(k int) bool { return slices.Contains(entries, k) })
	a.hot = slices.Concat(entries, rest)
	a.hot = a.hot[:min(len(a.hot), most)]
}

// held tells whether it is plain that some entries hold all packets of a rule.
func (a *analysis) held(i int, entries []int) bool {
	const little = 4000 // comparisons
	s := &space.Search{Left: min(little, a.budget.left)}
	before := s.Left
	_, ok := a.needed(s, a.own[i], entries)
	a.budget.left -= before - max(s.Left, 0)
	return ok
}

// example is a packet of a box, with what dynamic sets hold where they must hold something.
func (a *analysis) example(b *space.Box) (policy.Packet, map[string]addrset.Addrs) {
	if sure, ok := a.space.Sure(b); ok {
		b = &sure
	}
	pkt := a.space.Packet(a.dir, b)
	given := map[string]addrset.Addrs{}
	for d, ip := range map[space.Dim]addrset.Addrs{space.SrcIn: addrset.OfRange(pkt.Src, pkt.Src), space.DstIn: addrset.OfRange(pkt.Dst, pkt.Dst)} {
		in, _ := b.Set(d).Min()
		for i, name := range a.space.Held() {
			if in&(1<<i) != 0 {
				given[name] = given[name].Union(ip)
			}
		}
	}
	if k, _ := a.space.At(a.now).Min(); a.now != 0 && b.Set(space.Time).Contains(k) {
		pkt.Time = a.now
	}
	return pkt, given
}

// words is a packet in words that explain reads. Now needs no saying.
func (a *analysis) words(pkt policy.Packet) string {
	if pkt.Time == a.now {
		pkt.Time = 0
	}
	return a.Words(&pkt)
}

// decide is what the policy itself does to a packet, and the index of the entry that does it: a second opinion on each
// finding.
func (a *analysis) decide(pkt *policy.Packet, given map[string]addrset.Addrs) (policy.Decision, int) {
	if a.decider == nil {
		list := *a.Policy
		list.Lists = [3][]*policy.Rule{}
		list.Lists[a.dir] = a.Lists[a.dir]
		a.decider = decide.New(&list)
	}
	d := a.decider.With(a.With(given)).Asker().Decide(pkt)
	if i, ok := a.place[d.Rule]; ok {
		return d, i
	}
	return d, slices.IndexFunc(a.entries, func(e space.Entry) bool { return e.Decision == d })
}
