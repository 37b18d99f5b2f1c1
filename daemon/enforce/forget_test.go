package enforce

import (
	"testing"

	"ringwall/daemon/store"
	"ringwall/netfilter/nstest"
)

// TestForget drops the texts of policies and goes on with them: what is wanted of them again must be on disk.
func TestForget(t *testing.T) {
	nstest.Enter(t)
	state := t.TempDir()
	e := open(t, state)
	stored := func(c *Candidate) {
		t.Helper()
		r := reader(t, state)
		if run := r.Running(); run.Candidate == nil || run.Digest != c.Digest || run.Bundle == nil {
			t.Errorf("stored is %+v", run.Candidate)
		}
	}
	first, second := load(e, webText), load(e, webText+"# another\n")
	if _, err := e.Apply(t.Context(), first, Files); err != nil {
		t.Fatal(err)
	}
	e.Forget()
	if first.Bundle != nil {
		t.Error("the text of what is stored is still there")
	}
	if _, err := e.ApplyPending(t.Context(), second, Files, store.Pending{}); err != nil {
		t.Fatal(err)
	}
	e.Forget()
	if second.Bundle == nil {
		t.Fatal("the text of what awaits its confirmation is gone, and it is not the last good policy yet")
	}
	if r, err := e.RollBack(t.Context(), "not confirmed"); err != nil || !r.Applied {
		t.Fatalf("%+v, %v", r, err)
	}
	stored(first)
	intact(t, e)

	if _, err := e.ApplyPending(t.Context(), second, Files, store.Pending{}); err != nil {
		t.Fatal(err)
	}
	if err := e.Confirm(); err != nil {
		t.Fatal(err)
	}
	if e.Forget(); second.Bundle == nil {
		t.Fatal("the text of what is confirmed is gone before it is stored")
	}
	if err := e.Stored(e.Unstored()()); err != nil {
		t.Fatal(err)
	}
	if e.Forget(); second.Bundle != nil || e.Unstored() != nil {
		t.Error("the text of what is stored is still there, or to be stored again")
	}
	stored(second)
	intact(t, e)
}

// reader is another look at what is stored.
func reader(t *testing.T, state string) *Enforcer {
	t.Helper()
	e, err := Open(t.Context(), Options{State: state, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}
