package cost_test

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"ringwall/netfilter/compile"
	"ringwall/rules/policy"
	"ringwall/rules/workload"
)

// rival is a way to enforce a workload.
type rival struct {
	name   string
	shapes []workload.Shape
	most   int // rules that it is measured with
	least  int
	guard  func(testing.TB, *host, *workload.Workload)
}

// The names of what is compared.
const (
	ringwall    = "Ringwall"
	foretelling = "Ringwall, foretold"
	fewWays     = "Ringwall, few ways"
	bare        = "bare hook"
	nftWritten  = "nft, as written"
	nftBest     = "nft, best form"
	nftMap      = "nft, best map"
	iptables    = "iptables-nft"
	ufw         = "ufw"
	firewalld   = "firewalld"
)

var host4 = []workload.Shape{workload.Host}

// rivals is everything that is compared. Those that are programs run in a tree; without one they are left out.
func rivals(tr *tree) []rival {
	all := workload.Shapes[:]
	out := []rival{
		{name: ringwall, shapes: all, most: 100_000, guard: func(t testing.TB, h *host, w *workload.Workload) { h.enforce(t, w.Policy(), compile.Options{}) }},
		{name: fewWays, shapes: workload.Mixed[:], least: 1000, most: 100_000, guard: func(t testing.TB, h *host, w *workload.Workload) {
			h.enforce(t, w.Policy(), compile.Options{EveryWay: true})
		}},
		{name: foretelling, shapes: all, least: 1000, most: 100_000, guard: foretold},
		{name: nftMap, shapes: host4, most: 100_000, guard: byText(mapRules)},
		{name: nftBest, shapes: all, most: 10_000, guard: byText(bestRules)},
		{name: nftWritten, shapes: all, most: 10_000, guard: byText(writtenRules)},
	}
	if tr != nil {
		out = append(out,
			rival{name: iptables, shapes: all, most: 10_000, guard: tr.iptables},
			rival{name: ufw, shapes: host4, most: 10_000, guard: tr.ufw},
			rival{name: firewalld, shapes: host4, most: 10_000, guard: tr.firewalld})
	}
	return out
}

func byText(rules func(*workload.Workload) string) func(testing.TB, *host, *workload.Workload) {
	return func(t testing.TB, h *host, w *workload.Workload) { h.nft(t, rules(w)) }
}

// writtenRules is a rule a line, as people and programs write them.
func writtenRules(w *workload.Workload) string {
	var b strings.Builder
	b.WriteString("table inet written {\nchain in {\ntype filter hook input priority 0; policy drop;\n" +
		"ct state established,related accept\nct state invalid drop\niif lo accept\n")
	for i := range w.Rules {
		r := &w.Rules[i]
		for _, side := range []struct {
			key string
			p   netip.Prefix
		}{{"saddr", r.From}, {"daddr", r.To}} {
			if side.p.Bits() > 0 {
				fmt.Fprintf(&b, "%s %s %s ", nftFamily(side.p), side.key, side.p)
			}
		}
		if !r.Sport.IsAny() {
			fmt.Fprintf(&b, "%s sport %s ", protoName(r.Proto), r.Sport)
		}
		if !r.Dport.IsAny() {
			fmt.Fprintf(&b, "%s dport %s ", protoName(r.Proto), r.Dport)
		}
		if r.Proto != 0 && r.Sport.IsAny() && r.Dport.IsAny() {
			fmt.Fprintf(&b, "meta l4proto %s ", protoName(r.Proto))
		}
		fmt.Fprintf(&b, "counter %s\n", nftVerdict(r))
	}
	b.WriteString("}\n}\n")
	return b.String()
}

// bestRules is the same list by somebody who knows what the kernel makes of it: a table of one family, so that the family is not
// asked again in every rule; whole words with a mask; and first what most packets fail.
func bestRules(w *workload.Workload) string {
	family := nftFamily(w.Rules[0].From)
	var b strings.Builder
	fmt.Fprintf(&b, "table %s best {\nchain in {\ntype filter hook input priority 0; policy drop;\n"+
		"ct state established,related accept\nct state invalid drop\niif lo accept\n", family)
	for i := range w.Rules {
		r := &w.Rules[i]
		type test struct {
			bits int // that a packet must have right
			text string
		}
		var tests []test
		address := func(key string, p netip.Prefix) {
			switch {
			case p.Bits() == 0:
			case p.Addr().Is4() && !p.IsSingleIP():
				mask := netip.AddrFrom4([4]byte(mask(p.Bits())))
				tests = append(tests, test{p.Bits(), fmt.Sprintf("ip %s & %s == %s", key, mask, p.Addr())})
			default:
				tests = append(tests, test{p.Bits(), fmt.Sprintf("%s %s %s", family, key, p)})
			}
		}
		address("saddr", r.From)
		address("daddr", r.To)
		ports := func(key string, p Ports) {
			switch {
			case p.IsAny():
			case p.Lo == p.Hi:
				tests = append(tests, test{16, fmt.Sprintf("th %s %s", key, p)})
			default:
				tests = append(tests, test{1, fmt.Sprintf("th %s %s", key, p)})
			}
		}
		ports("sport", r.Sport)
		ports("dport", r.Dport)
		if r.Proto != 0 {
			tests = append(tests, test{2, "meta l4proto " + protoName(r.Proto)})
		}
		slices.SortStableFunc(tests, func(a, b test) int { return cmp.Compare(b.bits, a.bits) })
		for _, t := range tests {
			b.WriteString(t.text + " ")
		}
		fmt.Fprintf(&b, "counter %s\n", nftVerdict(r))
	}
	b.WriteString("}\n}\n")
	return b.String()
}

// Ports is workload's.
type Ports = workload.Ports

func mask(bits int) []byte {
	m := ^uint32(0) << (32 - bits)
	return []byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)}
}

// mapRules is a host policy in verdict maps, one for each prefix length that occurs: the best that can be written by hand, since
// its rules all allow and their order is of no account.
func mapRules(w *workload.Workload) string {
	elements := make(map[int][]string)
	for i := range w.Rules {
		r := &w.Rules[i]
		key := fmt.Sprintf("%s . %d : accept", protoName(r.Proto), r.Dport.Lo)
		if r.From.Bits() > 0 {
			key = r.From.Addr().String() + " . " + key
		}
		elements[r.From.Bits()] = append(elements[r.From.Bits()], key)
	}
	var maps, rules strings.Builder
	for bits := 32; bits >= 0; bits-- {
		e := elements[bits]
		if len(e) == 0 {
			continue
		}
		address := fmt.Sprintf("ip saddr & %s . ", netip.AddrFrom4([4]byte(mask(bits))))
		kind := "ipv4_addr . "
		switch bits {
		case 32:
			address = "ip saddr . "
		case 0:
			address, kind = "", ""
		}
		fmt.Fprintf(&maps, "map m%d {\ntype %sinet_proto . inet_service : verdict\nsize %d\nelements = { %s }\n}\n", bits, kind, len(e), strings.Join(e, ",\n"))
		fmt.Fprintf(&rules, "%smeta l4proto . th dport vmap @m%d\n", address, bits)
	}
	return "table ip mapped {\n" + maps.String() + "chain in {\ntype filter hook input priority 0; policy drop;\n" +
		"ct state established,related accept\nct state invalid drop\niif lo accept\n" + rules.String() + "}\n}\n"
}

// iptablesRules is the list for iptables-restore.
func iptablesRules(w *workload.Workload) string {
	var b strings.Builder
	b.WriteString("*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n" +
		"-A INPUT -m conntrack --ctstate INVALID -j DROP\n-A INPUT -i lo -j ACCEPT\n")
	for i := range w.Rules {
		r := &w.Rules[i]
		b.WriteString("-A INPUT")
		if r.From.Bits() > 0 {
			fmt.Fprintf(&b, " -s %s", r.From)
		}
		if r.To.Bits() > 0 {
			fmt.Fprintf(&b, " -d %s", r.To)
		}
		if r.Proto != 0 {
			fmt.Fprintf(&b, " -p %s", protoName(r.Proto))
		}
		if !r.Sport.IsAny() {
			fmt.Fprintf(&b, " --sport %s", strings.ReplaceAll(r.Sport.String(), "-", ":"))
		}
		if !r.Dport.IsAny() {
			fmt.Fprintf(&b, " --dport %s", strings.ReplaceAll(r.Dport.String(), "-", ":"))
		}
		fmt.Fprintf(&b, " -j %s\n", strings.ToUpper(nftVerdict(r)))
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// ufwRules is a host policy as ufw keeps it in user.rules.
func ufwRules(w *workload.Workload) string {
	var b strings.Builder
	for i := range w.Rules {
		r := &w.Rules[i]
		proto := protoName(r.Proto)
		fmt.Fprintf(&b, "\n### tuple ### allow %s %s 0.0.0.0/0 any %s in\n", proto, r.Dport, r.From)
		fmt.Fprintf(&b, "-A ufw-user-input -p %s --dport %s -s %s -j ACCEPT\n", proto, r.Dport, r.From)
	}
	return b.String()
}

// firewalldZone is a host policy as a zone with rich rules.
func firewalldZone(w *workload.Workload) string {
	var b strings.Builder
	b.WriteString("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<zone target=\"DROP\">\n<short>Public</short>\n")
	for i := range w.Rules {
		r := &w.Rules[i]
		fmt.Fprintf(&b, "<rule family=\"ipv4\"><source address=\"%s\"/><port port=\"%s\" protocol=\"%s\"/><accept/></rule>\n",
			r.From, r.Dport, protoName(r.Proto))
	}
	b.WriteString("</zone>\n")
	return b.String()
}

func nftVerdict(r *workload.Rule) string {
	if r.Allow {
		return "accept"
	}
	return "drop"
}

func nftFamily(p netip.Prefix) string {
	if p.Addr().Is6() {
		return "ip6"
	}
	return "ip"
}

func protoName(proto uint8) string {
	switch proto {
	case policy.ProtoTCP:
		return "tcp"
	case policy.ProtoUDP:
		return "udp"
	case policy.ProtoICMPv6:
		return "ipv6-icmp"
	}
	return "icmp"
}
