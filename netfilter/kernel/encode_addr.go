package kernel

import (
	"fmt"
	"runtime"
	"slices"
	"sync"

	"ringwall/rules/addrset"
)

// rangesAtOnce is how many ranges of addresses a processor encodes at least: fewer take less time than to share them.
const rangesAtOnce = 1 << 15

// addAddresses adds ranges of addresses to a static set: one that is not of ranges gets an element for each address, or for each prefix of
// a length that is not 0. It adds what elements would, and there may be millions: every processor writes a stretch of them.
func addAddresses[K addrset.Address[K]](b *batch, to elementList, ranges []addrset.Range[K], length int) {
	var k K
	if length == 0 {
		length = k.Bits()
	}
	if n := len(ranges) - 1; to.interval && n >= 0 && ranges[n].Hi == k.Last() {
		endless := element{lo: ranges[n].Lo.Append(nil), hi: ranges[n].Hi.Append(nil)} // the only one of another size than the others
		defer b.elements(to, slices.Values([]element{endless}))
		ranges = ranges[:n]
	}
	if len(ranges) == 0 {
		return
	}
	shares := max(1, min(runtime.GOMAXPROCS(0), len(ranges)/rangesAtOnce))
	var list []*stretch[K]
	for part := range slices.Chunk(ranges, (len(ranges)+shares-1)/shares) {
		list = append(list, newStretch(b.table, to, part, length))
	}
	together(list, (*stretch[K]).measure)
	size, elements := 0, 0
	for _, s := range list {
		s.count, s.seq = elements, b.seq
		elements += s.elements
		b.seq += uint32(s.messages)
		size += s.size
	}
	b.ensure(size)
	b.buf = slices.Grow(b.buf, size)
	room := b.buf[len(b.buf):cap(b.buf)]
	for _, s := range list {
		s.buf, room = room[:0:s.size], room[s.size:]
	}
	together(list, (*stretch[K]).write)
	for _, s := range list {
		if len(s.buf) != s.size || len(s.subject) != s.messages {
			b.fail(fmt.Errorf("%s: %d bytes in %d messages instead of %d in %d", to.about.object, len(s.buf), len(s.subject), s.size, s.messages))
		}
		b.last = len(b.buf) + s.last
		b.buf = b.buf[:len(b.buf)+s.size]
		b.subject = append(b.subject, s.subject...)
	}
}

// together calls do for each of a list, which is not empty, side by side.
func together[T any](list []T, do func(T)) {
	var all sync.WaitGroup
	for _, x := range list[1:] {
		all.Go(func() { do(x) })
	}
	do(list[0])
	all.Wait()
}

// stretch is messages with the elements of some ranges, which all take as many bytes.
type stretch[K addrset.Address[K]] struct {
	elementWriter
	ranges []addrset.Range[K]
	length int // of a key, in bits

	// How much there is to write: a range of a set of ranges is one element here.
	elements, messages, size int
}

func newStretch[K addrset.Address[K]](table string, to elementList, ranges []addrset.Range[K], length int) *stretch[K] {
	return &stretch[K]{elementWriter: elementWriter{batch: &batch{builder: builder{table: table}}, to: to}, ranges: ranges, length: length}
}

// measure finds out how much there is to write: stretches are written side by side, each to its place.
func (s *stretch[K]) measure() {
	s.elements = len(s.ranges)
	if !s.to.interval {
		s.elements = 0
		for _, r := range s.ranges {
			s.elements += r.Lo.Prefixes(r.Hi, s.length)
		}
	}
	one := newStretch(s.table, s.to, []addrset.Range[K]{{Lo: s.ranges[0].Lo, Hi: s.ranges[0].Lo.Top(s.length)}}, s.length)
	one.begin()
	head := len(one.buf)
	const opened = 4 // bytes of a list without elements
	one.add()
	element := len(one.buf) - head
	each := (fullList-opened)/element + 1
	s.messages = (s.elements + each - 1) / each
	s.size = s.messages*head + s.elements*element
}

// write writes the messages.
func (s *stretch[K]) write() {
	s.add()
	s.finish()
}

// add adds the elements: each is a fixed beginning and a key.
func (s *stretch[K]) add() {
	start, end := keyElement[K](false), keyElement[K](true)
	for _, r := range s.ranges {
		if s.to.interval {
			s.next()
			s.buf = r.Lo.Append(append(s.buf, start...))
			s.buf = r.Hi.Next().Append(append(s.buf, end...))
			continue
		}
		for k := r.Lo; ; k = k.Next() {
			s.next()
			s.buf = k.Append(append(s.buf, start...))
			if k = k.Top(s.length); k == r.Hi {
				break
			}
		}
	}
}

// keyElement is an element of an address, or the end of a range, up to the key, which ends it.
func keyElement[K addrset.Address[K]](rangeEnd bool) []byte {
	var b batch
	var k K
	e := element{lo: k.Append(nil)}
	if rangeEnd {
		b.rangeEnd(e.lo)
	} else {
		b.element(false, e)
	}
	return b.buf[: len(b.buf)-len(e.lo) : len(b.buf)-len(e.lo)]
}
