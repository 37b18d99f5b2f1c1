package compile

import (
	"net/netip"
	"slices"
	"strings"

	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// failure is a policy's text, what its dynamic sets hold, and a packet of which two executions of the policy differ.
type failure struct {
	doc   *doc
	given map[string]addrset.Addrs
	pkt   policy.Packet
}

// shrink makes a failure as small as it gets while it fails: without rules, keys and values that do not matter, with simple values
// for those that do.
func (f failure) shrink(fails func(failure) bool) failure {
	for {
		smaller, ok := f.smaller(fails)
		if !ok {
			return f
		}
		f = smaller
	}
}

// smaller is the first way to simplify the failure that still fails.
func (f failure) smaller(fails func(failure) bool) (failure, bool) {
	for _, d := range simpler(f.doc) {
		if try := (failure{d, f.given, f.pkt}); fails(try) {
			return try, true
		}
	}
	for name := range f.given {
		rest := make(map[string]addrset.Addrs)
		for n, a := range f.given {
			if n != name {
				rest[n] = a
			}
		}
		if try := (failure{f.doc, rest, f.pkt}); fails(try) {
			return try, true
		}
	}
	for _, pkt := range simplerPackets(f.pkt) {
		if try := (failure{f.doc, f.given, pkt}); fails(try) {
			return try, true
		}
	}
	return f, false
}

// simpler is every way to take one thing away from a tree, the largest first, or to make a text plainer.
func simpler(d *doc) []*doc {
	type step struct {
		d    *doc
		size int
	}
	var out []step
	whole := d.size()
	var visit func(path []int, at *doc)
	visit = func(path []int, at *doc) {
		// edit copies the tree and changes the node at the path.
		edit := func(change func(*doc)) {
			c := d.clone()
			n := c
			for _, i := range path {
				n = n.items[i]
			}
			change(n)
			out = append(out, step{c, whole - c.size()})
		}
		for i := range at.items {
			if at.kind == docList && len(at.items) == 1 {
				edit(func(n *doc) { *n = *n.items[0] })
			} else if at.kind != docMap || at.keys[i] != "version" {
				edit(func(n *doc) {
					n.items = slices.Delete(n.items, i, i+1)
					if n.kind == docMap {
						n.keys = slices.Delete(n.keys, i, i+1)
					}
				})
			}
		}
		for i, item := range at.items {
			visit(append(slices.Clone(path), i), item)
		}
		if at.kind == docText {
			for _, text := range plainer(at.text) {
				edit(func(n *doc) { n.text = text })
			}
		}
	}
	visit(nil, d)
	slices.SortStableFunc(out, func(a, b step) int { return b.size - a.size })
	var docs []*doc
	for _, s := range out {
		docs = append(docs, s.d)
	}
	return docs
}

// plainer is simpler texts in place of one.
func plainer(text string) (out []string) {
	if rest, ok := strings.CutPrefix(text, "not "); ok {
		return []string{rest}
	}
	if lo, hi, ok := strings.Cut(text, "-"); ok && !strings.Contains(text, "br-") {
		if proto, port, ok := strings.Cut(lo, "/"); ok {
			return []string{lo, proto + "/" + hi, proto + "/" + port}
		}
		return []string{lo, hi}
	}
	if proto, rest, ok := strings.Cut(text, "/"); ok && strings.Contains(proto, "+") {
		first, second, _ := strings.Cut(proto, "+")
		return []string{first + "/" + rest, second + "/" + rest}
	}
	if p, err := netip.ParsePrefix(text); err == nil && !p.IsSingleIP() {
		return []string{p.Addr().String()}
	}
	return nil
}

// simplerPackets is a packet with one thing less to say.
func simplerPackets(pkt policy.Packet) (out []policy.Packet) {
	plain := policy.Packet{
		Dir: pkt.Dir, Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("198.18.0.1"), HopLimit: 64, Sport: 40000, Time: pkt.Time,
	}
	if pkt.Is6() {
		plain.Src, plain.Dst = netip.MustParseAddr("2001:db8:ffff::1"), netip.MustParseAddr("2001:2::1")
	}
	for _, change := range []func(*policy.Packet){
		func(p *policy.Packet) { p.Src = plain.Src },
		func(p *policy.Packet) { p.Dst = plain.Dst },
		func(p *policy.Packet) { p.Sport = plain.Sport },
		func(p *policy.Packet) { p.HopLimit = plain.HopLimit },
		func(p *policy.Packet) { p.IIf = "" },
		func(p *policy.Packet) { p.OIf = "" },
		func(p *policy.Packet) { p.MAC, p.HasMAC = policy.MAC{}, false },
		func(p *policy.Packet) { p.Mark = 0 },
		func(p *policy.Packet) { p.Socket, p.UID, p.GID = false, 0, 0 },
		func(p *policy.Packet) { p.UID = unsaid(p) },
		func(p *policy.Packet) { p.GID = unsaid(p) },
		func(p *policy.Packet) { p.Spoofed = false },
		func(p *policy.Packet) { p.State = policy.New },
		func(p *policy.Packet) { p.Time = 0 },
	} {
		p := pkt
		if change(&p); possible(&p) && p != pkt {
			out = append(out, p)
		}
	}
	return out
}

// unsaid is the owner of a socket of whom nothing is said; where there is no socket there is none.
func unsaid(pkt *policy.Packet) uint32 {
	if pkt.Socket {
		return 1<<32 - 1
	}
	return 0
}

// String is a test that shows the failure, to be pasted.
func (f failure) String() string {
	given := ""
	for _, name := range sortedKeys(f.given) {
		for _, r := range f.given[name].V4.Ranges() {
			for _, p := range addrset.Prefixes(r) {
				given += " " + name + "=" + p.String()
			}
		}
		for _, r := range f.given[name].V6.Ranges() {
			for _, p := range addrset.Prefixes(r) {
				given += " " + name + "=" + p.String()
			}
		}
	}
	return "agrees(t, `\n" + f.doc.String() + "`, \"" + strings.TrimSpace(given) + "\", \"" + f.pkt.String() + "\")"
}
