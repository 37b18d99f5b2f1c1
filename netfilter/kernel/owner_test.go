package kernel

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"ringwall/netfilter/nstest"
	"ringwall/netfilter/ruleset"
)

func TestOwnership(t *testing.T) {
	ns := nstest.Enter(t)
	c := dial(t, Options{})
	if !c.Features().Persist {
		t.Skip("the kernel has no tables that outlive their owner")
	}
	want := small("in.ssh")
	apply(t, c, want)
	o := observe(t, c)
	if !o.Owned || !o.Persist || o.Orphan || o.Owner != c.Port() {
		t.Fatalf("observed %+v", o)
	}

	second := dial(t, Options{})
	_, err := second.Plan(ctx, small("in.web"))
	var owned *OwnedError
	if !errors.As(err, &owned) || owned.Port != c.Port() || owned.PID != os.Getpid() || owned.Process == "" {
		t.Errorf("plan of another socket: %v", err)
	}
	if err := second.Validate(ctx, Diff(nil, small("in.web"))); !errors.As(err, &owned) {
		t.Errorf("validation by another socket: %v", err)
	}
	if err := second.DeleteTable(ctx); !errors.As(err, &owned) {
		t.Errorf("deletion by another socket: %v", err)
	}
	if out, err := ns.Input(t, "", "nft", "add rule inet ringwall input drop"); err == nil {
		t.Errorf("nft changed the table: %s", out)
	}
	ns.Run(t, "nft", "flush", "ruleset")
	holds(t, second, want)
	if o := observe(t, second); o.Owned || o.Owner != c.Port() {
		t.Errorf("observed by another socket: %+v", o)
	}

	c.Close()
	if o := observe(t, second); !o.Orphan || o.Owner != 0 {
		t.Fatalf("observed after the owner's end: %+v", o)
	}
	holds(t, second, want)
	ch := apply(t, second, want)
	if got := ch.String(); got != "table adopted" {
		t.Errorf("adoption: %q", got)
	}
	if o := observe(t, second); !o.Owned {
		t.Errorf("observed after the adoption: %+v", o)
	}
	if got := apply(t, second, want); !got.Empty() {
		t.Errorf("after the adoption: %v", got)
	}
}

// TestAdoptAndChange validates first: what a validation adopts must be an orphan again.
func TestAdoptAndChange(t *testing.T) {
	nstest.Enter(t)
	c := dial(t, Options{})
	if !c.Features().Persist {
		t.Skip("the kernel has no tables that outlive their owner")
	}
	apply(t, c, small("in.ssh"))
	c.Close()
	c = dial(t, Options{})
	ch, err := c.Plan(ctx, small("in.ssh", "in.web"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(ctx, ch); err != nil {
		t.Fatal(err)
	}
	if o := observe(t, c); !o.Orphan {
		t.Fatalf("after the validation: %+v", o)
	}
	if err := c.Commit(ctx, ch); err != nil {
		t.Fatal(err)
	}
	if o := observe(t, c); !o.Owned {
		t.Errorf("after the commit: %+v", o)
	}
	holds(t, c, small("in.ssh", "in.web"))
	if c.known == nil || c.known.Generation != generation(t, c) {
		t.Error("the table after the commit is not known")
	}
}

// TestAdoptAndHook adds and removes base chains in the table of a past owner, which the kernel refuses within the
// transaction that adopts it.
func TestAdoptAndHook(t *testing.T) {
	nstest.Enter(t)
	hooked := small("in.ssh")
	hooked.Chains = append(hooked.Chains, &ruleset.Chain{Name: "raw-in", Hook: &ruleset.Hook{Point: ruleset.Prerouting, Priority: -300}})
	for _, want := range []*ruleset.Ruleset{small("in.ssh"), hooked, small("in.web")} {
		c := dial(t, Options{})
		ch, err := c.Plan(ctx, want)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Validate(ctx, ch); err != nil {
			t.Fatal(err)
		}
		if err := c.Commit(ctx, ch); err != nil {
			t.Fatal(err)
		}
		holds(t, c, want)
		if o := observe(t, c); o.Owned != c.Features().Persist {
			t.Errorf("observed %+v", o)
		}
		c.Close()
	}
}

func TestUnownedTableIsReplaced(t *testing.T) {
	ns := nstest.Enter(t)
	old := dial(t, Options{Without: Features{Persist: true}})
	apply(t, old, small("in.ssh", "in.web"))
	if o := observe(t, old); o.Owner != 0 || o.Persist {
		t.Fatalf("without the feature: %+v", o)
	}
	bans := []Element{{Prefix: prefix("192.0.2.0/24"), Timeout: hour}, {Prefix: prefix("198.51.100.7/32")}}
	if err := old.AddElements(ctx, "dyn4.bans", bans); err != nil {
		t.Fatal(err)
	}
	ns.Run(t, "nft", "add rule inet ringwall input counter name in.ssh")
	ns.Ping(t, "127.0.0.1", 1, 5*time.Second)
	counted := counters(t, old)["in.ssh"]
	if counted.Packets == 0 {
		t.Fatal("nothing was counted")
	}

	c := dial(t, Options{})
	if !c.Features().Persist {
		t.Skip("the kernel has no tables that outlive their owner")
	}
	ch := apply(t, c, small("in.ssh"))
	if !ch.Counts().Replace {
		t.Errorf("change %v", ch)
	}
	if o := observe(t, c); !o.Owned || !o.Persist {
		t.Errorf("observed %+v", o)
	}
	if diff := cmp.Diff(map[string]ruleset.Counter{"in.ssh": counted}, counters(t, c)); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
	if got, want := held(t, c, "dyn4.bans"), "192.0.2.0/24 1h0m0s, 198.51.100.7/32 0s"; got != want {
		t.Errorf("bans %s, want %s", got, want)
	}
}

// TestWithoutCapability dials from a thread that may do nothing.
func TestWithoutCapability(t *testing.T) {
	ns := nstest.New(t)
	var dropped, dialed error
	done := make(chan struct{})
	err := ns.Go(func() {
		defer close(done)
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if dropped = unix.Capset(&header, &none[0]); dropped == nil {
			_, dialed = Dial(Options{})
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	<-done
	if dropped != nil {
		t.Fatal(dropped)
	}
	if !errors.Is(dialed, unix.EPERM) {
		t.Errorf("error %v", dialed)
	}
}
