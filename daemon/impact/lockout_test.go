package impact

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/host"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

func load(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, diags := policy.Load(source.Memory{"p.yaml": "version: 1\n" + text}, "p.yaml", policy.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return p
}

// scene is a host with two interfaces: lan leads to 10.0.0.0/8, everything else is beyond wan.
func scene() *Scene {
	return &Scene{
		Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.17/24"), netip.MustParsePrefix("10.0.0.1/8"), netip.MustParsePrefix("2001:db8::17/64")},
		Devices:   []string{"wan", "lan"},
		Way: func(a netip.Addr) string {
			if netip.MustParsePrefix("10.0.0.0/8").Contains(a) {
				return "lan"
			}
			return "wan"
		},
		Device: func(i int) string { return map[int]string{2: "wan", 3: "lan"}[i] },
		Now:    1_900_000_000,
	}
}

// listener is a TCP socket that listens on a port of every address.
func listener(port uint16, cgroup uint64) host.Socket {
	return host.Socket{Proto: unix.IPPROTO_TCP, Local: netip.AddrPortFrom(netip.IPv6Unspecified(), port), Listens: true, Dual: true, Cgroup: cgroup}
}

// connection is a TCP socket with a peer.
func connection(local, peer string) host.Socket {
	return host.Socket{Proto: unix.IPPROTO_TCP, Local: netip.MustParseAddrPort(local), Peer: netip.MustParseAddrPort(peer)}
}

func TestGuard(t *testing.T) {
	const sshFromLan = "in: [{allow: ssh, from: 10.0.0.0/8, id: ssh}]"
	ssh := []host.Socket{listener(22, 0)}
	from := func(peers ...string) (out []host.Socket) {
		for _, p := range peers {
			out = append(out, connection("192.0.2.17:22", p))
		}
		return out
	}
	const ssh2222 = "failsafe: {tcp/2222: [203.0.113.0/24]}\n"
	for _, c := range []struct {
		name          string
		before, after string
		doors         Doors
		want          string // of the lockout; empty for none
	}{
		{"a session that is admitted", "", sshFromLan, Doors{Listeners: ssh, Connected: from("10.1.2.3:5000")}, ""},
		{"a session that the default refuses", "", sshFromLan, Doors{Listeners: ssh, Connected: from("10.1.2.3:5000", "203.0.113.9:5000")},
			"the session from 203.0.113.9 to port 22 could not connect again: refused by default"},
		{"one that a rule refuses", "", "in:\n  - {deny: any, from: 203.0.113.9, id: him}\n  - {allow: ssh, from: any, id: ssh}",
			Doors{Listeners: ssh, Connected: from("203.0.113.9:5000")}, "refused by rule him, p.yaml:3"},
		{"one that is blocked", "", "block: [203.0.113.0/24]\nin: [{allow: ssh, from: any, id: ssh}]",
			Doors{Listeners: ssh, Connected: from("203.0.113.9:5000")}, "refused by block, p.yaml:2"},
		{"one that failsafe admits", "", "failsafe: {ssh: [203.0.113.9]}\nblock: [203.0.113.0/24]",
			Doors{Listeners: ssh, Connected: from("203.0.113.9:5000")}, ""},
		{"one that an interface admits", "", "in: [{allow: ssh, from: any, iface: lan, id: ssh}]",
			Doors{Listeners: ssh, Connected: from("10.1.2.3:5000")}, ""},
		{"one that another interface would admit", "", "in: [{allow: ssh, from: any, iface: lan, id: ssh}]",
			Doors{Listeners: ssh, Connected: from("203.0.113.9:5000")}, "203.0.113.9"},
		{"one whose socket is bound to an interface", "", "in: [{allow: ssh, from: any, iface: lan, id: ssh}]",
			Doors{Listeners: ssh, Connected: []host.Socket{{Proto: unix.IPPROTO_TCP, Local: netip.MustParseAddrPort("[fe80::1]:22"),
				Peer: netip.MustParseAddrPort("[fe80::2]:5000"), Device: 3}}}, ""},
		{"one with a mark that is not known", "", "in: [{allow: ssh, from: any, mark: 1, id: ssh}]",
			Doors{Listeners: ssh, Connected: from("203.0.113.9:5000")}, ""},
		{"one that was closed", "", sshFromLan, Doors{Listeners: ssh, Connected: []host.Socket{{Proto: unix.IPPROTO_TCP, Closing: true,
			Local: netip.MustParseAddrPort("192.0.2.17:22"), Peer: netip.MustParseAddrPort("203.0.113.9:5000")}}}, ""},
		{"another service's connection", "", sshFromLan,
			Doors{Listeners: ssh, Connected: append(from("10.1.2.3:5000"), connection("192.0.2.17:80", "203.0.113.9:5000"))}, ""},
		{"a connection that the host opened to port 22", "", sshFromLan,
			Doors{Listeners: ssh, Connected: append(from("10.1.2.3:5000"), connection("192.0.2.17:40000", "203.0.113.9:22"))}, ""},
		{"a listener in the SSH service's cgroup", "", sshFromLan,
			Doors{Listeners: append(ssh, listener(2222, 7)), Cgroups: []uint64{7}, Connected: []host.Socket{connection("192.0.2.17:2222", "203.0.113.9:5000")}},
			"the session from 203.0.113.9 to port 2222"},
		{"a listener in another's", "", sshFromLan,
			Doors{Listeners: append(ssh, listener(2222, 8)), Cgroups: []uint64{7}, Connected: append(from("10.1.2.3:5000"), connection("192.0.2.17:2222", "203.0.113.9:5000"))}, ""},
		{"a failsafe port of the policy before", ssh2222 + sshFromLan, sshFromLan,
			Doors{Listeners: append(ssh, listener(2222, 0)), Connected: []host.Socket{connection("192.0.2.17:2222", "203.0.113.9:5000")}},
			"the session from 203.0.113.9 to port 2222"},
		{"a failsafe port of the policy itself, from elsewhere", "", ssh2222 + sshFromLan,
			Doors{Listeners: append(ssh, listener(2222, 0)), Connected: []host.Socket{connection("192.0.2.17:2222", "198.51.100.9:5000")}},
			"the session from 198.51.100.9 to port 2222"},
		{"failsafe for every port means its addresses", "failsafe: {any: [203.0.113.9]}\n" + sshFromLan, sshFromLan,
			Doors{Listeners: append(ssh, listener(80, 0)), Connected: []host.Socket{connection("192.0.2.17:80", "198.51.100.9:5000"), connection("192.0.2.17:80", "203.0.113.9:1")}},
			"the session from 203.0.113.9 to port 80 could not connect again: refused by default"},
		{"the control connection's session", "", sshFromLan,
			Doors{Listeners: ssh, Connected: from("203.0.113.9:5000"), Control: []host.Session{{Peer: netip.MustParseAddrPort("203.0.113.9:5000"), Local: netip.MustParseAddrPort("192.0.2.17:22")}}},
			"this session from 203.0.113.9 to port 22 could not connect again: refused by default"},
		{"one in another network namespace", "", sshFromLan,
			Doors{Listeners: ssh, Control: []host.Session{{Peer: netip.MustParseAddrPort("203.0.113.9:5000"), Local: netip.MustParseAddrPort("198.51.100.1:22")}}}, ""},
		{"no session and a rule", "", sshFromLan, Doors{Listeners: ssh}, ""},
		{"no session and a failsafe", "", "failsafe: {ssh: [10.0.0.1]}", Doors{Listeners: ssh}, ""},
		{"no session and neither", "", "in: [{allow: http, from: any, id: web}]", Doors{Listeners: ssh},
			"nobody could connect to SSH (port 22): neither failsafe nor a rule admits anybody"},
		{"no session and a failsafe for something else", "", "failsafe: {tcp/9100: [10.9.0.7]}\nin: [{allow: http, from: any, id: web}]", Doors{Listeners: append(ssh, listener(9100, 0))}, "nobody could connect to SSH (port 22)"},
		{"no session, a failsafe for something else and a rule", "", "failsafe: {tcp/9100: [10.9.0.7]}\n" + sshFromLan, Doors{Listeners: ssh}, ""},
		{"no session and a failsafe for everything", "", "failsafe: {any: [10.0.0.1]}", Doors{Listeners: ssh}, ""},
		{"no session and a failsafe in a family in which SSH does not listen", "", "failsafe: {ssh: ['2001:db8::1']}",
			Doors{Listeners: []host.Socket{{Proto: unix.IPPROTO_TCP, Local: netip.MustParseAddrPort("0.0.0.0:22"), Listens: true}}}, "nobody could connect"},
		{"no session and a failsafe for SSH's other port", "", "failsafe: {tcp/2222: [10.0.0.1]}", Doors{Listeners: append(ssh, listener(2222, 7)), Cgroups: []uint64{7}}, ""},
		{"no session and a failsafe for a port where SSH does not listen", "", "failsafe: {ssh: [10.0.0.1]}", Doors{Listeners: []host.Socket{listener(2222, 7)}, Cgroups: []uint64{7}},
			"nobody could connect to SSH (port 2222)"},
		{"no session and a failsafe, where no SSH listens", "", "failsafe: {tcp/9100: [10.9.0.7]}", Doors{Listeners: []host.Socket{listener(9100, 0)}}, ""},
		{"no session, and a rule that another one defeats", "", "in:\n  - {deny: any, from: any, id: none}\n  - {allow: ssh, from: any, id: ssh}", Doors{Listeners: ssh}, "nobody could connect"},
		{"no session, a rule for SSH's other port", "", "in: [{allow: tcp/2222, from: any, id: ssh}]",
			Doors{Listeners: append(ssh, listener(2222, 7)), Cgroups: []uint64{7}}, ""},
		{"a session of the host with itself is none", "", "in: [{allow: http, from: any, id: web}]",
			Doors{Listeners: ssh, Connected: []host.Socket{connection("192.0.2.17:22", "192.0.2.17:5000"), connection("127.0.0.1:22", "127.0.0.1:5000")}}, "nobody could connect"},
		{"no session and nothing that listens", "", "in: [{allow: http, from: any, id: web}]", Doors{Listeners: []host.Socket{listener(80, 0)}}, ""},
		{"SSH for the host itself", "", "in: [{allow: http, from: any, id: web}]",
			Doors{Listeners: []host.Socket{{Proto: unix.IPPROTO_TCP, Local: netip.MustParseAddrPort("127.0.0.1:22"), Listens: true}}}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before *policy.Policy
			if c.before != "" {
				before = load(t, c.before)
			}
			l := Guard(before, load(t, c.after), c.doors, scene())
			switch {
			case l == nil:
				if c.want != "" {
					t.Errorf("nobody is locked out, want %q", c.want)
				}
			case c.want == "" || !strings.Contains(l.String(), c.want) || len(l.Lines()) != 1:
				t.Errorf("%s, want %q", l, c.want)
			}
		})
	}
}

func TestLockoutInOneLine(t *testing.T) {
	l := &Lockout{}
	for range 9 {
		l.Sessions = append(l.Sessions, Shut{})
	}
	if s := l.String(); !strings.HasSuffix(s, "; and 6 more") {
		t.Error(s)
	}
}

// TestExamplesLeaveAWayIn has every example policy be one that a host with SSH takes while nobody is logged in.
func TestExamplesLeaveAWayIn(t *testing.T) {
	files, err := filepath.Glob("../../configs/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		p, diags := policy.Load(source.OS{}, file, policy.Options{})
		if diags.HasErrors() {
			t.Fatal(diags)
		}
		if l := Guard(nil, p, Doors{Listeners: []host.Socket{listener(22, 0)}}, scene()); l != nil {
			t.Errorf("%s: %s", file, l)
		}
	}
}
