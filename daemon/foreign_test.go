package daemon

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/nstest"
)

// foreign is what other programs have in the kernel: on Ringwall's hooks and others, with sets, a map, a counter, a limit and NAT.
const foreign = `table inet other {
	counter seen { }
	limit some { rate 10/second }
	set friends { type ipv4_addr; flags interval; elements = { 192.0.2.0/25, 198.51.100.7 } }
	set met { type ipv4_addr; size 128; flags dynamic; }
	map ways { type inet_service : verdict; elements = { 80 : accept, 9999 : jump kept } }
	chain kept { counter comment "theirs"; }
	chain raw { type filter hook prerouting priority -300; ip saddr 203.0.113.77 notrack; }
	chain input { type filter hook input priority 0; policy accept; counter name seen; ip saddr @friends limit name some accept; tcp dport vmap @ways; }
	chain output { type filter hook output priority -110; add @met { ip daddr }; }
}
table ip nat {
	chain pre { type nat hook prerouting priority -100; tcp dport 8080 redirect to :80; }
	chain post { type nat hook postrouting priority 100; oifname "nowhere" masquerade; }
}
`

// theirCounts is what counters of others have counted.
var theirCounts = regexp.MustCompile(`packets \d+ bytes \d+`)

// others is all tables but Ringwall's, as nft lists them, handles and all, without what they have counted.
func others(t *testing.T, ns *nstest.NS) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(ns.Run(t, "nft", "list", "tables")) {
		name := strings.Fields(line)
		if len(name) != 3 || name[1] == "inet" && (name[2] == "ringwall" || name[2] == "ringwall-observe") {
			continue
		}
		b.WriteString(ns.Run(t, "nft", "-a", "list", "table", name[1], name[2]))
	}
	return theirCounts.ReplaceAllString(b.String(), "")
}

// TestForeignTablesStay goes through what a daemon does to the kernel, beside tables of others, which are byte for byte the same after each step.
func TestForeignTablesStay(t *testing.T) {
	w := build(t, webText)
	w.cfg.Kernel.Without.Persist = true // so that others can change Ringwall's table, too
	clock := w.timed()
	if out, err := w.ns.Input(t, foreign, "nft", "-f", "-"); err != nil {
		t.Fatal(out)
	}
	before := others(t, w.ns)
	if strings.Count(before, "chain ") != 6 || strings.Count(before, "elements = ") != 2 {
		t.Fatal(before)
	}
	step := func(what string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if now := others(t, w.ns); now != before {
			t.Fatalf("%s changed what is others': it was\n%s\nis\n%s", what, before, now)
		}
	}
	rules := func(n int) {
		w.reaches(t, "the policy is enforced", func(s *control.Status) bool { return s.Enforced && s.Rules == n })
	}
	apply := func(text string, with control.PolicyRequest) error {
		_, err := w.client.Apply(t.Context(), candidate("other.yaml", text), false, asking(with))
		return err
	}
	visitor := []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}

	step("the start", func() error { w.start(t); rules(1); return nil })
	step("a reload", func() error { w.save(t, mailText); rules(2); return nil })
	step("apply", func() error {
		err := apply(webText+"  - {deny: dns, id: dns}\n", control.PolicyRequest{})
		rules(2)
		return err
	})
	step("a dry run", func() error {
		_, err := w.client.DryRun(t.Context(), candidate("p.yaml", webText), false, true)
		return err
	})
	step("observing", func() error {
		_, err := w.client.Observe(t.Context(), candidate("p.yaml", webText), false, "test", 0)
		return err
	})
	step("the end of observing", func() error { _, err := w.client.EndObservation(t.Context()); return err })
	step("a ban", func() error { _, err := w.client.Ban(t.Context(), enforce.BanRequest{Prefixes: visitor}); return err })
	step("the end of a ban", func() error { _, err := w.client.Unban(t.Context(), "", visitor); return err })
	step("rollback", func() error { _, err := w.client.Rollback(t.Context(), control.RollbackRequest{Number: 1}); return err })
	step("reload to the files", func() error { return apply(mailText, control.PolicyRequest{}) })
	step("a change to be confirmed", func() error { err := apply(webText, control.PolicyRequest{Confirm: length}); rules(1); return err })
	step("its going back", func() error { clock.pass(length + time.Second); rules(2); return nil })
	for _, command := range []string{"flush table inet ringwall", "delete table inet ringwall"} {
		step("a repair after "+command, func() error {
			heals := w.status(t).Heals
			w.ns.Run(t, "nft", command)
			w.reaches(t, "it is put back", func(s *control.Status) bool { return s.Enforced && s.Heals > heals })
			return nil
		})
	}
	step("stop --open", func() error { return w.client.TakeDown(t.Context()) })
	step("the emergency policy", func() error {
		w.kill(t)
		if err := os.RemoveAll(w.cfg.State); err != nil {
			return err
		}
		w.save(t, "nonsense")
		w.start(t)
		w.reaches(t, "the emergency policy is enforced", func(s *control.Status) bool { return s.Enforced && s.Source == enforce.Emergency })
		return nil
	})
	step("the end", func() error { w.kill(t); return nil })
}
