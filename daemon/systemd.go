package daemon

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	sd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"ringwall/netfilter/kernel"
)

// Systemd tells the service manager that started this process, for Config.Notify. Without one it does nothing. Where the manager does not
// listen, nobody waits for it longer than a moment: what there is to say is kept, and said when it listens again.
func Systemd(log *slog.Logger) func(state string) {
	n := &notifier{send: func(state string) {
		if _, err := sd.SdNotify(false, state); err != nil {
			log.Debug("service manager", "error", err)
		}
	}}
	return n.tell
}

// notifier says one thing after the other. A datagram socket has room for ten in most kernels; who sends another waits.
type notifier struct {
	send    func(state string)
	mu      sync.Mutex
	pending []string
	sending bool
}

const (
	// notifyPatience is how long a notification is waited for. Mostly it takes some microseconds.
	notifyPatience = 100 * time.Millisecond
	// mostPending is how many notifications wait for a manager that does not listen; the oldest go first.
	mostPending = 100
)

func (n *notifier) tell(state string) {
	n.mu.Lock()
	// Of signs of life, and of lines of status, the latest is enough.
	kind, _, _ := strings.Cut(state, "=")
	if kind == "WATCHDOG" || kind == "STATUS" {
		n.pending = slices.DeleteFunc(n.pending, func(s string) bool { return strings.HasPrefix(s, kind+"=") })
	}
	n.pending = append(n.pending[max(0, len(n.pending)+1-mostPending):], state)
	waited := n.sending
	n.sending = true
	n.mu.Unlock()
	if waited {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for state, more := n.next(); more; state, more = n.next() {
			n.send(state)
		}
	}()
	select {
	case <-done:
	case <-time.After(notifyPatience):
	}
}

// next takes what is to be said next; where there is nothing, the sending is over.
func (n *notifier) next() (state string, more bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sending = len(n.pending) > 0; n.sending {
		state, n.pending = n.pending[0], n.pending[1:]
	}
	return state, n.sending
}

// SystemdWatchdog is how often at least the service manager that started this process wants a sign of life, for Config.Watchdog; 0 where it
// wants none.
func SystemdWatchdog() time.Duration {
	every, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		return 0 // what it says is no time
	}
	return every
}

// keptName is the name of the owning socket in the service manager's store.
const keptName = "nft"

// SystemdKeep has the service manager that started this process keep a copy of a socket, for Config.Keep: it is handed to the next
// process of the service, whatever became of this one. Without a service manager it does nothing.
func SystemdKeep(log *slog.Logger) func(f *os.File) {
	return func(f *os.File) {
		name := os.Getenv("NOTIFY_SOCKET")
		if name == "" {
			return
		}
		// The socket is never ready to be read for good or ill: without FDPOLL=0 an error of it would end its keeping.
		if err := sendFile(name, "FDSTORE=1\nFDNAME="+keptName+"\nFDPOLL=0", f); err != nil {
			log.Warn("the service manager can't keep the table's owner: others can flush the table while the daemon is down", "error", err)
		}
	}
}

// sendFile sends a notification with a descriptor.
func sendFile(name, state string, f *os.File) error {
	conn, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(conn)
	patience := unix.Timeval{Sec: 5}
	if err := unix.SetsockoptTimeval(conn, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		sent = unix.Sendmsg(conn, []byte(state), unix.UnixRights(int(fd)), &unix.SockaddrUnix{Name: name}, unix.MSG_NOSIGNAL)
	})
	if err != nil {
		return err
	}
	return os.NewSyscallError("sendmsg", sent)
}

// SystemdKept is what the service manager kept by SystemdKeep and handed to this process, for Config.Kept. It is to be called once.
func SystemdKept() (kept []*os.File) {
	for _, f := range activation.Files(true) {
		if f.Name() == keptName {
			kept = append(kept, f)
		} else {
			f.Close()
		}
	}
	return kept
}

// inherit takes over the socket that an earlier run left with the service manager, if it is one of this network namespace: the
// table is then owned without a break.
func (d *daemon) inherit() {
	for _, f := range d.cfg.Kept {
		err := kernel.CheckSocket(f)
		if err == nil && d.cfg.Kernel.Socket == nil {
			d.cfg.Kernel.Socket = f
			continue
		}
		if err == nil {
			err = fmt.Errorf("there is another")
		}
		d.log.Warn("a socket that the service manager kept is of no use", "error", err)
		f.Close()
		d.cfg.Notify("FDSTOREREMOVE=1\nFDNAME=" + keptName)
	}
}
