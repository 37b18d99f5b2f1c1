package daemon

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/compile"
	"ringwall/netfilter/ruleset"
	"ringwall/rules/policy"
)

// mistaken has the daemon's compiler take one text for another wherever a policy has it.
func (w *wall) mistaken(piece, taken string) {
	w.cfg.Compile = func(p *policy.Policy, opt compile.Options) (*ruleset.Ruleset, error) {
		text := w.read()
		if !strings.Contains(text, piece) {
			return compile.Compile(p, opt)
		}
		return compile.Compile(candidate(w.cfg.Policy, strings.Replace(text, piece, taken, 1)).Policy, opt)
	}
}

// read is what the policy's file says.
func (w *wall) read() string {
	text, _ := os.ReadFile(w.cfg.Policy) // where it can't be read, the daemon says so
	return string(text)
}

// table is the kernel's table, handles and all, without what it has counted.
func (w *wall) table(t *testing.T) string {
	t.Helper()
	return counts.ReplaceAllString(w.ns.Run(t, "nft", "-a", "list", "table", "inet", "ringwall"), "")
}

// many is a policy that a brief proof takes a sample of.
func many(last string) string {
	var b strings.Builder
	b.WriteString("version: 1\nfailsafe: {ssh: [198.51.100.0/24]}\nin:\n")
	for i := range 2000 {
		fmt.Fprintf(&b, "  - {allow: tcp/%d, from: [10.%d.%d.0/24, \"2001:db8:%x::/48\"], id: r%d}\n", 1024+i, i/250, i%250, i, i)
	}
	return b.String() + last
}

// disagreement is a packet, both answers, and the way through the chains.
var disagreement = regexp.MustCompile(`the packet "in .*": the policy says (allow|deny) by (wrong \([^()]*policy.yaml:\d+\)|default), ` +
	`the compiled rules (deny|allow)( as [^()]*)? \(chains [^()]+\)`)

func TestDisagreementIsNotEnforced(t *testing.T) {
	w := build(t, webText)
	w.mistaken("tcp/8080", "tcp/8081")
	w.start(t)
	before := w.table(t)
	text := strings.Replace(webText, "in:\n", "in:\n  - {allow: tcp/8080, id: wrong}\n", 1)

	w.save(t, text)
	s := w.reaches(t, "the reload fails", func(s *control.Status) bool { return s.Reload.Bad > 0 })
	if !s.Enforced || s.Rules != 1 || s.Reload.OK || !disagreement.MatchString(s.Reload.Error) {
		t.Errorf("%+v", s)
	}
	w.logged(t, "the compiled form of")
	if _, err := w.client.Reload(t.Context()); err == nil || !disagreement.MatchString(err.Error()) {
		t.Errorf("reload: %v", err)
	}
	c := candidate(w.cfg.Policy, text)
	if _, err := w.client.Apply(t.Context(), c, false); err == nil || !disagreement.MatchString(err.Error()) {
		t.Errorf("apply: %v", err)
	}
	if _, err := w.client.DryRun(t.Context(), c, false, false); err == nil || !disagreement.MatchString(err.Error()) {
		t.Errorf("dry run: %v", err)
	}
	if now := w.table(t); now != before {
		t.Errorf("the table was\n%s\nis\n%s", before, now)
	}
}

func TestLargeFilesAreProvedWhollyOnceEnforced(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	if p := w.status(t).Proof; p == nil || p.State != control.ProofWhole {
		t.Errorf("a small policy: %+v", p)
	}
	w.save(t, many("  - {allow: udp/53, id: last}\n"))
	w.follows(t, "a large policy", 2001)
	s := w.reaches(t, "the policy is proved wholly", func(s *control.Status) bool { return s.Rules == 2001 && s.Proof.State == control.ProofWhole })
	if !strings.Contains(s.Proof.Text, "on a sample") || !strings.Contains(s.Proof.Text, "at every corner of every rule") {
		t.Errorf("%+v", s.Proof)
	}
	w.logged(t, "proved on a sample of ")
	w.logged(t, "proved wholly")

	r, err := w.client.Apply(t.Context(), candidate(w.cfg.Policy, w.read()), false)
	if err != nil || r.Source != enforce.Files || r.Proof != "" {
		t.Errorf("apply proves on a sample: %+v, %v", r, err)
	}
	w.save(t, many("  - {allow: udp/54, id: last}\n"))
	w.follows(t, "another", 2001)
	w.save(t, webText)
	w.reaches(t, "a newer policy ends the proof", func(s *control.Status) bool { return s.Rules == 1 && s.Proof.State == control.ProofWhole })
}

func TestDisagreementThatASampleMisses(t *testing.T) {
	w := build(t, webText)
	w.mistaken("tcp/9000-9999", "tcp/9000-9998")
	w.start(t)
	w.save(t, many("  - {allow: tcp/9000-9999, from: 192.0.2.0/24, id: wrong}\n"))
	w.follows(t, "a large policy", 2001)
	s := w.reaches(t, "the whole proof fails", func(s *control.Status) bool { return s.Proof != nil && s.Proof.State == control.ProofFailed })
	if s.Rules != 2001 || !s.Enforced || !disagreement.MatchString(s.Proof.Text) {
		t.Errorf("%+v", s)
	}
	w.logged(t, "what is enforced is NOT what the policy says")
	numbers, err := w.client.Metrics(t.Context())
	if err != nil || !strings.Contains(string(numbers), "ringwall_proof_failed 1") {
		t.Errorf("%s, %v", numbers, err)
	}
	w.save(t, many("  - {allow: tcp/9000-9997, from: 192.0.2.0/24, id: mended}\n"))
	w.reaches(t, "another policy is proved wholly", func(s *control.Status) bool { return s.Proof.State == control.ProofWhole })
}
