package control

import (
	"context"
	"net/http"
	"time"

	"ringwall/daemon/enforce"
	"ringwall/daemon/observe"
	"ringwall/rules/diag"
)

// ObserveRequest hands over a policy to be observed beside the one that is enforced: its contents, not a path.
type ObserveRequest struct {
	PolicyRequest
	Who string        `json:"who,omitempty"` // for the record
	For time.Duration `json:"for,omitempty"` // in nanoseconds; 0 for as long as wanted
}

// Observed is what came of a question or a request about what is observed.
type Observed struct {
	Diagnostics diag.List       `json:"diagnostics,omitempty"` // of a policy that was handed over
	Refused     bool            `json:"refused,omitempty"`     // it has errors, and is not observed
	Report      *observe.Report `json:"report"`                // null where nothing is observed
}

// The paths of what is observed. The first is read with GET and changes nothing.
const (
	pathObserved = "/observed"
	pathObserve  = "/observe"
	pathEndWatch = "/observe/stop"
)

// Observing is the part of a Service that observes.
type Observing interface {
	Observe(ctx context.Context, req *ObserveRequest) (*Observed, error)
	Observed(ctx context.Context) (*Observed, error)
	EndObservation(ctx context.Context) (*Observed, error)
}

// observing gives the paths of what is observed their handlers.
func observing(svc Observing, handle func(method, path string, need access, h http.Handler)) {
	handle(http.MethodGet, pathObserved, reads, get(svc.Observed))
	handle(http.MethodPost, pathObserve, writes, post(func(ctx context.Context, r ObserveRequest) (*Observed, error) {
		return svc.Observe(ctx, &r)
	}))
	handle(http.MethodPost, pathEndWatch, writes, post(func(ctx context.Context, _ struct{}) (*Observed, error) {
		return svc.EndObservation(ctx)
	}))
}

// Observe has a policy observed, for a time or, where that is 0, for as long as wanted. A policy that is refused is an answer, and no
// error.
func (c *Client) Observe(ctx context.Context, cand *enforce.Candidate, strict bool, who string, span time.Duration) (*Observed, error) {
	r := &Observed{}
	req := &ObserveRequest{PolicyRequest: PolicyRequest{Entry: cand.Entry, Strict: strict}, Who: who, For: span}
	var contents [][]byte
	req.Bundle, req.Sizes, contents = detached(cand.Bundle)
	return r, c.call(ctx, http.MethodPost, pathObserve, req, r, contents...)
}

// Observed asks what has been counted so far.
func (c *Client) Observed(ctx context.Context) (*Observed, error) {
	r := &Observed{}
	return r, c.call(ctx, http.MethodGet, pathObserved, nil, r)
}

// EndObservation stops observing and forgets what was counted; the answer has the last report.
func (c *Client) EndObservation(ctx context.Context) (*Observed, error) {
	r := &Observed{}
	return r, c.call(ctx, http.MethodPost, pathEndWatch, struct{}{}, r)
}
