package ruleset

import mathbits "math/bits"

// lookup is a map as a Machine runs it: ranges of one value, or a hash table of keys.
type lookup struct {
	ranges []extent // sorted
	ways   []way    // of the ranges, or of the keys

	fields int // of a key; 0 of a map of ranges
	keys   []value
	slots  []int32 // a key's number and 1, at its hash or the next free place after it
}

func (known names) lookup(m *Map) lookup {
	l := lookup{ways: make([]way, 0, len(m.Elems))}
	for i := range m.Elems {
		l.ways = append(l.ways, known.way(m.Elems[i].Verdict))
	}
	if m.Interval {
		for i := range m.Elems {
			l.ranges = append(l.ranges, m.Elems[i].extent())
		}
		return l
	}
	l.fields = len(m.Keys)
	l.keys = make([]value, 0, len(m.Elems)*l.fields)
	l.slots = make([]int32, 1<<mathbits.Len(uint(2*len(m.Elems))))
	for i := range m.Elems {
		rest := m.Elems[i].Lo
		if len(rest) < m.KeySize() {
			break // it is not sound
		}
		for _, f := range m.Keys {
			n := f.Size()
			l.keys = append(l.keys, valueOf(rest[:n]))
			rest = rest[n:]
		}
		at := l.hash(l.key(i))
		for l.slots[at] != 0 {
			at = l.after(at)
		}
		l.slots[at] = int32(i + 1)
	}
	return l
}

// key is the words of the key with a number.
func (l *lookup) key(i int) []value { return l.keys[i*l.fields:][:l.fields] }

// hash is the slot that a key belongs to.
func (l *lookup) hash(key []value) int {
	h := uint64(0)
	for _, w := range key {
		hi, lo := mathbits.Mul64(w.Hi^h^0x9e3779b97f4a7c15, w.Lo^0xbf58476d1ce4e5b9)
		h = hi ^ lo
	}
	return int(h) & (len(l.slots) - 1)
}

func (l *lookup) after(slot int) int { return (slot + 1) & (len(l.slots) - 1) }

// find finds the way of a key, the zero way where there is none. It allocates nothing.
func (l *lookup) find(key []value) way {
	if l.fields == 0 {
		if i := find(l.ranges, key[0]); i >= 0 {
			return l.ways[i]
		}
		return way{}
	}
next:
	for at := l.hash(key); l.slots[at] != 0; at = l.after(at) {
		i := int(l.slots[at]) - 1
		for k, w := range l.key(i) {
			if w != key[k] {
				continue next
			}
		}
		return l.ways[i]
	}
	return way{}
}
