package kernel

import (
	"errors"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
)

// copied is a copy of a Conn's owning socket, as a service manager has one.
func copied(t *testing.T, c *Conn) *os.File {
	t.Helper()
	raw, err := c.Socket().SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	fd := -1
	if err := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || fd < 0 {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "copy")
}

// TestInherit hands the owning socket on: the table is owned all the time, and the next Conn owns it without a change.
func TestInherit(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{})
	if !c.Features().Persist {
		t.Skip("the kernel has no tables that outlive their owner")
	}
	want := small("in.ssh")
	apply(t, c, want)
	copy := copied(t, c)
	port := c.Port()
	c.Close()

	second := dial(t, Options{})
	if o := observe(t, second); o.Orphan || o.Owner != port {
		t.Fatalf("with a copy of the socket left: %+v", o)
	}
	ns.Run(t, "nft", "flush", "ruleset")
	var owned *OwnedError
	if _, err := second.Plan(ctx, want); !errors.As(err, &owned) {
		t.Errorf("plan of another socket: %v", err)
	}

	if err := CheckSocket(copy); err != nil {
		t.Fatal(err)
	}
	next := dial(t, Options{Socket: copy})
	if next.Port() != port || next.Seized() {
		t.Errorf("port %d, was %d; seized %v", next.Port(), port, next.Seized())
	}
	if o := observe(t, next); !o.Owned {
		t.Errorf("observed %+v", o)
	}
	if ch := apply(t, next, want); !ch.Empty() {
		t.Errorf("changed %v", ch)
	}
	apply(t, next, small("in.ssh", "in.web"))
	holds(t, next, small("in.ssh", "in.web"))
}

func TestCheckSocket(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	if err := CheckSocket(c.Socket()); err != nil {
		t.Errorf("a socket of this namespace: %v", err)
	}
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	f, err := udp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := CheckSocket(f); err == nil {
		t.Error("a UDP socket passes")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := CheckSocket(null); err == nil {
		t.Error("a device passes")
	}
	nstest.New(t).Do(t, func() {
		if err := CheckSocket(c.Socket()); err == nil {
			t.Error("a socket of another namespace passes")
		}
	})
}

// TestSeize owns a table on a kernel where that does not outlive the owner, and gives it back.
func TestSeize(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{Without: Features{Persist: true}})
	want := small("in.ssh")
	apply(t, c, want)
	if err := c.AddElements(ctx, "dyn4.bans", []Element{{Prefix: prefix("192.0.2.7/32")}}); err != nil {
		t.Fatal(err)
	}
	c.Seize(true)
	if ch := apply(t, c, want); !ch.Counts().Replace {
		t.Errorf("change %v", ch)
	}
	if o := observe(t, c); !o.Owned || o.Persist || !c.Seized() {
		t.Errorf("seized: %+v", o)
	}
	if ch := apply(t, c, want); !ch.Empty() {
		t.Errorf("again: %v", ch)
	}
	ns.Run(t, "nft", "flush", "ruleset")
	if out, err := ns.Input(t, "", "nft", "delete table inet ringwall"); err == nil {
		t.Errorf("nft deleted the table: %s", out)
	}
	holds(t, c, want)

	// The next process goes on with the socket, and with what was seized.
	copy := copied(t, c)
	c.Close()
	next := dial(t, Options{Without: Features{Persist: true}, Socket: copy})
	if ch := apply(t, next, want); !ch.Empty() || !next.Seized() {
		t.Errorf("inherited: %v, seized %v", ch, next.Seized())
	}

	next.Seize(false)
	apply(t, next, want)
	if o := observe(t, next); o.Owner != 0 || next.Seized() {
		t.Errorf("given back: %+v", o)
	}
	if got := held(t, next, "dyn4.bans"); got != "192.0.2.7/32 0s" {
		t.Errorf("bans %s", got)
	}
	next.Close()
	holds(t, dial(t, Options{}), want)
}

// TestLostAnswer loses the kernel's answer to a commit: planning anew finds out what became of it.
func TestLostAnswer(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	apply(t, c, small("in.ssh"))
	var wants = []*ruleset.Ruleset{small("in.ssh", "in.web"), small("in.web")}
	for _, want := range wants {
		ch, err := c.Plan(ctx, want)
		if err != nil {
			t.Fatal(err)
		}
		// A batch whose acknowledgement is not asked for looks the same as one whose answer is lost.
		tx, err := c.encode(ctx, ch)
		if err != nil {
			t.Fatal(err)
		}
		tx.finish(true)
		tx.acked = 0
		if err := c.transact(ctx, tx.batch); !errors.Is(err, ErrLost) {
			t.Fatalf("error %v", err)
		}
		c.known = nil // as after any commit whose end is not known
		if ch := apply(t, c, want); !ch.Empty() {
			t.Errorf("it was committed, and is again: %v", ch)
		}
	}
}
