package compile

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/addrset"
	"ringwall/rules/policy"
)

// wire is a host whose kernel judges packets made by hand, which arrive at its interface eth0.
type wire struct {
	host  *nstest.NS
	conn  *kernel.Conn
	fd    int // of a packet socket at the other end
	index int
	mac   net.HardwareAddr // of eth0
	holds []netip.Addr     // the addresses of the host
}

// The addresses that the host holds, so that random policies name some of them: 10.0.0.0 and on, 2001:db8::a00:0 and on.
const ownAddresses = 40

func own(i uint64) [2]netip.Addr {
	return [2]netip.Addr{addrset.U32(0x0a000000 + i).Addr(), addrset.U128{Hi: 0x20010db8 << 32, Lo: 0x0a000000 + i}.Addr()}
}

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{host: nstest.New(t)}
	peer := nstest.New(t)
	// The other end is to say nothing of itself.
	peer.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1")
	nstest.Veth(t, w.host, "eth0", peer, "peer0")
	for i := range uint64(ownAddresses) {
		a := own(i)
		w.host.Addr(t, "eth0", a[0].String()+"/32", a[1].String()+"/128")
		w.holds = append(w.holds, a[:]...)
	}
	// The packets' checksums are not worth making: conntrack need not look at them.
	w.host.Sysctl(t, "net/netfilter/nf_conntrack_checksum", "0")
	w.host.Do(t, func() {
		var err error
		if w.conn, err = kernel.Dial(kernel.Options{}); err != nil {
			t.Fatal(err)
		}
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			t.Fatal(err)
		}
		w.mac = link.Attrs().HardwareAddr
	})
	t.Cleanup(func() { w.conn.Close() })
	peer.Do(t, func() {
		link, err := netlink.LinkByName("peer0")
		if err != nil {
			t.Fatal(err)
		}
		w.index = link.Attrs().Index
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

// enforce makes the kernel enforce a policy, dynamic sets filled.
func (w *wire) enforce(t *testing.T, p *policy.Policy, opt Options) *ruleset.Ruleset {
	t.Helper()
	opt.LogGroup = 7
	rs, err := Compile(p, opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := w.conn.DeleteTable(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := w.conn.Apply(ctx, rs); err != nil {
		t.Fatal(err)
	}
	fill := func(set string, prefixes []netip.Prefix) {
		var elems []kernel.Element
		for _, p := range prefixes {
			elems = append(elems, kernel.Element{Prefix: p})
		}
		if err := w.conn.AddElements(ctx, set, elems); err != nil {
			t.Fatal(err)
		}
	}
	for name, a := range p.Given {
		for _, r := range a.V4.Ranges() {
			fill(DynamicSet(name, false), addrset.Prefixes(r))
		}
		for _, r := range a.V6.Ranges() {
			fill(DynamicSet(name, true), addrset.Prefixes(r))
		}
	}
	return rs
}

// arriving makes a drawn packet one that can arrive by the wire; false where it cannot be sent, or the kernel would not say what
// it is to conntrack.
func arriving(s *sampler, pkt *policy.Packet, holds []netip.Addr) bool {
	pkt.Dir, pkt.IIf, pkt.HasMAC, pkt.Mark, pkt.Spoofed, pkt.Time = policy.In, "eth0", true, 0, false, time.Now().Unix()
	possible(pkt)
	dst := own(uint64(s.rng.IntN(ownAddresses)))
	if slices.Contains(holds, pkt.Dst) {
		dst = [2]netip.Addr{pkt.Dst, pkt.Dst}
	}
	if pkt.Is6() {
		pkt.Dst = dst[1]
	} else {
		pkt.Dst = dst[0]
	}
	if pkt.Src.IsMulticast() || pkt.Src.IsLoopback() {
		return false
	}
	pkt.State = policy.New
	switch {
	case pkt.Proto == policy.ProtoTCP, pkt.Proto == policy.ProtoUDP:
		return pkt.Dport != 0 && pkt.Sport != 0
	case pkt.Proto == policy.ProtoICMP && !pkt.Is6():
		if pkt.Type == 3 || pkt.Type == 11 {
			pkt.State = policy.Invalid
		}
		return slices.Contains([]uint8{3, 8, 11, 13}, pkt.Type) && pkt.Code == 0
	case pkt.Proto == policy.ProtoICMPv6 && pkt.Is6():
		if pkt.Type >= 130 && pkt.Type <= 136 {
			pkt.State = policy.Untracked
		}
		return pkt.Code == 0 && (pkt.Type == 128 || pkt.State == policy.Untracked)
	}
	return pkt.Proto == 47 || pkt.Proto >= 254
}

// send puts a packet on the wire.
func (w *wire) send(t *testing.T, pkt *policy.Packet) {
	t.Helper()
	payload := make([]byte, 32)
	switch pkt.Proto {
	case policy.ProtoTCP:
		payload[12], payload[13] = 5<<4, 2 // no options, SYN
		payload = payload[:20]
	case policy.ProtoUDP:
		binary.BigEndian.PutUint16(payload[4:], uint16(len(payload)))
	}
	if policy.HasPorts(pkt.Proto) {
		binary.BigEndian.PutUint16(payload, pkt.Sport)
		binary.BigEndian.PutUint16(payload[2:], pkt.Dport)
	} else {
		payload[0], payload[1] = pkt.Type, pkt.Code
	}
	frame := append(append([]byte{}, w.mac...), pkt.MAC[:]...)
	if pkt.Is6() {
		frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, byte(len(payload)), pkt.Proto, pkt.HopLimit)
	} else {
		frame = append(frame, 0x08, 0x00, 0x45, 0, 0, byte(20+len(payload)), 0, 0, 0, 0, pkt.HopLimit, pkt.Proto, 0, 0)
	}
	frame = append(append(frame, pkt.Src.AsSlice()...), pkt.Dst.AsSlice()...)
	if !pkt.Is6() {
		header := frame[14:]
		var sum uint32
		for i := 0; i < len(header); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(header[i:]))
		}
		sum = sum>>16 + sum&0xffff
		binary.BigEndian.PutUint16(header[10:], ^uint16(sum+sum>>16))
	}
	frame = append(frame, payload...)
	if err := unix.Sendto(w.fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: w.index, Halen: 6}); err != nil {
		t.Fatal(err)
	}
}

// judged is the counters of `in` and how often each has counted.
func (w *wire) judged(t *testing.T) map[string]uint64 {
	t.Helper()
	all, err := w.conn.Counters(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]uint64)
	for name, c := range all {
		if c.Packets > 0 && (strings.HasPrefix(name, "in.") || strings.HasPrefix(name, "base.in.")) {
			out[name] = c.Packets
		}
	}
	return out
}

// TestEvalIsTheKernel sends packets at the corners of random policies to a real kernel, and holds what counted them against Eval.
func TestEvalIsTheKernel(t *testing.T) {
	w := newWire(t)
	sent, probes := map[string]int{}, 0
	for seed := range uint64(rounds(t, 150)) {
		g := newGenerator(seed + 1000)
		p, opt := g.policy(), Options{}
		if seed%3 == 0 {
			p, opt.Linear = g.long(), -1
		}
		// Not this test's: what no packet from outside shows, and where the kernel must not be within limits.
		p.Base.Loopback, p.Base.ReversePath, p.Base.Established = true, false, true
		for _, r := range p.Lists[policy.In] {
			r.Action.Limit, r.Action.Connections = nil, nil
			r.Match.Mark = policy.Choice[policy.Mark]{}
		}
		rs := w.enforce(t, p, opt)
		probes += len(rs.Maps)
		m, err := ruleset.NewMachine(rs, Contents(p))
		if err != nil {
			t.Fatal(err)
		}
		s := newSampler(p, seed)
		before := w.judged(t)
		for i := range 60 {
			pkt := s.draw(i, 60)
			if !arriving(s, &pkt, w.holds) {
				continue
			}
			counters := m.Eval(&pkt).Counters
			if len(counters) != 1 {
				continue
			}
			want := counters[0]
			w.host.Do(t, func() {
				if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
					t.Fatal(err)
				}
			})
			w.send(t, &pkt)
			after := w.judged(t)
			for deadline := time.Now().Add(2 * time.Second); after[want] == before[want] && time.Now().Before(deadline); {
				after = w.judged(t)
			}
			for name, n := range after {
				if counted := n - before[name]; counted != 0 && name != want && !strings.HasSuffix(name, policy.ByNeighbour) && !strings.HasSuffix(name, policy.ByMulticast) {
					t.Fatalf("seed %d, packet %d: the kernel counted %d in %s, want one in %s: %+v\n%s", seed, i, counted, name, want, pkt, text(t, rs))
				}
			}
			if after[want] == before[want] {
				t.Fatalf("seed %d, packet %d: %s did not count %+v\n%s", seed, i, want, pkt, text(t, rs))
			}
			before = after
			if strings.HasPrefix(want, "in.") {
				want = "a rule"
			}
			sent[want]++
		}
	}
	t.Log(sent, probes)
	if probes < 10 {
		t.Errorf("%d lookups", probes)
	}
	for _, want := range []string{"a rule", "base.in.default", "base.in.block", "base.in.failsafe", "base.in.icmp-errors", "base.in.invalid"} {
		if sent[want] < 3 {
			t.Errorf("%s judged %d packets", want, sent[want])
		}
	}
}

// TestEveryWayHereIsJudged sends a packet to each kind of address that a host listens to.
func TestEveryWayHereIsJudged(t *testing.T) {
	w := newWire(t)
	w.host.Addr(t, "eth0", "192.0.2.1/24", "2001:db8:5::1/64")
	for _, forwarding := range []string{"0", "1"} {
		w.host.Sysctl(t, "net/ipv4/ip_forward", forwarding)
		w.host.Sysctl(t, "net/ipv6/conf/all/forwarding", forwarding)
		for _, addr := range []string{
			"10.0.0.1", "192.0.2.255", "255.255.255.255", "224.0.0.1", "224.0.0.251",
			"2001:db8::a00:1", "2001:db8:5::1", "ff02::1", "ff02::fb", "ff05::2",
			"2001:db8:5::", // the anycast address of the subnet's routers, where this is one
		} {
			pkt := policy.Packet{Src: netip.MustParseAddr("203.0.113.5"), Dst: netip.MustParseAddr(addr), Proto: policy.ProtoUDP, Sport: 40000, Dport: 9}
			if pkt.Dst.Is6() {
				pkt.Src = netip.MustParseAddr("2001:db8:77::5")
				if addr == "2001:db8:5::" && forwarding == "0" {
					continue
				}
			}
			w.enforce(t, load(t, "version: 1\n"), Options{})
			w.send(t, &pkt)
			var got map[string]uint64
			for deadline := time.Now().Add(2 * time.Second); got[BaseCounter(policy.In, policy.ByDefault)] == 0; got = w.judged(t) {
				if time.Now().After(deadline) {
					t.Errorf("%s, forwarding %s: not judged", addr, forwarding)
					break
				}
			}
		}
	}
}
