package daemon_test

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ringwall/daemon"
)

// serviceManager is what a service manager listens to, for this process.
func serviceManager(t *testing.T) *net.UnixConn {
	t.Helper()
	name := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return manager
}

// TestDeafManager plays a service manager that does not listen for a time: nobody waits for it, and nothing that it must hear is lost.
func TestDeafManager(t *testing.T) {
	manager := serviceManager(t)
	tell := daemon.Systemd(slog.New(slog.DiscardHandler))
	said := make(chan struct{})
	go func() {
		defer close(said)
		for i := range 2000 { // a kernel keeps ten, or some hundreds
			tell("WATCHDOG=1")
			tell(fmt.Sprintf("STATUS=%d", i))
		}
		tell("RELOADING=1")
		tell("READY=1")
	}()
	select {
	case <-said:
	case <-time.After(30 * time.Second):
		t.Fatal("it waits for a manager that does not listen")
	}
	if err := manager.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var heard []string
	for len(heard) == 0 || heard[len(heard)-1] != "READY=1" {
		state := make([]byte, 200)
		n, err := manager.Read(state)
		if err != nil {
			t.Fatalf("heard %q: %v", heard, err)
		}
		heard = append(heard, string(state[:n]))
	}
	if got, want := heard[len(heard)-4:], []string{"WATCHDOG=1", "STATUS=1999", "RELOADING=1", "READY=1"}; !slices.Equal(got, want) {
		t.Errorf("heard %q in the end, want %q", got, want)
	}
	tell("STOPPING=1")
	state := make([]byte, 200)
	if n, err := manager.Read(state); err != nil || string(state[:n]) != "STOPPING=1" {
		t.Errorf("heard %q afterwards, %v", state[:n], err)
	}
}

// TestSystemdKeep plays the service manager, and looks at what it is given to keep.
func TestSystemdKeep(t *testing.T) {
	manager := serviceManager(t)
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
