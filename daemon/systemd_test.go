package daemon_test

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/daemon"
)

// TestSystemdKeep plays the service manager, and looks at what it is given to keep.
func TestSystemdKeep(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", name)

	kept, err := os.Create(filepath.Join(t.TempDir(), "kept"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	daemon.SystemdKeep(slog.New(slog.DiscardHandler))(kept)

	if err := manager.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	state, rights := make([]byte, 200), make([]byte, 200)
	n, m, _, _, err := manager.ReadMsgUnix(state, rights)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(state[:n]), "FDSTORE=1\nFDNAME=nft\nFDPOLL=0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	messages, err := unix.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) != 1 {
		t.Fatalf("%v, %v", messages, err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatalf("%v, %v", fds, err)
	}
	got := os.NewFile(uintptr(fds[0]), "got")
	defer got.Close()
	a, err1 := kept.Stat()
	b, err2 := got.Stat()
	if err1 != nil || err2 != nil || !os.SameFile(a, b) {
		t.Errorf("another file was handed over: %v, %v", err1, err2)
	}
}
