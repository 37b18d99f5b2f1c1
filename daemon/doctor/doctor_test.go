package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/rules/diag"
	"ringwall/rules/policy"
)

// tree makes a host's files; what ends in a slash is a directory.
func tree(t *testing.T, files map[string]string) Root {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Root(root)
}

// told is findings on a line each, problems with an exclamation mark.
func told(list []Finding) (out []string) {
	for _, f := range list {
		mark := "."
		if f.Problem {
			mark = "!"
		}
		text := f.Text
		if i := strings.IndexAny(text, ":;,"); i > 0 {
			text = text[:i]
		}
		out = append(out, mark+f.About+": "+text)
	}
	slices.Sort(out)
	return out
}

func TestRoot(t *testing.T) {
	const sys = "proc/sys/net/netfilter/nf_conntrack_"
	for _, c := range []struct {
		name  string
		files map[string]string
		check func(Root) ([]Finding, error)
		want  []string
	}{
		{"no old tables", nil, Root.legacy, nil},
		{"empty old tables", map[string]string{"proc/net/ip_tables_names": ""}, Root.legacy, nil},
		{"old tables", map[string]string{"proc/net/ip_tables_names": "nat\nfilter\n", "proc/net/ip6_tables_names": "raw\n"}, Root.legacy,
			[]string{"!ip6tables-legacy: has tables (raw)", "!iptables-legacy: has tables (nat"}},
		{"no systemd", map[string]string{"etc/systemd/system/ringwall.service": ""}, Root.boot, nil},
		{"not installed", map[string]string{"run/systemd/system/": ""}, Root.boot, nil},
		{"not enabled", map[string]string{"run/systemd/system/": "", "etc/systemd/system/ringwall.service": "", "etc/systemd/system/multi-user.target.wants/ringwall.service": ""}, Root.boot,
			[]string{"!ringwall-boot.service: is not enabled"}},
		{"enabled", map[string]string{"run/systemd/system/": "", "etc/systemd/system/ringwall.service": "", "etc/systemd/system/multi-user.target.wants/ringwall.service": "",
			"etc/systemd/system/sysinit.target.wants/ringwall-boot.service": ""}, Root.boot, nil},
		{"no rivals", map[string]string{"etc/ufw/ufw.conf": "# ENABLED=yes\nENABLED=no\n", "etc/nftables.conf": "flush ruleset\n"}, Root.rivals, nil},
		{"rivals", map[string]string{"etc/ufw/ufw.conf": "ENABLED=yes\n", "etc/systemd/system/multi-user.target.wants/firewalld.service": "",
			"etc/systemd/system/sysinit.target.wants/nftables.service": "", "etc/nftables.conf": "#!/usr/sbin/nft -f\n\nflush ruleset\n"}, Root.rivals,
			[]string{"!firewalld: is enabled", "!ufw: is enabled", ".nftables.service: flushes all rules when it starts"}},
		{"nftables.service without a flush", map[string]string{"etc/systemd/system/sysinit.target.wants/nftables.service": "", "etc/nftables.conf": "# flush ruleset\n"}, Root.rivals, nil},
		{"room for connections", map[string]string{sys + "count": "79\n", sys + "max": "100\n", sys + "tcp_loose": "1\n"}, Root.tracking, nil},
		{"no room for connections", map[string]string{sys + "count": "80\n", sys + "max": "100\n", sys + "tcp_loose": "0\n"}, Root.tracking,
			[]string{"!connection table: 80 of 100 places are taken", ".connection table: nf_conntrack_tcp_loose is 0"}},
		{"no state", nil, func(r Root) ([]Finding, error) { return r.state("/state") }, []string{"!/state: is not there"}},
		{"empty state", map[string]string{"state/": ""}, func(r Root) ([]Finding, error) { return r.state("/state") }, []string{"!/state: has no policy for the next boot"}},
		{"good state", map[string]string{"state/last-good": "x"}, func(r Root) ([]Finding, error) { return r.state("/state") }, nil},
		{"state for all", map[string]string{"state/last-good": "x"}, func(r Root) ([]Finding, error) {
			if err := os.Chmod(r.path("state"), 0o777); err != nil {
				return nil, err
			}
			return r.state("/state")
		}, []string{"!/state: others may write to it (mode 0777)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, err := c.check(tree(t, c.files))
			if got := told(found); err != nil || !slices.Equal(got, sorted(c.want)) {
				t.Errorf("found %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

func TestForwarding(t *testing.T) {
	root := tree(t, map[string]string{"proc/sys/net/ipv4/ip_forward": "1\n", "proc/sys/net/ipv6/conf/all/forwarding": "0\n"})
	if found, _ := root.forwarding(&policy.Policy{Transit: true}); len(found) > 0 {
		t.Errorf("transit is judged, yet: %+v", found)
	}
	found, _ := root.forwarding(&policy.Policy{})
	if got := told(found); !slices.Equal(got, []string{".transit: the host passes IPv4 packets on"}) {
		t.Errorf("found %q", got)
	}
}

func TestWritten(t *testing.T) {
	root := tree(t, map[string]string{"etc/good.yaml": "", "etc/bad.yaml": "", "own/theirs.yaml": ""})
	if os.Getuid() != 0 {
		nstest.Missing(t, "needs root, to give files away")
	}
	for _, err := range []error{os.Chmod(root.path("etc/bad.yaml"), 0o666), os.Chown(root.path("own/theirs.yaml"), 65534, 65534)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	found, err := root.written([]string{"/etc/good.yaml", "/etc/bad.yaml", "/own/theirs.yaml", "/gone.yaml"})
	want := []string{"!/etc/bad.yaml: others may write to it (mode 0666)", "./own/theirs.yaml: belongs to user 65534"}
	if got := told(found); !slices.Equal(got, want) || err == nil || !strings.Contains(err.Error(), "gone.yaml") {
		t.Errorf("found %q, %v; want %q", got, err, want)
	}
}

func TestEnforcing(t *testing.T) {
	good := &control.Status{Enforced: true, Source: enforce.Files, Reload: control.Reload{OK: true}}
	broken := diag.List{{Severity: diag.Error, Message: "unknown service"}}
	files := func(r control.Reload) *control.Status {
		return &control.Status{Enforced: true, Source: enforce.Files, Digest: "a", Reload: r}
	}
	from := func(s enforce.Source, digest string) *control.Status {
		return &control.Status{Enforced: true, Source: s, Digest: "a", Reload: control.Reload{OK: true, Digest: digest}}
	}
	for _, c := range []struct {
		status *control.Status
		daemon bool
		says   string
		advice string
	}{
		{from(enforce.Socket, "b"), true, "applied by hand", "`ringwall reload` goes back to the files"},
		{files(control.Reload{Held: true, Error: "held back: it was rolled back by alice"}), true, "rolled back by alice", "saving it is enough; `ringwall apply` enforces them as they are"},
		{files(control.Reload{Error: "p.yaml:2: unknown service", Diagnostics: broken}), true, "p.yaml:2: unknown service", "mend what is broken: saving it is enough"},
		{files(control.Reload{Error: "p.yaml:2: unknown service", Diagnostics: broken}), false, "p.yaml:2: unknown service", "mend what is broken: `ringwall apply`"},
		{files(control.Reload{Error: "no memory"}), true, "no memory", "tries again"},
		{files(control.Reload{Error: "something else"}), false, "something else", "`ringwall apply` enforces the files"},
		{&control.Status{Source: enforce.Opened}, true, "the host is open", "`ringwall reload` puts it up again"},
		{&control.Status{Enforced: true, Source: enforce.Files, Reload: control.Reload{OK: true}, Proof: &control.Proof{State: control.ProofFailed, Text: "the packet"}}, true, "the packet", "`ringwall rollback`"},
	} {
		found := enforcing(c.status, c.daemon)
		if len(found) == 0 || !strings.Contains(found[0].Text, c.says) || !strings.Contains(strings.Join(found[0].Do, "; "), c.advice) {
			t.Errorf("%+v: found %+v, want %q, %q", c.status, found, c.says, c.advice)
		}
	}
	for _, c := range []struct {
		status *control.Status
		daemon bool
		want   []string
	}{
		{good, true, nil},
		{from(enforce.RolledBack, "a"), true, nil},
		{&control.Status{}, false, []string{"!daemon: none answers", "!policy: nothing is enforced"}},
		{nil, false, []string{"!daemon: none answers"}},
	} {
		if got := told(enforcing(c.status, c.daemon)); !slices.Equal(got, c.want) {
			t.Errorf("%+v: found %q, want %q", c.status, got, c.want)
		}
	}
}

// Every chain of others that refuses is named, in order of priority; what is left over, asleep or Ringwall's own is no problem.
func TestOthers(t *testing.T) {
	hook := func(point string, priority int32, drop bool) *kernel.TableHook {
		return &kernel.TableHook{Point: point, Type: "filter", Priority: priority, Drop: drop}
	}
	tables := []kernel.Table{
		{Family: "inet", Name: "ringwall", Chains: []kernel.TableChain{{Name: "input", Hook: hook("input", 0, true)}}},
		{Family: "ip", Name: "filter", Chains: []kernel.TableChain{{Name: "ufw-user-input"}, {Name: "INPUT", Hook: hook("input", 5, false)}}},
		{Family: "ip6", Name: "filter", Chains: []kernel.TableChain{{Name: "INPUT", Hook: hook("input", 10, true)}}},
		{Family: "inet", Name: "late", Chains: []kernel.TableChain{{Name: "c", Hook: hook("input", -5, true)}}},
		{Family: "inet", Name: "asleep", Dormant: true, Chains: []kernel.TableChain{{Name: "c", Hook: hook("input", 0, true)}}},
		{Family: "inet", Name: "raw", Chains: []kernel.TableChain{{Name: "c", Hook: hook("prerouting", -300, false), Rules: []kernel.TableRule{{Does: []kernel.Deed{{Kind: kernel.NoTrack}, {Kind: kernel.Offload}, {Kind: kernel.Forward}}}}}}},
		{Family: "inet", Name: "nat", Chains: []kernel.TableChain{{Name: "c", Hook: hook("prerouting", -200, false), Rules: []kernel.TableRule{{Does: []kernel.Deed{{Kind: kernel.DNAT}}}}}}},
	}
	r := Examine(&Subject{
		Tables: tables, Own: func(name string) bool { return name == "ringwall" }, Root: tree(t, map[string]string{"state/last-good": ""}), State: "/state",
		Status: &control.Status{Enforced: true, Source: enforce.Files, Reload: control.Reload{OK: true}}, Daemon: true,
		Devices: []Device{{Name: "eth0", XDP: true}, {Name: "eth1", TC: true}},
	})
	var order, got []string
	for _, c := range r.Chains {
		order = append(order, fmt.Sprintf("%s %d %s", c.Hook, c.Priority, c.Table))
	}
	for _, f := range r.Findings {
		got = append(got, told([]Finding{f})...)
		if len(f.Do) == 0 {
			t.Errorf("%s: nothing is advised", f.About)
		}
	}
	wantOrder := []string{"prerouting -300 inet raw", "prerouting -200 inet nat", "input -5 inet late", "input 0 inet asleep", "input 0 inet ringwall", "input 5 ip filter", "input 10 ip6 filter"}
	want := []string{
		"!table inet raw, chain c (prerouting, priority -300): takes packets out of connection tracking before Ringwall sees them",
		"!table inet raw, chain c (prerouting, priority -300): lets the packets of connections that were admitted once pass by the hooks",
		"!table inet raw, chain c (prerouting, priority -300): sends packets out by another device before any firewall sees them",
		"!table inet nat, chain c (prerouting, priority -200): changes destinations before Ringwall sees them",
		"!table inet late, chain c (input, priority -5): can still refuse what Ringwall admits",
		".table ip filter: has chains of ufw that refuse nothing",
		"!table ip6 filter, chain INPUT (input, priority 10): can still refuse what Ringwall admits",
		".interface eth0: an XDP program sees what arrives before any firewall",
		".interface eth1: filters of traffic control see what arrives before any firewall",
	}
	if !slices.Equal(order, wantOrder) {
		t.Errorf("order %q", order)
	}
	if !slices.Equal(got, want) || r.Problems() != 6 || len(r.Unseen) > 0 {
		t.Errorf("%d problems, unseen %q, found\n%s", r.Problems(), r.Unseen, strings.Join(got, "\n"))
	}
}
