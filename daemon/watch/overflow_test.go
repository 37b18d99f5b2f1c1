package watch

import (
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// TestOverflow has the kernel lose events: whatever they were about may have changed.
func TestOverflow(t *testing.T) {
	n, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	w := start(n, Options{Rescan: -1})
	defer w.Close()
	n.Errors <- fsnotify.ErrEventOverflow
	select {
	case <-w.Changes():
	case <-time.After(5 * time.Second):
		t.Error("no signal after lost events")
	}
}
