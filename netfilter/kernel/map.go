package kernel

import (
	"fmt"
	"slices"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
)

// keyType is nft's number of a key's type: those of the fields, six bits each. 0 for a key that has none.
func keyType(keys []ruleset.Field) (typ uint32) {
	for _, f := range keys {
		k, ok := fieldOf(f)
		if !ok {
			return 0
		}
		typ = typ<<typeBits | k.typ
	}
	return typ
}

// keyFields is fields of a key by its type: of those that have the same type, the first. Rules tell which is meant.
func keyFields(typ uint32) (keys []ruleset.Field, ok bool) {
	for ; typ != 0; typ >>= typeBits {
		i := slices.IndexFunc(ruleset.Fields(), func(f ruleset.Field) bool {
			k, _ := fieldOf(f)
			return k.typ == typ&(1<<typeBits-1)
		})
		if i < 0 {
			return nil, false
		}
		keys = append(keys, ruleset.Fields()[i])
	}
	slices.Reverse(keys)
	return keys, len(keys) > 0
}

const typeBits = 6

// words is how many registers a value takes, of 4 bytes each.
func (f field) words() uint32 { return uint32(align(f.size)) / 4 }

// keyLayout is how the kernel has the fields of a map's keys: one field as it is, several each filled up to whole registers.
type keyLayout []field

func layoutOf(keys []ruleset.Field) (keyLayout, error) {
	l := make(keyLayout, len(keys))
	for i, f := range keys {
		var ok bool
		if l[i], ok = fieldOf(f); !ok {
			return nil, fmt.Errorf("%s is not known", f)
		}
	}
	return l, nil
}

// sizes is the length of a key in a rule set and in the kernel.
func (l keyLayout) sizes() (model, kernel int) {
	if len(l) == 1 {
		return l[0].size, l[0].size
	}
	for _, f := range l {
		model += f.size
		kernel += align(f.size)
	}
	return model, kernel
}

// kernel turns a key into the kernel's form.
func (l keyLayout) kernel(key []byte) []byte {
	if len(l) == 1 {
		return l[0].kernel(key, false)
	}
	_, size := l.sizes()
	out := make([]byte, 0, size)
	for _, f := range l {
		out = append(out, f.kernel(key[:f.size], false)...)
		for len(out)%4 != 0 {
			out = append(out, 0)
		}
		key = key[f.size:]
	}
	return out
}

// model turns a key back.
func (l keyLayout) model(key []byte) []byte {
	if len(l) == 1 {
		return l[0].model(key, false)
	}
	size, _ := l.sizes()
	out := make([]byte, 0, size)
	for _, f := range l {
		out = append(out, f.model(key[:f.size], false)...)
		key = key[align(f.size):]
	}
	return out
}

// udata is what nft needs to print the keys: of one field the byte order, of several it goes by their types.
func (l keyLayout) udata() []byte {
	if len(l) == 1 {
		return anonymousUdata(l[0], false)
	}
	return udataU32(nil, udataSetKeyOrder, 0)
}

func mapFlags(m *ruleset.Map) uint32 {
	return unix.NFT_SET_MAP | inverted(m.Interval, unix.NFT_SET_INTERVAL)
}

func (b *batch) addMap(m *ruleset.Map) {
	layout, err := layoutOf(m.Keys)
	if err != nil {
		b.fail(fmt.Errorf("map %s: %w", m.Name, err))
		return
	}
	_, size := layout.sizes()
	b.setID++
	id := b.setID
	b.message(subject{"add map", m.Name}, unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, func() {
		b.str(unix.NFTA_SET_TABLE, b.table)
		b.str(unix.NFTA_SET_NAME, m.Name)
		b.u32(unix.NFTA_SET_FLAGS, mapFlags(m))
		b.u32(unix.NFTA_SET_KEY_TYPE, keyType(m.Keys))
		b.u32(unix.NFTA_SET_KEY_LEN, uint32(size))
		b.u32(unix.NFTA_SET_DATA_TYPE, dataVerdict)
		b.u32(unix.NFTA_SET_ID, id)
		if m.Size != 0 {
			b.nest(unix.NFTA_SET_DESC, func() { b.u32(unix.NFTA_SET_DESC_SIZE, m.Size) })
		}
		b.raw(unix.NFTA_SET_USERDATA, layout.udata())
	})
}

// mapElements adds elements to a map, or deletes them.
func (b *batch) mapElements(m *ruleset.Map, del bool, elems []ruleset.MapElem) {
	layout, err := layoutOf(m.Keys)
	size, _ := layout.sizes()
	bad := slices.IndexFunc(elems, func(e ruleset.MapElem) bool { return len(e.Lo) != size || len(e.Hi) != size })
	switch {
	case err != nil:
		b.fail(fmt.Errorf("map %s: %w", m.Name, err))
		return
	case bad >= 0:
		b.fail(fmt.Errorf("map %s: a key of %d and %d bytes, not of %d", m.Name, len(elems[bad].Lo), len(elems[bad].Hi), size))
		return
	case m.Interval && (len(layout) > 1 || layout[0].host):
		b.fail(fmt.Errorf("map %s: ranges of %v", m.Name, m.Keys))
		return
	}
	to := elementList{
		set: m.Name, interval: m.Interval, about: subject{"add entries of map", m.Name},
		msg: unix.NFT_MSG_NEWSETELEM, flags: unix.NLM_F_CREATE,
	}
	if del {
		to.about.op, to.msg, to.flags = "delete entries of map", unix.NFT_MSG_DELSETELEM, 0
	}
	b.elements(to, func(yield func(element) bool) {
		for i := range elems {
			e := element{lo: layout.kernel(elems[i].Lo)}
			if m.Interval {
				e.hi = layout.kernel(elems[i].Hi)
			}
			if !del {
				e.verdict = &elems[i].Verdict
			}
			if !yield(e) {
				return
			}
		}
	})
}

// vmapRef loads the fields to registers that follow one another, and looks up from the first on.
func (e *ruleEncoder) vmapRef(r ruleset.VMapRef) {
	to := uint32(unix.NFT_REG32_00)
	for _, k := range r.Keys {
		f, ok := fieldTo(k.Field, to)
		if !ok {
			e.failf("%s is not known", k.Field)
			return
		}
		e.emit(f.load)
		e.mask(f, k.Mask)
		to += f.words()
	}
	if len(r.Keys) == 0 || to > unix.NFT_REG32_15+1 {
		e.failf("a lookup of %v", r.Keys)
		return
	}
	e.emit(&expr.Lookup{SourceRegister: unix.NFT_REG32_00, SetName: r.Map, IsDestRegSet: true, DestRegister: unix.NFT_REG_VERDICT})
}
