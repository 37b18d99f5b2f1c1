package classify

import (
	"math/rand/v2"
)

// The shapes of random lists of lines, after those of real rule sets.
var shapes = []string{"acl", "fw", "ipc", "host", "random"}

type gen struct {
	*rand.Rand
	width int
	nets  []Span
}

func (g *gen) prefix(bits int) Span {
	k := Key{Hi: g.Uint64(), Lo: g.Uint64()}
	if g.width == 32 {
		k = Key{Lo: uint64(g.Uint32())}
	}
	return Span{first(k, bits, g.width), last(k, bits, g.width)}
}

// within is a prefix inside another, so many bits longer.
func (g *gen) within(s Span, more int) Span {
	n := Bits(s, g.width)
	k := g.prefix(g.width).Lo
	low := first(k, n, g.width)
	k = Key{Hi: k.Hi ^ low.Hi | s.Lo.Hi, Lo: k.Lo ^ low.Lo | s.Lo.Lo}
	n = min(g.width, n+more)
	return Span{first(k, n, g.width), last(k, n, g.width)}
}

func pick[T any](g *gen, list ...T) T { return list[g.IntN(len(list))] }

// addr draws an address part: any now and then, else nested in the few nets of the list.
func (g *gen) addr(anyIn, hostIn int) Span {
	if anyIn > 0 && g.IntN(anyIn) == 0 {
		return Everything(g.width).Addr[0]
	}
	net := g.nets[min(g.IntN(len(g.nets)), g.IntN(len(g.nets)))]
	if g.IntN(hostIn) > 0 {
		more := pick(g, 0, 2, 4, 6, 8, 8, 8)
		if g.width == 128 {
			more = pick(g, 0, 8, 16, 16, 32, 32)
		}
		return g.within(net, more)
	}
	if g.width == 128 {
		return g.within(g.within(net, 32), 128)
	}
	return g.within(net, 32)
}

func (g *gen) box(shape string) Box {
	b := Everything(g.width)
	exact := func() Ports {
		p := pick[uint16](g, 22, 25, 53, 80, 110, 123, 143, 161, 389, 443, 445, 993, 1521, 3306, 5432, 6379, 8080, 8443, uint16(1024+g.IntN(4000)))
		return Ports{p, p}
	}
	ranged := func() Ports {
		lo := uint16(1024 + g.IntN(60000))
		return pick(g, Ports{1024, 65535}, Ports{0, 1023}, Ports{lo, lo + uint16(g.IntN(200))}, Ports{6000, 6063}, AllPorts)
	}
	proto := func(p ...int16) { b.Proto = pick(g, p...) }
	ports := func(d, s func() Ports) {
		if b.Proto == 6 || b.Proto == 17 {
			b.Port[Dport] = d()
			if s != nil {
				b.Port[Sport] = s()
			}
		}
	}
	switch shape {
	case "acl":
		proto(6, 6, 6, 6, 17, 17, 1, AnyProto)
		b.Addr = [2]Span{g.addr(12, 3), g.addr(40, 2)}
		if g.IntN(4) > 0 {
			ports(exact, nil)
		} else {
			ports(ranged, nil)
		}
	case "fw":
		proto(6, 6, 6, 17, 17, 1, 47, AnyProto, AnyProto)
		b.Addr = [2]Span{g.addr(3, 3), g.addr(3, 2)}
		if g.IntN(2) == 0 {
			ports(exact, nil)
		} else {
			ports(ranged, func() Ports { return pick(g, AllPorts, AllPorts, Ports{1024, 65535}, exact()) })
		}
	case "ipc":
		proto(6, 6, 17, 17, 1, AnyProto)
		b.Addr = [2]Span{g.addr(8, 2), g.addr(8, 2)}
		if g.IntN(2) == 0 {
			ports(exact, func() Ports { return pick(g, AllPorts, AllPorts, AllPorts, exact(), Ports{1024, 65535}) })
		} else {
			ports(ranged, func() Ports { return pick(g, AllPorts, AllPorts, Ports{1024, 65535}, exact()) })
		}
	case "host":
		proto(6, 6, 17)
		b.Addr[Src] = g.addr(30, 2)
		ports(exact, nil)
	default:
		proto(6, 17, 1, AnyProto)
		span := func() Span {
			if g.IntN(8) == 0 {
				return Everything(g.width).Addr[0]
			}
			return g.prefix(1 + g.IntN(g.width))
		}
		b.Addr = [2]Span{span(), span()}
		if g.IntN(2) == 0 {
			ports(exact, nil)
		} else {
			ports(ranged, nil)
		}
	}
	return b
}

// generate draws so many lines of a shape.
func generate(shape string, n, width int, seed uint64) []Line {
	g := &gen{Rand: rand.New(rand.NewPCG(seed, uint64(n))), width: width}
	for range max(4, n/40) {
		bits := pick(g, 8, 12, 16, 16, 20, 24)
		if width == 128 {
			bits = pick(g, 32, 32, 40, 48, 48, 56, 64)
		}
		if len(g.nets) > 3 && g.IntN(3) == 0 {
			g.nets = append(g.nets, g.within(pick(g, g.nets...), 4))
			continue
		}
		g.nets = append(g.nets, g.prefix(bits))
	}
	var out []Line
	for i := range n {
		box := g.box(shape)
		for tries := 0; g.broad(&box) > n-i && tries < 200; tries++ {
			box = g.box(shape)
		}
		out = append(out, Line{Box: box, Target: i})
	}
	return out
}

// broad is how far from a list's end a box must not stand, or it would hide what follows: half the list for each bit that it lacks.
func (g *gen) broad(b *Box) int {
	bits := Bits(b.Addr[0], g.width) + Bits(b.Addr[1], g.width)
	if b.Port[Dport].Lo == b.Port[Dport].Hi {
		bits += 8
	}
	want := 24
	if g.width == 128 {
		want = 56
	}
	if bits >= want {
		return 0
	}
	return 1 << min(20, want-bits)
}

// point is a packet.
type point struct {
	addr  [2]Key
	port  [2]uint16
	proto uint8
}

func (b *Box) holds(p *point) bool {
	for i := range 2 {
		if p.addr[i].Compare(b.Addr[i].Lo) < 0 || p.addr[i].Compare(b.Addr[i].Hi) > 0 || p.port[i] < b.Port[i].Lo || p.port[i] > b.Port[i].Hi {
			return false
		}
	}
	return b.Proto == AnyProto || b.Proto == int16(p.proto)
}

// in draws a packet of a box.
func (g *gen) in(b *Box) (p point) {
	for i := range 2 {
		s := b.Addr[i]
		switch g.IntN(4) {
		case 0:
			p.addr[i] = s.Lo
		case 1:
			p.addr[i] = s.Hi
		default:
			p.addr[i] = g.within(s, g.width).Lo
		}
		ports := b.Port[i]
		p.port[i] = ports.Lo + uint16(g.IntN(int(ports.Hi)-int(ports.Lo)+1))
	}
	p.proto = uint8(b.Proto)
	if b.Proto == AnyProto {
		p.proto = pick[uint8](g, 6, 17, 1, 47)
	}
	return p
}
