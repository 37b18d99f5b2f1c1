package policy

import (
	"ringwall/rules/addrset"
	"ringwall/rules/diag"
)

// effort is what a load has done beyond reading each word once, and how much it may do: sets that are named again and
// again make a small text a large policy. It is counted in ranges of addresses or ports that were looked at or made, an
// IPv6 one counting for four, as it does in memory.
type effort struct {
	done, most int
	reported   bool
}

// The effort that a policy may take: some for each, and more the more bytes were read.
const (
	freeEffort    = 2 << 20
	effortPerByte = 1.5
)

// spend does so much more, false where it is too much.
func (e *effort) spend(n int) bool {
	e.done += n
	return e.done <= e.most
}

// over tells whether it was too much.
func (e *effort) over() bool { return e.done > e.most }

// wasRead allows for bytes that were read.
func (l *loader) wasRead(data []byte) {
	more := int(effortPerByte * float64(len(data)))
	l.effort.most += more
	l.spare.most += more
}

// spend does so much more for what stands at a place, and reports it once where it is too much.
func (l *loader) spend(n int, at diag.Span) bool {
	if l.effort.spend(n) {
		return true
	}
	l.tooMuch(at)
	return false
}

func (l *loader) tooMuch(at diag.Span) {
	if l.effort.reported {
		return
	}
	l.effort.reported = true
	l.errorf(at, "too-large", "what the names in the lists stand for comes to more than %d ranges here, the most for files of this size", l.effort.most).
		WithHint("name a large set in few lists, or alone: `from: NAME` costs nothing")
}

// weight is the effort that addresses take to look at.
func (a Addrs) weight() (n int) {
	for _, t := range a.Terms {
		n += t.weight()
	}
	return n
}

func (t Term) weight() int { return weigh(t.Static) + len(t.In) + len(t.NotIn) }

// weigh is the effort that a set of addresses takes to look at.
func weigh(a addrset.Addrs) int { return 1 + a.V4.Len() + 4*a.V6.Len() }

// weight is the effort that a WHAT takes to look at.
func (w *what) weight() int { return w.V4.Len() + w.V6.Len() + 2*len(w.builtin) }
