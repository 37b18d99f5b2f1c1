package daemon

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/observe"
	"ringwall/netfilter/nstest"
)

const (
	runningText = `version: 1
sets: {banned: {dynamic: true}}
in:
  - {id: ssh, allow: ssh, from: any}
  - {id: dns, allow: udp/53, from: any}
  - {id: same, allow: udp/5000, from: any}
  - {id: guests, deny: udp/7000, from: banned}
  - {id: games, allow: udp/7000, from: any}
`
	observedText = `version: 1
sets: {banned: {dynamic: true}}
in:
  - {id: ssh, allow: ssh, from: 192.0.2.0/24}
  - {id: web, allow: [tcp/80, udp/8080], from: any}
  - {id: same, allow: udp/5000, from: any}
  - {id: games, allow: udp/7000, from: any}
`
)

// traffic is a peer that sends packets to the daemon's host.
type traffic struct {
	host, peer *nstest.NS
	heard      map[int]*atomic.Int64 // datagrams by port
}

func newTraffic(t *testing.T, host *nstest.NS) *traffic {
	t.Helper()
	w := &traffic{host: host, peer: nstest.New(t), heard: map[int]*atomic.Int64{}}
	nstest.Veth(t, host, nstest.Iface, w.peer, nstest.Iface)
	host.Addr(t, nstest.Iface, nstest.Host4+"/24", nstest.Host6+"/64")
	w.peer.Addr(t, nstest.Iface, nstest.Peer4+"/24", nstest.Peer6+"/64")
	for _, port := range []int{53, 5000, 7000, 8080} {
		c, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		heard := new(atomic.Int64)
		w.heard[port] = heard
		go func() {
			for buf := make([]byte, 64); ; {
				if _, _, err := c.ReadFrom(buf); err != nil {
					return
				}
				heard.Add(1)
			}
		}()
	}
	for _, port := range []int{22, 80} {
		l, err := net.Listen("tcp", fmt.Sprint(":", port))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
	}
	return w
}

// udp sends n datagrams from new ports to each address of the host.
func (w *traffic) udp(t *testing.T, port, n int) {
	t.Helper()
	w.peer.Do(t, func() {
		for _, host := range []string{nstest.Host4, nstest.Host6} {
			for range n {
				c, err := net.Dial("udp", net.JoinHostPort(host, strconv.Itoa(port)))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write([]byte("?")); err != nil {
					t.Error(err)
				}
				c.Close()
			}
		}
	})
}

// tcp tells how many of n attempts at each address of the host succeed. One packet opens each; there is no time for a second.
func (w *traffic) tcp(t *testing.T, port, n int) (opened int) {
	t.Helper()
	w.peer.Do(t, func() {
		for _, host := range []string{nstest.Host4, nstest.Host6} {
			for range n {
				c, err := net.DialTimeout("tcp", net.JoinHostPort(host, strconv.Itoa(port)), 500*time.Millisecond)
				if err == nil {
					opened++
					c.Close()
				}
			}
		}
	})
	return opened
}

// send sends a bit of everything and tells what came through.
func (w *traffic) send(t *testing.T) string {
	t.Helper()
	want := map[int]int64{53: 10, 5000: 6, 7000: 4, 8080: 0}
	before := map[int]int64{}
	for port := range want {
		before[port] = w.heard[port].Load()
	}
	w.udp(t, 53, 5)
	w.udp(t, 5000, 3)
	w.udp(t, 6000, 2)
	w.udp(t, 7000, 2)
	w.udp(t, 8080, 1)
	ssh, web := w.tcp(t, 22, 3), w.tcp(t, 80, 2)
	for port, n := range want {
		until(t, fmt.Sprintf("%d datagrams at port %d", n, port), func() (bool, string) {
			got := w.heard[port].Load() - before[port]
			return got == n, fmt.Sprint(got)
		})
	}
	return fmt.Sprintf("ssh %d, web %d", ssh, web)
}

var counts = regexp.MustCompile(`packets \d+ bytes \d+`)

// table is the table that is enforced, handles and all, without what it has counted.
func (w *traffic) table(t *testing.T) string {
	t.Helper()
	return counts.ReplaceAllString(w.host.Run(t, "nft", "-a", "list", "table", "inet", "ringwall"), "")
}

// counted is the packets of a report by what becomes of them.
func counted(r *observe.Report) map[string]uint64 {
	out := map[string]uint64{}
	for _, c := range r.Cases {
		out[fmt.Sprintf("%s %s: %s → %s", c.List, c.Change(), c.Was.By, c.Now.By)] += c.Packets
	}
	return out
}

func expectCounts(t *testing.T, r *control.Observed, err error, want map[string]uint64) {
	t.Helper()
	if err != nil || r.Report == nil {
		t.Fatalf("%+v %v", r, err)
	}
	got := counted(r.Report)
	for k, n := range want {
		if got[k] != n {
			t.Errorf("%s: %d packets, want %d", k, got[k], n)
		}
	}
	for k, n := range got {
		if _, ok := want[k]; !ok && n > 0 {
			t.Errorf("%s: %d packets, want none", k, n)
		}
	}
}

// What a policy would decide otherwise is counted to the packet, and logged; what is enforced does not change by a byte.
func TestObserve(t *testing.T) {
	w := build(t, runningText)
	w.start(t)
	ctx := t.Context()
	net := newTraffic(t, w.ns)
	before := net.send(t) // so that the neighbours know each other, too
	if before != "ssh 6, web 0" {
		t.Fatalf("without observing: %s", before)
	}
	table := net.table(t)
	if r, err := w.client.Observed(ctx); err != nil || r.Report != nil {
		t.Errorf("nothing is observed, yet %+v, %v", r, err)
	}

	r, err := w.client.Observe(ctx, candidate("new.yaml", observedText), false, "me", 0)
	want := map[string]uint64{"in allow → deny: ssh → default": 0, "in allow → deny: dns → default": 0, "in deny → allow: default → web": 0, "in deny → allow: guests → games": 0}
	expectCounts(t, r, err, want)
	if len(r.Report.Cases) != len(want) {
		t.Errorf("%d cases: %+v", len(r.Report.Cases), r.Report.Cases)
	}
	if now := net.table(t); now != table {
		t.Errorf("observing changed the table that is enforced:\n%s\n%s", table, now)
	}
	if after := net.send(t); after != before {
		t.Errorf("observing changed what comes through: %s", after)
	}
	want = map[string]uint64{"in allow → deny: ssh → default": 6, "in allow → deny: dns → default": 10, "in deny → allow: default → web": 2 + 4, "in deny → allow: guests → games": 0}
	r, err = w.client.Observed(ctx)
	expectCounts(t, r, err, want)

	s := w.status(t)
	if s.Observed == nil || s.Observed.Packets() != 22 || !s.Enforced || s.Stale() || s.Heals != 0 {
		t.Errorf("status: %+v, %+v", s, s.Observed)
	}
	until(t, "the log has a packet of each case", func() (bool, string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		log := strings.ReplaceAll(w.log.String(), w.cfg.Policy, "policy.yaml")
		for _, line := range []string{
			`rule=in.default verdict="observed: allow → deny" text="was by ssh policy.yaml:4" proto=tcp`,
			`rule=in.web at=new.yaml:5 verdict="observed: deny → allow" text="was by default" proto=tcp`,
		} {
			if !strings.Contains(log, line) {
				return false, log
			}
		}
		return true, ""
	})
	if r, err = w.client.Observed(ctx); err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Report.Cases {
		if c.Packets > 0 && (c.Last == nil || !strings.Contains(c.Last.Packet, "from ")) {
			t.Errorf("no packet was seen of %+v", c)
		}
	}

	if text, err := w.client.Metrics(ctx); err != nil || !strings.Contains(string(text), `ringwall_observed_packets_total{list="in",new="deny",now="default",old="allow",was="ssh"} 6`+"\n") {
		t.Errorf("metrics: %v\n%s", err, text)
	}

	// A ban changes what the policies do with packets.
	w.banPeer(t)
	got := net.heard[7000].Load()
	net.udp(t, 7000, 2)
	until(t, "only IPv6 gets through", func() (bool, string) {
		n := net.heard[7000].Load() - got
		return n == 2, fmt.Sprint(n)
	})
	want["in deny → allow: guests → games"] = 2
	r, err = w.client.Observed(ctx)
	expectCounts(t, r, err, want)
	if _, err := w.client.Unban(ctx, "banned", prefixes(nstest.Peer4)); err != nil {
		t.Fatal(err)
	}

	// The daemon's end takes the table along, and the next one goes on with the counts.
	w.kill(t)
	if tables := w.ns.Run(t, "nft", "list", "tables"); strings.Contains(tables, "ringwall-observe") || !strings.Contains(tables, "inet ringwall") {
		t.Errorf("after the daemon's end: %s", tables)
	}
	w.start(t)
	until(t, "it is observed again", func() (bool, string) {
		tables := w.ns.Run(t, "nft", "list", "tables")
		return strings.Contains(tables, "ringwall-observe"), tables
	})
	net.udp(t, 53, 2)
	want["in allow → deny: dns → default"] += 4
	r, err = w.client.Observed(ctx)
	expectCounts(t, r, err, want)

	// A reload of what is enforced changes what is otherwise, and loses no count.
	w.save(t, strings.Replace(runningText, "{id: dns, allow", "{id: dns, deny", 1))
	w.reaches(t, "the reload", func(s *control.Status) bool { return s.Reload.Good == 2 })
	until(t, "the case is gone", func() (bool, string) {
		r, err := w.client.Observed(ctx)
		if err != nil {
			return false, err.Error()
		}
		for _, c := range r.Report.Cases {
			if c.Was.By == "dns" {
				return c.Gone && r.Report.Trouble == "", fmt.Sprintf("%+v", c)
			}
		}
		return false, "no such case"
	})
	net.udp(t, 53, 2)
	net.udp(t, 8080, 1)
	want["in deny → allow: default → web"] += 2
	r, err = w.client.Observed(ctx)
	expectCounts(t, r, err, want)

	r, err = w.client.EndObservation(ctx)
	expectCounts(t, r, err, want)
	if tables := w.ns.Run(t, "nft", "list", "tables"); strings.Contains(tables, "ringwall-observe") {
		t.Errorf("after the end: %s", tables)
	}
	if s := w.status(t); s.Observed != nil || !s.Enforced {
		t.Errorf("status after the end: %+v", s)
	}
	w.kill(t)
	w.start(t)
	if r, err := w.client.Observed(ctx); err != nil || r.Report != nil {
		t.Errorf("observed again after the end: %+v, %v", r, err)
	}
}

func prefixes(addr string) []netip.Prefix {
	ip := netip.MustParseAddr(addr)
	return []netip.Prefix{netip.PrefixFrom(ip, ip.BitLen())}
}

// A policy that is broken, or as good as the one that is enforced, or observed for a time, is told as it is.
func TestObserveRefusesAndEnds(t *testing.T) {
	w := build(t, runningText)
	w.start(t)
	ctx := t.Context()
	r, err := w.client.Observe(ctx, candidate("new.yaml", "version: 1\nin: [{allow: smptp}]\n"), false, "me", 0)
	if err != nil || !r.Refused || len(r.Diagnostics) == 0 {
		t.Errorf("a broken policy: %+v %v", r, err)
	}
	if _, err := w.client.Observe(ctx, candidate("new.yaml", observedText), false, "me", -time.Second); err == nil {
		t.Error("a negative time was taken")
	}
	r, err = w.client.Observe(ctx, candidate("same.yaml", runningText), false, "me", 0)
	if err != nil || r.Report == nil || len(r.Report.Cases) != 0 {
		t.Errorf("the same policy: %+v %v", r, err)
	}
	r, err = w.client.Observe(ctx, candidate("new.yaml", observedText), false, "me", 300*time.Millisecond)
	if err != nil || r.Report.Until.IsZero() {
		t.Fatalf("%+v %v", r, err)
	}
	until(t, "the time is over", func() (bool, string) {
		r, err := w.client.Observed(ctx)
		if err != nil {
			return false, err.Error()
		}
		return r.Report.Ended, fmt.Sprintf("%+v", r.Report)
	})
	if tables := w.ns.Run(t, "nft", "list", "tables"); strings.Contains(tables, "ringwall-observe") {
		t.Errorf("after the time: %s", tables)
	}
	if err := w.client.TakeDown(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Observe(ctx, candidate("new.yaml", observedText), false, "me", 0); err == nil || !strings.Contains(err.Error(), "nothing is enforced") {
		t.Errorf("beside an open wall: %v", err)
	}
}

func TestObserveWhileOpen(t *testing.T) {
	w := build(t, runningText)
	w.start(t)
	ctx := t.Context()
	if _, err := w.client.Observe(ctx, candidate("new.yaml", observedText), false, "me", 0); err != nil {
		t.Fatal(err)
	}
	if err := w.client.TakeDown(ctx); err != nil {
		t.Fatal(err)
	}
	reports := func(what string, ok func(*observe.Report) bool) {
		t.Helper()
		until(t, what, func() (bool, string) {
			r, err := w.client.Observed(ctx)
			if err != nil {
				return false, err.Error()
			}
			return ok(r.Report), fmt.Sprintf("%+v", r.Report)
		})
	}
	reports("it says so", func(r *observe.Report) bool { return r.Trouble == "nothing is enforced" })
	if _, err := w.client.Reload(ctx); err != nil {
		t.Fatal(err)
	}
	reports("it is observed again", func(r *observe.Report) bool { return r.Trouble == "" && len(r.Cases) == 4 })
}

// What block refuses is gone before connections are tracked, and counted before that.
func TestObserveUnblocks(t *testing.T) {
	const text = "version: 1\nsets: {banned: {dynamic: true}, bad: [" + nstest.Peer4 + "]}\nblock: [bad, banned]\nin: [{id: dns, allow: udp/53, from: any}]\n"
	w := build(t, text)
	w.start(t)
	ctx := t.Context()
	net := newTraffic(t, w.ns)
	net.udp(t, 53, 2)
	until(t, "IPv6 gets through", func() (bool, string) { n := net.heard[53].Load(); return n == 2, fmt.Sprint(n) })
	table := net.table(t)
	r, err := w.client.Observe(ctx, candidate("new.yaml", strings.Replace(text, "block: [bad, banned]", "block: [banned]", 1)), false, "me", 0)
	want := map[string]uint64{}
	expectCounts(t, r, err, want)
	net.udp(t, 53, 3)
	net.udp(t, 6000, 4) // refused either way
	until(t, "IPv6 gets through", func() (bool, string) { n := net.heard[53].Load(); return n == 5, fmt.Sprint(n) })
	want["in deny → allow: block → dns"] = 3
	r, err = w.client.Observed(ctx)
	expectCounts(t, r, err, want)
	if now := net.table(t); now != table {
		t.Errorf("observing changed the table that is enforced:\n%s\n%s", table, now)
	}
	// A ban refuses under both policies.
	w.banPeer(t)
	net.udp(t, 53, 3)
	until(t, "IPv6 gets through", func() (bool, string) { n := net.heard[53].Load(); return n == 8, fmt.Sprint(n) })
	r, err = w.client.Observed(ctx)
	expectCounts(t, r, err, want)
}

// banPeer bans the peer, and waits until that is observed.
func (w *wall) banPeer(t *testing.T) {
	t.Helper()
	if _, err := w.client.Ban(t.Context(), enforce.BanRequest{Prefixes: prefixes(nstest.Peer4)}); err != nil {
		t.Fatal(err)
	}
	until(t, "the ban is observed", func() (bool, string) {
		list := w.ns.Run(t, "nft", "list", "table", "inet", "ringwall-observe")
		return strings.Contains(list, "elements = { "+nstest.Peer4), list
	})
}
