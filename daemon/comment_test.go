package daemon

import (
	"strings"
	"testing"
)

// TestCommentsFollow holds that comments in the kernel name the lines of a file that was saved, soon after it is enforced.
func TestCommentsFollow(t *testing.T) {
	w := build(t, oldText)
	w.start(t)
	w.save(t, "# moved\n"+oldText)
	until(t, "the comment follows", func() (bool, string) {
		list := w.ns.Run(t, "nft", "list", "chain", "inet", "ringwall", "in.web")
		return strings.Contains(list, `policy.yaml:10"`), list
	})
	if s := w.status(t); !s.Enforced || s.Heals != 0 {
		t.Errorf("%+v", s)
	}
}
