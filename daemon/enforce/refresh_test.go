package enforce

import (
	"strings"
	"testing"

	"ringwall/netfilter/nstest"
)

// TestCommentsFollow moves a rule to another line: a one-shot apply leaves no comment behind, and one that is to be quick leaves it to
// Refresh.
func TestCommentsFollow(t *testing.T) {
	ns := nstest.Enter(t)
	says := func(line string) bool {
		return strings.Contains(ns.Run(t, "nft", "list", "chain", "inet", "ringwall", "in.web"), "web policy.yaml:"+line+`"`)
	}
	e := open(t, t.TempDir())
	apply(t, e, webText)
	if !says("8") {
		t.Fatal("the comment names no line")
	}
	moved := func(lines int) string { return strings.Repeat("# moved\n", lines) + webText }
	if r := apply(t, e, moved(1)); !says("9") || r.Kernel != "" {
		t.Errorf("one-shot: the comment stays, or more than that changes: %q", r.Kernel)
	}
	e.opt.Lazy = true
	if apply(t, e, moved(2)); !says("9") {
		t.Error("lazy: the comment was waited for")
	}
	intact(t, e)
	if err := e.Refresh(t.Context(), 0); err != nil || !says("10") {
		t.Error("the comment does not follow", err)
	}
	intact(t, e)
	gen, err := e.conn.Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Refresh(t.Context(), 0); err != nil {
		t.Error(err)
	}
	if again, err := e.conn.Generation(t.Context()); err != nil || again != gen {
		t.Error("what is fresh is refreshed", err)
	}
}
