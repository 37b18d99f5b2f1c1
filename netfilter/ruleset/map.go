package ruleset

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Map is a named map of verdicts. Rules look keys up in it with a VMapRef; a change of its elements leaves them alone.
type Map struct {
	Name string
	// Keys are the fields whose values, one after the other, are the key: at most 5 of them, and 64 bytes with each filled up to
	// a multiple of 4. Time and HopLimit cannot be among them: nft has no way to write such a map.
	Keys []Field
	// Interval maps have ranges as elements. They are of one field, which the kernel loads big-endian and which is no name.
	Interval bool
	// Size is at most how many elements it can hold, 0 for no limit. The kernel makes a hash table of that size, once and for
	// all, so it needs headroom. It is best left 0 where there are ranges: kernels before 6.14 count a range twice.
	Size  uint32
	Elems []MapElem // sorted by Lo and disjoint
}

// MapElem gives a key its verdict: Lo and Hi are big-endian values of all the fields, without anything between them, and equal
// unless the map is of ranges. Interface names are filled up with zeros to their 16 bytes.
type MapElem struct {
	Interval
	Verdict Verdict
}

// VMapRef looks fields up in a named map of just these fields; a key that is not in it ends the rule, and the next one is tried.
// What the fields need must be known before, but that ports need no more than L4Proto among the keys, where no rule masks it and all the
// map's elements are of protocols that have ports.
type VMapRef struct {
	Keys []Key
	Map  string
}

// Key is a field of a VMapRef. Mask is as long as the field's values, or nil.
type Key struct {
	Field Field
	Mask  []byte
}

func (VMapRef) expr() {}

// The kernel's and nft's bounds of a map's key.
const (
	maxKeys     = 5  // nft numbers the types of a key with six bits each, in a word
	maxKeyBytes = 64 // the kernel's registers
)

// KeySize is the length of a key without padding, in bytes.
func (m *Map) KeySize() (n int) {
	for _, f := range m.Keys {
		n += f.Size()
	}
	return n
}

// Asks is what a packet's fields must be to have the key of an element.
func (r VMapRef) Asks(e MapElem) []Expr {
	var out []Expr
	lo, hi := e.Lo, e.Hi
	for _, k := range r.Keys {
		n := k.Field.Size()
		if bytes.Equal(lo[:n], hi[:n]) {
			out = append(out, Cmp{Field: k.Field, Mask: k.Mask, Value: lo[:n]})
		} else {
			out = append(out, In{Field: k.Field, Elems: []Interval{{lo[:n], hi[:n]}}})
		}
		lo, hi = lo[n:], hi[n:]
	}
	return out
}

// fields is the fields of the keys.
func (r VMapRef) fields() []Field {
	fs := make([]Field, len(r.Keys))
	for i, k := range r.Keys {
		fs[i] = k.Field
	}
	return fs
}

// checkMap checks a map but for its verdicts, which need the chains.
func (c *checker) checkMap(m *Map) {
	sound := len(m.Keys) > 0 && len(m.Keys) <= maxKeys
	padded := 0
	for _, f := range m.Keys {
		i, ok := f.info()
		sound = sound && ok && i.typ != ""
		padded += (i.size + 3) / 4 * 4
	}
	if !sound || padded > maxKeyBytes {
		c.failf("it cannot have the key %v", m.Keys)
		return
	}
	if m.Interval && (len(m.Keys) > 1 || m.Keys[0].IsName() || m.Keys[0].HostEndian()) {
		c.failf("it cannot have ranges of %v", m.Keys)
	}
	if m.Size != 0 && len(m.Elems) > int(m.Size) {
		c.failf("it has %d elements and room for %d", len(m.Elems), m.Size)
	}
	size, found := m.KeySize(), len(c.errs)
	for i, e := range m.Elems {
		switch {
		case len(e.Lo) != size || len(e.Hi) != size:
			c.failf("a key of %d and %d bytes where it takes %d", len(e.Lo), len(e.Hi), size)
		case !m.Interval && !bytes.Equal(e.Lo, e.Hi):
			c.failf("a range in a map of single keys")
		case bytes.Compare(e.Lo, e.Hi) > 0 || i > 0 && bytes.Compare(m.Elems[i-1].Hi, e.Lo) >= 0:
			c.failf("its elements are out of order")
		}
		if len(c.errs) > found {
			return // of one mistake there may be very many
		}
	}
}

func (c *checker) vmapRef(r VMapRef) {
	m := c.maps[r.Map]
	switch {
	case m == nil:
		c.failf("there is no map %q", r.Map)
		return
	case !slices.Equal(m.Keys, r.fields()):
		c.failf("map %s is of %v, not of %v", r.Map, m.Keys, r.fields())
		return
	}
	for _, k := range r.Keys {
		c.field(k.Field)
		c.mask(k.Field, k.Mask)
	}
}

// mapDepth is the number of chains on the longest way from a map's verdicts on.
func (c *checker) mapDepth(name string) int {
	if d, known := c.mapDepths[name]; known {
		return d // a way back to a map that is being looked into goes through a chain that is, too
	}
	c.mapDepths[name] = 0
	deepest := 0
	for _, e := range c.maps[name].Elems {
		deepest = max(deepest, c.depthOf(e.Verdict))
	}
	c.mapDepths[name] = deepest
	return deepest
}

func (p *printer) verdictMap(m *Map) {
	types := make([]string, len(m.Keys))
	for i, f := range m.Keys {
		info, _ := f.info()
		if types[i] = info.typ; info.typ == "" {
			p.fail("map %s: nft has no type for %s", m.Name, f)
		}
	}
	p.line("\tmap %s {\n\t\ttype %s : verdict", m.Name, strings.Join(types, " . "))
	if m.Size != 0 {
		p.line("\t\tsize %d", m.Size)
	}
	if m.Interval {
		p.line("\t\tflags interval")
	}
	if len(m.Elems) > 0 {
		p.w.WriteString("\t\telements = {")
		sep := "\n\t\t\t"
		for _, e := range m.Elems {
			p.w.WriteString(sep + p.mapKey(m, e.Interval) + " : " + verdictText(e.Verdict))
			sep = ",\n\t\t\t"
		}
		p.w.WriteString("\n\t\t}\n")
	}
	p.line("\t}")
}

// mapKey is the key of an element.
func (p *printer) mapKey(m *Map, i Interval) string {
	if m.Interval {
		return p.interval(m.Keys[0], i)
	}
	if len(i.Lo) != m.KeySize() {
		p.fail("map %s: a key of %d bytes", m.Name, len(i.Lo))
		return ""
	}
	parts := make([]string, len(m.Keys))
	rest := i.Lo
	for n, f := range m.Keys {
		parts[n] = p.keyPart(f, rest[:f.Size()])
		rest = rest[f.Size():]
	}
	return strings.Join(parts, " . ")
}

// keyPart is one field's value within a key, where the comma between names of bits would end the element.
func (p *printer) keyPart(f Field, v []byte) string {
	if f.IsName() {
		v = bytes.TrimRight(v, "\x00")
	}
	if i, _ := f.info(); i.form == bits && num(v)&(num(v)-1) != 0 {
		return fmt.Sprintf("%#x", num(v))
	}
	return p.value(f, v)
}

func (p *printer) vmapRef(r VMapRef) string {
	keys := make([]string, len(r.Keys))
	for i, k := range r.Keys {
		keys[i] = p.masked(k.Field, k.Mask)
	}
	return strings.Join(keys, " . ") + " vmap @" + r.Map
}
