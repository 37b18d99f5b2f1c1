package enforce

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ringwall/daemon/store"
	"ringwall/netfilter/compile"
	"ringwall/netfilter/kernel"
	"ringwall/netfilter/nstest"
	"ringwall/rules/source"
)

const entry = "policy.yaml"

const webText = `version: 1
failsafe:
  ssh: [198.51.100.0/24]
sets:
  banned: {dynamic: true, timeout: 1h}
block: [banned]
in:
  - allow: [http, https]
    id: web
    from: any
tests:
  - {in: tcp/80, from: 203.0.113.1, expect: allow, by: web}
`

// open makes an Enforcer for the namespace of the test's goroutine.
func open(t *testing.T, state string) *Enforcer {
	t.Helper()
	e, err := Open(t.Context(), Options{State: state, Wait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// load makes a candidate of a text.
func load(e *Enforcer, text string) *Candidate {
	return Load(source.Memory{entry: text}, entry, e.LoadOptions())
}

// apply applies a text, which must succeed.
func apply(t *testing.T, e *Enforcer, text string) *Report {
	t.Helper()
	r, err := e.Apply(t.Context(), load(e, text), Files)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Applied {
		t.Fatalf("not applied: %v", r.Diagnostics)
	}
	return r
}

// intact fails the test where the kernel does not hold what the Enforcer last applied.
func intact(t *testing.T, e *Enforcer) {
	t.Helper()
	if err := e.Intact(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestApply(t *testing.T) {
	nstest.Enter(t)
	state := t.TempDir()
	e := open(t, state)

	r := apply(t, e, webText)
	if !r.Validated || r.Source != Files || r.Rules != 1 || r.Kernel == "" || !r.Pending() {
		t.Errorf("first: %+v", r)
	}
	intact(t, e)

	generation, err := e.conn.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r := apply(t, e, webText); r.Pending() {
		t.Errorf("the same policy again changes %v, %q", r.Changes, r.Kernel)
	}
	if now, _ := e.conn.Generation(t.Context()); now != generation {
		t.Error("the same policy again went to the kernel")
	}

	last, err := store.At(state).LastGood()
	if err != nil || last.Digest != r.Digest || last.Source != "files" || last.Entry != entry {
		t.Errorf("stored: %+v, %v", last, err)
	}

	page, err := e.Show(t.Context())
	if err != nil || !page.Enforced {
		t.Fatalf("show: %+v, %v", page, err)
	}
	line := lineOf(page, "in", "web")
	if line == nil || line.Counts == nil || line.At != "policy.yaml:8" || line.Verdict != "allow" {
		t.Errorf("the rule's line is %+v", line)
	}
	for _, s := range page.Sections {
		for _, l := range s.Lines {
			// Loopback and established packets are most of all packets, and not counted; a rule's page line has its own.
			if l.Counts == nil && !l.Off && l.ID != "loopback" && l.ID != "established" {
				t.Errorf("%s %s has no counter", s.Name, l.ID)
			}
		}
	}
}

func lineOf(p *Page, section, id string) *Line {
	for _, s := range p.Sections {
		for i := range s.Lines {
			if s.Name == section && s.Lines[i].ID == id {
				return &s.Lines[i]
			}
		}
	}
	return nil
}

func TestBrokenPolicyChangesNothing(t *testing.T) {
	nstest.Enter(t)
	e := open(t, t.TempDir())
	apply(t, e, webText)
	for name, text := range map[string]string{
		"mistake":      strings.Replace(webText, "[http, https]", "[htttp]", 1),
		"failing test": strings.Replace(webText, "tcp/80, from", "tcp/81, from", 1),
	} {
		r, err := e.Apply(t.Context(), load(e, text), Files)
		if err != nil || r.Applied || !r.Refused() {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		intact(t, e)
		if e.Running().Digest == r.Digest {
			t.Errorf("%s: taken for what is enforced", name)
		}
	}
}

func TestDryRun(t *testing.T) {
	nstest.Enter(t)
	e := open(t, t.TempDir())
	before, err := e.conn.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.DryRun(t.Context(), load(e, webText), true)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Validated || r.Applied || !r.Pending() || len(r.KernelLines) == 0 || !strings.Contains(r.NFT, "table inet ringwall") {
		t.Errorf("%+v", r)
	}
	if len(r.Costliest) != 3 || slices.ContainsFunc(r.Costliest, Way.Long) {
		t.Errorf("ways of a short policy: %+v", r.Costliest)
	}
	if after, _ := e.conn.Generation(t.Context()); after != before {
		t.Error("a dry run has changed something")
	}

	apply(t, e, webText)
	if r, err := e.DryRun(t.Context(), load(e, webText), false); err != nil || r.Pending() || !r.Validated || r.NFT != "" {
		t.Errorf("of what is enforced: %+v, %v", r, err)
	}
	// The next process finds a table without an owner: to take it over is no change to report.
	e.Close()
	e, err = Open(t.Context(), Options{State: e.opt.State, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if r, err := e.DryRun(t.Context(), load(e, webText), false); err != nil || r.Pending() {
		t.Errorf("by the next process: %+v, %v", r, err)
	}
	if _, err := e.Apply(t.Context(), load(e, webText), Files); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a reader applies: %v", err)
	}
}

func TestApplyStored(t *testing.T) {
	state := t.TempDir()
	t.Run("nothing known", func(t *testing.T) {
		nstest.Enter(t)
		e := open(t, state)
		r, err := e.ApplyStored(t.Context())
		if err != nil || !r.Applied || r.Source != Emergency || len(r.Notes) == 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		intact(t, e)
		if _, err := store.At(state).LastGood(); err == nil {
			t.Error("the emergency policy is stored as the last good one")
		}
		e.Close()
		// The next process knows what stands there, and that it is gone once it is.
		e = open(t, state)
		if run := e.Running(); run.Candidate == nil || run.Source != Emergency {
			t.Errorf("the next process takes %+v for enforced", run)
		}
		if page, err := e.Show(t.Context()); err != nil || !page.Enforced || lineOf(page, "in", "emergency-ssh") == nil {
			t.Errorf("show: %+v, %v", page, err)
		}
		if err := e.TakeDown(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.Close()
		e = open(t, state)
		if e.Running().Candidate != nil {
			t.Errorf("after it was taken down: %+v", e.Running())
		}
	})
	t.Run("last good", func(t *testing.T) {
		nstest.Enter(t)
		e := open(t, state)
		apply(t, e, webText)
		e.Close()
		nstest.Enter(t) // as after a reboot
		e = open(t, state)
		r, err := e.ApplyStored(t.Context())
		if err != nil || !r.Applied || r.Source != LastGood || e.Running().Rules() != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		intact(t, e)
	})
	t.Run("last good is damaged", func(t *testing.T) {
		nstest.Enter(t)
		files, err := filepath.Glob(filepath.Join(state, "*good*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no file of the last good policy: %v", err)
		}
		for _, f := range files {
			if err := os.WriteFile(f, []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		e := open(t, state)
		r, err := e.ApplyStored(t.Context())
		if err != nil || r.Source != Emergency {
			t.Fatalf("%+v, %v", r, err)
		}
		if got := e.Running().Policy.Failsafe; len(got) != 1 {
			t.Errorf("the failsafe of the last good policy is lost: %v", got)
		}
	})
}

func TestBansReturnAfterReboot(t *testing.T) {
	state := t.TempDir()
	hour, ever := netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8:bad::/48")
	t.Run("before", func(t *testing.T) {
		nstest.Enter(t)
		e := open(t, state)
		apply(t, e, webText)
		r, err := e.Ban(t.Context(), BanRequest{Prefixes: []netip.Prefix{hour}})
		if err != nil || r.Set != "banned" || len(r.Bans) != 1 {
			t.Fatalf("%+v, %v", r, err)
		}
		if left := time.Until(r.Bans[0].Until); left < 59*time.Minute || left > time.Hour {
			t.Errorf("banned for %s, not for the set's hour", left)
		}
		if _, err := e.Ban(t.Context(), BanRequest{Prefixes: []netip.Prefix{ever}, For: Forever}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("after", func(t *testing.T) {
		nstest.Enter(t)
		later := func() time.Time { return time.Now().Add(20 * time.Minute) }
		e, err := Open(t.Context(), Options{State: state, Now: later})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if _, err := e.ApplyStored(t.Context()); err != nil {
			t.Fatal(err)
		}
		four, err := e.conn.Elements(t.Context(), compile.DynamicSet("banned", false))
		if err != nil || len(four) != 1 || four[0].Prefix != hour {
			t.Fatalf("%v, %v", four, err)
		}
		if left := four[0].Expires; left > 40*time.Minute || left < 38*time.Minute {
			t.Errorf("%s of forty minutes remain", left)
		}
		six, err := e.conn.Elements(t.Context(), compile.DynamicSet("banned", true))
		if err != nil || len(six) != 1 || six[0].Prefix != ever || six[0].Timeout != 0 {
			t.Errorf("%v, %v", six, err)
		}
	})
}

func TestBan(t *testing.T) {
	nstest.Enter(t)
	e := open(t, t.TempDir())
	ctx := t.Context()
	one := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}
	if _, err := e.Ban(ctx, BanRequest{Prefixes: one}); !errors.Is(err, ErrNothingKnown) {
		t.Errorf("before any policy: %v", err)
	}
	apply(t, e, webText)

	if _, err := e.Ban(ctx, BanRequest{Prefixes: one, For: 2 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	r, err := e.Ban(ctx, BanRequest{Prefixes: one, For: time.Minute})
	if err != nil || len(r.Notes) != 1 || time.Until(r.Bans[0].Until) < time.Hour {
		t.Errorf("a shorter ban: %+v, %v", r, err)
	}
	r, err = e.Ban(ctx, BanRequest{Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.9/32")}})
	if err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "without effect") {
		t.Errorf("of a failsafe address: %+v, %v", r, err)
	}

	// Of a prefix, an address is taken out and the rest stays.
	wide := netip.MustParsePrefix("10.0.0.0/30")
	if _, err := e.Ban(ctx, BanRequest{Prefixes: []netip.Prefix{wide}}); err != nil {
		t.Fatal(err)
	}
	r, err = e.Unban(ctx, "", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("10.9.9.9/32")})
	if err != nil || r.Removed != 1 || len(r.Notes) != 1 {
		t.Errorf("unban: %+v, %v", r, err)
	}
	bans, err := e.Bans(ctx, "banned")
	var left []string
	for _, b := range bans {
		left = append(left, b.Prefix.String())
	}
	want := []string{"10.0.0.0/32", "10.0.0.2/31", "192.0.2.7/32", "198.51.100.9/32"}
	if err != nil || !slices.Equal(left, want) {
		t.Errorf("left are %v, %v", left, err)
	}
	elems, err := e.conn.Elements(ctx, compile.DynamicSet("banned", false))
	var held []string
	for _, el := range elems {
		held = append(held, el.Prefix.String())
	}
	if err != nil || !slices.Equal(held, want) {
		t.Errorf("the kernel holds %v, %v", held, err)
	}
}

func TestWhichSet(t *testing.T) {
	nstest.Enter(t)
	e := open(t, t.TempDir())
	sets := func(list string) string {
		return "version: 1\nfailsafe: {ssh: [198.51.100.0/24]}\nsets: {" + list + "}\nin: [{allow: http, from: any}]\n"
	}
	for _, c := range []struct{ sets, name, want string }{
		{"a: {dynamic: true}", "", "a"},
		{"a: {dynamic: true}, banned: {dynamic: true}", "", "banned"},
		{"a: {dynamic: true}, b: {dynamic: true}", "b", "b"},
		{"a: {dynamic: true}, b: {dynamic: true}", "", "!name one of a, b"},
		{"a: [192.0.2.1], b: {dynamic: true}", "a", "!not dynamic"},
		{"b: {dynamic: true}", "c", "!no set c"},
		{"a: [192.0.2.1]", "", "!has no dynamic set"},
	} {
		apply(t, e, sets(c.sets))
		set, err := e.dynamic(c.name)
		text, fails := strings.CutPrefix(c.want, "!")
		switch {
		case fails && (err == nil || !strings.Contains(err.Error(), text)):
			t.Errorf("{%s} %q: %v", c.sets, c.name, err)
		case !fails && (err != nil || set.Name != c.want):
			t.Errorf("{%s} %q: %v, %v", c.sets, c.name, set, err)
		}
	}
}

func TestOneAtATime(t *testing.T) {
	nstest.Enter(t)
	state := t.TempDir()
	e := open(t, state)
	apply(t, e, webText)

	var held *store.HeldError
	if _, err := Open(t.Context(), Options{State: state, Wait: time.Millisecond}); !errors.As(err, &held) || held.PID != os.Getpid() {
		t.Errorf("on one state directory: %v", err)
	}
	if f, _ := e.Features(); f.Persist {
		other := open(t, t.TempDir())
		var owned *kernel.OwnedError
		if _, err := other.Apply(t.Context(), load(other, webText), Files); !errors.As(err, &owned) || owned.PID != os.Getpid() {
			t.Errorf("on one table: %v", err)
		}
		other.Close()
	}
	intact(t, e)

	waiting, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	time.AfterFunc(50*time.Millisecond, func() { e.Close() })
	next, err := Open(waiting, Options{State: state})
	if err != nil {
		t.Fatalf("after the first has gone: %v", err)
	}
	defer next.Close()
	if r := apply(t, next, webText); r.Pending() {
		t.Errorf("the second finds something to do: %q", r.Kernel)
	}
}

// TestManyAtOnce has processes apply different policies at the same time, while somebody else changes other tables all
// the while: each gets its turn, and in the end the table is the last one's, whole.
func TestManyAtOnce(t *testing.T) {
	ns := nstest.Enter(t)
	ns.Run(t, "nft", "list", "ruleset") // skips where there is none
	state := t.TempDir()
	const many = 6
	errs := make(chan error, many)
	quiet := make(chan struct{})
	churned := make(chan error, 1)
	go func() {
		for {
			select {
			case <-quiet:
				churned <- nil
				return
			default:
			}
			for _, verb := range []string{"add", "delete"} {
				if out, err := ns.Input(t, "", "nft", verb, "table", "ip", "foreign"); err != nil {
					churned <- fmt.Errorf("%w: %s", err, out)
					return
				}
			}
		}
	}()
	for i := range many {
		err := ns.Go(func() {
			errs <- func() error {
				e, err := Open(t.Context(), Options{State: state, Wait: time.Minute})
				if err != nil {
					return err
				}
				text := strings.Replace(webText, "in:\n", fmt.Sprintf("in:\n  - {allow: tcp/%d, from: any, id: r%d}\n", 1000+i, i), 1)
				_, err = e.Apply(t.Context(), load(e, text), Files)
				return errors.Join(err, e.Close())
			}()
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range many {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	close(quiet)
	if err := <-churned; err != nil {
		t.Error(err)
	}
	e := open(t, state)
	intact(t, e)
	if e.Running().Rules() != 2 {
		t.Errorf("%d rules", e.Running().Rules())
	}
}

// TestCountersSurvive has the next process adopt the table: nothing is counted anew.
func TestCountersSurvive(t *testing.T) {
	pair := nstest.NewPair(t)
	state := t.TempDir()
	counted := func(e *Enforcer) uint64 {
		page, err := e.Show(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return lineOf(page, "in", "default").Counts.Packets
	}
	var e *Enforcer
	pair.Host.Do(t, func() {
		e = open(t, state)
		apply(t, e, webText)
	})
	pair.Peer.Do(t, func() {
		c, err := net.Dial("udp", net.JoinHostPort(nstest.Host4, "9"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for range 3 {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	})
	if n := counted(e); n != 3 {
		t.Fatalf("%d packets counted, not 3", n)
	}
	apply(t, e, strings.Replace(webText, "in:\n", "in:\n  - {allow: smtp, from: any}\n", 1))
	if n := counted(e); n != 3 {
		t.Errorf("after a reload: %d packets", n)
	}
	e.Close()
	pair.Host.Do(t, func() {
		e = open(t, state)
		apply(t, e, webText)
	})
	if n := counted(e); n != 3 {
		t.Errorf("after a restart: %d packets", n)
	}
}

func TestTakeDown(t *testing.T) {
	nstest.Enter(t)
	state := t.TempDir()
	e := open(t, state)
	apply(t, e, webText)
	if err := e.TakeDown(t.Context()); err != nil {
		t.Fatal(err)
	}
	o, err := e.conn.Observe(t.Context())
	if err != nil || o.Exists {
		t.Errorf("the table is still there: %v", err)
	}
	if did, err := e.Repair(t.Context()); err != nil || did != "" {
		t.Errorf("repaired what was taken down: %q, %v", did, err)
	}
	if _, err := store.At(state).LastGood(); err != nil {
		t.Errorf("the stored policy went with it: %v", err)
	}
	apply(t, e, webText)
	intact(t, e)
}

// TestRepair has another program delete the table, where the kernel can't keep it from that.
func TestRepair(t *testing.T) {
	nstest.Enter(t)
	e, err := Open(t.Context(), Options{State: t.TempDir(), Kernel: kernel.Options{Without: kernel.Features{Persist: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	apply(t, e, webText)
	one := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}
	if _, err := e.Ban(t.Context(), BanRequest{Prefixes: one}); err != nil {
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
	if err := e.Intact(t.Context()); !errors.Is(err, kernel.ErrNoTable) {
		t.Errorf("the table is gone, and that is not seen: %v", err)
	}
	did, err := e.Repair(t.Context())
	if err != nil || did == "" {
		t.Fatalf("%q, %v", did, err)
	}
	intact(t, e)
	elems, err := e.conn.Elements(t.Context(), compile.DynamicSet("banned", false))
	if err != nil || len(elems) != 1 {
		t.Errorf("the ban is lost: %v, %v", elems, err)
	}
}
