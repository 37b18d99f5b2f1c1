package workload

import (
	"cmp"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"

	"ringwall/rules/policy"
)

// draw draws the rules of a policy.
type draw struct {
	*rand.Rand
	shape    Shape
	profile  profile
	far, own []netip.Addr // the networks of other sites, and of those that are guarded: /16, in IPv6 /32
}

// weight is how often a value is drawn, against the sum of its table.
type weight[T any] struct {
	value T
	often int
}

// Kinds of ports.
type portKind int

const (
	anyPort portKind = iota
	service          // one port, mostly a well-known one
	low              // 1-1023
	high             // 1024-65535
	someRange
)

// profile is the distributions of a shape.
type profile struct {
	from, to     []weight[int] // prefix lengths
	protos       []weight[uint8]
	sport, dport []weight[portKind]
	allow        int // per cent
	disorder     float64
}

// lengths spells a table of prefix lengths out: length, weight, length, weight …
func lengths(pairs ...int) (out []weight[int]) {
	for pair := range slices.Chunk(pairs, 2) {
		out = append(out, weight[int]{pair[0], pair[1]})
	}
	return out
}

func profileOf(shape Shape) profile {
	anySport := []weight[portKind]{{anyPort, 1}}
	switch shape {
	case ACL:
		return profile{
			from:     lengths(0, 14, 8, 1, 16, 6, 20, 4, 21, 6, 22, 6, 23, 6, 24, 20, 25, 3, 26, 3, 27, 4, 28, 5, 30, 4, 32, 18),
			to:       lengths(0, 1, 16, 3, 20, 3, 22, 4, 23, 5, 24, 15, 25, 3, 26, 4, 27, 6, 28, 7, 29, 5, 30, 6, 32, 38),
			protos:   []weight[uint8]{{policy.ProtoTCP, 76}, {policy.ProtoUDP, 10}, {policy.ProtoICMP, 4}, {0, 10}},
			sport:    anySport,
			dport:    []weight[portKind]{{anyPort, 34}, {service, 56}, {high, 2}, {low, 1}, {someRange, 7}},
			allow:    70,
			disorder: 6,
		}
	case FW:
		return profile{
			from:     lengths(0, 36, 8, 2, 12, 1, 16, 8, 20, 2, 24, 13, 27, 2, 28, 4, 30, 2, 32, 30),
			to:       lengths(0, 28, 8, 1, 16, 7, 20, 2, 24, 14, 26, 2, 28, 5, 30, 2, 32, 39),
			protos:   []weight[uint8]{{policy.ProtoTCP, 62}, {policy.ProtoUDP, 24}, {policy.ProtoICMP, 5}, {0, 9}},
			sport:    []weight[portKind]{{anyPort, 88}, {service, 5}, {high, 7}},
			dport:    []weight[portKind]{{anyPort, 24}, {service, 48}, {high, 12}, {low, 3}, {someRange, 13}},
			allow:    60,
			disorder: 8,
		}
	case IPC, Six:
		p := profile{
			from:     lengths(0, 14, 8, 1, 16, 9, 20, 3, 22, 4, 24, 20, 26, 2, 27, 3, 28, 6, 30, 2, 32, 36),
			to:       lengths(0, 10, 16, 8, 20, 3, 22, 5, 24, 20, 26, 2, 28, 7, 29, 2, 30, 3, 32, 40),
			protos:   []weight[uint8]{{policy.ProtoTCP, 58}, {policy.ProtoUDP, 22}, {policy.ProtoICMP, 6}, {0, 14}},
			sport:    []weight[portKind]{{anyPort, 92}, {service, 4}, {high, 4}},
			dport:    []weight[portKind]{{anyPort, 34}, {service, 48}, {high, 6}, {low, 2}, {someRange, 10}},
			allow:    65,
			disorder: 8,
		}
		if shape == Six {
			p.from = lengths(0, 14, 20, 1, 29, 2, 32, 12, 40, 3, 44, 4, 48, 22, 56, 8, 60, 3, 64, 18, 128, 22)
			p.to = lengths(0, 8, 32, 8, 40, 3, 48, 20, 52, 2, 56, 9, 60, 3, 64, 22, 128, 32)
			p.protos[2].value = policy.ProtoICMPv6
		}
		return p
	}
	return profile{
		from:   lengths(0, 1, 16, 1, 24, 10, 27, 2, 28, 3, 32, 83),
		to:     lengths(0, 1),
		protos: []weight[uint8]{{policy.ProtoTCP, 88}, {policy.ProtoUDP, 12}},
		sport:  anySport,
		dport:  []weight[portKind]{{service, 1}},
		allow:  100,
	}
}

func newDraw(shape Shape, rules int, seed uint64) *draw {
	d := &draw{Rand: rand.New(rand.NewPCG(seed, uint64(rules))), shape: shape, profile: profileOf(shape)}
	// Sites lie in few regions, so that short prefixes hold several.
	var regions [12]uint8
	for i := range regions {
		regions[i] = uint8(11 + 9*i + d.IntN(9)) // below 127
	}
	sites := 4 + int(math.Sqrt(float64(rules))/2)
	for range sites {
		d.far = append(d.far, d.site(regions[d.skewed(len(regions), 1.5)]))
	}
	for range 3 + sites/8 {
		d.own = append(d.own, d.site(regions[len(regions)-1]))
	}
	return d
}

// site draws a network in a region.
func (d *draw) site(region uint8) netip.Addr {
	if d.shape == Six {
		return netip.AddrFrom16([16]byte{0x2a, region & 0x0f, uint8(d.Uint32()), uint8(d.Uint32())})
	}
	return netip.AddrFrom4([4]byte{region, uint8(d.Uint32())})
}

// rules draws so many rules, more specific ones rather before others.
func (d *draw) rules(n int) []Rule {
	type ranked struct {
		Rule
		rank float64
	}
	var all []ranked
	seen := make(map[Rule]bool)
	for len(all) < n {
		r := d.rule()
		key := r
		key.Allow = false
		if anywhere := r.From.Bits() == 0 && r.To.Bits() == 0; seen[key] || anywhere && r.Dport.IsAny() && r.Proto != policy.ProtoICMP {
			continue
		}
		seen[key] = true
		all = append(all, ranked{r, d.rank(&r)})
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(b.rank, a.rank) })
	out := make([]Rule, n)
	for i, r := range all {
		out[i] = r.Rule
	}
	return out
}

// rank is the higher, the less a rule matches, disturbed by the shape's disorder, in bits of a prefix.
func (d *draw) rank(r *Rule) float64 {
	if d.profile.disorder == 0 {
		return 0
	}
	bits := float64(r.From.Bits() + r.To.Bits())
	if d.shape == Six {
		bits /= 2
	}
	if r.Proto != 0 {
		bits += 4
	}
	for _, p := range []Ports{r.Sport, r.Dport} {
		if !p.IsAny() {
			bits += 16 - math.Log2(float64(p.Hi)-float64(p.Lo)+1)
		}
	}
	return bits + d.profile.disorder*d.NormFloat64()
}

func (d *draw) rule() Rule {
	p := &d.profile
	r := Rule{Allow: d.IntN(100) < p.allow, Proto: pick(d, p.protos)}
	r.From = d.prefix(d.far, pick(d, p.from))
	r.To = d.prefix(d.own, pick(d, p.to))
	if r.Proto == policy.ProtoTCP || r.Proto == policy.ProtoUDP {
		r.Dport, r.Sport = d.ports(pick(d, p.dport)), d.ports(pick(d, p.sport))
	}
	return r
}

// prefix draws a prefix of a length, within one of the sites or around it.
func (d *draw) prefix(sites []netip.Addr, bits int) netip.Prefix {
	site := sites[d.skewed(len(sites), 2)]
	if d.shape == Six {
		b := site.As16()
		b[4], b[5] = 0, uint8(d.skewed(64, 2)) // subnets of a site, and hosts in them, are rather at the beginning
		b[6], b[7] = uint8(d.skewed(8, 2)), uint8(d.skewed(256, 1.5))
		b[14], b[15] = uint8(d.skewed(4, 2)), uint8(d.Uint32())
		return netip.PrefixFrom(netip.AddrFrom16(b), bits).Masked()
	}
	b := site.As4()
	b[2], b[3] = uint8(d.skewed(256, 1.7)), uint8(d.Uint32())
	return netip.PrefixFrom(netip.AddrFrom4(b), bits).Masked()
}

func (d *draw) ports(kind portKind) Ports {
	switch kind {
	case service:
		known := [...]uint16{80, 443, 22, 25, 53, 21, 110, 143, 993, 3306, 5432, 8080, 123, 161, 389, 636, 445, 139, 135, 1433, 1521, 3389, 5060, 514, 587,
			465, 995, 6379, 8443, 9100, 9200, 27017, 11211, 2049, 111, 179, 88, 464, 500, 4500, 1194, 5900, 5666, 10050, 10051, 6443, 2379, 2380, 15672, 5672}
		port := known[d.skewed(len(known), 1.6)]
		if d.IntN(4) == 0 {
			port = 1024 + uint16(d.IntN(48128))
		}
		return Ports{port, port}
	case low:
		return Ports{1, 1023}
	case high:
		return Ports{1024, math.MaxUint16}
	case someRange:
		lo := 1 + d.IntN(60000)
		width := 1 << (1 + d.IntN(11))
		return Ports{uint16(lo), uint16(min(lo+d.IntN(width)+1, math.MaxUint16))}
	}
	return Ports{}
}

// skewed draws a number below n, lower ones the more often, the higher the power.
func (d *draw) skewed(n int, power float64) int {
	return int(float64(n) * math.Pow(d.Float64(), power))
}

// pick draws from a table.
func pick[T any](d *draw, table []weight[T]) T {
	sum := 0
	for _, w := range table {
		sum += w.often
	}
	at := d.IntN(sum)
	for _, w := range table {
		if at -= w.often; at < 0 {
			return w.value
		}
	}
	panic("unreachable")
}
