package daemon

import (
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ringwall/daemon/control"
	"ringwall/daemon/enforce"
	"ringwall/daemon/store"
)

// TestKilledWithinAChange kills a daemon, a process of its own, at random times around a change that is to be confirmed.
// However it ends, the next one enforces the old policy, or the new one with a timer; and the boot has the old one.
func TestKilledWithinAChange(t *testing.T) {
	if dir := os.Getenv("DAEMON_TEST_VICTIM"); dir != "" {
		err := Run(context.Background(), Config{
			Policy: filepath.Join(dir, "etc", "policy.yaml"), State: filepath.Join(dir, "state"), Socket: filepath.Join(dir, "sock"),
		})
		t.Fatal(err)
	}
	w := build(t, webText)
	w.start(t)
	old := w.status(t).Digest
	w.kill(t)
	outcomes := map[bool]int{}
	for range 25 {
		after := w.victim(t)
		w.start(t)
		s := w.reaches(t, "the table is right", func(s *control.Status) bool { return s.Enforced })
		if pending := s.Awaited != nil; pending != (s.Rules == 2) || !pending && s.Digest != old {
			t.Fatalf("killed %s after the request: %d rules, awaited %+v", after, s.Rules, s.Awaited)
		}
		if last, err := store.At(w.cfg.State).LastGood(); err != nil || last.Digest != old {
			t.Fatalf("killed %s after the request: the boot has %s, %v", after, last.Digest, err)
		}
		outcomes[s.Awaited != nil]++
		if s.Awaited != nil {
			if _, err := w.client.Rollback(t.Context(), control.RollbackRequest{Number: 1}); err != nil {
				t.Fatal(err)
			}
		}
		w.kill(t)
	}
	t.Logf("%d windows went on, %d changes were gone", outcomes[true], outcomes[false])
}

// victim runs the daemon as another process, has it enforce a policy for a window, and kills it a while after that was
// asked for.
func (w *wall) victim(t *testing.T) (after time.Duration) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledWithinAChange$")
	cmd.Env = append(os.Environ(), "DAEMON_TEST_VICTIM="+filepath.Dir(w.cfg.State))
	var err error
	w.ns.Do(t, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	var client *control.Client
	until(t, "the victim answers", func() (bool, string) {
		client, err = control.Dial(t.Context(), w.cfg.Socket)
		return err == nil && client.Hello().PID == cmd.Process.Pid, "no answer"
	})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	c := candidate("other.yaml", mailText)
	go func() {
		defer close(done)
		r, err := client.Apply(ctx, c, false, asking(control.PolicyRequest{Confirm: time.Hour}))
		if err == nil && r.Applied && r.Source != enforce.Socket {
			t.Errorf("%+v", r)
		}
	}()
	after = time.Duration(rand.Int64N(int64(250 * time.Millisecond)))
	time.Sleep(after)
	cmd.Process.Kill()
	<-done
	return after
}
