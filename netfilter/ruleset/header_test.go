package ruleset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"ringwall/netfilter/nstest"
	"ringwall/rules/policy"
)

// TestWrongBytesAreTheKernels has a kernel load the fields of either family, and of ICMP, of UDP packets of both. Where a packet has no
// such field, the kernel's bytes are the machine's, as far as that knows them.
func TestWrongBytesAreTheKernels(t *testing.T) {
	places := map[Field]string{Saddr4: "@nh,96,32", Daddr4: "@nh,128,32", Saddr6: "@nh,64,128", Daddr6: "@nh,192,128", HopLimit: "@nh,56,8",
		Sport: "@th,0,16", Dport: "@th,16,16", ICMPType: "@th,0,8", ICMPCode: "@th,8,8", ICMP6Type: "@th,0,8", ICMP6Code: "@th,8,8"}
	// The checksum is not known of an IPv4 packet, nor what follows the ports.
	unknown := map[Field][2]int{Saddr6: {2, 4}, Daddr6: {0, 16}}
	packets := map[string]policy.Packet{
		"ip":  {Src: netip.MustParseAddr(nstest.Peer4), Dst: netip.MustParseAddr(nstest.Host4)},
		"ip6": {Src: netip.MustParseAddr(nstest.Peer6), Dst: netip.MustParseAddr(nstest.Host6)},
	}
	pair := nstest.NewPair(t)
	var counters, rules strings.Builder
	var names []string
	for family, pkt := range packets {
		pkt.Proto, pkt.Sport, pkt.Dport, pkt.HopLimit = policy.ProtoUDP, 40000, 5000, 64
		packets[family] = pkt
		w := walk{Stage: Stage{Hook: Input, Pkt: &pkt}}
		for f, place := range places {
			v, ok := w.load(f)
			if !ok {
				t.Fatalf("%s of an %s packet ends its rule", f, family)
			}
			b := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, v.Hi), v.Lo)[:f.Size()]
			mask := bytes.Repeat([]byte{0xff}, f.Size())
			if gap, some := unknown[f]; some && family == "ip" {
				clear(mask[gap[0]:gap[1]])
				clear(b[gap[0]:gap[1]])
			}
			name := strings.ReplaceAll(fmt.Sprintf("%s/%s", family, f), " ", "-")
			names = append(names, name)
			fmt.Fprintf(&counters, "counter %s { }\n", name)
			fmt.Fprintf(&rules, "meta nfproto %s udp dport 5000 %s & 0x%x == 0x%x counter name \"%s\"\n", strings.Replace(family+"v4", "6v4", "v6", 1), place, mask, b, name)
		}
	}
	table := "table inet test {\n" + counters.String() + "chain input {\ntype filter hook input priority 0\n" + rules.String() + "}\n}\n"
	if out, err := pair.Host.Input(t, table, "nft", "-f", "-"); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
	pair.Peer.Do(t, func() {
		for _, pkt := range packets {
			from, to := netip.AddrPortFrom(pkt.Src, pkt.Sport), netip.AddrPortFrom(pkt.Dst, pkt.Dport)
			conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(from), net.UDPAddrFromAddrPort(to))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write([]byte("a packet that is longer than it need be")); err != nil {
				t.Fatal(err)
			}
		}
	})
	for _, name := range names {
		if got := pair.Host.Run(t, "nft", "list", "counter", "inet", "test", name); !strings.Contains(got, "packets 1 ") {
			t.Errorf("%s: %s", name, got)
		}
	}
}
