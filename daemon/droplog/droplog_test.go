package droplog_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ringwall/daemon/droplog"
	"ringwall/netfilter/host"
	"ringwall/netfilter/nstest"
)

var compareAddrs = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// The parts of packets, in hex.
const (
	ip4    = "45000034" + "00004000" + "40" // then protocol, checksum, addresses
	addrs4 = "0000" + "cb007109" + "c6336401"
	addrs6 = "20010db8000000000000000000000009" + "20010db8000000000000000000000001"
	tcpSYN = "9c40" + "0016" + "00000001" + "00000000" + "5002" + "ffff" + "00000000"
)

func TestParseHeader(t *testing.T) {
	v4 := droplog.Header{Src: netip.MustParseAddr("203.0.113.9"), Dst: netip.MustParseAddr("198.51.100.1"), Length: 52}
	v6 := droplog.Header{Src: netip.MustParseAddr("2001:db8::9"), Dst: netip.MustParseAddr("2001:db8::1"), Length: 60}
	with := func(h droplog.Header, proto uint8, f func(*droplog.Header)) droplog.Header {
		h.Proto = proto
		if f != nil {
			f(&h)
		}
		return h
	}
	ports := func(h *droplog.Header) { h.HasPorts, h.Sport, h.Dport = true, 40000, 22 }
	syn := func(h *droplog.Header) { ports(h); h.Flags = 2 }
	icmp := func(typ, code uint8) func(*droplog.Header) {
		return func(h *droplog.Header) { h.HasICMP, h.Type, h.Code = true, typ, code }
	}
	fragment := func(h *droplog.Header) { h.Fragment = true }
	for _, c := range []struct {
		name, packet string
		want         droplog.Header
	}{
		{"tcp", ip4 + "06" + addrs4 + tcpSYN, with(v4, 6, syn)},
		{"tcp, flags cut off", ip4 + "06" + addrs4 + tcpSYN[:16], with(v4, 6, ports)},
		{"tcp, ports cut off", ip4 + "06" + addrs4 + tcpSYN[:6], with(v4, 6, nil)},
		{"udp", ip4 + "11" + addrs4 + "9c40" + "0016" + "00080000", with(v4, 17, ports)},
		{"sctp", ip4 + "84" + addrs4 + "9c40" + "0016", with(v4, 132, ports)},
		{"icmp", ip4 + "01" + addrs4 + "0800", with(v4, 1, icmp(8, 0))},
		{"icmpv6 in IPv4 is not ICMP", ip4 + "3a" + addrs4 + "8000", with(v4, 58, nil)},
		{"gre", ip4 + "2f" + addrs4 + "9c400016", with(v4, 47, nil)},
		{"options", "46000034" + "00004000" + "40" + "06" + addrs4 + "94040000" + tcpSYN, with(v4, 6, syn)},
		{"options cut off", "4f000034" + "00004000" + "40" + "06" + addrs4 + tcpSYN, with(v4, 6, nil)},
		{"later fragment", "45000034" + "00000001" + "40" + "11" + addrs4 + "9c400016", with(v4, 17, fragment)},
		{"first fragment", "45000034" + "00002000" + "40" + "11" + addrs4 + "9c400016", with(v4, 17, ports)},
		{"v6 tcp", "60000000" + "0014" + "06" + "40" + addrs6 + tcpSYN, with(v6, 6, syn)},
		{"v6 udp", "60000000" + "0014" + "11" + "40" + addrs6 + "9c400016", with(v6, 17, ports)},
		{"v6 icmp", "60000000" + "0014" + "3a" + "40" + addrs6 + "8700", with(v6, 58, icmp(135, 0))},
		{"v6 hop-by-hop, routing, destination", "60000000" + "0014" + "00" + "40" + addrs6 +
			"2b00000000000000" + "3c01000000000000" + "0000000000000000" + "1100000000000000" + "9c400016", with(v6, 17, ports)},
		{"v6 authentication", "60000000" + "0014" + "33" + "40" + addrs6 + "0604" + strings.Repeat("00", 22) + tcpSYN, with(v6, 6, syn)},
		{"v6 first fragment", "60000000" + "0014" + "2c" + "40" + addrs6 + "1100000100000001" + "9c400016", with(v6, 17, ports)},
		{"v6 later fragment", "60000000" + "0014" + "2c" + "40" + addrs6 + "1100000800000001" + "9c400016", with(v6, 17, fragment)},
		{"v6 extension cut off", "60000000" + "0014" + "00" + "40" + addrs6 + "0600", with(v6, 0, nil)},
		{"v6 extension longer than the packet", "60000000" + "0014" + "00" + "40" + addrs6 + "06ff000000000000" + tcpSYN, with(v6, 6, nil)},
	} {
		b, err := hex.DecodeString(c.packet)
		if err != nil {
			t.Fatal(err)
		}
		got, err := droplog.ParseHeader(b)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got, compareAddrs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	for _, bad := range []string{"", "45", "55000034", "f0", ip4 + "06" + addrs4[:len(addrs4)-2], "44" + ip4[2:] + "06" + addrs4, "6000000000140640" + addrs6[:62]} {
		b, err := hex.DecodeString(bad)
		if err != nil {
			t.Fatal(err)
		}
		if h, err := droplog.ParseHeader(b); err == nil {
			t.Errorf("%q is %+v", bad, h)
		}
	}
}

// FuzzParseHeader wants no panic, and an answer that does not say more than the bytes do.
func FuzzParseHeader(f *testing.F) {
	for _, s := range []string{ip4 + "06" + addrs4 + tcpSYN, ip4 + "01" + addrs4 + "0800", "6000000000140640" + addrs6 + tcpSYN, "6000000000142c40" + addrs6 + "1100000800000001"} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := droplog.ParseHeader(b)
		switch {
		case err != nil && h.Src.IsValid():
			t.Errorf("an error, and %+v", h)
		case err != nil:
			return
		case !h.Src.IsValid() || h.Src.Is4() != h.Dst.Is4():
			t.Errorf("from %v to %v", h.Src, h.Dst)
		case h.HasPorts && h.HasICMP, h.Fragment && (h.HasPorts || h.HasICMP):
			t.Errorf("%+v contradicts itself", h)
		}
		if h.HasPorts && !bytes.Contains(b, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, h.Sport), h.Dport)) {
			t.Errorf("ports %d and %d are not in the packet", h.Sport, h.Dport)
		}
	})
}

func TestLine(t *testing.T) {
	mac, _ := net.ParseMAC("02:00:00:00:00:01")
	origins := map[string]droplog.Origin{"in.ssh-admins": {At: "policy.yaml:12", Verdict: "deny"}}
	for _, c := range []struct {
		name string
		p    droplog.Packet
		want string
	}{
		{"in", droplog.Packet{
			Rule: "in.ssh-admins", Text: "who is this", In: "eth0", MAC: mac, Mark: 0x10,
			Header: droplog.Header{Src: netip.MustParseAddr("203.0.113.9"), Dst: netip.MustParseAddr("198.51.100.1"), Length: 60, Proto: 6, HasPorts: true, Sport: 40000, Dport: 22, Flags: 0x12},
		}, `msg=packet rule=in.ssh-admins at=policy.yaml:12 verdict=deny text="who is this" proto=tcp src=203.0.113.9 sport=40000 dst=198.51.100.1 dport=22 flags=syn,ack iif=eth0 mac=02:00:00:00:00:01 mark=0x10 len=60`},
		{"out, by a rule that is gone", droplog.Packet{
			Rule: "out.gone", Out: "eth0", UID: 0, HasUID: true,
			Header: droplog.Header{Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::9"), Length: 64, Proto: 58, HasICMP: true, Type: 128},
		}, `msg=packet rule=out.gone proto=icmpv6 src=2001:db8::1 dst=2001:db8::9 type=128 code=0 oif=eth0 uid=0 len=64`},
		{"a name that would break the line", droplog.Packet{
			Rule: "x\nlevel=ERROR", In: "a b",
			Header: droplog.Header{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2"), Length: 20, Proto: 99, Fragment: true},
		}, `msg=packet rule="x\nlevel=ERROR" proto=99 src=192.0.2.1 dst=192.0.2.2 fragment=true iif="a b" len=20`},
	} {
		var b strings.Builder
		log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey && a.Value.String() == "INFO" {
				return slog.Attr{}
			}
			return a
		}}))
		droplog.Writer(log, func(rule string) (droplog.Origin, bool) { o, ok := origins[rule]; return o, ok })(c.p)
		if diff := cmp.Diff(c.want+"\n", b.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

const group = 7

// read starts a Reader in a namespace and returns where its packets come.
func read(t *testing.T, ns *nstest.NS) (*droplog.Reader, <-chan droplog.Packet) {
	t.Helper()
	var r *droplog.Reader
	var h *host.Host
	var err error
	ns.Do(t, func() {
		if h, err = host.Open(); err == nil {
			r, err = droplog.Open(droplog.Options{Group: group, Interface: func(index uint32) string {
				name, _ := h.InterfaceName(int(index))
				return name
			}})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	packets := make(chan droplog.Packet, 100)
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx, func(p droplog.Packet) { packets <- p }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		h.Close()
	})
	return r, packets
}

// next takes the packet that comes next.
func next(t *testing.T, packets <-chan droplog.Packet) droplog.Packet {
	t.Helper()
	select {
	case p := <-packets:
		return p
	case <-time.After(5 * time.Second):
		t.Fatal("no packet was logged")
		return droplog.Packet{}
	}
}

const logAll = `table inet t {
	chain in {
		type filter hook input priority 0; policy accept;
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, mld-listener-query, mld2-listener-report, nd-router-solicit } accept
		meta mark set 0x2a log prefix "in.everything with words" group 7 snaplen 256 drop
	}
	chain out {
		type filter hook output priority 0; policy accept;
		udp dport 5353 log prefix "out.mdns" group 7 drop
	}
}`

func TestPacketsOfTheKernel(t *testing.T) {
	p := nstest.NewPair(t)
	_, packets := read(t, p.Host)
	if out, err := p.Host.Input(t, logAll, "nft", "-f", "-"); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	var mac string
	p.Peer.Do(t, func() {
		i, err := net.InterfaceByName(nstest.Iface)
		if err != nil {
			t.Fatal(err)
		}
		mac = i.HardwareAddr.String()
	})
	send := func(ns *nstest.NS, network, addr string, data []byte) {
		t.Helper()
		ns.Do(t, func() {
			d := net.Dialer{Timeout: 5 * time.Second}
			if network == "tcp" {
				d.Timeout = 300 * time.Millisecond // by then the SYN is on its way, and that is all
			}
			c, err := d.Dial(network, addr)
			if err != nil {
				if network != "tcp" {
					t.Error(err)
				}
				return
			}
			c.Write(data)
			c.Close()
		})
	}
	data := []byte("12345678")
	echo4 := []byte{8, 0, 0xf7, 0xff, 0, 0, 0, 0} // with its checksum, which the kernel leaves to the sender
	echo6 := []byte{128, 0, 0, 0, 0, 0, 0, 0}
	for _, f := range []struct {
		host, peer string
		ip         int // length of the IP header
		icmp       string
		echo       []byte
	}{
		{nstest.Host4, nstest.Peer4, 20, "ip4:icmp", echo4},
		{nstest.Host6, nstest.Peer6, 40, "ip6:ipv6-icmp", echo6},
	} {
		for _, c := range []struct {
			proto string
			send  func()
			check func(p droplog.Packet) bool
		}{
			{"udp", func() { send(p.Peer, "udp", net.JoinHostPort(f.host, "53"), data) },
				func(p droplog.Packet) bool {
					return p.Proto == 17 && p.HasPorts && p.Dport == 53 && p.Sport != 0 && p.Length == f.ip+8+8
				}},
			{"tcp", func() { send(p.Peer, "tcp", net.JoinHostPort(f.host, "22"), nil) },
				func(p droplog.Packet) bool { return p.Proto == 6 && p.HasPorts && p.Dport == 22 && p.Flags == 2 }},
			{f.icmp, func() { send(p.Peer, f.icmp, f.host, f.echo) },
				func(p droplog.Packet) bool {
					return p.HasICMP && p.Type == f.echo[0] && p.Code == 0 && p.Length == f.ip+8
				}},
		} {
			before := time.Now()
			c.send()
			got := next(t, packets)
			for got.Proto == 6 && c.proto != "tcp" { // a SYN sent again
				got = next(t, packets)
			}
			if !c.check(got) {
				t.Errorf("%s to %s came as %+v", c.proto, f.host, got)
			}
			if got.Src.String() != f.peer || got.Dst.String() != f.host || got.In != nstest.Iface || got.Out != "" || got.HasUID || got.Mark != 0x2a || got.MAC.String() != mac {
				t.Errorf("%s to %s came as %+v, mac %s; the peer's is %s", c.proto, f.host, got, got.MAC, mac)
			}
			if got.Rule != "in.everything" || got.Text != "with words" {
				t.Errorf("rule %q, text %q", got.Rule, got.Text)
			}
			if age := got.Time.Sub(before); age < -time.Second || age > 10*time.Second {
				t.Errorf("it was taken in %v after the sending", age)
			}
		}
		send(p.Host, "udp", net.JoinHostPort(f.peer, "5353"), data)
		got := next(t, packets)
		for got.Rule != "out.mdns" {
			got = next(t, packets)
		}
		if got.Src.String() != f.host || got.Dport != 5353 || got.Out != nstest.Iface || got.In != "" || !got.HasUID || got.UID != 0 {
			t.Errorf("a packet sent by root came as %+v", got)
		}
	}
}

// TestNothingIsLostUnnoticed floods a reader that does not read. What it gets afterwards and what it counts as lost is
// what was sent, up to a last packet.
func TestNothingIsLostUnnoticed(t *testing.T) {
	p := nstest.NewPair(t)
	var r *droplog.Reader
	var err error
	p.Host.Do(t, func() { r, err = droplog.Open(droplog.Options{Group: group}) })
	if err != nil {
		t.Fatal(err)
	}
	ruleset := `table inet t { chain in { type filter hook input priority 0; udp dport { 9, 10 } log prefix "flood" group 7 snaplen 256 drop; }; }`
	if out, err := p.Host.Input(t, ruleset, "nft", "-f", "-"); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	var c net.Conn
	p.Peer.Do(t, func() { c, err = net.Dial("udp", nstest.Host4+":9") })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const sent = 60_000
	for range sent {
		if _, err := c.Write(make([]byte, 400)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var got, after uint64
	fetched := make(chan struct{}, 1)
	go func() {
		// When the queue is empty there is room for one more.
		for {
			select {
			case <-fetched:
			case <-time.After(300 * time.Millisecond):
				c.Write(nil)
				return
			}
		}
	}()
	err = r.Run(ctx, func(packet droplog.Packet) {
		select {
		case fetched <- struct{}{}:
		default:
		}
		if packet.Length == 28 {
			after++
			cancel()
			return
		}
		got++
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d read, %d lost", got, r.Lost())
	if after != 1 || r.Lost() == 0 || got+r.Lost() != sent {
		t.Errorf("%d read and %d lost of %d, %d after them", got, r.Lost(), sent, after)
	}
}

func TestOneReaderAGroup(t *testing.T) {
	ns := nstest.New(t)
	read(t, ns)
	ns.Do(t, func() {
		if r, err := droplog.Open(droplog.Options{Group: group}); err == nil {
			r.Close()
			t.Error("a second reader took the group")
		}
		r, err := droplog.Open(droplog.Options{Group: group + 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if r, err = droplog.Open(droplog.Options{Group: group + 1}); err != nil {
			t.Errorf("after Close: %v", err)
		} else {
			r.Close()
		}
	})
}
