package kernel

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/ruleset"
)

// verdictMap is the map of the rule set without its elements, and whether it is one.
func (h setHeader) verdictMap() (*ruleset.Map, bool) {
	keys, ok := keyFields(h.typ)
	m := &ruleset.Map{
		Name: h.name, Keys: keys, Interval: h.flags&unix.NFT_SET_INTERVAL != 0,
		Size: uint32(number(find(h.desc, unix.NFTA_SET_DESC_SIZE))),
	}
	return m, ok && !h.special && h.data == dataVerdict && h.flags == mapFlags(m)
}

// verdictMap reads a map: all of it, since how many elements it has is the compiler's choice.
func (r *reader) verdictMap(ctx context.Context, h setHeader) error {
	m, ours := h.verdictMap()
	if !ours {
		r.foreign("map %s", h.name)
		return nil
	}
	elems, _, err := r.elements(ctx, h.name, 0)
	if err != nil {
		return err
	}
	if m.Elems, err = mapElems(m, pair(elems, m.Interval)); err != nil {
		r.foreign("map %s: %v", m.Name, err)
		return nil
	}
	r.Ruleset.Maps = append(r.Ruleset.Maps, m)
	r.decoder.maps[m.Name] = m
	return nil
}

// mapElems turns what the kernel sent into elements.
func mapElems(m *ruleset.Map, elems []setElement) ([]ruleset.MapElem, error) {
	layout, err := layoutOf(m.Keys)
	if err != nil {
		return nil, err
	}
	_, size := layout.sizes()
	out := make([]ruleset.MapElem, len(elems))
	for i, e := range elems {
		if len(e.lo) != size || m.Interval && len(e.hi) != size {
			return nil, fmt.Errorf("a key of %d bytes, not of %d", len(e.lo), size)
		}
		o := &out[i]
		o.Lo = layout.model(e.lo)
		if o.Hi = o.Lo; m.Interval {
			o.Hi = layout.model(e.hi)
		}
		if o.Verdict, err = decodeVerdict(e.verdict); err != nil {
			return nil, err
		}
	}
	// The kernel's order of a number of the host is another.
	slices.SortFunc(out, func(a, b ruleset.MapElem) int { return bytes.Compare(a.Lo, b.Lo) })
	return out, nil
}

// vmapRef decodes a lookup in a named map, and returns of how many expressions it is made: 0 where it is none.
func (r *ruleDecoder) vmapRef() (n int, err error) {
	for n < len(r.in) && r.in[n].fills() {
		n++
	}
	if n == 0 || n == len(r.in) || r.in[n].name != "lookup" {
		return 0, nil
	}
	look := r.in[n]
	m := r.maps[look.str(unix.NFTA_LOOKUP_SET)]
	if m == nil {
		return 0, nil
	}
	ref := ruleset.VMapRef{Map: m.Name}
	next, last := uint64(unix.NFT_REG32_00), field{}
	for _, x := range r.in[:n] {
		if x.name == "bitwise" {
			mask := x.value(unix.NFTA_BITWISE_MASK)
			at := uint64(last.register)
			if len(ref.Keys) == 0 || ref.Keys[len(ref.Keys)-1].Mask != nil || len(mask) != last.size || !isZero(x.value(unix.NFTA_BITWISE_XOR)) ||
				x.register(unix.NFTA_BITWISE_SREG) != at || x.register(unix.NFTA_BITWISE_DREG) != at {
				return 0, fmt.Errorf("unknown bitwise expression %s", x.signature())
			}
			ref.Keys[len(ref.Keys)-1].Mask = last.model(mask, false)
			continue
		}
		f, ok := r.loads[x.toFirst().signature()]
		if !ok || x.register(loadTo) != next {
			return 0, fmt.Errorf("unknown part of a key: %s", x.signature())
		}
		r.field = f
		ref.Keys = append(ref.Keys, ruleset.Key{Field: r.meant()})
		last, _ = fieldTo(f, uint32(next))
		next += uint64(last.words())
	}
	fields := make([]ruleset.Field, len(ref.Keys))
	for i, k := range ref.Keys {
		fields[i] = k.Field
	}
	err = look.only(unix.NFTA_LOOKUP_SET, unix.NFTA_LOOKUP_SREG, unix.NFTA_LOOKUP_DREG, unix.NFTA_LOOKUP_FLAGS)
	if err != nil || look.register(unix.NFTA_LOOKUP_SREG) != unix.NFT_REG32_00 || look.num(unix.NFTA_LOOKUP_FLAGS) != 0 ||
		look.args[unix.NFTA_LOOKUP_DREG] == nil || keyType(fields) != keyType(m.Keys) {
		return 0, fmt.Errorf("a lookup in map %s that does not fit", m.Name)
	}
	m.Keys = fields // by its type a map does not tell a source from a destination
	r.out = append(r.out, ref)
	return n + 1, nil
}

// loadTo is the attribute that says where a loading expression loads to: it has the same number in all of them.
const loadTo = unix.NFTA_PAYLOAD_DREG

// fills tells whether an expression fills registers.
func (x rawExpr) fills() bool {
	switch x.name {
	case "payload", "meta", "ct", "fib", "bitwise":
		return true
	}
	return false
}

// register is the number of a register of 4 bytes. The kernel calls one by its older name where it has one, of 16 bytes.
func (x rawExpr) register(typ uint16) uint64 {
	n := x.num(typ)
	if n >= unix.NFT_REG_1 && n <= unix.NFT_REG_4 {
		return unix.NFT_REG32_00 + 4*(n-unix.NFT_REG_1)
	}
	return n
}

// toFirst is the same loading expression, to the register that everything else is loaded to.
func (x rawExpr) toFirst() rawExpr {
	if x.num(loadTo) == register {
		return x
	}
	args := maps.Clone(x.args)
	args[loadTo] = []byte{0, 0, 0, register}
	return rawExpr{x.name, args}
}
