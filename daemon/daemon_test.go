package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/store"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

const webText = `version: 1
failsafe:
  ssh: [198.51.100.0/24]
sets:
  banned: {dynamic: true}
block: [banned]
in:
  - allow: [http, https]
    id: web
    from: any
`

// mailText is webText with one more rule.
var mailText = strings.Replace(webText, "in:\n", "in:\n  - {allow: smtp, from: any, id: mail}\n", 1)

// wall is a daemon under test, in a namespace of its own.
type wall struct {
	cfg    Config
	hangup chan os.Signal
	ns     *nstest.NS
	peer   *nstest.NS // where visited has its session from

	client *control.Client
	stop   context.CancelFunc
	ended  chan error

	mu     sync.Mutex
	log    bytes.Buffer
	states []string // what the service manager was told
}

// Write takes up a piece of the daemon's log.
func (w *wall) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *wall) notify(state string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if state != "WATCHDOG=1" {
		w.states = append(w.states, state)
	}
}

// told is the last thing that the service manager was told.
func (w *wall) told() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.states) == 0 {
		return ""
	}
	return w.states[len(w.states)-1]
}

// within is a daemon as of Run, without its loop.
func (w *wall) within() *daemon {
	d := &daemon{cfg: w.cfg, calls: make(chan func()), stopped: make(chan struct{})}
	d.fill()
	return d
}

// begin is what Run does before its loop; the end of the test closes what that has opened.
func (d *daemon) begin(t *testing.T) {
	t.Helper()
	if err := d.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.close)
	if err := d.start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// build makes a daemon that does not run yet, in the namespace of the test's goroutine.
func build(t testing.TB, text string) *wall {
	t.Helper()
	dir := t.TempDir()
	w := &wall{ns: nstest.Enter(t), hangup: make(chan os.Signal)}
	w.cfg = Config{
		Policy: filepath.Join(dir, "etc", "policy.yaml"), State: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "sock"),
		Build: "test", Hangup: w.hangup, Notify: w.notify, Tick: 50 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(w, nil)),
	}
	if err := os.Mkdir(filepath.Dir(w.cfg.Policy), 0o755); err != nil {
		t.Fatal(err)
	}
	if text != "" {
		w.save(t, text)
	}
	t.Cleanup(func() {
		w.kill(t)
		if t.Failed() {
			w.mu.Lock()
			t.Logf("log:\n%s", w.log.String())
			w.mu.Unlock()
		}
	})
	return w
}

// save writes the policy as most editors do: another file, moved over it.
func (w *wall) save(t testing.TB, text string) {
	t.Helper()
	if err := os.WriteFile(w.cfg.Policy+"~", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(w.cfg.Policy+"~", w.cfg.Policy); err != nil {
		t.Fatal(err)
	}
}

// start runs the daemon until it answers.
func (w *wall) start(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	w.stop, w.ended = stop, make(chan error, 1)
	if err := w.ns.Go(func() { w.ended <- Run(ctx, w.cfg) }); err != nil {
		t.Fatal(err)
	}
	until(t, "the daemon answers", func() (bool, string) {
		select {
		case err := <-w.ended:
			w.ended <- err
			t.Fatalf("the daemon has ended: %v", err)
		default:
		}
		var err error
		w.client, err = control.Dial(t.Context(), w.cfg.Socket)
		return err == nil, fmt.Sprint(err)
	})
}

// kill stops the daemon, if it runs.
func (w *wall) kill(t testing.TB) {
	t.Helper()
	if w.stop == nil {
		return
	}
	w.stop()
	w.stop = nil
	if err := ends(t, "the daemon", w.ended); err != nil {
		t.Errorf("the daemon ended with %v", err)
	}
	if w.client != nil {
		w.client.Close()
		w.client = nil
	}
}

// status asks for the status.
func (w *wall) status(t testing.TB) *control.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := w.client.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reaches waits for a status.
func (w *wall) reaches(t testing.TB, what string, ok func(*control.Status) bool) (last *control.Status) {
	t.Helper()
	until(t, what, func() (bool, string) {
		last = w.status(t)
		return ok(last), fmt.Sprintf("%+v", last)
	})
	return last
}

// patience is how long a test waits for what takes a moment on a machine that has nothing else to do.
const patience = time.Minute

// ends waits for what a channel says of the end of something. Where that does not come, no later test is of use: a panic shows what each
// goroutine does. A profile would too, but waits for them all.
func ends[T any](t testing.TB, what string, ended <-chan T) (said T) {
	t.Helper()
	select {
	case said = <-ended:
	case <-time.After(patience):
		debug.SetTraceback("all")
		panic(fmt.Sprintf("%s: %s has not ended within %s", t.Name(), what, patience))
	}
	return said
}

// until waits until something is so.
func until(t testing.TB, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		is, seen := ok()
		if is {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s; seen last: %s", patience, what, seen)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// chains is the chains of the kernel's table.
func chains(t testing.TB) map[string]bool {
	t.Helper()
	conn, err := kernel.Dial(kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	o, err := conn.Observe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	if o.Exists {
		for _, c := range o.Ruleset.Chains {
			names[c.Name] = true
		}
	}
	return names
}

func TestFollowsTheFile(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	s := w.status(t)
	if !s.Enforced || s.Stale() || s.Source != enforce.Files || s.Rules != 1 || s.Reload.Good != 1 || s.PID != os.Getpid() {
		t.Errorf("at first: %+v", s)
	}
	if told := w.told(); !strings.HasPrefix(told, "READY=1\n") || !strings.Contains(told, "1 rules") {
		t.Errorf("the service manager is told %q", told)
	}
	if c := chains(t); !c["in.web"] || c["in.mail"] {
		t.Errorf("the kernel holds %v", c)
	}

	w.save(t, mailText)
	w.reaches(t, "the edit is enforced", func(s *control.Status) bool { return s.Rules == 2 && s.Enforced && !s.Stale() })
	if c := chains(t); !c["in.mail"] {
		t.Errorf("the kernel holds %v", c)
	}

	w.save(t, strings.Replace(mailText, "smtp", "smptp", 1))
	s = w.reaches(t, "the mistake is noticed", func(s *control.Status) bool { return s.Reload.Bad == 1 })
	if !s.Enforced || !s.Stale() || s.Rules != 2 || len(s.Reload.Diagnostics) == 0 || !strings.Contains(s.Reload.Error, "policy.yaml:8:") {
		t.Errorf("after a mistake: %+v", s)
	}
	if told := w.told(); !strings.Contains(told, "READY=1") || !strings.Contains(told, "not enforced: ") {
		t.Errorf("the service manager is told %q", told)
	}
	if c := chains(t); !c["in.mail"] || !c["in.web"] {
		t.Errorf("a mistake changed the kernel: %v", c)
	}

	w.save(t, webText)
	w.reaches(t, "the mended file is enforced", func(s *control.Status) bool { return s.Rules == 1 && !s.Stale() })

	if err := os.Remove(w.cfg.Policy); err != nil {
		t.Fatal(err)
	}
	w.reaches(t, "the file is missed", func(s *control.Status) bool { return s.Stale() && s.Enforced && s.Rules == 1 })
	w.save(t, mailText)
	w.reaches(t, "the returned file is enforced", func(s *control.Status) bool { return s.Rules == 2 && !s.Stale() })
}

func TestStoppingLeavesTheRules(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	w.kill(t)
	if told := w.told(); told != "STOPPING=1" {
		t.Errorf("the service manager is told %q", told)
	}
	if c := chains(t); !c["in.web"] {
		t.Errorf("the kernel holds %v", c)
	}
	if _, err := os.Stat(w.cfg.Socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
	w.start(t)
	if s := w.status(t); !s.Enforced || s.Stale() {
		t.Errorf("again: %+v", s)
	}
}

func TestHangup(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	before := w.status(t).Reload.Good
	w.hangup <- syscall.SIGHUP
	w.reaches(t, "a reload", func(s *control.Status) bool { return s.Reload.Good == before+1 })
	w.mu.Lock()
	defer w.mu.Unlock()
	found := false
	for _, s := range w.states {
		found = found || strings.HasPrefix(s, "RELOADING=1\nMONOTONIC_USEC=")
	}
	if !found {
		t.Errorf("the service manager is told %q", w.states)
	}
}

// candidate is a policy as the client loads it.
func candidate(name, text string) *enforce.Candidate {
	return enforce.Load(source.Memory{name: text}, name, enforce.LoadOptions{Options: policy.Options{Now: time.Now().Unix()}})
}

func TestAppliedOverTheSocket(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	ctx := t.Context()

	r, err := w.client.DryRun(ctx, candidate("other.yaml", mailText), false, true)
	if err != nil || !r.Validated || r.Applied || !r.Pending() || !strings.Contains(r.NFT, "in.mail") {
		t.Errorf("dry-run: %+v, %v", r, err)
	}
	if s := w.status(t); s.Rules != 1 {
		t.Errorf("a dry run changed something: %+v", s)
	}

	r, err = w.client.Apply(ctx, candidate("other.yaml", mailText), false)
	if err != nil || !r.Applied || r.Source != enforce.Socket {
		t.Fatalf("apply: %+v, %v", r, err)
	}
	s := w.status(t)
	if s.Source != enforce.Socket || s.Rules != 2 || !s.Stale() || !strings.Contains(strings.Join(s.Notes, "\n"), "until the files change") {
		t.Errorf("held: %+v", s)
	}

	r, err = w.client.Apply(ctx, candidate("other.yaml", "version: 1\nin: [{allow: smptp}]\n"), false)
	if err != nil || r.Applied || !r.Refused() {
		t.Errorf("a broken policy: %+v, %v", r, err)
	}
	if s := w.status(t); s.Rules != 2 {
		t.Errorf("a broken policy changed something: %+v", s)
	}

	// Saved without a change it holds on; it goes with the next real change.
	w.save(t, webText)
	w.save(t, webText+"\n# another day\n")
	w.reaches(t, "the files count again", func(s *control.Status) bool { return s.Source == enforce.Files && s.Rules == 1 })

	// What the files say anyhow is no policy of its own.
	r, err = w.client.Apply(ctx, enforce.Load(source.OS{}, w.cfg.Policy, enforce.LoadOptions{Options: policy.Options{Now: time.Now().Unix()}}), false)
	if err != nil || r.Source != enforce.Files {
		t.Errorf("the files themselves: %+v, %v", r, err)
	}
}

func TestReloadAnswersForTheFiles(t *testing.T) {
	w := build(t, webText)
	w.cfg.Watch.Settle, w.cfg.Watch.Latest = time.Hour, time.Hour // so that nothing but the request reloads
	w.start(t)
	w.save(t, mailText)
	r, err := w.client.Reload(t.Context())
	if err != nil || !r.Applied || r.Rules != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	w.save(t, "version: 1\nin: [{allow: smptp}]\n")
	r, err = w.client.Reload(t.Context())
	if err != nil || r.Applied || !r.Refused() {
		t.Errorf("broken: %+v, %v", r, err)
	}
	if s := w.status(t); s.Rules != 2 || !s.Enforced || !s.Stale() {
		t.Errorf("%+v", s)
	}
}

func TestStartsWithLastGood(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	w.kill(t)
	w.save(t, "version: 1\nin: [{allow: smptp}]\n")
	w.ns = nstest.Enter(t) // as after a reboot
	w.start(t)
	s := w.status(t)
	if !s.Enforced || s.Source != enforce.LastGood || s.Rules != 1 || !s.Stale() || s.Reload.Error == "" {
		t.Errorf("%+v", s)
	}
	w.save(t, mailText)
	w.reaches(t, "the mended file is enforced", func(s *control.Status) bool { return s.Source == enforce.Files && s.Rules == 2 })
}

func TestStartsWithEmergency(t *testing.T) {
	w := build(t, "")
	w.start(t)
	s := w.status(t)
	if !s.Enforced || s.Source != enforce.Emergency || !s.Stale() {
		t.Errorf("%+v", s)
	}
	w.save(t, webText)
	w.reaches(t, "the file that appeared is enforced", func(s *control.Status) bool { return s.Source == enforce.Files && !s.Stale() })
}

func TestOnlyOneDaemon(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	for name, change := range map[string]func(*Config){
		"socket":    func(c *Config) { c.State += "2" },
		"state":     func(c *Config) { c.Socket += "2" },
		"namespace": func(c *Config) { c.State += "3"; c.Socket += "3" },
	} {
		if name == "namespace" && !w.status(t).Persist {
			continue // the kernel gives a table to nobody
		}
		cfg := w.cfg
		change(&cfg)
		cfg.Notify, cfg.Wait = nil, time.Millisecond
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		if err := Run(ctx, cfg); err == nil {
			t.Errorf("a second daemon with the same %s runs", name)
		}
		stop()
	}
	if s := w.status(t); !s.Enforced {
		t.Errorf("%+v", s)
	}
}

// TestPutsTheTableBack deletes the table, where the kernel can't keep others from that.
func TestPutsTheTableBack(t *testing.T) {
	w := build(t, webText)
	w.cfg.Kernel.Without.Persist = true
	w.start(t)
	if _, err := w.client.Ban(t.Context(), enforce.BanRequest{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}); err != nil {
		t.Fatal(err)
	}
	other, err := kernel.Dial(kernel.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.DeleteTable(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.reaches(t, "the table is back", func(s *control.Status) bool { return s.Enforced && s.Heals == 1 })
	if s.Owned || s.Persist || s.Bans != 1 {
		t.Errorf("%+v", s)
	}
}

func TestTakeDown(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	if err := w.client.TakeDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := w.status(t)
	if s.Enforced || s.Source != enforce.Opened || !strings.Contains(w.told(), "OPEN") {
		t.Errorf("%+v, %q", s, w.told())
	}
	if _, err := w.client.Show(t.Context()); err == nil {
		t.Error("there is something to show")
	}
	// An edit is noticed and does not close the wall behind the administrator's back.
	w.save(t, mailText)
	until(t, "the edit is noticed", func() (bool, string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return strings.Contains(w.log.String(), "the wall is open"), w.log.String()
	})
	if c := chains(t); len(c) != 0 {
		t.Errorf("the kernel holds %v", c)
	}
	if r, err := w.client.Reload(t.Context()); err != nil || !r.Applied {
		t.Fatalf("%+v, %v", r, err)
	}
	if s := w.status(t); !s.Enforced || s.Rules != 2 || s.Stale() {
		t.Errorf("%+v", s)
	}
}

func TestMetrics(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	w.save(t, "version: 2\n")
	w.reaches(t, "the mistake is noticed", func(s *control.Status) bool { return s.Reload.Bad == 1 })
	text, err := w.client.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`ringwall_build_info{version="test"} 1`,
		`ringwall_enforced{source="files"} 1`,
		`ringwall_rules 1`,
		`ringwall_reloads_total{result="good"} 1`,
		`ringwall_reloads_total{result="bad"} 1`,
		`ringwall_last_reload_successful 0`,
		`ringwall_rule_packets_total{rule="web",section="in"} 0`,
		`ringwall_rule_bytes_total{rule="default",section="in"} 0`,
		`ringwall_set_elements{set="banned"} 0`,
		`ringwall_heals_total 0`,
		`ringwall_log_lost_total 0`,
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
}

// TestLogsPackets has a rule log a packet and finds its line in the journal.
func TestLogsPackets(t *testing.T) {
	w := build(t, strings.Replace(webText, "in:\n", "in:\n  - {deny: udp/9, id: discard, log: \"good day\"}\n", 1))
	peer := nstest.New(t)
	nstest.Veth(t, w.ns, "veth0", peer, "veth0")
	w.ns.Addr(t, "veth0", nstest.Host4+"/24")
	peer.Addr(t, "veth0", nstest.Peer4+"/24")
	w.start(t)
	peer.Do(t, func() {
		c, err := net.Dial("udp", net.JoinHostPort(nstest.Host4, "9"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	})
	until(t, "the packet's line", func() (bool, string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		log := w.log.String()
		line := regexp.MustCompile(`msg=packet rule=in\.discard at=\S+/policy\.yaml:8 verdict=deny text="good day" proto=udp src=` + nstest.Peer4 +
			` sport=\d+ dst=` + nstest.Host4 + ` dport=9 iif=veth0 mac=\S+ len=29\n`)
		return line.MatchString(log), log
	})
}

// TestStateDirectoryVanishes takes the state directory away under a running daemon: it enforces all the same, says that
// it can't store, and stores once it can.
func TestStateDirectoryVanishes(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	if err := os.Rename(w.cfg.State, w.cfg.State+".away"); err != nil {
		t.Fatal(err)
	}
	w.save(t, mailText)
	w.reaches(t, "the edit is enforced, and not stored", func(s *control.Status) bool {
		return s.Enforced && s.Rules == 2 && strings.Contains(strings.Join(s.Notes, " "), notStored)
	})
	if err := os.Rename(w.cfg.State+".away", w.cfg.State); err != nil {
		t.Fatal(err)
	}
	r, err := w.client.Reload(t.Context())
	if err != nil || !r.Applied || len(r.Notes) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if s := w.status(t); len(s.Notes) > 0 {
		t.Errorf("%v", s.Notes)
	}
	last, err := store.At(w.cfg.State).LastGood()
	if err != nil || last.Digest != r.Digest {
		t.Errorf("stored is %s, enforced %s: %v", last.Digest, r.Digest, err)
	}
}

// TestBansSurviveRestart stops and starts the daemon, and then does so in another namespace, as after a reboot.
func TestBansSurviveRestart(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	ban := netip.MustParsePrefix("192.0.2.0/24")
	if _, err := w.client.Ban(t.Context(), enforce.BanRequest{Prefixes: []netip.Prefix{ban}, For: time.Hour}); err != nil {
		t.Fatal(err)
	}
	for _, after := range []string{"a restart", "a reboot"} {
		w.kill(t)
		if after == "a reboot" {
			w.ns = nstest.Enter(t)
		}
		w.start(t)
		bans, err := w.client.Bans(t.Context(), "")
		if err != nil || len(bans) != 1 || bans[0].Prefix != ban {
			t.Fatalf("after %s: %v, %v", after, bans, err)
		}
		if left := time.Until(bans[0].Until); left > time.Hour || left < 59*time.Minute {
			t.Errorf("after %s: %s remain", after, left)
		}
	}
	r, err := w.client.Unban(t.Context(), "", []netip.Prefix{ban})
	if err != nil || r.Removed != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}
