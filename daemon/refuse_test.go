package daemon

import (
	"strings"
	"testing"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/netfilter/nstest"
	"ringwall/rules/policy"
	"ringwall/rules/source"
)

// refused has the daemon refuse what a policy's files would be with a text.
func (w *wall) refused(t *testing.T, text string) {
	t.Helper()
	w.kill(t)
	e, err := enforce.Open(t.Context(), enforce.Options{State: w.cfg.State})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	c := enforce.Load(source.Memory{w.cfg.Policy: text}, w.cfg.Policy, e.LoadOptions())
	if err := e.Refuse(c.Entry, c.Digest, "it was tried"); err != nil {
		t.Fatal(err)
	}
}

// TestRefusedIsNotLoaded has a refused policy stay out over edits elsewhere, reloads, restarts and reboots.
func TestRefusedIsNotLoaded(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	w.refused(t, mailText)
	w.start(t)
	w.save(t, mailText)
	s := w.reaches(t, "the files are held back", func(s *control.Status) bool { return s.Reload.Bad == 1 })
	if !s.Enforced || !s.Stale() || s.Rules != 1 || !strings.Contains(s.Reload.Error, "held back: it was tried") {
		t.Errorf("%+v", s)
	}
	if _, err := w.client.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "it was tried") {
		t.Errorf("reload: %v", err)
	}
	for _, after := range []string{"a restart", "a reboot"} {
		w.kill(t)
		if after == "a reboot" {
			w.ns = nstest.Enter(t)
		}
		w.start(t)
		if s := w.status(t); !s.Enforced || s.Rules != 1 || s.Source != enforce.LastGood || !strings.Contains(s.Reload.Error, "held back") {
			t.Errorf("after %s: %+v", after, s)
		}
		if c := chains(t); c["in.mail"] || !c["in.web"] {
			t.Errorf("after %s the kernel holds %v", after, c)
		}
	}
	w.save(t, mailText+"# changed\n")
	w.follows(t, "the content changes", 2)
}

func TestRefusedIsLoadedWhereApplyNamesIt(t *testing.T) {
	w := build(t, webText)
	w.start(t)
	w.refused(t, mailText)
	w.save(t, mailText)
	w.start(t)
	if s := w.status(t); s.Rules != 1 {
		t.Fatalf("%+v", s)
	}
	r, err := w.client.Apply(t.Context(), enforce.Load(source.OS{}, w.cfg.Policy, enforce.LoadOptions{Options: policy.Options{}}), false)
	if err != nil || !r.Applied || r.Source != enforce.Files {
		t.Fatalf("%+v, %v", r, err)
	}
	w.follows(t, "apply", 2)
	w.kill(t)
	w.start(t)
	w.follows(t, "a restart after apply", 2)
}
