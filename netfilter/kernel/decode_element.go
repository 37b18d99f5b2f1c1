package kernel

import (
	"bytes"
	"slices"

	"golang.org/x/sys/unix"
)

// setElement is an element as the kernel sends it, both ends included; hi is nil for a set of single values.
type setElement struct {
	lo, hi  []byte
	verdict []byte // of a verdict map
	timeout uint64 // in milliseconds; 0 for the set's default, or none
	left    uint64 // in milliseconds; 0 for ever
	end     bool   // not an element, but where the one before it ends
}

func parseElement(b []byte) setElement {
	var e setElement
	for a := range attrs(b) {
		switch a.typ {
		case unix.NFTA_SET_ELEM_KEY:
			e.lo = bytes.Clone(find(a.data, unix.NFTA_DATA_VALUE))
		case unix.NFTA_SET_ELEM_DATA:
			e.verdict = bytes.Clone(find(a.data, unix.NFTA_DATA_VERDICT))
		case unix.NFTA_SET_ELEM_FLAGS:
			e.end = a.num()&unix.NFT_SET_ELEM_INTERVAL_END != 0
		case unix.NFTA_SET_ELEM_TIMEOUT:
			e.timeout = a.num()
		case unix.NFTA_SET_ELEM_EXPIRATION:
			e.left = a.num()
		}
	}
	return e
}

// pair puts elements in order and, of an interval set, joins each start with its end.
func pair(elems []setElement, interval bool) []setElement {
	slices.SortFunc(elems, func(a, b setElement) int {
		if c := bytes.Compare(a.lo, b.lo); c != 0 || a.end == b.end {
			return c
		}
		if a.end {
			return -1
		}
		return 1
	})
	if !interval {
		return elems
	}
	out := elems[:0]
	open := false
	for _, e := range elems {
		if open && out[len(out)-1].hi == nil {
			out[len(out)-1].hi = before(e.lo)
		}
		open = !e.end
		if open {
			e.hi = nil
			out = append(out, e)
		}
	}
	if open {
		out[len(out)-1].hi = bytes.Repeat([]byte{0xff}, len(out[len(out)-1].lo))
	}
	return out
}
