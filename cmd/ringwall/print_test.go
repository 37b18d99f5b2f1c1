package main

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"ringwall/daemon/enforce"
)

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 K", 1536: "1.5 K", 10 << 10: "10 K", 999 << 10: "999 K",
		1023 << 10: "1.0 M", 3 << 30: "3.0 G", 1<<64 - 1: "16 E",
	} {
		if got := bytes(n); got != want {
			t.Errorf("bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", time.Minute: "1m", 61 * time.Second: "1m1s",
		2 * time.Hour: "2h", 25*time.Hour + 59*time.Minute: "1d1h", 240 * time.Hour: "10d",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestBanTime(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"": 0, "forever": enforce.Forever, "90s": 90 * time.Second, "1h30m": 90 * time.Minute, "7d": 168 * time.Hour,
	} {
		if got, err := banTime(text); err != nil || got != want {
			t.Errorf("banTime(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"7", "0s", "-1h", "10ms", "xd", "-7d", "99999d", "never"} {
		if got, err := banTime(text); err == nil {
			t.Errorf("banTime(%q) = %v, want an error", text, got)
		}
	}
}

func TestPrefixesOf(t *testing.T) {
	got, err := prefixesOf([]string{"192.0.2.7", "::ffff:192.0.2.8", "2001:db8::/48"})
	want := []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("192.0.2.8/32"), netip.MustParsePrefix("2001:db8::/48")}
	if err != nil || len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("prefixesOf = %v, %v, want %v", got, err, want)
	}
	for _, arg := range []string{"fe80::1%eth0", "example.org", "10.0.0.1/8", "10.0.0.0/33", ""} {
		if got, err := prefixesOf([]string{arg}); err == nil {
			t.Errorf("prefixesOf(%q) = %v, want an error", arg, got)
		}
	}
}

// TestJournal: a line a record, its priority first, without what the journal keeps itself.
func TestJournal(t *testing.T) {
	var out strings.Builder
	log := slog.New(newJournal(&out)).With("policy", "p.yaml")
	log.Debug("not written")
	log.Info("enforced", "rules", 3)
	log.Warn("two\nlines")
	log.WithGroup("packet").Error("lost", "count", 1)
	want := "<6>enforced policy=p.yaml rules=3\n<4>\"two\\nlines\" policy=p.yaml\n<3>lost policy=p.yaml packet.count=1\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestPlain: what a verb warns of reads as a sentence, and can't play tricks with the terminal.
func TestPlain(t *testing.T) {
	var out strings.Builder
	log := slog.New(plain{w: &out})
	log.Info("not written")
	log.Warn("the stored bans can't be used", "error", "bad \x1b[31m digest")
	log.With("set", "banned").Error("lost")
	want := "warning: the stored bans can't be used: bad \\x1b[31m digest\nerror: lost: banned\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestPageTellsOfLimits(t *testing.T) {
	var out strings.Builder
	f := &front{stdout: &out, getenv: func(string) string { return "" }}
	f.printPage(&enforce.Page{Policy: "/etc/p.yaml", Enforced: true, Source: enforce.Files, Sections: []enforce.Section{{Name: "in", Lines: []enforce.Line{{
		ID: "ssh", Text: "allow ssh limit 1/minute", Verdict: "allow", At: "/etc/p.yaml:3",
		Counts: &enforce.Counted{Packets: 5, Bytes: 300}, Over: &enforce.Counted{Packets: 3, Bytes: 180},
		Full: &enforce.Counted{Packets: 1, Bytes: 60},
	}}}}})
	want := `/etc/p.yaml  enforced, from its files, digest 

in     packets  bytes
  ssh        5  300 B  allow ssh limit 1/minute  p.yaml:3
                       over its limit: 3 packets, denied
                       of too many sources to follow: 1 packet, allowed
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}
