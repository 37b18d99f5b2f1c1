package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"ringwall/daemon/control"
	"ringwall/netfilter/nstest"
)

// reloads is how many the soak makes: more by SOAK_RELOADS in the environment.
func reloads() int {
	if n, err := strconv.Atoi(os.Getenv("SOAK_RELOADS")); err == nil {
		return n
	}
	return 150
}

// drawn is a policy of so many rules that denies the prober's one port and allows its other, with sets and counters that come and go.
func drawn(rng *rand.Rand, rules int) string {
	var b strings.Builder
	b.WriteString("version: 1\nfailsafe: {ssh: [192.0.2.0/24]}\nsets:\n  banned: {dynamic: true}\n")
	sets := 1 + rng.IntN(3)
	for i := range sets {
		fmt.Fprintf(&b, "  s%d: [203.0.113.%d, 10.%d.0.0/16, \"2001:db8:%x::/48\"]\n", i, rng.IntN(256), rng.IntN(256), rng.IntN(1<<16))
	}
	b.WriteString("block: [banned]\nin:\n  - {allow: dns, id: dns}\n")
	for i := range rules {
		port := 1024 + rng.IntN(8000)
		switch rng.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "  - {allow: tcp/%d, id: r%d, from: s%d}\n", port, i, rng.IntN(sets))
		case 1:
			fmt.Fprintf(&b, "  - {deny: udp/%d, id: r%d, log: \"r%d\"}\n", port, i, i)
		case 2:
			fmt.Fprintf(&b, "  - {allow: tcp/%d-%d, id: r%d, limit: 10/second, from: 10.%d.0.0/16}\n", port, port+20, i, rng.IntN(256))
		default:
			fmt.Fprintf(&b, "  - {reject: tcp/%d, id: r%d, from: [198.51.100.%d, 192.0.2.0/25]}\n", port, i, rng.IntN(256))
		}
	}
	return b.String()
}

// footprint is what a daemon holds of the machine.
type footprint struct {
	rss     int            // of the process, KiB
	fds     int            // open
	kernel  int            // memory of the kernel accounted to the process, KiB; 0 where that can't be told
	objects map[string]int // of nf_tables, by kind
	sockets int            // of netlink in the namespace
	tracked int            // connections
}

func (f footprint) String() string {
	var objects []string
	for _, kind := range slices.Sorted(maps.Keys(f.objects)) {
		objects = append(objects, fmt.Sprintf("%d %s", f.objects[kind], kind))
	}
	return fmt.Sprintf("%d KiB resident, %d KiB of kernel memory, %d descriptors, %d netlink sockets, %d connections; %s",
		f.rss, f.kernel, f.fds, f.sockets, f.tracked, strings.Join(objects, ", "))
}

func measure(t *testing.T, ns *nstest.NS, pid int, group string) (f footprint) {
	t.Helper()
	number := func(text string) int {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rss, _ := strings.Cut(string(status), "VmRSS:")
	rss, _, _ = strings.Cut(rss, "kB")
	f.rss = number(rss)
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	f.fds = len(fds)
	if group != "" {
		// What the kernel can do without, such as names of files that are gone, is no leak.
		if err := os.WriteFile(filepath.Join(group, "memory.force_empty"), []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
		kmem, err := os.ReadFile(filepath.Join(group, "memory.kmem.usage_in_bytes"))
		if err != nil {
			t.Fatal(err)
		}
		f.kernel = number(string(kmem)) / 1024
	}
	ns.Do(t, func() {
		sockets, err := os.ReadFile("/proc/thread-self/net/netlink")
		if err != nil {
			t.Fatal(err)
		}
		f.sockets = bytes.Count(sockets, []byte("\n")) - 1
		tracked, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_count")
		if err != nil {
			t.Fatal(err)
		}
		f.tracked = number(string(tracked))
	})
	var listed struct{ Nftables []map[string]json.RawMessage }
	if err := json.Unmarshal([]byte(ns.Run(t, "nft", "-j", "list", "ruleset")), &listed); err != nil {
		t.Fatal(err)
	}
	f.objects = map[string]int{}
	for _, object := range listed.Nftables {
		for kind, content := range object {
			if kind == "metainfo" {
				continue
			}
			f.objects[kind+"s"]++
			if kind == "set" || kind == "map" {
				var set struct{ Elem []json.RawMessage }
				if json.Unmarshal(content, &set) == nil {
					f.objects["elements"] += len(set.Elem)
				}
			}
		}
	}
	return f
}

// witness is a table beside Ringwall's that counts what comes to the prober's ports before Ringwall, and what Ringwall let through.
const witness = `table inet witness {
	counter tried { }
	counter leaked { }
	counter sent { }
	counter got { }
	chain first { type filter hook prerouting priority -400; th dport 9999 counter name tried; udp dport 53 counter name sent; }
	chain last { type filter hook input priority 400; th dport 9999 counter name leaked; udp dport 53 counter name got; }
}`

// TestSoakReloads reloads ever different policies under traffic, and looks what is left of that: wrong verdicts, memory,
// descriptors, objects of the kernel. Before and after, the same policy is enforced.
func TestSoakReloads(t *testing.T) {
	w := build(t, oldText)
	pair := nstest.Join(t, w.ns)
	p := w.spawn(t, program{Settle: time.Hour}, nil)
	w.answers(t, p, 2)
	group := "" // where memory is accounted
	if dir := fmt.Sprintf("/sys/fs/cgroup/memory/ringwall-soak-%d", os.Getpid()); os.Mkdir(dir, 0o755) == nil {
		t.Cleanup(func() {
			p.kill()
			os.Remove(dir)
		})
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.cmd.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
		group = dir
	} else if os.Getenv("SOAK_RELOADS") != "" {
		t.Fatalf("%s can't be made: the kernel's memory would not be measured", dir)
	} else {
		t.Logf("%s can't be made: the kernel's memory is not measured", dir)
	}
	client, err := control.Dial(t.Context(), w.cfg.Socket)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	load := func(text string) {
		t.Helper()
		w.save(t, text)
		r, err := client.Reload(t.Context())
		if err != nil || !r.Applied {
			t.Fatalf("%+v, %v\n%s", r, err, text)
		}
	}
	rng := rand.New(rand.NewPCG(2, 5))
	if out, err := w.ns.Input(t, witness, "nft", "-f", "-"); err != nil {
		t.Fatal(out)
	}
	seen := func(name string) uint64 {
		t.Helper()
		_, text, _ := strings.Cut(w.ns.Run(t, "nft", "list", "counter", "inet", "witness", name), "packets ")
		text, _, _ = strings.Cut(text, " ")
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	prober := pair.Probe(t, deniedPort, allowedPort)
	n := reloads()
	warm := min(n/3, 500)
	for range warm {
		load(drawn(rng, rng.IntN(60)))
	}
	load(oldText)
	before := measure(t, w.ns, p.cmd.Process.Pid, group)
	begun := time.Now()
	for range n - warm {
		load(drawn(rng, rng.IntN(60)))
	}
	took := time.Since(begun)
	load(oldText)
	count := prober.Closed(t)
	w.ns.Do(t, func() { // its connections are none of the daemon's, and the kernel takes its time to forget them
		if err := netlink.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
			t.Fatal(err)
		}
	})
	after := measure(t, w.ns, p.cmd.Process.Pid, group)

	s, err := client.Status(t.Context())
	if err != nil || !s.Enforced || s.Stale() || s.Reload.Bad != 0 || s.Heals != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	t.Logf("reloads: %d, the last %d in %s (%s each); refused: %d", n, n-warm, took.Round(time.Second), (took / time.Duration(n-warm)).Round(10*time.Microsecond), s.Reload.Bad)
	tried, leaked, sent, got := seen("tried"), seen("leaked"), seen("sent"), seen("got")
	wrong := leaked + sent - got
	t.Logf("packets: %d to a port that is denied, %d to one that is allowed; wrong verdicts: %d", tried, sent, wrong)
	t.Logf("before: %s", before)
	t.Logf("after:  %s", after)
	if wrong != 0 || tried < count.Denied/2 || sent < count.Sent/2 {
		t.Errorf("%d of %d denied packets got through, %d of %d allowed ones; the prober: %+v", leaked, tried, got, sent, count)
	}
	if after.fds > before.fds+2 || after.sockets != before.sockets || after.tracked > 4 || !maps.Equal(before.objects, after.objects) {
		t.Error("something is left of the reloads")
	}
	// The heap of Go swells and shrinks between two collections; a leak of a kilobyte a reload shows in ten thousand of them.
	const swing = 16 << 10
	if after.rss > before.rss+swing || after.kernel > before.kernel+swing/4 {
		t.Errorf("memory grew by %d KiB, of the kernel by %d KiB", after.rss-before.rss, after.kernel-before.kernel)
	}
}
