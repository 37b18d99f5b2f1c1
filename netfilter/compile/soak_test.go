package compile

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
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

// shootingRange is a host in a namespace whose kernel judges packets of every direction: they arrive by three interfaces, pass on to
// them, or leave by sockets of several users. A table of the test's own, after and before Ringwall's hooks, counts what was let
// through and the answers to what was rejected, and lets nothing go any further, so that every packet stands alone.
type shootingRange struct {
	host  *nstest.NS
	conn  *kernel.Conn
	wires map[string]*tap
	raw   map[sender]int // sockets
}

// tap is the other end of an interface of the host.
type tap struct {
	fd, index int
	mac       net.HardwareAddr // of the host's end
}

// sender is whose socket a packet leaves by.
type sender struct {
	uid, gid uint32
	six      bool
}

// The host's routes. Whole networks are its own, of those that random texts are about.
var (
	wireNames  = []string{"eth0", "wan", "br-lan"}
	senders    = []uint32{0, 1, 1000}
	ownNets    = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/15"), netip.MustParsePrefix("2001:db8::/47")}
	otherNets  = []netip.Prefix{netip.MustParsePrefix("10.2.0.0/15"), netip.MustParsePrefix("2001:db8:2::/47")} // by wan
	localNets  = []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fc00::/7")}     // by br-lan
	everywhere = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}              // by eth0
)

func holds(nets []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// by is the interface that the host reaches an address by, "lo" for its own.
func by(ip netip.Addr) string {
	switch {
	case holds(ownNets, ip):
		return policy.Loopback
	case holds(otherNets, ip):
		return "wan"
	case holds(localNets, ip):
		return "br-lan"
	}
	return "eth0"
}

// observer counts what Ringwall lets through and what it answers. Priorities are around those of Ringwall's hooks.
const observer = `table inet observer {
	counter let_in { }
	counter let_out { }
	counter let_forward { }
	counter told_reset { }
	counter told_port { }
	counter told_prohibited { }
	chain in { type filter hook input priority 10; iifname { "eth0", "wan", "br-lan" } counter name let_in drop; }
	chain forward { type filter hook forward priority 10; counter name let_forward drop; }
	chain out { type filter hook output priority 10; meta skuid 0-1000 counter name let_out drop; drop; }
	chain answers {
		type filter hook output priority -400;
		meta skuid 0-1000 accept
		tcp flags rst counter name told_reset drop
		icmp type destination-unreachable icmp code 3 counter name told_port drop
		icmp type destination-unreachable icmp code 13 counter name told_prohibited drop
		icmpv6 type destination-unreachable icmpv6 code 4 counter name told_port drop
		icmpv6 type destination-unreachable icmpv6 code 1 counter name told_prohibited drop
		drop
	}
}
`

func newShootingRange(t *testing.T) *shootingRange {
	t.Helper()
	w := &shootingRange{host: nstest.New(t), wires: map[string]*tap{}, raw: map[sender]int{}}
	peer := nstest.New(t)
	peer.Sysctl(t, "net/ipv6/conf/default/disable_ipv6", "1")
	for i, name := range wireNames {
		w.wire(t, name, peer, fmt.Sprintf("peer%d", i))
	}
	for key, value := range map[string]string{
		"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1",
		"net/ipv4/icmp_ratemask": "0", "net/ipv6/icmp/ratemask": "255", // answers are not limited
		"net/netfilter/nf_conntrack_tcp_be_liberal": "1",
	} {
		w.host.Sysctl(t, key, value)
	}
	for _, name := range append([]string{"all", "default"}, wireNames...) {
		w.host.Sysctl(t, "net/ipv4/conf/"+name+"/rp_filter", "0")
		w.host.Sysctl(t, "net/ipv4/conf/"+name+"/send_redirects", "0")
	}
	for i, flag := range []string{"-4", "-6"} {
		w.host.Run(t, "ip", flag, "route", "add", "local", ownNets[i].String(), "dev", "lo")
		w.host.Run(t, "ip", flag, "route", "add", otherNets[i].String(), "dev", "wan")
		w.host.Run(t, "ip", flag, "route", "add", localNets[i].String(), "dev", "br-lan")
		w.host.Run(t, "ip", flag, "route", "add", everywhere[i].String(), "dev", "eth0")
	}
	if out, err := w.host.Input(t, observer, "nft", "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.host.Do(t, func() {
		var err error
		if w.conn, err = kernel.Dial(kernel.Options{}); err != nil {
			t.Fatal(err)
		}
		for _, uid := range senders {
			for _, gid := range senders {
				for _, six := range []bool{false, true} {
					s := sender{uid, gid, six}
					w.raw[s] = s.open(t)
				}
			}
		}
	})
	t.Cleanup(func() {
		w.conn.Close()
		for _, fd := range w.raw {
			unix.Close(fd)
		}
	})
	return w
}

// wire joins an interface of the host to a packet socket.
func (w *shootingRange) wire(t *testing.T, name string, peer *nstest.NS, other string) {
	t.Helper()
	nstest.Veth(t, w.host, name, peer, other)
	tp := &tap{}
	w.host.Do(t, func() {
		link, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		tp.mac = link.Attrs().HardwareAddr
	})
	peer.Do(t, func() {
		link, err := netlink.LinkByName(other)
		if err != nil {
			t.Fatal(err)
		}
		tp.index = link.Attrs().Index
		if tp.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	})
	t.Cleanup(func() { unix.Close(tp.fd) })
	w.wires[name] = tp
}

// open makes a raw socket of the user, on the calling thread, which Do has pinned.
func (s sender) open(t *testing.T) int {
	t.Helper()
	own := func(uid, gid int) {
		if err := unix.Setfsgid(gid); err != nil {
			t.Fatal(err)
		}
		if err := unix.Setfsuid(uid); err != nil {
			t.Fatal(err)
		}
	}
	own(int(s.uid), int(s.gid))
	defer own(0, 0)
	family := unix.AF_INET
	if s.six {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// enforce makes the kernel enforce a policy, dynamic sets filled.
func (w *shootingRange) enforce(rs *ruleset.Ruleset, p *policy.Policy) error {
	ctx := context.Background()
	if err := w.conn.DeleteTable(ctx); err != nil {
		return err
	}
	if _, err := w.conn.Apply(ctx, rs); err != nil {
		return err
	}
	for name, a := range p.Given {
		for six, ranges := range [][]netip.Prefix{prefixesOf(a.V4), prefixesOf(a.V6)} {
			var elems []kernel.Element
			for _, prefix := range ranges {
				elems = append(elems, kernel.Element{Prefix: prefix})
			}
			if err := w.conn.AddElements(ctx, DynamicSet(name, six == 1), elems); err != nil {
				return err
			}
		}
	}
	return nil
}

func prefixesOf[K addrset.Address[K]](s addrset.Set[K]) (out []netip.Prefix) {
	for _, r := range s.Ranges() {
		out = append(out, addrset.Prefixes(r)...)
	}
	return out
}

// aim makes a drawn packet one that can be sent through the host; false where none can.
func (w *shootingRange) aim(s *sampler, pkt *policy.Packet) bool {
	six := 0
	if pkt.Is6() {
		six = 1
	}
	address := func(ip *netip.Addr, fits func(netip.Addr) bool) {
		for range 20 {
			if fits(*ip) {
				return
			}
			*ip = oneOfList(s.rng, s.addrs[six])
		}
	}
	own := func(ip netip.Addr) bool { return holds(ownNets, ip) }
	foreign := func(ip netip.Addr) bool { return !holds(ownNets, ip) && ordinary(ip) }
	switch pkt.Dir {
	case policy.In:
		address(&pkt.Src, foreign)
		address(&pkt.Dst, own)
	case policy.Out:
		address(&pkt.Src, own)
		address(&pkt.Dst, foreign)
	case policy.Forward:
		address(&pkt.Src, foreign)
		address(&pkt.Dst, foreign)
	}
	pkt.IIf = oneOfList(s.rng, wireNames)
	pkt.UID, pkt.GID = oneOfList(s.rng, senders), oneOfList(s.rng, senders)
	return w.settle(pkt)
}

// ordinary tells whether packets from and to an address are routed like any other.
func ordinary(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() && !(ip.Is4() && (ip.As4()[0] == 0 || ip.As4()[0] >= 224))
}

// settle gives a packet what follows from how it is sent; false where it can't be sent, or no kernel would say of it what the
// packet says.
func (w *shootingRange) settle(pkt *policy.Packet) bool {
	pkt.Time, pkt.Spoofed = time.Now().Unix(), false
	srcOwn, dstOwn := holds(ownNets, pkt.Src), holds(ownNets, pkt.Dst)
	switch pkt.Dir {
	case policy.In:
		pkt.HasMAC, pkt.Mark = true, 0
		if srcOwn || !dstOwn || !ordinary(pkt.Src) {
			return false
		}
	case policy.Out:
		pkt.OIf, pkt.Socket = by(pkt.Dst), true
		if !srcOwn || dstOwn || !ordinary(pkt.Dst) {
			return false
		}
		if _, ok := w.raw[sender{pkt.UID, pkt.GID, pkt.Is6()}]; !ok {
			return false
		}
	case policy.Forward:
		pkt.OIf, pkt.HasMAC, pkt.Mark = by(pkt.Dst), true, 0
		pkt.HopLimit = max(2, pkt.HopLimit)
		if srcOwn || dstOwn || !ordinary(pkt.Src) || !ordinary(pkt.Dst) {
			return false
		}
	}
	if pkt.Dir != policy.Out {
		if w.wires[pkt.IIf] == nil {
			return false
		}
		pkt.Spoofed = by(pkt.Src) != pkt.IIf
	}
	// The first address of a network is its routers', whom nobody answers.
	first := func(p netip.Prefix) bool { return p.Addr() == pkt.Dst || p.Addr() == pkt.Src }
	if slices.ContainsFunc(slices.Concat(ownNets, otherNets, localNets), first) {
		return false
	}
	if pkt.MAC[0]&1 == 1 || pkt.Src == pkt.Dst || !possible(pkt) {
		return false
	}
	established := pkt.State == policy.Established || pkt.State == policy.Related
	pkt.State = policy.New
	switch {
	case pkt.Proto == policy.ProtoTCP, pkt.Proto == policy.ProtoUDP:
		if established {
			pkt.State = policy.Established
		}
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
	return pkt.Proto == 47 || pkt.Proto == 112 || pkt.Proto >= 254
}

// tally is what a number of packets came to: by Ringwall's counters, by what was let through, and by answers.
type tally map[string]uint64

// blockedSource tells whether `block` holds a packet's source.
func blockedSource(p *policy.Policy, pkt *policy.Packet) bool {
	open, in := *p, *pkt
	open.Failsafe, in.Dir = nil, policy.In
	return open.Decide(&in).By == policy.ByBlock
}

// wants adds what the policy says of a packet; false where kernels may count it by either of two.
func (t tally) wants(p *policy.Policy, pkt *policy.Packet) bool {
	d := p.Decide(pkt)
	if d.By == policy.ByBlock && pkt.Spoofed {
		return false
	}
	switch {
	case d.Rule != nil:
		t[ChainName(d.Rule)]++
	case d.By == policy.ByLoopback, d.By == policy.ByEstablished, d.By == policy.ByUnjudged:
	case d.By == policy.ByFailsafe && p.Base.Established && pkt.State == policy.Established:
	case d.By == policy.ByBlock && pkt.Dir == policy.Forward && blockedSource(p, pkt):
		t[BaseCounter(policy.In, policy.ByBlock)]++
	default:
		t[BaseCounter(pkt.Dir, d.By)]++
	}
	switch d.Verdict {
	case policy.Allow:
		t["let_"+pkt.Dir.String()]++
	case policy.Reject:
		if pkt.State == policy.Invalid {
			break // an error of ICMP, to which no host answers with another
		}
		t["told_"+map[ruleset.RejectWith]string{
			ruleset.TCPReset: "reset", ruleset.PortUnreachable: "port", ruleset.AdminProhibited: "prohibited",
		}[answerTo(pkt)]]++
	}
	return true
}

var counterLine = regexp.MustCompile(`counter (\w+) \{\s+packets (\d+)`)

// counted is the kernel's counters, those that are not zero.
func (w *shootingRange) counted(t *testing.T) tally {
	t.Helper()
	out := tally{}
	all, err := w.conn.Counters(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range all {
		if c.Packets > 0 {
			out[name] = c.Packets
		}
	}
	for _, m := range counterLine.FindAllStringSubmatch(w.host.Run(t, "nft", "list", "counters", "table", "inet", "observer"), -1) {
		if n, err := strconv.ParseUint(m[2], 10, 64); err == nil && n > 0 {
			out[m[1]] = n
		}
	}
	return out
}

// minus is what was counted since.
func (t tally) minus(before tally) tally {
	out := tally{}
	for name, n := range t {
		if n != before[name] {
			out[name] = n - before[name]
		}
	}
	return out
}

// shoot sends packets at once, and tells whether the kernel does with them what the policy says.
func (w *shootingRange) shoot(t *testing.T, p *policy.Policy, pkts []policy.Packet) (want, got tally) {
	t.Helper()
	want = tally{}
	before := w.counted(t)
	w.host.Do(t, func() {
		if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
			t.Fatal(err)
		}
		for i := range pkts {
			if pkts[i].State == policy.Established {
				w.introduce(t, &pkts[i])
			}
		}
	})
	for i := range pkts {
		if want.wants(p, &pkts[i]) {
			w.send(t, &pkts[i])
		}
	}
	patience := time.Second
	if len(pkts) == 1 {
		patience /= 5
	}
	for deadline := time.Now().Add(patience); ; {
		if got = w.counted(t).minus(before); maps.Equal(got, want) || time.Now().After(deadline) {
			return want, got
		}
	}
}

// introduce writes the connection that a packet is an answer of.
func (w *shootingRange) introduce(t *testing.T, pkt *policy.Packet) {
	t.Helper()
	family := uint8(unix.AF_INET)
	if pkt.Is6() {
		family = unix.AF_INET6
	}
	flow := &netlink.ConntrackFlow{
		FamilyType: family, TimeOut: 60,
		Forward: netlink.IPTuple{Protocol: pkt.Proto, SrcIP: pkt.Dst.AsSlice(), DstIP: pkt.Src.AsSlice(), SrcPort: pkt.Dport, DstPort: pkt.Sport},
		Reverse: netlink.IPTuple{Protocol: pkt.Proto, SrcIP: pkt.Src.AsSlice(), DstIP: pkt.Dst.AsSlice(), SrcPort: pkt.Sport, DstPort: pkt.Dport},
	}
	if pkt.Proto == policy.ProtoTCP {
		const established = 3
		flow.ProtoInfo = &netlink.ProtoInfoTCP{State: established}
	}
	if err := netlink.ConntrackCreate(netlink.ConntrackTable, netlink.InetFamily(family), flow); err != nil {
		t.Fatalf("the connection of %q: %v", pkt, err)
	}
}

// send sends a packet.
func (w *shootingRange) send(t *testing.T, pkt *policy.Packet) {
	t.Helper()
	body := payload(pkt)
	head := header(pkt, len(body))
	if pkt.Dir != policy.Out {
		wire := w.wires[pkt.IIf]
		frame := append(append([]byte{}, wire.mac...), pkt.MAC[:]...)
		if pkt.Is6() {
			frame = append(frame, 0x86, 0xdd)
		} else {
			frame = append(frame, 0x08, 0x00)
		}
		if err := unix.Sendto(wire.fd, slices.Concat(frame, head, body), 0, &unix.SockaddrLinklayer{Ifindex: wire.index, Halen: 6}); err != nil {
			t.Fatalf("%q: %v", pkt, err)
		}
		return
	}
	fd := w.raw[sender{pkt.UID, pkt.GID, pkt.Is6()}]
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(pkt.Mark)); err != nil {
		t.Fatal(err)
	}
	var to unix.Sockaddr = &unix.SockaddrInet4{}
	if pkt.Is6() {
		to = &unix.SockaddrInet6{Addr: pkt.Dst.As16()}
	} else {
		to = &unix.SockaddrInet4{Addr: pkt.Dst.As4()}
	}
	// What is dropped on its way out is an error to its sender.
	if err := unix.Sendto(fd, append(head, body...), 0, to); err != nil && !errors.Is(err, unix.EPERM) {
		t.Fatalf("%q: %v", pkt, err)
	}
}

// header is the header of IP.
func header(pkt *policy.Packet, payload int) []byte {
	if pkt.Is6() {
		h := []byte{0x60, 0, 0, 0, 0, byte(payload), pkt.Proto, pkt.HopLimit}
		return append(append(h, pkt.Src.AsSlice()...), pkt.Dst.AsSlice()...)
	}
	h := []byte{0x45, 0, 0, byte(20 + payload), 0, 1, 0, 0, pkt.HopLimit, pkt.Proto, 0, 0}
	h = append(append(h, pkt.Src.AsSlice()...), pkt.Dst.AsSlice()...)
	binary.BigEndian.PutUint16(h[10:], checksum(h))
	return h
}

// payload is what follows it.
func payload(pkt *policy.Packet) []byte {
	b := make([]byte, 32)
	sum := -1 // where the checksum stands
	switch {
	case pkt.Proto == policy.ProtoTCP:
		const syn, ack = 2, 16
		b = b[:20]
		b[12], b[13], sum = 5<<4, syn, 16
		if pkt.State == policy.Established {
			b[13] = ack
		}
	case pkt.Proto == policy.ProtoUDP:
		b[5], sum = byte(len(b)), 6
	case pkt.Proto == policy.ProtoICMP && !pkt.Is6(), pkt.Proto == policy.ProtoICMPv6 && pkt.Is6():
		b[0], b[1], sum = pkt.Type, pkt.Code, 2
	case pkt.Proto != 47:
		sum = 2 // the kernel takes it that any protocol has one, and does not answer packets where it is wrong
	}
	if policy.HasPorts(pkt.Proto) {
		binary.BigEndian.PutUint16(b, pkt.Sport)
		binary.BigEndian.PutUint16(b[2:], pkt.Dport)
	}
	if sum < 0 {
		return b
	}
	var pseudo []byte
	if pkt.Is6() || pkt.Proto == policy.ProtoTCP || pkt.Proto == policy.ProtoUDP {
		pseudo = append(append(pseudo, pkt.Src.AsSlice()...), pkt.Dst.AsSlice()...)
		pseudo = append(pseudo, 0, pkt.Proto, 0, byte(len(b)))
	}
	binary.BigEndian.PutUint16(b[sum:], checksum(append(pseudo, b...)))
	return b
}

// checksum is the Internet checksum of an even number of bytes.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// flow names the connection of a packet, in either direction.
func flow(pkt *policy.Packet) string {
	a, b := netip.AddrPortFrom(pkt.Src, pkt.Sport), netip.AddrPortFrom(pkt.Dst, pkt.Dport)
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return fmt.Sprint(a, b, pkt.Proto)
}

// round is a random policy in the kernel, and packets. It returns those that were sent and what they
// came to; the error is a failure, made small.
func (w *shootingRange) round(t *testing.T, rng *rand.Rand, packets int, compile compileFunc) ([]policy.Packet, tally, error) {
	t.Helper()
	wr := newWriter(rng)
	wr.unlimited, wr.lots = true, wr.chance(4)
	text := wr.policy()
	p, err := read(text.String())
	if err != nil {
		return nil, nil, nil
	}
	f := failure{doc: text, given: wr.contents()}
	if p, err = f.with(p); err != nil {
		return nil, nil, err
	}
	rs, err := compile(p)
	if err != nil {
		return nil, nil, fmt.Errorf("%w\n%s", err, text)
	}
	if err := w.enforce(rs, p); err != nil {
		return nil, nil, fmt.Errorf("%w\n%s", err, text)
	}
	s := newSampler(p, rng.Uint64())
	var pkts []policy.Packet
	met := map[string]bool{}
	for i := 0; i < 8*packets && len(pkts) < packets; i++ {
		pkt := s.draw(i, 8*packets)
		if w.aim(s, &pkt) && !met[flow(&pkt)] {
			met[flow(&pkt)] = true
			pkts = append(pkts, pkt)
		}
	}
	want, got := w.shoot(t, p, pkts)
	if maps.Equal(want, got) {
		return pkts, want, nil
	}
	for i := range pkts {
		if want, got := w.shoot(t, p, pkts[i:i+1]); !maps.Equal(want, got) {
			f.pkt = pkts[i]
			small := f.shrink(func(f failure) bool { return w.differs(t, f, compile) != nil })
			return pkts, want, fmt.Errorf("%w\nkernelA%s", w.differs(t, small, compile), strings.TrimPrefix(small.String(), "a"))
		}
	}
	return pkts, want, fmt.Errorf("together the packets counted %v, want %v; each alone is right\n%s", got, want, text)
}

// differs tells whether the kernel does something else with a packet than the policy says, and what; other errors count as none.
func (w *shootingRange) differs(t *testing.T, f failure, compile compileFunc) error {
	p, err := read(f.doc.String())
	if err != nil {
		return nil
	}
	if p, err = f.with(p); err != nil {
		return nil
	}
	rs, err := compile(p)
	if err != nil || !w.settle(&f.pkt) || w.enforce(rs, p) != nil {
		return nil
	}
	want, got := w.shoot(t, p, []policy.Packet{f.pkt})
	if maps.Equal(want, got) {
		return nil
	}
	return fmt.Errorf("of the packet %q the kernel counted %v, the policy says %v", f.pkt.String(), got, want)
}

// kernelAgrees is agrees for the kernel: failures of the tests with real packets print calls of it.
func kernelAgrees(t *testing.T, text, given, packet string) {
	t.Helper()
	w := newShootingRange(t)
	p, pkt := pasted(t, text, given, packet)
	if !w.settle(&pkt) {
		t.Fatalf("%q can't be sent", packet)
	}
	for n := range uint64(2) {
		rs, err := inTurn(n)(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.enforce(rs, p); err != nil {
			t.Fatal(err)
		}
		if want, got := w.shoot(t, p, []policy.Packet{pkt}); !maps.Equal(want, got) {
			t.Errorf("of the packet %q the kernel counted %v, the policy says %v", packet, got, want)
		}
	}
}

// TestKernelAgrees keeps what was found once.
func TestKernelAgrees(t *testing.T) {
	kernelAgrees(t, `
version: 1
defaults: {in: reject}
sets: {guests: {dynamic: true}}
in:
  - {allow: udp/546, from: guests}
`, "guests=203.0.113.0/24", "in udp/546 from 192.0.2.1 to 10.0.68.196 sport 40000 iface eth0")
}

// soaked is how many packets the test sends: more by SOAK in the environment.
func soaked(t *testing.T) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("SOAK")); err == nil {
		return n
	}
	if testing.Short() {
		return 3000
	}
	return 30_000
}

// TestKernelIsDecide sends packets through a real kernel, and holds what became of them against the policy: what decided, what was
// let through and what was answered.
func TestKernelIsDecide(t *testing.T) {
	w := newShootingRange(t)
	const each = 400
	sent, policies := map[string]int{}, 0
	total := 0
	for seed := uint64(0); total < soaked(t); seed++ {
		pkts, came, err := w.round(t, rand.New(rand.NewPCG(seed, 4)), each, inTurn(seed))
		if err != nil {
			t.Fatalf("policy %d: %v", seed, err)
		}
		if pkts != nil {
			policies++
		}
		total += len(pkts)
		for name, n := range came {
			if list, _, ok := ParseName(name); ok {
				name = list.String() + " by a rule"
			}
			sent[name] += int(n)
		}
		for i := range pkts {
			for _, key := range kinds(&pkts[i]) {
				sent[key]++
			}
		}
	}
	t.Logf("%d packets, %d policies, 0 wrong", total, policies)
	for _, key := range slices.Sorted(maps.Keys(sent)) {
		t.Logf("%-24s %8d", key, sent[key])
	}
	for _, dir := range policy.Dirs {
		for _, key := range []string{"IPv4 TCP", "IPv6 TCP", "IPv4 UDP", "IPv6 UDP", "IPv4 ICMP", "IPv6 ICMP"} {
			if sent[dir.String()+" "+key] < 10 {
				t.Errorf("%s %s: %d packets", dir, key, sent[dir.String()+" "+key])
			}
		}
	}
	for _, key := range []string{
		"established", "untracked", "invalid", "let_in", "let_out", "let_forward", "told_reset", "told_port", "told_prohibited",
		"in by a rule", "out by a rule", "forward by a rule", "base.in.block", "base.out.block", "base.forward.block", "base.in.failsafe",
		"base.in.default", "base.out.default", "base.forward.default", "base.in.reverse-path",
	} {
		if sent[key] < 10 {
			t.Errorf("%s: %d packets", key, sent[key])
		}
	}
}

// kinds is what a packet is counted as.
func kinds(pkt *policy.Packet) []string {
	family := "IPv4"
	if pkt.Is6() {
		family = "IPv6"
	}
	proto := map[uint8]string{policy.ProtoTCP: "TCP", policy.ProtoUDP: "UDP", policy.ProtoICMP: "ICMP", policy.ProtoICMPv6: "ICMP"}[pkt.Proto]
	if proto == "" {
		proto = "other"
	}
	return []string{strings.Join([]string{pkt.Dir.String(), family, proto}, " "), pkt.State.String()}
}

// TestKernelDisagrees breaks the compiler and shows that the kernel's packets tell.
func TestKernelDisagrees(t *testing.T) {
	w := newShootingRange(t)
	for seed := range uint64(50) {
		_, _, err := w.round(t, rand.New(rand.NewPCG(seed, 4)), 400, func(p *policy.Policy) (*ruleset.Ruleset, error) {
			rs, err := compiled(p)
			if err != nil {
				return nil, err
			}
			for _, ch := range rs.Chains {
				for _, r := range ch.Rules {
					for i, e := range r.Exprs {
						if c, is := e.(ruleset.Cmp); is && c.Field == ruleset.L4Proto && c.Value[0] == policy.ProtoUDP {
							c.Value = []byte{policy.ProtoTCP}
							r.Exprs[i] = c
						}
					}
				}
			}
			return rs, nil
		})
		if err != nil {
			t.Log(err)
			if !strings.Contains(err.Error(), "kernelAgrees(t, `\n") {
				t.Error("no call to paste")
			}
			return
		}
	}
	t.Error("nothing was found")
}
