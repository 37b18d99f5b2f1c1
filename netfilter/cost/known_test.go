package cost_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/compile"
	"ringwall/netfilter/nstest"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// What is measured here is decided before the rules of a list: established packets, and blocked sources. They are UDP, to a
// socket whose filter drops them.
const servicePort = 5000

const servicePolicy = "version: 1\nin:\n  - {allow: udp/5000, id: service}\n"

// blocking is a policy for the service that blocks addresses.
func blocking(t testing.TB, block addrset.Addrs) *policy.Policy {
	t.Helper()
	p, found := policy.Load(source.Memory{"p.yaml": servicePolicy}, "p.yaml", policy.Options{})
	if p == nil {
		t.Fatalf("%+v", found)
	}
	if !block.IsEmpty() {
		p.Block = policy.Addrs{Terms: []policy.Term{{Static: block}}}
	}
	return p
}

// randomPrefixes is so many prefixes of a length, no two neighbours, none with the hosts of a test.
func randomPrefixes(n, bits int) addrset.Addrs {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	var v4 []addrset.Range[addrset.U32]
	step := uint32(0xb0000000/uint64(n)) &^ (1<<(32-bits) - 1) // from 11.0.0.0 on, below 190
	for i := range n {
		p := netip.PrefixFrom(addrset.U32(11<<24+uint32(i)*step+rng.Uint32N(max(step/2, 1))).Addr(), bits).Masked()
		v4 = append(v4, addrset.Range[addrset.U32]{Lo: addrset.V4(p.Addr()), Hi: addrset.V4(addrset.LastOf(p))})
	}
	return addrset.Addrs{V4: addrset.Of(v4...)}
}

// serve binds the service's socket in a host, and returns it.
func (h *host) serve(t testing.TB) (fd int) {
	t.Helper()
	h.Do(t, func() {
		var err error
		if fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]}); err != nil {
			t.Fatal(err)
		}
		if err := unix.Bind(fd, &unix.SockaddrInet6{Port: servicePort}); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// answer makes the packets' connections established: each comes in, and is answered from the socket.
func (h *host) answer(t testing.TB, fd int, packets []policy.Packet) {
	t.Helper()
	h.load(t, packets)
	h.send(t, len(packets))
	h.Do(t, func() {
		for _, p := range packets {
			// An error is of the way to a neighbour that does not exist; connection tracking has seen the answer by then.
			_ = unix.Sendto(fd, []byte("answer"), 0, &unix.SockaddrInet6{Port: int(p.Sport), Addr: p.Src.As16()})
		}
	})
}

// flows is the packets of so many connections to the service.
func flows(n int, src, dst string) (out []policy.Packet) {
	for i := range n {
		out = append(out, policy.Packet{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: policy.ProtoUDP,
			Sport: uint16(40000 + i), Dport: servicePort})
	}
	return out
}

func (b *bench) establishedPackets(t *testing.T) {
	const connections = 64
	blocked := randomPrefixes(pick(b, 10_000, 100_000), 32)
	for _, family := range [][3]string{{"IPv4", nstest.Peer4, nstest.Host4}, {"IPv6", nstest.Peer6, nstest.Host6}} {
		packets := flows(connections, family[1], family[2])
		var variants []*variant
		add := func(who string, guard func(*host)) {
			h := newHost(t, false)
			guard(h)
			h.answer(t, h.serve(t), packets)
			variants = append(variants, &variant{who: who, host: h})
		}
		track := func(h *host) { h.nft(t, tracking) }
		add(bare, track)
		add(bare+", again", track)
		add("the same in both hooks that Ringwall has", func(h *host) { h.nft(t, trackingTwice) })
		add(ringwall, func(h *host) { h.enforce(t, blocking(t, addrset.Addrs{}), compile.Options{}) })
		add(ringwall+" with block", func(h *host) { h.enforce(t, blocking(t, blocked), compile.Options{}) })
		rounds(t, variants, pick(b, 4, 12))
		for _, v := range variants {
			if v.host.conn != nil {
				if more := v.host.counted(t, packets); len(more) > 0 {
					t.Fatalf("%s: packets were not of established connections: %v", v.who, more)
				}
			}
		}
		say("\n%s, against a chain of `ct state established,related accept` alone", family[0])
		b.compare("established", family[0], variants)
	}
}

// compare prints and keeps what each variant costs, against the first.
func (b *bench) compare(section, shape string, variants []*variant) {
	base := variants[0].ns()
	for _, v := range variants {
		say("  %-44s %8.0f ns %+8.0f  %.3f times", v.who, v.ns(), v.ns()-base, v.ns()/base)
		b.report.add(result{Section: section, Shape: shape, Who: v.who, Measures: map[string]float64{
			"ns": v.ns(), "ns_median": quantile(v.samples, 0.5), "ns_above_first": v.ns() - base, "times_first": v.ns() / base,
		}})
	}
}

func (b *bench) blockedSources(t *testing.T) {
	addresses, prefixes := randomPrefixes(pick(b, 10_000, 1_000_000), 32), randomPrefixes(pick(b, 10_000, 100_000), 24)
	rng := rand.New(rand.NewPCG(1, 3))
	var variants []*variant
	add := func(who string, of addrset.Addrs, guard func(*host)) {
		h := newHost(t, false)
		h.serve(t)
		guard(h)
		packets := flows(1<<13, nstest.Peer4, nstest.Host4)
		for i := range packets {
			packets[i].Src = of.V4.Ranges()[rng.IntN(of.V4.Len())].Lo.Addr()
		}
		h.load(t, packets)
		variants = append(variants, &variant{who: who, host: h})
	}
	add("no firewall, connection tracking", addresses, func(h *host) { h.nft(t, sink+tracking) })
	add("no firewall, no connection tracking", addresses, func(*host) {})
	for _, block := range []struct {
		of   addrset.Addrs
		what string
	}{{addresses, "addresses"}, {prefixes, "prefixes"}} {
		count := fmt.Sprintf("%d %s", block.of.V4.Len(), block.what)
		add(ringwall+", "+count, block.of, func(h *host) { h.enforce(t, blocking(t, block.of), compile.Options{}) })
		if block.of.V4.Len() <= 100_000 {
			add("nft set in the input hook, "+count, block.of, func(h *host) { h.nft(t, setRules(block.of)) })
		}
	}
	rounds(t, variants, pick(b, 4, 12))
	say("\nA packet from a blocked source, against the first packet of a connection where nothing is judged")
	b.compare("blocked", "", variants)
}

// setRules drops sources of a set the way most do: in the input hook, after connection tracking.
func setRules(a addrset.Addrs) string {
	var elements []string
	for _, r := range a.V4.Ranges() {
		for _, p := range addrset.Prefixes(r) {
			elements = append(elements, p.String())
		}
	}
	flags := "flags interval; "
	if strings.HasSuffix(elements[0], "/32") {
		flags = fmt.Sprintf("size %d; ", len(elements))
		for i := range elements {
			elements[i] = strings.TrimSuffix(elements[i], "/32")
		}
	}
	return "table inet blocked {\nset bad { type ipv4_addr; " + flags + "elements = { " + strings.Join(elements, ",") + " }; }\n" +
		"chain in {\ntype filter hook input priority 0; policy accept;\nct state established,related accept\nip saddr @bad drop\n}\n}\n"
}
