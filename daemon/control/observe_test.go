package control

import (
	"testing"
	"time"

	"ringwall/daemon/enforce"
	"ringwall/rules/source"
)

func TestObserveOverTheSocket(t *testing.T) {
	svc := here(t)
	c, err := Dial(t.Context(), serve(t, svc, noGroup))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bundle := &source.Bundle{}
	r, err := c.Observe(t.Context(), &enforce.Candidate{Entry: "new.yaml", Bundle: bundle}, true, "me", time.Hour)
	if err != nil || r.Report == nil || r.Report.Packets() != 7 {
		t.Fatalf("%+v %v", r, err)
	}
	if q := svc.observed; q.Entry != "new.yaml" || q.Bundle == nil || !q.Strict || q.Who != "me" || q.For != time.Hour {
		t.Errorf("the daemon heard %+v", q)
	}
	if r, err := c.Observed(t.Context()); err != nil || r.Report.Policy != "new.yaml" {
		t.Errorf("%+v %v", r, err)
	}
	if r, err := c.EndObservation(t.Context()); err != nil || r.Report != nil || len(svc.asked) != 1 {
		t.Errorf("%+v %v, asked %q", r, err, svc.asked)
	}
}
