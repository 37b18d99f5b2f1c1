package policy

import (
	"slices"
	"strings"
	"testing"

	"ringwall/rules/addrset"
)

func TestBuiltinServices(t *testing.T) {
	all := BuiltinServices()
	if len(all) < 80 {
		t.Errorf("%d services", len(all))
	}
	for i, s := range all {
		if i > 0 && all[i-1].Name >= s.Name {
			t.Errorf("%s stands before %s", all[i-1].Name, s.Name)
		}
		if !isName(s.Name) || isReserved(s.Name) || protocolNamed(s.Name) != nil {
			t.Errorf("%s can't be a service's name", s.Name)
		}
		if s.What.IsEmpty() || !s.What.V4.Equal(s.What.V6) {
			t.Errorf("%s is %s: %v", s.Name, s.Text, s.What)
		}
		for item := range strings.SplitSeq(s.Text, ", ") {
			if _, c := protoItem(item); c != nil {
				t.Errorf("%s: %s", s.Name, c.message)
			}
		}
	}
	for name, want := range map[string]string{"ssh": "tcp/22", "http": "tcp/80", "https": "tcp/443", "smtp": "tcp/25", "dns": "tcp+udp/53"} {
		if got, _ := builtinService(name); got.text != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestTables(t *testing.T) {
	if !slices.IsSortedFunc(icmpTable[:], func(a, b icmpName) int { return strings.Compare(a.name, b.name) }) {
		t.Error("ICMP names are not sorted")
	}
	if !slices.IsSortedFunc(protocolTable[:], func(a, b protocol) int { return strings.Compare(a.name, b.name) }) {
		t.Error("protocols are not sorted")
	}
	for _, s := range BuiltinSets() {
		if !isName(s.Name) || s.Addrs.Static().V4.IsEmpty() || s.Addrs.Static().V6.IsEmpty() {
			t.Errorf("set %s: %v", s.Name, s.Addrs)
		}
	}
	codes := LintCodes()
	slices.Sort(codes)
	if len(slices.Compact(codes)) != len(LintCodes()) {
		t.Error("a lint code stands twice")
	}
}

// TestMappings shows that a rule of each list takes every built key that its mapping names, and no other.
func TestMappings(t *testing.T) {
	values := map[string]string{
		"from": "10.0.0.1", "to": "10.0.0.1", "sport": "53", "iface": "eth0", "iif": "eth0", "oif": "eth0", "mac": `"52:54:00:12:34:56"`,
		"mark": "1", "user": "root", "group": "root", "limit": "1/second", "connections": "5", "log": "true", "id": "x", "note": "n",
		"expires": "2030-01-01", "enabled": "true", "ignore": "unused", "dnat": "10.0.0.1", "helper": "ftp", "mss": "pmtu",
		"schedule": "{hours: x}", "unit": "a.service",
	}
	for _, m := range Mappings() {
		if m.Name != "in" && m.Name != "out" && m.Name != "forward" {
			continue
		}
		for key, value := range values {
			text := "version: 1\ndefaults: {forward: deny}\n" + m.Name + ":\n  - {allow: tcp/22, " + key + ": " + value + "}\n"
			_, diags := Load(texts{"p": text}, "p", Options{})
			want := "unknown-key"
			if i := slices.Index(m.names(), key); i >= 0 {
				want = ""
				if !m.Fields[i].Built {
					want = "not-built"
				}
			}
			got := ""
			if len(diags) > 0 {
				got = diags[0].Code
			}
			if got != want {
				t.Errorf("%s in %s: %q, want %q: %v", key, m.Name, got, want, diags)
			}
		}
	}
}

// TestPortWhat shows that `any` is everything and that ports stand where Key puts them.
func TestPortWhat(t *testing.T) {
	w := PortWhat()
	if !w.V4.Contains(Key(ProtoTCP, 0)) || !w.V4.Contains(Key(ProtoUDPLite, 65535)) || w.V4.Contains(Key(ProtoICMP, 0)) || w.V4.Contains(Key(47, 0)) {
		t.Errorf("%v", w)
	}
	var sum addrset.Set[addrset.U32]
	for proto := range 256 {
		sum = sum.Union(wholeProto(uint8(proto)))
	}
	if !sum.IsAll() {
		t.Error("the protocols do not make up everything")
	}
}

func TestNearest(t *testing.T) {
	words := []string{"http", "https", "ssh", "smtp", "echo-request"}
	for word, want := range map[string]string{
		"htttp": "http", "htpt": "http", "SSH": "ssh", "shs": "ssh", "echo-requets": "echo-request", "echo_request": "echo-request",
		"x": "", "gopher": "", "": "",
	} {
		if got := nearest(word, words); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
